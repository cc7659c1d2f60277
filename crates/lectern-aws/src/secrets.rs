//! Secrets Manager, with a cache of a few minutes.

use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use lectern::{
    contract::webhook::SigningSecrets,
    error::{Error, StoreError},
    ports::Secrets,
};
use tokio::sync::Mutex;

use crate::error::failed;

#[cfg(test)]
mod tests;

/// How long a secret is cached. After this time, all functions use a rotated secret.
pub const SECRET_LIFETIME: Duration = Duration::from_mins(2);

/// One secret.
#[derive(Debug)]
pub struct CachedSecret {
    client: Client,
    arn: String,
    cached: Mutex<Option<(Instant, Secret)>>,
}

/// A secret's text, never printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl CachedSecret {
    /// The secret of this ARN.
    pub fn new(client: Client, arn: String) -> Self {
        Self { client, arn, cached: Mutex::new(None) }
    }

    /// The secret's current text, at most [`SECRET_LIFETIME`] old.
    ///
    /// # Errors
    /// `Store.Unavailable` if it cannot be read.
    pub async fn get(&self) -> Result<Secret, Error> {
        let mut cached = self.cached.lock().await;
        if let Some((read_at, secret)) = cached.as_ref()
            && read_at.elapsed() < SECRET_LIFETIME
        {
            return Ok(secret.clone());
        }
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.arn)
            .send()
            .await
            .map_err(|error| failed("GetSecretValue", error))?;
        let text = answer.secret_string().unwrap_or_default().trim().to_owned();
        if text.is_empty() {
            return Err(StoreError::defect("the secret is empty").into());
        }
        let secret = Secret(text);
        *cached = Some((Instant::now(), secret.clone()));
        Ok(secret)
    }
}

/// The signing secrets of callbacks.
#[derive(Debug)]
pub struct SigningSecretsSource(CachedSecret);

impl SigningSecretsSource {
    /// Reads the signing secrets from this secret, in which they are separated by white space.
    pub fn new(secret: CachedSecret) -> Self {
        Self(secret)
    }
}

impl Secrets for SigningSecretsSource {
    async fn signing_secrets(&self) -> Result<SigningSecrets, Error> {
        let secret = self.0.get().await?;
        SigningSecrets::parse(secret.expose()).map_err(|error| StoreError::defect(error.to_string()).into())
    }
}
