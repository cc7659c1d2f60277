//! Tests of the classification and the listing of dead-letter messages.

use lectern::document::DocumentState;
use rstest::rstest;
use serde_json::json;

use super::{
    classify::{Action, Class, Verdict, classify},
    peek,
    queue::{Queue, REDRIVES},
    redact::redact,
    report::{ListReport, QueueReport},
    testing::{Fake, task},
};
use crate::{console::Report as _, testing::document};

/// The verdict on a message with this body and this number of redrives.
async fn verdict(fake: &Fake, redrives: u32) -> Verdict {
    fake.with(|state| state.dead[0].attributes.insert(REDRIVES.to_owned(), redrives.to_string()));
    let cloud = fake.cloud();
    let message = Queue::new(&cloud.sqs, &fake.queue).receive(1).await.unwrap().remove(0);
    classify(&fake.queue, &message)
}

#[rstest]
#[case::readable(&task(1), 0, Class::Readable, Action::Send)]
#[case::came_back_once(&task(1), 1, Class::Readable, Action::Send)]
#[case::came_back_twice(&task(1), 2, Class::CameBack, Action::Quarantine)]
#[case::no_json("no json SECRET", 0, Class::Unreadable, Action::Quarantine)]
#[case::no_document("{}", 0, Class::Unreadable, Action::Quarantine)]
#[case::old(r#"{"schemaVersion":0}"#, 0, Class::Unreadable, Action::Quarantine)]
#[case::newer(r#"{"schemaVersion":99,"x":"SECRET"}"#, 0, Class::Newer, Action::Keep)]
#[case::newer_came_back(r#"{"schemaVersion":99}"#, 2, Class::Newer, Action::Keep)]
#[tokio::test]
async fn case_18_case_48_unreadable_and_returning_messages_are_quarantined_and_newer_ones_stay(
    #[case] body: &str,
    #[case] redrives: u32,
    #[case] class: Class,
    #[case] action: Action,
) {
    let found = verdict(&Fake::of([body.to_owned()], false), redrives).await;
    assert_eq!((found.class, found.class.action()), (class, action), "{found:?}");
    assert!(!found.why.contains("SECRET"), "{}", found.why);
}

#[tokio::test]
async fn upload_event_is_readable_and_names_its_document() {
    let uploads = |body: String| {
        let mut fake = Fake::of([body], false);
        fake.queue.name = "ReceiveUpload".to_owned();
        fake
    };
    let event = crate::reconcile::compare::event(&document(DocumentState::Received).object, None);
    let found = verdict(&uploads(event), 0).await;
    assert_eq!(
        (found.class, found.document),
        (Class::Readable, Some(document(DocumentState::Received).reference))
    );
    assert_eq!(verdict(&uploads(r#"{"Records":[]}"#.to_owned()), 0).await.class, Class::Readable);
    assert_eq!(verdict(&uploads("[".to_owned()), 0).await.class, Class::Unreadable);
}

/// A redrive sends each message back to the queue from which it came, also a timer.
#[rstest]
#[case::continuation(
    r#"{"schemaVersion":2,"subscriberId":"portal","order":"continue","after":"x"}"#,
    Class::Readable
)]
#[case::timer(
    r#"{"schemaVersion":2,"subscriberId":"portal","order":"wake","dueAt":1795190645000000}"#,
    Class::Readable
)]
#[case::another_order(r#"{"schemaVersion":2,"subscriberId":"portal","order":"cancel"}"#, Class::Unreadable)]
#[case::newer(r#"{"schemaVersion":99,"order":"cancel"}"#, Class::Newer)]
#[case::of_another_queue(&task(1), Class::Unreadable)]
#[tokio::test]
async fn message_about_a_subscriber_is_classified_by_what_deliver_events_reads(
    #[case] body: &str,
    #[case] class: Class,
) {
    for queue in ["DeliverEvents", "EventTimers"] {
        let mut fake = Fake::of([body.to_owned()], queue == "DeliverEvents");
        fake.queue.name = queue.to_owned();
        let found = verdict(&fake, 0).await;
        assert_eq!((found.class, found.document), (class, None), "{}", found.why);
        assert!(class != Class::Readable || found.why.contains("portal"), "{}", found.why);
    }
}

#[test]
fn only_what_is_known_to_be_harmless_is_shown() {
    let body = task(1001).replace("\"round\"", "\"url\":\"https://secret\",\"round\"");
    let shown = redact(&body).unwrap();
    assert_eq!((&shown["taskToken"], &shown["url"]), (&json!("(12 bytes)"), &json!("(14 bytes)")));
    assert_eq!((&shown["submissionId"], &shown["attempt"]), (&json!("s1"), &json!(1001)));
    assert_eq!(redact("no json"), None);
}

async fn listed(fake: &Fake, bodies: bool) -> (String, serde_json::Value) {
    let seen = peek(&fake.cloud(), &fake.queue).await.unwrap();
    let now = time::macros::datetime!(2026-11-20 14:00:00 UTC);
    let queues = vec![QueueReport::new(&fake.queue, &seen, now)];
    let report = ListReport { dry_run: !bodies, queues, bodies };
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    (String::from_utf8(out).unwrap(), serde_json::to_value(&report).unwrap())
}

#[tokio::test]
async fn list_reads_well_and_holds_no_secret() {
    let bodies = [task(1001), "no json SECRET".to_owned(), r#"{"schemaVersion":99}"#.to_owned(), task(1002)];
    let fake = Fake::of(bodies, false);
    fake.with(|state| state.hidden.push("m3".to_owned()));
    let (text, json) = listed(&fake, true).await;
    assert!(!text.contains("SECRET") && !json.to_string().contains("SECRET"));
    insta::assert_snapshot!(text);
    assert_eq!(json["queues"][0]["classes"], json!({ "readable": 1, "unreadable": 1, "newer": 1 }));
    fake.with(|state| state.hidden.clear());
    let (text, _) = listed(&fake, false).await;
    assert!(!text.contains("taskToken") && fake.left().len() == 4, "{text}");
}

#[tokio::test]
async fn list_and_dry_run_report_how_many_messages_of_a_fifo_queue_they_could_not_see() {
    let fake = Fake::of((0..25).map(task), true);
    let (text, json) = listed(&fake, false).await;
    assert!(text.contains("10 readable, about 15 not seen"), "{text}");
    assert!(text.contains("Nothing was changed. With --yes, readable messages are sent back"), "{text}");
    assert_eq!(json["queues"][0]["notSeen"], 15);
    assert_eq!(fake.left().len(), 25, "the messages are visible again");
}
