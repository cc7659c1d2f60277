//! A subscriber: an external system that receives events, as an operator has configured it.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lectern_content::MediaKind;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Event, EventData, EventType, SubscriberData};
use crate::{admission::Limits, document::InvalidId, error::rfc3339};

/// How long the secret before stays valid after a rotation.
const ROTATION: Duration = Duration::from_hours(24);

/// Identity of a subscriber: 1 to 40 of `a-z 0-9 -`, starting with a letter. An operator chooses it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubscriberId(String);

impl SubscriberId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubscriberId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let bytes = text.as_bytes();
        let valid = (1..=40).contains(&bytes.len())
            && bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.iter().copied().all(plain);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidId) }
    }
}

impl TryFrom<String> for SubscriberId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SubscriberId> for String {
    fn from(id: SubscriberId) -> Self {
        id.0
    }
}

impl fmt::Display for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A subscriber as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscriber {
    /// The subscriber's id.
    pub subscriber_id: SubscriberId,
    /// Where events are sent.
    pub url: String,
    /// The types of its events; all if there is none.
    #[serde(default)]
    pub event_types: BTreeSet<EventType>,
    /// Of events about documents, only those of files of these kinds; all if there is none.
    #[serde(default)]
    pub kinds: BTreeSet<MediaKind>,
    /// What the events contain.
    pub format: Format,
    /// How requests are signed.
    pub signature: SignatureKind,
    /// Whether the events of one submission are delivered one after the other.
    pub is_ordered: bool,
    /// How many events one request may contain. With 1, the body is one event; otherwise it is a list.
    pub max_batch: u32,
    /// How long an event may wait until a batch is full.
    pub max_batch_wait_seconds: u32,
    /// Whether bodies are compressed.
    pub has_gzip: bool,
    /// How many requests are made per second, on average.
    pub requests_per_second: f64,
    /// How many requests are in flight at most.
    pub max_in_flight: u32,
    /// How long one request may take.
    pub timeout_seconds: u32,
    /// Whether events are delivered.
    #[serde(flatten)]
    pub status: SubscriberStatus,
    /// When an operator added it, RFC 3339.
    pub created_at: String,
    /// The secret that signs, first, and one that was rotated and is still valid.
    pub secrets: Vec<Secret>,
}

/// What the events of a subscriber contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// All data of the event.
    #[default]
    Full,
    /// Only a reference to the submission, which the subscriber reads from the API.
    Thin,
}

/// How requests are signed, by the Standard Webhooks scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SignatureKind {
    /// `v1`: HMAC-SHA-256 with a shared secret.
    #[default]
    Hmac,
    /// `v1a`: Ed25519. The subscriber has only the public key.
    Ed25519,
}

/// Whether events are delivered to a subscriber. Meanwhile its events wait, so that nothing is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SubscriberStatus {
    /// Events are delivered.
    Active,
    /// An operator has paused the deliveries.
    Paused,
    /// Lectern has stopped the deliveries.
    Disabled {
        /// Why.
        #[serde(rename = "disabledReason")]
        reason: DisabledReason,
        /// When, RFC 3339.
        #[serde(rename = "disabledAt")]
        at: String,
    },
}

impl SubscriberStatus {
    /// The name in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled { .. } => "disabled",
        }
    }
}

/// Why the deliveries to a subscriber were stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DisabledReason {
    /// The endpoint answered 410: it does not want events any more.
    Gone,
    /// No delivery has succeeded for three days.
    Unreachable,
}

/// A secret of a subscriber; never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// 32 random bytes in Base64: the key of the HMAC, or the seed of the Ed25519 key.
    key: String,
    /// Until when it is valid, RFC 3339, if it was rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What an operator is shown once, and hands to the subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewSecret {
    /// `whsec_…`, the shared secret of HMAC; absent with Ed25519.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// `whpk_…`, the public key of Ed25519; absent with HMAC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

impl Secret {
    /// A secret of these random bits.
    pub fn of(bits: [u128; 2]) -> Self {
        Self { key: STANDARD.encode(bits.map(u128::to_be_bytes).concat()), expires_at: None }
    }

    /// The key's bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.key).unwrap_or_default()
    }

    fn is_valid(&self, now: OffsetDateTime) -> bool {
        let ends = self.expires_at.as_ref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        ends.is_none_or(|ends| ends > now)
    }
}

impl Subscriber {
    /// Whether the subscriber has asked for an event.
    pub fn wants(&self, event: &Event) -> bool {
        let of_kind = match &event.data {
            EventData::Document(data) => {
                let kind = data.media_type.map(lectern_content::MediaType::kind);
                self.kinds.is_empty() || kind.is_some_and(|kind| self.kinds.contains(&kind))
            }
            // A subscriber that is disabled would get this event only when it is resumed.
            EventData::Subscriber(SubscriberData { subscriber_id, .. }) => {
                *subscriber_id != self.subscriber_id
            }
            EventData::Submission(_) => true,
        };
        of_kind && (self.event_types.is_empty() || self.event_types.contains(&event.event_type))
    }

    /// The limits of requests to this subscriber.
    pub fn limits(&self) -> Limits {
        Limits::of_requests(self.requests_per_second, self.max_in_flight, self.timeout())
    }

    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// The secrets that sign now.
    pub fn valid_secrets(&self, now: OffsetDateTime) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().filter(move |secret| secret.is_valid(now))
    }

    /// Makes another secret the first one. The one before stays valid for a day.
    pub fn rotate(&mut self, new: Secret, now: OffsetDateTime) {
        let mut before = self.secrets.drain(..).next();
        if let Some(before) = &mut before {
            before.expires_at = Some(rfc3339(now + ROTATION));
        }
        self.secrets = std::iter::once(new).chain(before).collect();
    }

    /// What the operator hands to the subscriber.
    pub fn shown_secret(&self) -> NewSecret {
        let Some(secret) = self.secrets.first() else { return NewSecret { secret: None, public_key: None } };
        match self.signature {
            SignatureKind::Hmac => {
                NewSecret { secret: Some(format!("whsec_{}", secret.key)), public_key: None }
            }
            SignatureKind::Ed25519 => NewSecret {
                secret: None,
                public_key: super::request::public_key(&secret.bytes())
                    .map(|key| format!("whpk_{}", STANDARD.encode(key))),
            },
        }
    }
}
