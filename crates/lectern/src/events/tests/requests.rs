//! Requests to subscribers are valid `CloudEvents` and carry signatures that other implementations verify.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use proptest::prelude::*;
use ring::signature::{ED25519, UnparsedPublicKey};
use rstest::rstest;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{
    super::*,
    fixtures::{Deed, Stream, Version, event, perform, subscriber},
};
use crate::testing::{MemoryStore, world::START};

fn source() -> Source {
    Source { name: "urn:lectern:test".to_owned(), api_url: "https://lectern.example".to_owned() }
}

fn request(events: &[Event], subscriber: &Subscriber, now: OffsetDateTime) -> EventRequest {
    let events: Vec<&Event> = events.iter().collect();
    EventRequest::new(&events, subscriber, &source(), now).unwrap()
}

fn header<'r>(request: &'r EventRequest, name: &str) -> &'r str {
    assert_eq!(request.headers.get_all(name).iter().count(), 1, "{name}");
    request.headers[name].to_str().unwrap()
}

fn body(request: &EventRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// The rules of the specification for the attributes of an event and, in the JSON format, for their types
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>, sections "Naming conventions" and "Required
/// attributes"; `formats/json-format.md`, section 2.2).
fn assert_cloud_event(event: &Value) {
    let schema = json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "minLength": 1 },
            "source": { "type": "string", "minLength": 1, "format": "uri-reference" },
            "type": { "type": "string", "minLength": 1 },
            "subject": { "type": "string", "minLength": 1 },
            "time": { "type": "string", "format": "date-time" },
            "datacontenttype": { "const": "application/json" },
            "dataref": { "type": "string", "format": "uri-reference" },
            "data": { "type": "object" },
        },
        "propertyNames": { "pattern": "^[a-z0-9]{1,20}$" },
        "additionalProperties": false,
        "dependentRequired": { "data": ["datacontenttype"] },
    });
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(event).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}: {event}");
    assert_ne!(event.get("data").is_some(), event.get("dataref").is_some(), "one of them: {event}");
    assert!(event.to_string().len() < 1024, "events are small: {event}");
}

/// An event of each type that a submission can cause.
fn events() -> Vec<Event> {
    let (store, mut stream) = (MemoryStore::default(), Stream::default());
    let version = |file, number| Version { submission: 0, file, number };
    let mut events = Vec::new();
    for (version, deed) in [
        (version(0, 1), Deed::Register { acceptable: true }),
        (version(0, 1), Deed::Finish { ready: false }),
        (version(0, 1), Deed::Reopen { discard_result: true }),
        (version(0, 1), Deed::Finish { ready: true }),
        (version(1, 1), Deed::Register { acceptable: false }),
        (version(1, 1), Deed::Withdraw),
        (version(0, 2), Deed::Register { acceptable: true }),
    ] {
        perform(&store, version, deed, START);
        for (old, new) in stream.changes(&store, 1) {
            events.extend(of_change(old.as_ref(), &new));
        }
    }
    let id: SubscriberId = "portal".parse().unwrap();
    events.push(challenge_event(&id, Uuid::from_u128(7)));
    events.push(test_event(&id, Uuid::from_u128(8), "2026-11-20T16:00:00Z".to_owned()));
    events
}

#[rstest]
fn single_event_is_the_body_in_structured_mode(#[values(Format::Full, Format::Thin)] format: Format) {
    let subscriber = Subscriber { format, ..subscriber("portal") };
    for event in events() {
        let request = request(std::slice::from_ref(&event), &subscriber, START);
        assert_eq!(header(&request, "content-type"), "application/cloudevents+json; charset=utf-8");
        assert!(request.headers.get("content-encoding").is_none());
        let body = body(&request);
        assert_cloud_event(&body);
        assert_eq!(body["id"], event.id.to_string());
        assert_eq!(body["type"], format!("lectern.{}.v1", event.event_type));
        assert_eq!(body["subject"], event.subject());
        assert_eq!(header(&request, "webhook-id"), event.id.to_string());
        assert_eq!(header(&request, "webhook-timestamp"), START.unix_timestamp().to_string());
    }
}

