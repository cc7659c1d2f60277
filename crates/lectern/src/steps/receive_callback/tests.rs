//! Tests the step with the in-memory ports: the rendezvous in every order, and deliveries that must not be trusted.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use rstest::rstest;
use time::Duration;

use super::*;
use crate::{
    contract::webhook::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP},
    contract::wire::{FileRole, JobSucceeded, ReturnedFile},
    document::{Attempt, DocumentState, Round, TaskToken},
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
    world.states.answer(&TaskToken::new(token)) == Some(Ok(serde_json::json!({})))
}

fn result(world: &MemoryWorld, document: &DocumentRef) -> Option<JobResult> {
    world.store.get(document).unwrap().result
}

#[tokio::test]
async fn callback_is_kept_and_wakes_the_execution_that_waits() {
    let (world, document) = awaited("token").await;
    assert_eq!(world.call_back(&document, good()).await, Answer::Kept);
    assert!(woken(&world, "token"));
    assert_eq!(world.states.take_released(), [], "the execution releases the lease");
    assert_eq!(world.store.begin_verify(&document, START), result(&world, &document));
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
    assert_eq!(world.store.get(&document).unwrap().state, DocumentState::Processing);
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
    assert_eq!(world.states.take_released(), [(document, Attempt(1000))], "no execution releases it");
}

#[tokio::test]
async fn case_34_lease_that_cannot_be_released_is_no_reason_to_lose_the_result() {
    let (world, document) = awaited("token").await;
    let overdue = failed_for(crate::document::Reason::new("overdue", "."));
    crate::ports::Finishing::finish(&world.store, &document, overdue, START).await.unwrap();
    world.faults.cut_next("release", Cut::Before);
    assert_eq!(world.call_back(&document, good()).await, Answer::Kept);
    assert!(result(&world, &document).is_some());
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
    assert_eq!(calls, ["signing_secrets", "resolve", "record_result", "succeed"]);
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
    assert_eq!(world.count("succeed"), 1, "a contradiction wakes nobody");
}

#[rstest]
#[case::filler(format!("{}{}", "x".repeat(MAX_CALLBACK_BYTES), "!"))]
#[case::good_but_for_its_size(String::from_utf8(callback_body(good())).unwrap() + &" ".repeat(MAX_CALLBACK_BYTES))]
#[tokio::test]
async fn v06_signed_body_over_the_limit_fails_its_document_and_is_answered_2xx(#[case] body: String) {
    let (world, document) = awaited("token").await;
    let headers = signed(SECRET, "event", START, body.as_bytes());
    let answer = world.callback(CALLBACK, &headers, body.as_bytes()).await;
    assert_eq!((answer, answer.status()), (Answer::Kept, StatusCode::OK));
    let kept = result(&world, &document);
    assert!(matches!(&kept, Some(JobResult::Failed(job)) if job.error.code == "contractBroken"), "{kept:?}");
    assert!(woken(&world, "token"));
    let stored = &world.store.unknown_callbacks()["event"];
    assert_eq!(stored, &body.as_bytes()[..MAX_CALLBACK_BYTES], "an item cannot hold more");
}

#[tokio::test]
async fn v06_body_of_exactly_the_limit_is_taken_and_an_unsigned_larger_one_is_401() {
    let (world, document) = awaited("token").await;
    let mut body = callback_body(good());
    body.resize(MAX_CALLBACK_BYTES + 1, b' ');
    let headers = signed(ROTATED, "event", START, &body);
    assert_eq!(world.callback(CALLBACK, &headers, &body).await, Answer::Unauthorized);
    assert!(result(&world, &document).is_none());
    body.truncate(MAX_CALLBACK_BYTES);
    let headers = signed(SECRET, "event", START, &body);
    assert_eq!(world.callback(CALLBACK, &headers, &body).await, Answer::Kept);
    assert!(matches!(result(&world, &document), Some(JobResult::Succeeded(_))));
}

#[tokio::test]
async fn v06_body_over_the_limit_for_an_unknown_document_is_kept_in_part() {
    let (world, _) = awaited("token").await;
    let body = vec![b' '; MAX_CALLBACK_BYTES + 1];
    let answer = world.callback("unknown", &signed(SECRET, "event", START, &body), &body).await;
    assert_eq!(answer, Answer::KeptUnknown);
    assert_eq!(world.store.unknown_callbacks()["event"].len(), MAX_CALLBACK_BYTES);
}

