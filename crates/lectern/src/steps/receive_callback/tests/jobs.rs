//! Results of jobs that the document has, may have, or does not have (S07).

use super::*;

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
