//! Tests the step with the in-memory ports: the rendezvous in every order, and deliveries that must not be trusted.

mod bodies;
mod jobs;

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use rstest::rstest;
use time::Duration;

use super::*;
use crate::{
    contract::webhook::{SigningSecrets, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP},
    contract::wire::{CallbackEvent, FileRole, JobSucceeded},
    document::{Attempt, DocumentRef, DocumentState, Round},
    ports::Transfers as _,
    testing::{
        Cut,
        world::{
            MemoryWorld, SECRET, START, callback_body, failed, failed_for, object, of_job, returned_file,
            s3_event, signed, succeeded,
        },
    },
};

const CALLBACK: &str = "callback-0";
const ROTATED: &str = "whsec_cm90YXRlZC1zZWNyZXQtb2YtMzItYnl0ZXMtbG9uZyE=";

/// A document that the third party has.
async fn transferred() -> (MemoryWorld, DocumentRef) {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    world.objects.upload(&object, None, b"%PDF-1.7".as_slice());
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let document = world.document(&object).unwrap().reference;
    world.store.begin_transfer(&document, Attempt(1000), Round(1), START).await.unwrap();
    (world, document)
}

/// A document whose execution waits with this token.
async fn awaited(token: &str) -> (MemoryWorld, DocumentRef) {
    let (world, document) = transferred().await;
    assert!(world.store.await_callback(&document, TaskToken::new(token), START));
    (world, document)
}

fn good() -> CallbackEvent {
    succeeded(&[returned_file("text.txt", FileRole::Text, "text/plain", b"the lesson")])
}

fn woken(world: &MemoryWorld, token: &str) -> bool {
    world.states.answer(&TaskToken::new(token)) == Some(Ok(json!({ "files": 1 })))
}

/// The order that releases the lease of the document's only attempt.
fn release(world: &MemoryWorld, document: &DocumentRef) -> Input {
    let traceparent = world.store.get(document).unwrap().traceparent;
    let envelope = Envelope { traceparent, ..Envelope::new(document.clone(), Attempt(1000)) };
    Input { envelope, order: Order::Release }
}

fn result(world: &MemoryWorld, document: &DocumentRef) -> Option<JobResult> {
    world.store.get(document).unwrap().result
}

#[tokio::test]
async fn callback_is_kept_and_wakes_the_execution_that_waits() {
    let (world, document) = awaited("token").await;
    assert_eq!(world.call_back(&document, good()).await, Answer::Kept);
    assert!(woken(&world, "token"));
    assert_eq!(world.states.take_orders(), [release(&world, &document)], "the job has ended");
    assert_eq!(world.store.get(&document).unwrap().state, DocumentState::Verifying);
    assert!(
        matches!(result(&world, &document), Some(JobResult::Succeeded(JobSucceeded { files, .. })) if files.len() == 1)
    );
}

#[tokio::test]
async fn case_31_early_callback_is_kept_and_the_execution_does_not_wait() {
    let (world, document) = transferred().await;
    assert_eq!(world.call_back(&document, good()).await, Answer::Kept);
    assert_eq!(world.count("succeed"), 0, "there is nobody to wake");
    assert!(!world.store.await_callback(&document, TaskToken::new("token"), START));
    assert!(world.store.begin_verify(&document, START).is_some());
}

#[tokio::test]
async fn case_32_duplicate_is_answered_200_and_changes_nothing() {
    let (world, document) = awaited("token").await;
    world.call_back(&document, good()).await;
    let before = world.store.all();
    for _ in 0..3 {
        let answer = world.call_back(&document, good()).await;
        assert_eq!((answer, answer.status()), (Answer::Kept, StatusCode::OK));
    }
    assert_eq!(world.store.all(), before);
}