#[rstest]
#[case::not_json("no json")]
#[case::no_files(r#"{"timestamp":"t","type":"job.succeeded","data":{"jobId":"j"}}"#)]
#[case::negative_size(r#"{"timestamp":"t","type":"job.succeeded","data":{"jobId":"j","files":[{"name":"n","role":"text","url":"u","sizeBytes":-1,"sha256":"","mediaType":"m"}]}}"#)]
#[case::short_hash(r#"{"timestamp":"t","type":"job.succeeded","data":{"jobId":"j","files":[{"name":"n","role":"text","url":"u","sizeBytes":1,"sha256":"ab","mediaType":"m"}]}}"#)]
#[tokio::test]
async fn well_signed_body_that_breaks_the_contract_is_kept_and_fails_the_job(#[case] body: &str) {
    let (world, document) = awaited("token").await;
    let headers = signed(SECRET, "event", START, body.as_bytes());
    let answer = world.callback(CALLBACK, &headers, body.as_bytes()).await;
    assert_eq!((answer, answer.status()), (Answer::Kept, StatusCode::OK));
    assert_eq!(world.store.unknown_callbacks()["event"], body.as_bytes());
    let kept = result(&world, &document);
    assert!(matches!(&kept, Some(JobResult::Failed(job)) if job.error.code == "contractBroken"), "{kept:?}");
    assert!(woken(&world, "token"));
    world.call_back(&document, good()).await;
    assert_eq!(result(&world, &document), kept, "the first result stands");
}

#[rstest]
#[case(r#"{"timestamp":"t","type":"job.paused","data":{}}"#)]
#[case(r#"{"type":"ping"}"#)]
#[tokio::test]
async fn event_of_a_type_that_we_do_not_know_is_kept_and_changes_nothing(#[case] body: &str) {
    let (world, document) = awaited("token").await;
    let headers = signed(SECRET, "event", START, body.as_bytes());
    assert_eq!(world.callback(CALLBACK, &headers, body.as_bytes()).await, Answer::KeptUnknown);
    assert_eq!(world.store.unknown_callbacks()["event"], body.as_bytes());
    assert!(result(&world, &document).is_none() && !woken(&world, "token"));
    assert_eq!(world.call_back(&document, good()).await, Answer::Kept, "the result is still taken");
}

fn check_files(files: Vec<ReturnedFile>) -> Result<(), CallbackError> {
    check(&JobResult::Succeeded(JobSucceeded { job_id: "job".to_owned(), files }))
}

fn file() -> ReturnedFile {
    returned_file("text.txt", FileRole::Text, "text/plain", b"x")
}

#[test]
fn contract_limits_are_kept() {
    assert_eq!(check_files(vec![file(); MAX_RETURNED_FILES]), Ok(()));
    assert!(check_files(vec![file(); MAX_RETURNED_FILES + 1]).is_err());
    let long_url = ReturnedFile { url: "u".repeat(MAX_URL_BYTES + 1), ..file() };
    let long_name = ReturnedFile { name: "n".repeat(MAX_FILE_NAME_BYTES + 1).into(), ..file() };
    let long_hash = ReturnedFile { sha256: "a".repeat(65), ..file() };
    let no_hash = ReturnedFile { sha256: "g".repeat(64), ..file() };
    for bad in [long_url, long_name, long_hash, no_hash] {
        assert!(check_files(vec![file(), bad]).is_err());
    }
}

#[test]
fn s13_files_of_one_job_have_a_limit_together() {
    let of = |size_bytes| ReturnedFile { size_bytes, ..file() };
    let most = vec![of(MAX_RETURNED_JOB_BYTES / 4); 4];
    assert_eq!(check_files(most.clone()), Ok(()));
    for more in [1, u64::MAX] {
        let files = most.iter().cloned().chain([of(more)]).collect();
        assert_eq!(check_files(files), Err(CallbackError::Limit("the size of all files together")));
    }
}

#[rstest]
#[case::longest("m".repeat(127) + "/" + &"m".repeat(127), true)]
#[case::too_long("m".repeat(127) + "/" + &"m".repeat(128), false)]
#[case::parameter("text/plain; charset=utf-8".to_owned(), true)]
#[case::vendor("application/vnd.openxmlformats-officedocument.wordprocessingml.document".to_owned(), true)]
#[case::empty(String::new(), false)]
#[case::no_subtype("text/".to_owned(), false)]
#[case::one_word("text".to_owned(), false)]
#[case::two_slashes("a/b/c".to_owned(), false)]
#[case::space("text /plain".to_owned(), false)]
#[case::line_break("text/plain\r\nx-evil: 1".to_owned(), false)]
#[case::not_ascii("text/plaín".to_owned(), false)]
fn s12_media_type_is_a_valid_header_value(#[case] media_type: String, #[case] valid: bool) {
    let expected = if valid { Ok(()) } else { Err(CallbackError::Value("a media type")) };
    assert_eq!(check_files(vec![ReturnedFile { media_type, ..file() }]), expected);
}

