//! Signs and verifies by the Standard Webhooks scheme, <https://www.standardwebhooks.com>.
//!
//! The signed content is `id.timestamp.body` over the raw bytes. The `webhook-signature` header may contain several
//! space-separated `v1,<base64>` signatures, and the receiver may have several secrets, so that a secret can be
//! rotated. The crate `standardwebhooks` accepts one secret only, requires a UTF-8 body and overflows on extreme
//! timestamps, so only the tests use it, as their oracle.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

use crate::limits::WEBHOOK_TOLERANCE;

/// Header with the event's id, the same for every delivery of one event.
pub const WEBHOOK_ID: &str = "webhook-id";
/// Header with the time of the delivery, in whole seconds since the epoch.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// Header with the signatures.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

const SECRET_PREFIX: &str = "whsec_";
const MAX_ID_BYTES: usize = 256;
const MAX_SIGNATURES: usize = 16;

/// Checks that `body` was signed by the holder of one of `secrets`, close to `now`.
///
/// # Errors
/// [`VerifyError`] names the wrong part. The caller answers 401 without details in each case.
pub fn verify(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &SigningSecrets,
    now: OffsetDateTime,
) -> Result<Verified, VerifyError> {
    let id = single(headers, WEBHOOK_ID)?;
    let timestamp_text = single(headers, WEBHOOK_TIMESTAMP)?;
    let signatures = single(headers, WEBHOOK_SIGNATURE)?;
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(VerifyError::Header(WEBHOOK_ID));
    }
    let timestamp: i64 = timestamp_text.parse().map_err(|_| VerifyError::Header(WEBHOOK_TIMESTAMP))?;
    let distance_s = timestamp.abs_diff(now.unix_timestamp());
    if distance_s > WEBHOOK_TOLERANCE.as_secs() {
        return Err(VerifyError::Timestamp);
    }
    let given = signatures.split(' ').take(MAX_SIGNATURES);
    let given: Vec<Vec<u8>> =
        given.filter_map(|text| STANDARD.decode(text.strip_prefix("v1,")?).ok()).collect();
    // The body, which anyone may have sent, is hashed once for each secret and not for each signature (D15). Every secret
    // is compared with every signature, so that the timing does not reveal which one matched.
    let mut accepted = subtle::Choice::from(0);
    for secret in &secrets.0 {
        let mac = secret.mac(id, timestamp_text, body);
        for given in &given {
            accepted |= mac.ct_eq(given.as_slice());
        }
    }
    if bool::from(accepted) { Ok(Verified { id: id.to_owned() }) } else { Err(VerifyError::Signature) }
}

/// One `v1,<base64>` signature of a delivery, for the sender.
pub fn sign(secret: &SigningSecret, id: &str, timestamp: OffsetDateTime, body: &[u8]) -> String {
    let mac = secret.mac(id, &timestamp.unix_timestamp().to_string(), body);
    format!("v1,{}", STANDARD.encode(mac))
}

/// A delivery with a valid signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The event's id.
    pub id: String,
}

/// Why a delivery is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A header is missing, given twice, or malformed.
    #[error("header {0} is missing, given twice or not of its form")]
    Header(&'static str),
    /// Too far in the past or in the future.
    #[error("the timestamp is outside the tolerance")]
    Timestamp,
    /// No signature matches any secret.
    #[error("no signature fits")]
    Signature,
}

/// A signing secret; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// Parses `whsec_<base64>`; the prefix is optional. The key must have 24 to 64 bytes, as the standard requires.
    ///
    /// # Errors
    /// [`SecretError`] if it is not base64 or of another length.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(SECRET_PREFIX).unwrap_or(text);
        Self::of_key(STANDARD.decode(encoded).map_err(|_| SecretError)?)
    }

    /// A secret with this key.
    ///
    /// # Errors
    /// [`SecretError`] if the key has not 24 to 64 bytes.
    pub fn of_key(key: Vec<u8>) -> Result<Self, SecretError> {
        if (24..=64).contains(&key.len()) { Ok(Self(key)) } else { Err(SecretError) }
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
        #[cfg(test)]
        tests::MACS.set(tests::MACS.get() + 1);
        // HMAC accepts keys of any length, so this cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 32] };
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// The secrets accepted at one time: the current one and, during a rotation, the one before or after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSecrets(Vec<SigningSecret>);

impl SigningSecrets {
    /// Parses secrets separated by white space.
    ///
    /// # Errors
    /// [`SecretError`] if one is malformed or there is none.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let secrets = text.split_whitespace().map(SigningSecret::parse).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() { Err(SecretError) } else { Ok(Self(secrets)) }
    }
}

/// The text is not a signing secret. The error does not repeat the text, since it may be a secret nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is `whsec_` and base64 of 24 to 64 bytes; several are separated by spaces")]
pub struct SecretError;

fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, VerifyError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| VerifyError::Header(name)),
        _ => Err(VerifyError::Header(name)),
    }
}

#[cfg(test)]
mod tests;
