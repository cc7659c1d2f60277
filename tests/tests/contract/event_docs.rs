//! `docs/events.md`, the contract for receivers: each type of event has a section whose example is what Lectern sends, with
//! its size, and the numbers in the text are those of the code. With `UPDATE_EVENTS=1`, the test writes the examples anew.

use std::collections::{BTreeMap, BTreeSet};

use lectern::{
    document::Document,
    document::submission::Submission,
    events::{
        self, Event, EventItem, EventRequest, EventType, Format, Secret, SignatureKind, Source, Subscriber,
        SubscriberStatus, challenge_event,
    },
    ports::Erasure,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::sources::{captures, read, regex, root};

const DOCS: &str = "docs/events.md";
const NOW: OffsetDateTime = datetime!(2026-11-20 16:04:06 UTC);
const SUBMISSION: &str = "spring-term-7";

fn source() -> Source {
    Source {
        name: "urn:lectern:lectern-prod".to_owned(),
        api_url: "https://abcdefghij.execute-api.us-east-1.amazonaws.com".to_owned(),
    }
}

fn subscriber() -> Subscriber {
    Subscriber {
        subscriber_id: "school-portal".parse().unwrap(),
        url: "https://portal.example/lectern/events".to_owned(),
        event_types: BTreeSet::new(),
        kinds: BTreeSet::new(),
        format: Format::Full,
        signature: SignatureKind::Hmac,
        is_ordered: true,
        max_batch: 1,
        max_batch_wait_seconds: 0,
        has_gzip: false,
        requests_per_second: 10.0,
        max_in_flight: 4,
        timeout_seconds: 10,
        status: SubscriberStatus::Active,
        created_at: "2026-11-01T08:00:00.000Z".to_owned(),
        secrets: vec![Secret::of([
            0x6c65_6374_6572_6e20_646f_6373_2065_7861,
            0x6d70_6c65_2073_6563_7265_7420_3332_2121,
        ])],
    }
}

fn of<T: DeserializeOwned>(item: Value) -> T {
    serde_json::from_value(item).unwrap()
}

/// A document in this state, with further attributes.
fn document(state: &str, more: Value) -> EventItem {
    let mut item = json!({
        "submissionId": SUBMISSION, "documentId": "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f",
        "bucket": "uploads", "key": "submissions/spring-term-7/plan.docx", "versionId": "v1",
        "owner": "9f2c1d7e-teacher", "name": "plan of Ms Example.docx", "sizeBytes": 48_213,
        "mediaType": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "state": state, "callbackId": "callback", "round": 1, "redrives": 0,
        "times": { "Received": "2026-11-20T16:04:05.006Z", state: "2026-11-20T16:06:42.015Z" }
    });
    let Value::Object(more) = more else { panic!("{more} is no object") };
    item.as_object_mut().unwrap().extend(more);
    EventItem::Document(Box::new(of::<Document>(item)))
}

fn submission(state: &str, more: Value) -> EventItem {
    let mut item = json!({
        "submissionId": SUBMISSION, "state": state, "open": 0, "ready": 0, "rejected": 0, "failed": 0,
        "createdAt": "2026-11-20T16:03:10.500Z", "owner": "9f2c1d7e-teacher", "title": "Fractions, class 5b"
    });
    let Value::Object(more) = more else { panic!("{more} is no object") };
    item.as_object_mut().unwrap().extend(more);
    EventItem::Submission(Box::new(of::<Submission>(item)))
}

/// The item of which the event is the example of its type.
fn item_of(event_type: EventType) -> EventItem {
    let reason = |code: &str| json!({ "code": code, "message": "A sentence for the teacher." });
    let newer = "0d6f3bb2-52c0-5a3c-8f57-3f2f0a9ce7d1";
    match event_type {
        EventType::SubmissionCreated => submission("Draft", json!({})),
        EventType::SubmissionCompleted => {
            let counts = json!({ "ready": 2, "failed": 1, "countChanges": 6, "countedAt": "2026-11-20T16:06:42.015Z" });
            submission("NeedsAttention", counts)
        }
        EventType::SubmissionErased => EventItem::Erasure(of::<Erasure>(json!({
            "submissionId": SUBMISSION, "erasureState": "Erased", "erasedBy": "owner",
            "erasureBeganAt": "2026-12-01T09:00:00.000Z", "erasureEndedAt": "2026-12-01T09:17:03.400Z"
        }))),
        EventType::DocumentReceived => document("Transferring", json!({})),
        EventType::DocumentReady => document("Ready", json!({})),
        EventType::DocumentRejected => document("Rejected", json!({ "reason": reason("empty") })),
        EventType::DocumentFailed => document("Failed", json!({ "reason": reason("unsupportedLanguage") })),
        EventType::DocumentRedriven => document("Received", json!({ "redrives": 1 })),
        EventType::DocumentSuperseded => document("Ready", json!({ "supersededBy": newer })),
        EventType::DocumentWithdrawn => document("Failed", json!({ "isWithdrawn": true })),
        EventType::SubscriberDisabled => {
            let at = "2026-11-23T16:06:42.015Z".to_owned();
            let reason = events::DisabledReason::Unreachable;
            let id = "audit-archive".parse().unwrap();
            let status = SubscriberStatus::Disabled { reason, at };
            EventItem::Subscriber(Box::new(Subscriber { subscriber_id: id, status, ..subscriber() }))
        }
        EventType::SubscriberChallenge | EventType::SubscriberTest => panic!("{event_type} is of no item"),
    }
}

fn example(event_type: EventType) -> Event {
    let events = events::of_item(&item_of(event_type)).into_iter();
    let mut events = events.filter(|event| event.event_type == event_type);
    events.next().unwrap_or_else(|| panic!("the item of the example does not imply {event_type}"))
}

fn request(event: &Event, subscriber: &Subscriber) -> EventRequest {
    EventRequest::new(&[event], subscriber, &source(), NOW).unwrap()
}

/// A body as the examples show it. The members keep the order in which Lectern writes them.
fn pretty(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap();
    let mut shown = String::new();
    let (mut depth, mut in_text, mut before) = (0, false, ' ');
    for letter in text.chars() {
        in_text ^= letter == '"' && before != '\\';
        before = letter;
        match letter {
            '{' if !in_text => depth += 1,
            '}' if !in_text => depth -= 1,
            _ => {}
        }
        let indent = "  ".repeat(depth);
        match letter {
            '{' if !in_text => shown.extend(["{\n", indent.as_str()]),
            '}' if !in_text => shown.extend(["\n", indent.as_str(), "}"]),
            ',' if !in_text => shown.extend([",\n", indent.as_str()]),
            ':' if !in_text => shown.push_str(": "),
            other => shown.push(other),
        }
    }
    let read: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(read, serde_json::from_slice::<Value>(body).unwrap(), "{shown}");
    shown
}

/// A request as the document shows it: the headers that depend on the event, and the body.
fn message(event: &Event, subscriber: &Subscriber) -> String {
    let EventRequest { headers, body } = request(event, subscriber);
    let lines = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    let body = String::from_utf8(body).unwrap();
    format!("{}\n\n{body}", lines.collect::<Vec<_>>().join("\n"))
}

fn challenge() -> Event {
    challenge_event(&subscriber().subscriber_id, Uuid::from_u128(0x5d1f_0c3a_9a4e_4f7b_8e21_6b0d_3c94_7a55))
}

/// The blocks of the document that the code decides on, by the comment before each: `<!-- example: document.ready -->`.
fn blocks() -> BTreeMap<String, String> {
    let mut blocks = BTreeMap::new();
    for event_type in EventType::SUBSCRIBABLE {
        let body = request(&example(event_type), &subscriber()).body;
        blocks.insert(event_type.to_string(), format!("```json\n{}\n```", pretty(&body)));
    }
    let thin = Subscriber { format: Format::Thin, ..subscriber() };
    let body = request(&example(EventType::DocumentReady), &thin).body;
    blocks.insert("thin".to_owned(), format!("```json\n{}\n```", pretty(&body)));
    let shared = subscriber().shown_secret().secret.unwrap();
    let signed = message(&challenge(), &subscriber());
    blocks.insert("challenge".to_owned(), format!("```http\n{signed}\n```\n\nThe secret is `{shared}`."));
    let asymmetric = Subscriber { signature: SignatureKind::Ed25519, ..subscriber() };
    let public = asymmetric.shown_secret().public_key.unwrap();
    let headers = request(&challenge(), &asymmetric).headers;
    let signature = headers["webhook-signature"].to_str().unwrap();
    let text = format!("```http\nwebhook-signature: {signature}\n```\n\nThe public key is `{public}`.");
    blocks.insert("ed25519".to_owned(), text);
    blocks
}

/// The document with the blocks that the code decides on, and with the sizes of the examples.
fn updated(text: &str) -> String {
    let mut text = text.to_owned();
    for (name, block) in blocks() {
        let (begin, end) = (format!("<!-- example: {name} -->\n"), "<!-- end -->");
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{DOCS} has no line {begin}"));
        let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("{DOCS}: end {begin} with {end}"));
        text = format!("{before}{begin}{block}\n{end}{after}");
    }
    for event_type in EventType::SUBSCRIBABLE {
        let bytes = request(&example(event_type), &subscriber()).body.len();
        let row = regex(&format!(r"(?m)^(\| \[`{event_type}`\]\([^)]*\) \|.*\| )\d+( \|)$"));
        assert!(row.is_match(&text), "{DOCS}: add a row for {event_type} that ends with its size");
        text = row.replace(&text, format!("${{1}}{bytes}${{2}}")).into_owned();
    }
    text
}