#[rstest]
#[case::full(1)]
#[case::not_full(3)]
fn subscriber_with_batches_gets_a_list_also_of_one_event(#[case] events: usize) {
    let subscriber = Subscriber { max_batch: 10, ..subscriber("portal") };
    let events: Vec<Event> = (0..events as u64).map(|number| event("s1", number)).collect();
    let sent = request(&events, &subscriber, START);
    assert_eq!(header(&sent, "content-type"), "application/cloudevents-batch+json; charset=utf-8");
    let listed = body(&sent);
    let listed = listed.as_array().unwrap();
    listed.iter().for_each(assert_cloud_event);
    let ids: Vec<&Value> = listed.iter().map(|event| &event["id"]).collect();
    assert_eq!(
        ids,
        events.iter().map(|event| json!(event.id)).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );

    let again = request(&events, &subscriber, START + Duration::hours(1));
    assert_eq!(
        header(&sent, "webhook-id"),
        header(&again, "webhook-id"),
        "a repeated request has the same id"
    );
    assert_eq!(sent.body, again.body);
    let others: Vec<Event> = events.iter().rev().skip(1).cloned().chain([event("s1", 99)]).collect();
    assert_ne!(header(&sent, "webhook-id"), header(&request(&others, &subscriber, START), "webhook-id"));
}

#[test]
fn thin_event_refers_to_the_submission_and_has_no_data() {
    let subscriber = Subscriber { format: Format::Thin, ..subscriber("portal") };
    let thin = body(&request(&[event("s1", 1)], &subscriber, START));
    assert_eq!(thin["dataref"], "https://lectern.example/v1/submissions/s1");
    assert_eq!((thin.get("data"), thin.get("datacontenttype")), (None, None));

    let challenge = challenge_event(&"portal".parse().unwrap(), Uuid::from_u128(7));
    let challenge = body(&request(&[challenge], &subscriber, START));
    assert_eq!(
        challenge["data"]["challenge"],
        Uuid::from_u128(7).simple().to_string(),
        "nothing to refer to"
    );
}

#[rstest]
#[case::it_is_repeated(r#"{"challenge": "00000000000000000000000000000007"}"#, true)]
#[case::with_other_members(r#"{"ok": true, "challenge": "00000000000000000000000000000007"}"#, true)]
#[case::another_one(r#"{"challenge": "00000000000000000000000000000008"}"#, false)]
#[case::with_hyphens(r#"{"challenge": "00000000-0000-0000-0000-000000000007"}"#, false)]
#[case::not_an_object(r#""00000000000000000000000000000007""#, false)]
#[case::a_page("<html>00000000000000000000000000000007</html>", false)]
#[case::empty("", false)]
fn challenge_is_answered_only_by_its_text(#[case] answer: &str, #[case] expected: bool) {
    assert_eq!(is_challenge_answered(answer.as_bytes(), Uuid::from_u128(7)), expected);
}

#[test]
fn compressed_body_is_the_same_json() {
    for max_batch in [1, 10] {
        let plain = Subscriber { max_batch, ..subscriber("portal") };
        let gzip = Subscriber { has_gzip: true, ..plain.clone() };
        let request_of = |subscriber| request(&[event("s1", 1)], subscriber, START);
        let (plain, gzip) = (request_of(&plain), request_of(&gzip));
        assert_eq!(header(&gzip, "content-encoding"), "gzip");
        let mut unpacked = Vec::new();
        GzDecoder::new(gzip.body.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body);
        assert_eq!(header(&gzip, "content-type"), header(&plain, "content-type"));
        assert_eq!(header(&gzip, "webhook-id"), header(&plain, "webhook-id"));
    }
}

#[expect(clippy::disallowed_methods, reason = "the oracle reads the system's clock")]
fn system_time() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[rstest]
fn signature_is_verified_by_the_crate_of_the_standard(
    #[values(1, 10)] max_batch: u32,
    #[values(Format::Full, Format::Thin)] format: Format,
) {
    let subscriber = Subscriber { format, max_batch, ..subscriber("portal") };
    let oracle = standardwebhooks::Webhook::new(&subscriber.shown_secret().secret.unwrap()).unwrap();
    for event in events() {
        let request = request(&[event], &subscriber, system_time());
        oracle.verify(&request.body, &request.headers).unwrap();
        let mut tampered = request.body.clone();
        *tampered.last_mut().unwrap() = b' ';
        oracle.verify(&tampered, &request.headers).unwrap_err();
    }
}

