//! The SDK's clients, built once for each process.

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
    retry::RetryConfig,
};
use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};

use crate::{
    config::{Config, ConfigError},
    dynamodb::repeat_conflicts,
};

/// The configuration of the clients. TLS is rustls with `ring`: it starts without the CPU-jitter entropy source that
/// costs AWS-LC tens of milliseconds of CPU at the first handshake of a small function (docs/decisions/0010-rustls-with-ring.md).
#[derive(Clone, Debug)]
pub struct Clients {
    shared: SdkConfig,
    s3_path_style: bool,
}

impl Clients {
    /// The clients of a function: Lambda gives region and credentials in environment variables. Credentials from other
    /// sources, such as profiles, are left out, because their code would make each function larger.
    ///
    /// # Errors
    /// If the region is missing.
    pub fn of_function(config: Config) -> Result<Self, ConfigError> {
        let credentials = EnvironmentVariableCredentialsProvider::new();
        let mut shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http_client())
            .region(config.region()?)
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        let endpoint = config.endpoint_url();
        let s3_path_style = endpoint.is_some();
        shared.set_endpoint_url(endpoint);
        Ok(Self { shared: shared.build(), s3_path_style })
    }

    /// Region, credentials and endpoint in the SDK's standard way, for a person's command.
    pub async fn load(config: Config) -> Self {
        let shared =
            aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client()).load().await;
        Self { shared, s3_path_style: config.endpoint_url().is_some() }
    }

    /// Clients with this endpoint and these keys, which the stack file of a local cloud contains.
    pub fn at(endpoint: &str, region: &str, access_key_id: &str, secret_access_key: &str) -> Self {
        let credentials =
            aws_sdk_dynamodb::config::Credentials::new(access_key_id, secret_access_key, None, None, "given");
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http_client())
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .build();
        Self { shared, s3_path_style: true }
    }

    /// The credentials that the clients sign with; `None` if none are configured.
    pub fn credentials(&self) -> Option<SharedCredentialsProvider> {
        self.shared.credentials_provider()
    }

    /// The same clients with this number of attempts for each call.
    #[must_use]
    pub fn with_max_attempts(self, attempts: u32) -> Self {
        let retries = RetryConfig::standard().with_max_attempts(attempts);
        Self { shared: self.shared.into_builder().retry_config(retries).build(), ..self }
    }

    /// The configuration for clients of further services, which the command `lectern` uses.
    pub fn shared(&self) -> &SdkConfig {
        &self.shared
    }

    /// For the state store.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.shared);
        aws_sdk_dynamodb::Client::from_conf(repeat_conflicts(config, self.shared.retry_config()).build())
    }

    /// For both buckets.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config =
            aws_sdk_s3::config::Builder::from(&self.shared).force_path_style(self.s3_path_style).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// For executions and task tokens.
    pub fn sfn(&self) -> aws_sdk_sfn::Client {
        aws_sdk_sfn::Client::new(&self.shared)
    }

    /// For queues.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.shared)
    }

    /// For the topic of all alarms.
    pub fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.shared)
    }

    /// For the event bus.
    pub fn event_bridge(&self) -> aws_sdk_eventbridge::Client {
        aws_sdk_eventbridge::Client::new(&self.shared)
    }

    /// For the third party's secrets.
    pub fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.shared)
    }
}

fn http_client() -> SharedHttpClient {
    let client = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    SharedHttpClient::new(LoadedOnFirstUse(client))
}

/// The SDK's HTTP client without [`HttpClient::validate_base_client_config`]. The SDK calls that method when it builds the
/// client of each service, and each call parses the system's root certificates, which costs 4 ms of CPU time. Without it,
/// the first connection parses them, once for all services.
#[derive(Debug)]
struct LoadedOnFirstUse(SharedHttpClient);

impl HttpClient for LoadedOnFirstUse {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }
}
