//! Fault rules: an unreachable service, percentages, and the removal of a single rule.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use third_party::{FaultRule, JobFault, ReportedStatus, SubmissionFault};

use crate::support::{API_KEY, Harness, KEY, NOTES, eventually, job_id, problem};

#[tokio::test]
async fn an_unreachable_service_answers_no_request_until_the_rule_is_removed() {
    let harness = Harness::start().await;
    let id = job_id(harness.push_notes().await).await;
    let rule = json!({ "match": { "any": true }, "fault": { "kind": "unreachable" } });
    let added = harness.admin(Method::POST, "faults").json(&rule).send().await.unwrap();
    assert_eq!(added.status(), StatusCode::CREATED);
    let rule_id = added.json::<Value>().await.unwrap()["id"].as_u64().unwrap();

    let question =
        |path: &str| harness.client.get(format!("{}{path}", harness.server.url())).bearer_auth(API_KEY);
    let (by_id, by_key) = (format!("/v1/jobs/{id}"), format!("/v1/jobs?idempotencyKey={KEY}"));
    for _ in 0..3 {
        assert!(harness.push("text/plain", NOTES).send().await.is_err());
        assert!(harness.push_as("another-1", "text/plain", vec![b'x'; 4 << 20]).send().await.is_err());
        assert!(harness.pull("http://127.0.0.1:1/x", 3).send().await.is_err());
        assert!(question(&by_id).send().await.is_err());
        assert!(question(&by_key).send().await.is_err());
        assert!(question("/v1/jobs/job_nobody").send().await.is_err());
    }
    let seen = harness.server.requests("");
    let cut = |route: &str| seen.counts.iter().find(|count| count.route == route && count.status.is_none());
    assert_eq!(cut("/v1/jobs/push").unwrap().count, 6);
    assert_eq!(cut("/v1/jobs/pull").unwrap().count, 3);
    assert_eq!(cut("/v1/jobs/{jobId}").unwrap().count, 6);
    assert_eq!(cut("/v1/jobs").unwrap().count, 3);
    assert_eq!(seen.submissions.last().unwrap().fault, Some(SubmissionFault::Unreachable));
    assert!(harness.server.jobs("another").is_empty());

    let path = format!("faults/{rule_id}");
    let removed = harness.admin(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    assert_eq!(harness.push_notes().await.status(), StatusCode::OK);
    assert_eq!(question(&by_id).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(question(&by_key).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_outage_can_be_limited_by_count_and_document() {
    let harness = Harness::start().await;
    harness.server.add_fault(FaultRule::for_key(KEY, SubmissionFault::Unreachable).times(2));
    assert_eq!(harness.push_notes_as("another-1").await.status(), StatusCode::CREATED);
    assert!(harness.push("text/plain", NOTES).send().await.is_err());
    let url = format!("{}/v1/jobs?idempotencyKey={KEY}", harness.server.url());
    assert!(harness.client.get(url).bearer_auth(API_KEY).send().await.is_err());
    assert_eq!(harness.push_notes().await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_single_rule_is_removed_and_the_others_stay() {
    let harness = Harness::start().await;
    let error = |status| FaultRule::for_key(KEY, SubmissionFault::ServerError { status });
    let first = harness.server.add_fault(error(500));
    let second = harness.server.add_fault(error(503));
    assert_eq!(problem(harness.push_notes().await).await.0, 500);
    let remove = |id: String| harness.admin(Method::DELETE, &format!("faults/{id}")).send();
    assert_eq!(remove(first.to_string()).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(harness.push_notes().await).await.0, 503);
    for unknown in [first.to_string(), "7".to_owned(), "x".to_owned(), "-1".to_owned()] {
        assert_eq!(problem(remove(unknown).await.unwrap()).await.0, 404);
    }
    assert_eq!(harness.server.faults().iter().map(|entry| entry.id).collect::<Vec<_>>(), [second]);
    let anonymous = harness.client.delete(format!("{}/admin/faults/{second}", harness.server.url()));
    assert_eq!(problem(anonymous.send().await.unwrap()).await.0, 401);
    assert!(harness.server.remove_fault(second));
}

#[tokio::test]
async fn a_percentage_applies_to_the_same_jobs_on_another_server() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let harness = Harness::start().await;
        let rule = json!({
            "match": { "any": true },
            "fault": { "kind": "noCallback", "status": "working" },
            "percent": 40,
        });
        let added = harness.admin(Method::POST, "faults").json(&rule).send().await.unwrap();
        assert_eq!(added.status(), StatusCode::CREATED);
        let silent = JobFault::NoCallback { status: ReportedStatus::Working };
        assert_eq!(harness.server.faults()[0].rule, FaultRule::for_all(silent).percent(40));
        for document in 0..20 {
            assert_eq!(harness.push_notes_as(&format!("document-{document}-1")).await.status(), 201);
        }
        // A job that is no longer in flight has called back, or never will.
        let calls = || {
            let jobs = harness.server.jobs("");
            let called: Vec<bool> = jobs.iter().map(|job| job.status == "succeeded").collect();
            (harness.server.usage().in_flight == 0).then_some(called)
        };
        runs.push(eventually("every job's end", calls).await);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&true) && runs[0].contains(&false));
}

#[tokio::test]
async fn a_document_passes_in_the_end_if_a_percentage_of_submissions_fails() {
    let harness = Harness::start().await;
    let rule = FaultRule::for_all(SubmissionFault::ServerError { status: 503 }).percent(70);
    harness.server.add_fault(rule);
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(harness.push_notes().await.status().as_u16());
    }
    // Each submission has its own draw, which is the same in each run.
    assert!(statuses.contains(&503) && statuses.contains(&201) && statuses.contains(&200), "{statuses:?}");
}

#[tokio::test]
async fn no_percentage_is_above_a_hundred() {
    let harness = Harness::start().await;
    for percent in [json!(101), json!(-1), json!(0.5)] {
        let rule = json!({ "match": { "any": true }, "fault": { "kind": "loseAnswer" }, "percent": percent });
        let added = harness.admin(Method::POST, "faults").json(&rule).send().await.unwrap();
        assert_eq!(problem(added).await.1, "faultInvalid");
    }
    assert!(harness.server.faults().is_empty());
}
