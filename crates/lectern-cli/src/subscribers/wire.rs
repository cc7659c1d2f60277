//! The API's JSON about subscribers. Members that a newer API adds are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SubscribersList {
    pub(super) subscribers: Vec<Subscriber>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the name is that of the JSON")]
pub(super) struct Subscriber {
    pub(super) subscriber_id: String,
    pub(super) url: String,
    /// All if there is none.
    pub(super) event_types: Vec<String>,
    /// All if there is none.
    pub(super) kinds: Vec<String>,
    pub(super) format: String,
    pub(super) signature: String,
    pub(super) ordered: bool,
    pub(super) max_batch: u32,
    pub(super) max_batch_wait_seconds: u32,
    pub(super) gzip: bool,
    pub(super) requests_per_second: f64,
    pub(super) max_in_flight: u32,
    pub(super) timeout_seconds: u32,
    pub(super) status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) disabled_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) disabled_at: Option<String>,
    pub(super) created_at: String,
    pub(super) deliveries: Deliveries,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deliveries {
    pub(super) waiting: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) oldest_at: Option<String>,
    /// The oldest of them.
    pub(super) retrying: Vec<Retrying>,
    pub(super) retrying_count: u64,
    pub(super) blocked: u64,
    pub(super) dead_letters: u64,
    pub(super) in_flight: u64,
    pub(super) breaker_open: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failing_since: Option<String>,
}

/// An event whose delivery has failed and is repeated.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Retrying {
    pub(super) event_id: String,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) subject: String,
    pub(super) attempts: u32,
    pub(super) next_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
}

/// It implements no `Debug`, because it has a secret.
#[derive(Serialize, Deserialize)]
pub(super) struct AddedSubscriber {
    pub(super) subscriber: Subscriber,
    #[serde(flatten)]
    pub(super) secret: NewSecret,
}

/// One of the two.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewSecret {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) public_key: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ResumedSubscriber {
    /// How many are sent, or were skipped.
    pub(super) events: u64,
    pub(super) subscriber: Subscriber,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReplayedPage {
    pub(super) events: u64,
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

/// A test event with its answer, or with the reason why there is none.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Trial {
    pub(super) request: SentRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<TrialResponse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SentRequest {
    pub(super) url: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TrialResponse {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}