#[tokio::test]
async fn case_34_late_callback_is_kept_for_the_probe_and_is_no_error() {
    let (world, document) = awaited("token").await;
    world.states.expire(&TaskToken::new("token"));
    assert_eq!(world.call_back(&document, good()).await, Answer::Kept);
    assert!(result(&world, &document).is_some());
    assert!(world.store.begin_verify(&document, START).is_some());
}

#[tokio::test]
async fn case_34_callback_after_the_document_failed_is_kept_and_does_not_revive_it() {
    let (world, document) = awaited("token").await;
    let overdue = failed_for(crate::document::Reason::new("overdue", "."));
    crate::ports::Finishing::finish(&world.store, &document, overdue, START).await.unwrap();
    world.states.expire(&TaskToken::new("token"));
    assert_eq!(world.call_back(&document, good()).await, Answer::Kept);
    let stored = world.store.get(&document).unwrap();
    assert_eq!(stored.state, DocumentState::Failed);
    assert!(stored.result.is_some(), "a redrive uses it");
    assert_eq!(world.states.take_orders(), [release(&world, &document)]);
}

/// An earlier round's job may end while the newest attempt's job is at the third party.
#[tokio::test]
async fn result_of_another_job_than_the_newest_attempts_keeps_the_lease() {
    let (world, document) = transferred().await;
    world.store.record_job(&document, Attempt(1000), "job").await.unwrap();
    world.store.begin_transfer(&document, Attempt(2000), Round(2), START).await.unwrap();
    world.store.record_job(&document, Attempt(2000), "another job").await.unwrap();
    assert!(world.store.await_callback(&document, TaskToken::new("token"), START));
    assert_eq!(world.call_back(&document, good()).await, Answer::Kept);
    assert!(woken(&world, "token"));
    assert_eq!(world.states.take_orders(), []);
}

#[tokio::test]
async fn failed_job_fails_the_waiting_task_and_its_reason_stays_with_the_document() {
    let (world, document) = awaited("token").await;
    assert_eq!(world.call_back(&document, failed("drmProtected")).await, Answer::Kept);
    let token = TaskToken::new("token");
    assert_eq!(world.states.answer(&token), Some(Err("ThirdParty.Rejected")));
    let JobResult::Failed(job) = result(&world, &document).unwrap() else { panic!("it failed") };
    let cause = world.states.cause(&token).unwrap().to_string();
    assert!(cause.contains("drmProtected") && !cause.contains(job.error.message.as_str()), "{cause}");
    assert_eq!(world.store.get(&document).unwrap().state, DocumentState::Processing);
    assert_eq!(world.states.take_orders(), [release(&world, &document)]);
}

#[tokio::test]
async fn case_35_bad_signature_is_401_and_changes_nothing() {
    let (world, document) = awaited("token").await;
    let before = world.store.all();
    let body = callback_body(good());
    let headers = signed(ROTATED, "event", START, &body);
    let answer = world.callback(CALLBACK, &headers, &body).await;
    assert_eq!((answer, answer.status()), (Answer::Unauthorized, StatusCode::UNAUTHORIZED));
    assert_eq!(world.store.all(), before);
    assert!(world.store.unknown_callbacks().is_empty());
    assert!(!woken(&world, "token"));
    assert!(result(&world, &document).is_none());
}

#[rstest]
#[case("no-such-callback")]
#[case("")]
#[tokio::test]
async fn case_35_good_signature_for_an_unknown_job_is_kept_and_answered_2xx(#[case] callback_id: &str) {
    let (world, _) = awaited("token").await;
    let body = callback_body(good());
    let headers = signed(SECRET, "event-7", START, &body);
    for _ in 0..2 {
        let answer = world.callback(callback_id, &headers, &body).await;
        assert_eq!(answer, Answer::KeptUnknown);
        assert!(answer.status().is_success());
    }
    assert_eq!(
        world.store.unknown_callbacks().into_iter().collect::<Vec<_>>(),
        [("event-7".to_owned(), body)]
    );
    assert!(!woken(&world, "token"));
}

