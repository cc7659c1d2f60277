//! Lectern's ports on AWS: one file for each service, the configuration, and the code around Lambda's runtime.
//!
//! Clients are built once, when a function starts. The AWS SDK repeats a failed call at most twice, which is its default;
//! this crate contains no other retry. It maps every error to the [`lectern::error::Error`] that determines what the
//! workflow does next.

pub mod clients;
pub mod clock;
pub mod config;
pub mod dynamodb;
pub mod environment;
pub mod error;
pub mod event_bus;
pub mod functions;
pub mod http_api;
pub mod http_endpoints;
pub mod http_third_party;
pub mod lambda;
pub mod logging;
pub mod s3;
pub mod secrets;
pub mod sfn;
pub mod sns;
pub mod sqs;
pub mod stream;
#[cfg(test)]
mod test_support;

pub use clients::Clients;
pub use clock::{SystemClock, SystemRandom};
pub use config::{Config, ConfigError, Endpoints, SignIn};
pub use dynamodb::{AuditTrail, DynamoDbStore};
pub use environment::Environment;
pub use event_bus::OptionalEventBus;
pub use http_endpoints::HttpEndpoints;
pub use http_third_party::HttpThirdParty;
pub use s3::{ObjectsOfSubmissions, ReturnedBucket, UploadDesk, UploadsBucket};
pub use secrets::{CachedSecret, SigningSecretsSource};
pub use sfn::{DocumentExecutions, ErasureStateMachine, StateMachine};
pub use sns::AlarmTopic;
pub use sqs::{AdmissionQueue, EventsQueue, ObservedQueue, ObservedQueues, SourceQueue};