#[rstest]
#[case::empty("")]
#[case::too_long(&"j".repeat(257))]
#[case::far_too_long(&"j".repeat(100_000))]
#[case::space("job 1")]
#[case::control("job\u{7}")]
#[case::not_ascii("jöb")]
#[tokio::test]
async fn s12_job_id_that_breaks_the_contract_fails_the_document(#[case] job_id: &str) {
    for event in [good(), failed("encrypted")] {
        let (world, document) = awaited("token").await;
        assert_eq!(world.call_back(&document, of_job(job_id, event)).await, Answer::Kept);
        let kept = result(&world, &document);
        assert!(
            matches!(&kept, Some(JobResult::Failed(job)) if job.error.code == "contractBroken" && job.job_id.is_empty()),
            "{kept:?}"
        );
        assert!(woken(&world, "token"));
    }
}

/// A signed body of another document's job, sent to this document's URL.
#[rstest]
#[case::success(good())]
#[case::failure(failed("encrypted"))]
#[tokio::test]
async fn s07_result_of_another_documents_job_is_not_taken(#[case] event: CallbackEvent) {
    let (world, document) = awaited("token").await;
    world.store.record_job(&document, Attempt(1000), "job-1").await.unwrap();
    let answer = world.call_back(&document, of_job("job-2", event)).await;
    assert_eq!((answer, answer.status()), (Answer::Kept, StatusCode::OK), "sending it again would not help");
    assert_eq!(result(&world, &document), None);
    assert!(!woken(&world, "token"));
    world.call_back(&document, of_job("job-1", good())).await;
    assert!(woken(&world, "token") && result(&world, &document).is_some());
}

#[tokio::test]
async fn s07_body_that_breaks_the_contract_fails_only_the_document_of_its_job() {
    let (world, document) = awaited("token").await;
    world.store.record_job(&document, Attempt(1000), "job-1").await.unwrap();
    let send = async |job_id: &str| {
        let body = format!(r#"{{"timestamp":"t","type":"job.succeeded","data":{{"jobId":"{job_id}"}}}}"#);
        let headers = signed(SECRET, "event", START, body.as_bytes());
        assert_eq!(world.callback(CALLBACK, &headers, body.as_bytes()).await, Answer::Kept);
        result(&world, &document)
    };
    assert_eq!(send("job-2").await, None);
    assert!(matches!(send("job-1").await, Some(JobResult::Failed(job)) if job.job_id == "job-1"));
}

/// As long as the job of the newest attempt is unknown, any result may be its result.
#[tokio::test]
async fn s07_result_that_comes_before_the_jobs_id_counts_if_the_ids_agree() {
    let (world, document) = transferred().await;
    world.call_back(&document, of_job("job-2", good())).await;
    assert!(result(&world, &document).is_some(), "it may be this document's");
    world.store.record_job(&document, Attempt(1000), "job-1").await.unwrap();
    assert_eq!(result(&world, &document), None, "it is not");
    assert!(world.store.await_callback(&document, TaskToken::new("token"), START));
    world.call_back(&document, of_job("job-1", good())).await;
    assert!(woken(&world, "token"));

    let (world, document) = transferred().await;
    world.call_back(&document, of_job("job-1", good())).await;
    world.store.record_job(&document, Attempt(1000), "job-1").await.unwrap();
    assert!(result(&world, &document).is_some());
}

#[tokio::test]
async fn s07_results_of_earlier_attempts_jobs_and_of_an_unanswered_attempt_are_taken() {
    for job_id in ["job-1", "job-2"] {
        let (world, document) = awaited("token").await;
        world.store.record_job(&document, Attempt(1000), "job-1").await.unwrap();
        world.store.begin_transfer(&document, Attempt(1001), Round(2), START).await.unwrap();
        world.call_back(&document, of_job(job_id, good())).await;
        assert!(result(&world, &document).is_some(), "the answer of the second attempt was lost");
    }
    let (world, document) = awaited("token").await;
    world.store.record_job(&document, Attempt(1000), "job-1").await.unwrap();
    world.store.begin_transfer(&document, Attempt(1001), Round(2), START).await.unwrap();
    world.store.record_job(&document, Attempt(1001), "job-2").await.unwrap();
    world.call_back(&document, of_job("job-3", good())).await;
    assert_eq!(result(&world, &document), None);
    world.call_back(&document, of_job("job-1", good())).await;
    assert!(result(&world, &document).is_some(), "it has that job too");
}

#[tokio::test]
async fn s07_result_is_kept_once_the_workflow_goes_on_with_it() {
    let (world, document) = transferred().await;
    world.call_back(&document, of_job("job-2", good())).await;
    world.store.begin_verify(&document, START).unwrap();
    world.store.record_job(&document, Attempt(1000), "job-1").await.unwrap();
    assert!(result(&world, &document).is_some());
}

proptest! {
    #[test]
    fn arbitrary_body_never_panics_and_is_not_quoted(body in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(error) = parse(&body) {
            prop_assert!(error.to_string().len() < 120);
        }
    }

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