#[rstest]
#[case::stale(-301)]
#[case::future(301)]
#[case::edge_of_the_past(-300)]
#[case::edge_of_the_future(300)]
#[tokio::test]
async fn case_36_stale_and_future_timestamps_are_refused(#[case] offset_s: i64) {
    let (world, document) = awaited("token").await;
    let body = callback_body(good());
    let headers = signed(SECRET, "event", START + Duration::seconds(offset_s), &body);
    let expected = if offset_s.abs() > 300 { Answer::Unauthorized } else { Answer::Kept };
    assert_eq!(world.callback(CALLBACK, &headers, &body).await, expected);
    assert_eq!(result(&world, &document).is_some(), expected == Answer::Kept);
}

#[rstest]
#[case::least("-9223372036854775808")]
#[case::most("9223372036854775807")]
#[case::overflow("9223372036854775808")]
#[case::far_overflow("99999999999999999999999999")]
#[case::fraction("1795190400.5")]
#[case::exponent("1e9")]
#[case::empty("")]
#[case::words("now")]
#[case::infinite("inf")]
#[tokio::test]
async fn case_36_timestamp_that_is_no_time_is_refused_without_panic(#[case] timestamp: &str) {
    let (world, _) = awaited("token").await;
    let body = callback_body(good());
    let mut headers = signed(SECRET, "event", START, &body);
    headers.insert(WEBHOOK_TIMESTAMP, timestamp.parse().unwrap());
    assert_eq!(world.callback(CALLBACK, &headers, &body).await, Answer::Unauthorized);
}

#[rstest]
#[tokio::test]
async fn case_36_missing_double_and_unreadable_headers_are_refused_without_panic(
    #[values(WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE)] name: &'static str,
) {
    let (world, document) = awaited("token").await;
    let body = callback_body(good());
    let whole = signed(SECRET, "event", START, &body);
    let mut missing = whole.clone();
    missing.remove(name);
    let mut double = whole.clone();
    double.append(name, whole[name].clone());
    let mut unreadable = whole.clone();
    unreadable.insert(name, HeaderValue::from_bytes(b"\xff\xfe").unwrap());
    let mut empty = whole.clone();
    empty.insert(name, HeaderValue::from_static(""));
    for headers in [missing, double, unreadable, empty, HeaderMap::new()] {
        assert_eq!(world.callback(CALLBACK, &headers, &body).await, Answer::Unauthorized, "{name}");
    }
    assert!(result(&world, &document).is_none());
}

#[rstest]
#[case::old_before(SECRET, SECRET, true)]
#[case::old_in_the_window("both", SECRET, true)]
#[case::new_in_the_window("both", ROTATED, true)]
#[case::new_after(ROTATED, ROTATED, true)]
#[case::old_after(ROTATED, SECRET, false)]
#[tokio::test]
async fn case_37_both_secrets_are_accepted_in_the_window_of_a_rotation(
    #[case] known: &str,
    #[case] used: &str,
    #[case] accepted: bool,
) {
    let (world, document) = awaited("token").await;
    let known = known.replace("both", &format!("{SECRET} {ROTATED}"));
    world.third_party.set_secrets(SigningSecrets::parse(&known).unwrap());
    let body = callback_body(good());
    let answer = world.callback(CALLBACK, &signed(used, "event", START, &body), &body).await;
    assert_eq!(answer, if accepted { Answer::Kept } else { Answer::Unauthorized });
    assert_eq!(result(&world, &document).is_some(), accepted);
}

#[tokio::test]
async fn case_37_sender_that_signs_with_both_secrets_is_accepted() {
    let (world, _) = awaited("token").await;
    let body = callback_body(good());
    let mut headers = signed(SECRET, "event", START, &body);
    let both = [ROTATED, SECRET].map(|secret| signed(secret, "event", START, &body));
    let text = both.each_ref().map(|headers| headers[WEBHOOK_SIGNATURE].to_str().unwrap()).join(" ");
    headers.insert(WEBHOOK_SIGNATURE, format!("v1a,unknown {text}").parse().unwrap());
    assert_eq!(world.callback(CALLBACK, &headers, &body).await, Answer::Kept);
}