#[test]
fn every_type_of_event_has_a_section_with_an_example_of_what_is_sent() {
    if std::env::var_os("UPDATE_EVENTS").is_some() {
        std::fs::write(root().join(DOCS), updated(&read(DOCS))).unwrap();
    }
    let text = read(DOCS);
    assert_eq!(
        text,
        updated(&text),
        "{DOCS} differs from what is sent. Run UPDATE_EVENTS=1 cargo test -p lectern-tests --test contract event_docs \
         and read the diff"
    );
    let headings = captures(r"(?m)^### `([a-z]+\.[a-z]+)`$", &text);
    let types: BTreeSet<String> = EventType::SUBSCRIBABLE.iter().map(ToString::to_string).collect();
    assert_eq!(headings, types, "left: sections of {DOCS}; right: types that a subscriber can ask for");
}

/// What Lectern knows about people is in the items of the examples.
#[test]
fn examples_name_nobody_and_are_small() {
    for event_type in EventType::SUBSCRIBABLE {
        let body = request(&example(event_type), &subscriber()).body;
        let text = String::from_utf8(body).unwrap();
        for word in ["Example", "Fractions", "9f2c1d7e", "teacher", "plan", "portal.example"] {
            assert!(!text.contains(word), "{event_type} contains {word}: {text}");
        }
        assert!(text.len() < 1024, "{event_type} has {} bytes", text.len());
    }
}

