//! The HTTP request that delivers events: a `CloudEvents` body in structured or batch mode
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>), signed by the Standard
//! Webhooks scheme (<https://www.standardwebhooks.com>).

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Event, EventData, EventType, Format, SignatureKind, Subscriber, SubscriberData, SubscriberId};
use crate::{
    contract::webhook::{self, SigningSecret, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP},
    error::{Error, StoreError},
};

/// The member of the answer to a challenge that repeats it.
pub const CHALLENGE: &str = "challenge";
const ONE: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";

/// The sender that events name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The attribute `source` of all events: a URI reference that names the stack.
    pub name: String,
    /// The API's base URL, to which thin events refer.
    pub api_url: String,
}

/// A request to a subscriber's URL, by POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRequest {
    /// All headers that depend on the events.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// The envelope. `specversion` and the other names are those of the specification.
#[derive(Serialize)]
struct CloudEvent<'e> {
    specversion: &'static str,
    id: Uuid,
    source: &'e str,
    #[serde(rename = "type")]
    event_type: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<&'static str>,
    /// The extension of the claim check pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    dataref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'e EventData>,
}

impl<'e> CloudEvent<'e> {
    fn of(event: &'e Event, format: Format, source: &'e Source) -> Self {
        let submission = match &event.data {
            EventData::Document(data) => Some(&data.submission_id),
            EventData::Submission(data) => Some(&data.submission_id),
            EventData::Subscriber(_) => None,
        };
        let dataref = submission
            .filter(|_| format == Format::Thin)
            .map(|submission| format!("{}/v1/submissions/{submission}", source.api_url));
        let data = dataref.is_none().then_some(&event.data);
        Self {
            specversion: "1.0",
            id: event.id,
            source: &source.name,
            event_type: event.event_type.versioned(),
            subject: event.subject(),
            time: event.time.as_deref(),
            datacontenttype: data.map(|_| "application/json"),
            dataref,
            data,
        }
    }
}

impl EventRequest {
    /// The request that delivers these events. A single event of a subscriber without batches is the body itself.
    ///
    /// `webhook-id` is the event's id or, of a batch, a UUID of the events' ids, so a repeated request has the same one. The
    /// signature covers the body as it is sent, so a receiver verifies it before it decompresses the body.
    ///
    /// # Errors
    /// [`StoreError::Defect`] if an event or a secret is malformed.
    pub fn new(
        events: &[&Event],
        subscriber: &Subscriber,
        source: &Source,
        now: OffsetDateTime,
    ) -> Result<Self, Error> {
        let envelopes: Vec<CloudEvent<'_>> =
            events.iter().map(|event| CloudEvent::of(event, subscriber.format, source)).collect();
        let (content_type, json, id) = match envelopes.as_slice() {
            [one] if subscriber.max_batch <= 1 => (ONE, serde_json::to_vec(one), one.id),
            several => (BATCH, serde_json::to_vec(several), batch_id(events)),
        };
        let json = json.map_err(|error| StoreError::defect_of("an event could not be written", error))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let body = if subscriber.has_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let written = encoder.write_all(&json).and_then(|()| encoder.finish());
            written.map_err(|error| StoreError::defect_of("a body could not be compressed", error))?
        } else {
            json
        };
        let id = id.to_string();
        let signature = signatures(subscriber, &id, now, &body)?;
        for (name, value) in [
            (WEBHOOK_ID, id),
            (WEBHOOK_TIMESTAMP, now.unix_timestamp().to_string()),
            (WEBHOOK_SIGNATURE, signature),
        ] {
            let value = HeaderValue::try_from(value);
            let value = value.map_err(|error| StoreError::defect_of("a header could not be built", error))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(Self { headers, body })
    }
}

/// One signature for each valid secret, separated by spaces.
fn signatures(subscriber: &Subscriber, id: &str, now: OffsetDateTime, body: &[u8]) -> Result<String, Error> {
    let mut signatures = Vec::new();
    for secret in subscriber.valid_secrets(now) {
        let key = secret.bytes();
        signatures.push(match subscriber.signature {
            SignatureKind::Hmac => {
                let secret = SigningSecret::of_key(key)
                    .map_err(|error| StoreError::defect_of("a subscriber's secret is malformed", error))?;
                webhook::sign(&secret, id, now, body)
            }
            SignatureKind::Ed25519 => {
                let pair =
                    key_pair(&key).ok_or_else(|| StoreError::defect("a subscriber's secret is malformed"))?;
                let signed = [format!("{id}.{}.", now.unix_timestamp()).as_bytes(), body].concat();
                format!("v1a,{}", STANDARD.encode(pair.sign(&signed)))
            }
        });
    }
    Ok(signatures.join(" "))
}

fn key_pair(seed: &[u8]) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(seed).ok()
}

/// The public key of an Ed25519 seed.
pub(super) fn public_key(seed: &[u8]) -> Option<Vec<u8>> {
    Some(key_pair(seed)?.public_key().as_ref().to_vec())
}

fn batch_id(events: &[&Event]) -> Uuid {
    let ids: Vec<u8> = events.iter().flat_map(|event| event.id.into_bytes()).collect();
    Uuid::new_v5(&Event::NAMESPACE, &ids)
}

/// The event that asks an endpoint to show that it wants events, by answering 2xx with `{"challenge": …}`.
pub fn challenge_event(subscriber: &SubscriberId, challenge: Uuid) -> Event {
    let data = SubscriberData {
        subscriber_id: subscriber.clone(),
        reason: None,
        challenge: Some(challenge.simple().to_string()),
    };
    let number = challenge.to_string();
    Event::new(EventType::SubscriberChallenge, &number, 0, None, EventData::Subscriber(data))
}

/// Whether an endpoint has answered a challenge.
pub fn is_challenge_answered(body: &[u8], challenge: Uuid) -> bool {
    #[derive(Deserialize)]
    struct Answer {
        challenge: String,
    }
    serde_json::from_slice::<Answer>(body)
        .is_ok_and(|answer| answer.challenge == challenge.simple().to_string())
}

/// An event that tries a subscriber.
pub fn test_event(subscriber: &SubscriberId, id: Uuid, time: String) -> Event {
    let data = SubscriberData { subscriber_id: subscriber.clone(), reason: None, challenge: None };
    Event { id, event_type: EventType::SubscriberTest, time: Some(time), data: EventData::Subscriber(data) }
}
