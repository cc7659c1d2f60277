//! Rules as such: a service that cannot be reached, rules for some of a hundred, and taking a single rule back.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use third_party::{FaultRule, JobFault, ReportedStatus, SubmissionFault};

use crate::support::{API_KEY, House, KEY, NOTES, eventually, job_id, problem};

#[tokio::test]
async fn an_unreachable_service_answers_neither_submissions_nor_questions_until_the_rule_is_removed() {
    let house = House::start().await;
    let id = job_id(house.push_notes().await).await;
    let rule = json!({ "match": { "any": true }, "fault": { "kind": "unreachable" } });
    let added = house.admin(Method::POST, "faults").json(&rule).send().await.unwrap();
    assert_eq!(added.status(), StatusCode::CREATED);
    let rule_id = added.json::<Value>().await.unwrap()["id"].as_u64().unwrap();

    let question =
        |path: &str| house.client.get(format!("{}{path}", house.server.url())).bearer_auth(API_KEY);
    let (by_id, by_key) = (format!("/v1/jobs/{id}"), format!("/v1/jobs?idempotencyKey={KEY}"));
    for _ in 0..3 {
        assert!(house.push("text/plain", NOTES).send().await.is_err());
        assert!(house.push_as("another-1", "text/plain", vec![b'x'; 4 << 20]).send().await.is_err());
        assert!(house.pull("http://127.0.0.1:1/x", 3).send().await.is_err());
        assert!(question(&by_id).send().await.is_err());
        assert!(question(&by_key).send().await.is_err());
        assert!(question("/v1/jobs/job_nobody").send().await.is_err());
    }
    let seen = house.server.requests("");
    let cut = |route: &str| seen.counts.iter().find(|count| count.route == route && count.status.is_none());
    assert_eq!(cut("/v1/jobs/push").unwrap().count, 6);
    assert_eq!(cut("/v1/jobs/pull").unwrap().count, 3);
    assert_eq!(cut("/v1/jobs/{jobId}").unwrap().count, 6);
    assert_eq!(cut("/v1/jobs").unwrap().count, 3);
    assert_eq!(seen.submissions.last().unwrap().fault, Some(SubmissionFault::Unreachable));
    assert!(house.server.jobs("another").is_empty());

    let path = format!("faults/{rule_id}");
    let removed = house.admin(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    assert_eq!(house.push_notes().await.status(), StatusCode::OK);
    assert_eq!(question(&by_id).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(question(&by_key).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_outage_can_be_counted_and_meant_for_one_document() {
    let house = House::start().await;
    house.server.add_fault(FaultRule::for_key(KEY, SubmissionFault::Unreachable).times(2));
    assert_eq!(house.push_notes_as("another-1").await.status(), StatusCode::CREATED);
    assert!(house.push("text/plain", NOTES).send().await.is_err());
    let url = format!("{}/v1/jobs?idempotencyKey={KEY}", house.server.url());
    assert!(house.client.get(url).bearer_auth(API_KEY).send().await.is_err());
    assert_eq!(house.push_notes().await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_single_rule_is_removed_and_the_others_stay() {
    let house = House::start().await;
    let error = |status| FaultRule::for_key(KEY, SubmissionFault::ServerError { status });
    let first = house.server.add_fault(error(500));
    let second = house.server.add_fault(error(503));
    assert_eq!(problem(house.push_notes().await).await.0, 500);
    let remove = |id: String| house.admin(Method::DELETE, &format!("faults/{id}")).send();
    assert_eq!(remove(first.to_string()).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(house.push_notes().await).await.0, 503);
    for unknown in [first.to_string(), "7".to_owned(), "x".to_owned(), "-1".to_owned()] {
        assert_eq!(problem(remove(unknown).await.unwrap()).await.0, 404);
    }
    assert_eq!(house.server.faults().iter().map(|entry| entry.id).collect::<Vec<_>>(), [second]);
    let anonymous = house.client.delete(format!("{}/admin/faults/{second}", house.server.url()));
    assert_eq!(problem(anonymous.send().await.unwrap()).await.0, 401);
    assert!(house.server.remove_fault(second));
}

#[tokio::test]
async fn a_percentage_strikes_some_jobs_and_the_same_ones_on_another_server() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let house = House::start().await;
        let rule = json!({
            "match": { "any": true },
            "fault": { "kind": "noCallback", "status": "working" },
            "percent": 40,
        });
        let added = house.admin(Method::POST, "faults").json(&rule).send().await.unwrap();
        assert_eq!(added.status(), StatusCode::CREATED);
        let silent = JobFault::NoCallback { status: ReportedStatus::Working };
        assert_eq!(house.server.faults()[0].rule, FaultRule::for_all(silent).percent(40));
        for document in 0..20 {
            assert_eq!(house.push_notes_as(&format!("document-{document}-1")).await.status(), 201);
        }
        // A job that is in flight no more has called back, or never will.
        let calls = || {
            let jobs = house.server.jobs("");
            let called: Vec<bool> = jobs.iter().map(|job| job.status == "succeeded").collect();
            (house.server.usage().in_flight == 0).then_some(called)
        };
        runs.push(eventually("every job's end", calls).await);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&true) && runs[0].contains(&false));
}

#[tokio::test]
async fn a_percentage_of_submissions_lets_a_document_through_in_the_end() {
    let house = House::start().await;
    let rule = FaultRule::for_all(SubmissionFault::ServerError { status: 503 }).percent(70);
    house.server.add_fault(rule);
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(house.push_notes().await.status().as_u16());
    }
    // Drawn anew each time, and the same on each run.
    assert!(statuses.contains(&503) && statuses.contains(&201) && statuses.contains(&200), "{statuses:?}");
}

#[tokio::test]
async fn no_percentage_is_above_a_hundred() {
    let house = House::start().await;
    for percent in [json!(101), json!(-1), json!(0.5)] {
        let rule = json!({ "match": { "any": true }, "fault": { "kind": "loseAnswer" }, "percent": percent });
        let added = house.admin(Method::POST, "faults").json(&rule).send().await.unwrap();
        assert_eq!(problem(added).await.1, "faultInvalid");
    }
    assert!(house.server.faults().is_empty());
}