/// The crate reads only bodies of text, so it computes the signature of a compressed body's text form, byte by byte, here.
#[test]
fn signature_of_a_compressed_body_covers_the_bytes_as_they_are_sent() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let subscriber = Subscriber { has_gzip: true, ..subscriber("portal") };
    let sent = request(&[event("s1", 1)], &subscriber, START);
    let secret = subscriber.shown_secret().secret.unwrap();
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", header(&sent, "webhook-id"), START.unix_timestamp()).as_bytes());
    mac.update(&sent.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(header(&sent, "webhook-signature"), expected);
}

/// Whether a request has a valid Ed25519 signature for the public key that the operator was shown.
fn is_signed_for(request: &EventRequest, shown: &NewSecret) -> bool {
    let key = STANDARD.decode(shown.public_key.as_ref().unwrap().strip_prefix("whpk_").unwrap()).unwrap();
    let (id, timestamp) = (header(request, "webhook-id"), header(request, "webhook-timestamp"));
    let signed = [format!("{id}.{timestamp}.").as_bytes(), &request.body].concat();
    let key = UnparsedPublicKey::new(&ED25519, key);
    header(request, "webhook-signature").split(' ').any(|signature| {
        let signature = STANDARD.decode(signature.strip_prefix("v1a,").unwrap()).unwrap();
        key.verify(&signed, &signature).is_ok()
    })
}

#[rstest]
fn ed25519_signature_is_verified_with_the_public_key(#[values(false, true)] has_gzip: bool) {
    let signature = SignatureKind::Ed25519;
    let subscriber = Subscriber { signature, has_gzip, ..subscriber("portal") };
    let shown = subscriber.shown_secret();
    assert_eq!(shown.secret, None, "the subscriber needs no secret");
    let mut sent = request(&[event("s1", 1)], &subscriber, START);
    assert!(is_signed_for(&sent, &shown));
    let other = Subscriber { secrets: vec![Secret::of([7, 8])], ..subscriber };
    assert!(!is_signed_for(&sent, &other.shown_secret()));
    sent.body.push(b' ');
    assert!(!is_signed_for(&sent, &shown));
}

#[test]
fn rotation_gives_two_signatures_for_a_day_then_one() {
    for signature in [SignatureKind::Hmac, SignatureKind::Ed25519] {
        let mut subscriber = Subscriber { signature, ..subscriber("portal") };
        let count = |subscriber: &Subscriber, hours| {
            let sent = request(&[event("s1", 1)], subscriber, START + Duration::hours(hours));
            header(&sent, "webhook-signature").split(' ').count()
        };
        assert_eq!(count(&subscriber, 0), 1);
        subscriber.rotate(Secret::of([3, 4]), START);
        assert_eq!([0, 23, 24].map(|hours| count(&subscriber, hours)), [2, 2, 1]);
    }
    let mut subscriber = subscriber("portal");
    let before = subscriber.shown_secret();
    let now = system_time();
    subscriber.rotate(Secret::of([3, 4]), now);
    let sent = request(&[event("s1", 1)], &subscriber, now);
    for shown in [before, subscriber.shown_secret()] {
        let oracle = standardwebhooks::Webhook::new(&shown.secret.unwrap()).unwrap();
        oracle.verify(&sent.body, &sent.headers).unwrap();
    }
}

proptest! {
    #[test]
    fn any_secret_signs_so_that_the_standards_crate_and_ring_verify(bits in any::<[u128; 2]>()) {
        let secrets = vec![Secret::of(bits)];
        let hmac = Subscriber { secrets: secrets.clone(), ..subscriber("portal") };
        let oracle = standardwebhooks::Webhook::new(&hmac.shown_secret().secret.unwrap()).unwrap();
        let sent = request(&[event("s1", 1)], &hmac, system_time());
        prop_assert!(oracle.verify(&sent.body, &sent.headers).is_ok());
        let ed25519 = Subscriber { signature: SignatureKind::Ed25519, secrets, ..subscriber("portal") };
        prop_assert!(is_signed_for(&request(&[event("s1", 1)], &ed25519, START), &ed25519.shown_secret()));
    }
}
