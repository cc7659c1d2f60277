//! Signed bodies that violate the contract, or whose type is unknown.

use super::*;

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
    assert_eq!(world.states.answer(&TaskToken::new("token")), Some(Err("Record.Invalid")));
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
    assert_eq!(world.states.answer(&TaskToken::new("token")), Some(Err("Record.Invalid")));
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
        assert_eq!(world.states.answer(&TaskToken::new("token")), Some(Err("Record.Invalid")));
    }
}