/// The numbers of the settings of a subscriber are in `api::subscribers::add`, each with its range and its default.
#[test]
fn limits_of_a_subscriber_are_those_of_the_api() {
    let code = read("crates/lectern/src/api/subscribers/add.rs");
    let text = read(DOCS);
    let plain = |number: &str| number.trim_end_matches(".0").to_owned();
    let mut rows = 0;
    for (constant, setting) in [
        ("REQUESTS_PER_SECOND", "requestsPerSecond"),
        ("MAX_IN_FLIGHT", "maxInFlight"),
        ("TIMEOUT_SECONDS", "timeoutSeconds"),
        ("MAX_BATCH", "maxBatch"),
        ("MAX_BATCH_WAIT_SECONDS", "maxBatchWaitSeconds"),
    ] {
        let found = regex(&format!(r"const {constant}: [^=]* = \(([\d.]+)\.\.=([\d.]+), ([\d.]+)\);"));
        let found = found.captures(&code).unwrap_or_else(|| panic!("the limits of {setting}"));
        let [least, most, default] = [1, 2, 3].map(|group| plain(&found[group]));
        let row = format!("| `{setting}` | {least} to {most} | {default} |");
        assert!(text.contains(&row), "{DOCS} lacks the row {row}");
        rows += 1;
    }
    assert_eq!(
        rows,
        captures(r"(?m)^\| `(\w+)` \| [\d.]+ to ", &text).len(),
        "{DOCS} has a row of no setting"
    );
    let most = format!("at most {} subscribers", lectern::api::MAX_SUBSCRIBERS);
    assert!(text.contains(&most), "{DOCS} says: {most}");
}

#[test]
fn times_that_the_document_promises_are_those_of_the_code() {
    let text = read(DOCS).split_whitespace().collect::<Vec<_>>().join(" ");
    let delivery = "crates/lectern/src/events/delivery.rs";
    let subscriber = "crates/lectern/src/events/subscriber.rs";
    let limits = "crates/lectern/src/limits.rs";
    let endpoints = "crates/lectern-aws/src/http_endpoints.rs";
    let breaker = "crates/lectern/src/admission/breaker.rs";
    for (file, constant, promise) in [
        (delivery, "FIRST_BACKOFF: Duration = Duration::from_secs(5)", "5 seconds"),
        (delivery, "MAX_BACKOFF: Duration = Duration::from_hours(4)", "4 hours"),
        (delivery, "GIVES_UP_AFTER: Duration = Duration::from_hours(72)", "three days"),
        (limits, "MAX_SUBSCRIBER_WAIT: Duration = Duration::from_hours(24)", "at most a day"),
        (limits, "WAITING_EVENT_LIFETIME: Duration = Duration::from_hours(30 * 24)", "30 days"),
        (subscriber, "ROTATION: Duration = Duration::from_hours(24)", "24 hours"),
        (endpoints, "MAX_ANSWER_BYTES: usize = 16 * 1024", "16 KB"),
        (breaker, "THRESHOLD: u32 = 10", "ten failures in a row"),
        (breaker, "FIRST_PAUSE: Duration = Duration::from_secs(15)", "15 seconds"),
        (breaker, "MAX_PAUSE: Duration = Duration::from_mins(5)", "5 minutes"),
    ] {
        assert!(read(file).contains(constant), "{file} has no {constant}; correct {DOCS} and this test");
        assert!(text.contains(promise), "{DOCS} lacks {promise:?}, which {constant} is");
    }
}