#[tokio::test]
async fn case_38_body_that_is_not_utf8_is_verified_over_its_raw_bytes() {
    let (world, document) = awaited("token").await;
    let body = b"{\"type\":\"job.succeeded\xff\xfe\"}";
    let headers = signed(SECRET, "event", START, body);
    let lossy = String::from_utf8_lossy(body).into_owned();
    assert_eq!(world.callback(CALLBACK, &headers, lossy.as_bytes()).await, Answer::Unauthorized);
    assert!(result(&world, &document).is_none() && world.store.unknown_callbacks().is_empty());
    let answer = world.callback(CALLBACK, &headers, body).await;
    assert!(answer.status().is_success(), "{answer:?}");
    assert_eq!(world.store.unknown_callbacks()["event"], body, "it is kept as it came");
}

#[tokio::test]
async fn case_39_store_that_is_down_at_any_call_is_503_and_the_next_delivery_is_kept() {
    let calls = {
        let (world, document) = awaited("token").await;
        let before = world.faults.calls().len();
        world.call_back(&document, good()).await;
        world.faults.calls().split_off(before)
    };
    assert_eq!(calls, ["signing_secrets", "resolve", "record_result", "succeed", "send"]);
    for call in calls {
        for cut in [Cut::Before, Cut::After] {
            let (world, document) = awaited("token").await;
            world.faults.cut_next(call, cut);
            let answer = world.call_back(&document, good()).await;
            assert_eq!((answer, answer.status()), (Answer::Unavailable, StatusCode::SERVICE_UNAVAILABLE));
            assert_eq!(world.call_back(&document, good()).await, Answer::Kept, "{call} {cut:?}");
            assert!(woken(&world, "token"), "{call} {cut:?}");
            assert!(result(&world, &document).is_some(), "{call} {cut:?}");
        }
    }
}

#[tokio::test]
async fn case_39_store_that_cannot_keep_an_unknown_callback_is_503() {
    let (world, _) = awaited("token").await;
    let body = callback_body(good());
    let headers = signed(SECRET, "event", START, &body);
    world.faults.cut_next("keep_unknown", Cut::Before);
    assert_eq!(world.callback("unknown", &headers, &body).await, Answer::Unavailable);
    assert_eq!(world.callback("unknown", &headers, &body).await, Answer::KeptUnknown);
    assert_eq!(world.store.unknown_callbacks().len(), 1);
}

#[rstest]
#[case::success_first(good(), failed("late"))]
#[case::error_first(failed("early"), good())]
#[case::two_successes(good(), succeeded(&[]))]
#[tokio::test]
async fn case_40_of_contradictory_callbacks_the_first_stands(
    #[case] first: CallbackEvent,
    #[case] second: CallbackEvent,
) {
    let (world, document) = awaited("token").await;
    world.call_back(&document, first).await;
    let kept = result(&world, &document);
    let answer = world.call_back(&document, second).await;
    assert_eq!((answer, answer.status()), (Answer::Kept, StatusCode::OK));
    assert_eq!(result(&world, &document), kept);
    assert_eq!(world.count("succeed") + world.count("fail"), 1, "a contradiction wakes nobody");
}

proptest! {
    /// Nothing of an unsigned delivery is stored.
    #[test]
    fn case_35_case_36_arbitrary_delivery_is_refused(
        values in prop::collection::vec((0usize..4, prop::collection::vec(any::<u8>(), 0..60)), 0..6),
        body in prop::collection::vec(any::<u8>(), 0..100),
        callback_id in any::<String>(),
    ) {
        let names = [WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE, "content-type"];
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_static(names[name]), value);
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(MemoryWorld::default().callback(&callback_id, &headers, &body));
        prop_assert_eq!(answer, Answer::Unauthorized);
    }
}
