//! The operators' functions over the ports in memory: pages of failures by key, the words of the advice, and the redrive.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::{
    document::ObjectVersion,
    ports::{Finishing as _, QueueDepth},
    testing::{
        MemoryQueues,
        world::{BUCKET, MemoryWorld, START, failed_for, s3_event},
    },
};

/// A submission with documents that failed, or were rejected if `fails` is not set. Each submission is a second younger
/// than the one before.
async fn submission(world: &MemoryWorld, id: &str, documents: usize, fails: bool) {
    world.clock.advance(Duration::from_secs(1));
    for number in 0..documents {
        let key = format!("submissions/{id}/file {number}.txt");
        let object = ObjectVersion { bucket: BUCKET.to_owned(), key, version_id: "v1".to_owned() };
        let text: &[u8] = if fails { b"A lesson." } else { b"" };
        world.objects.upload(&object, None, text);
        world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
        if fails {
            let reference = world.document(&object).unwrap().reference;
            let reason = Reason::new("overdue", "It took too long.");
            world.store.finish(&reference, failed_for(reason), START).await.unwrap();
        }
    }
}

async fn pages(world: &MemoryWorld) -> Vec<FailuresPage> {
    let mut pages = vec![failures(&world.store, None).await.unwrap()];
    while let Some(cursor) = pages[pages.len() - 1].cursor.clone() {
        pages.push(failures(&world.store, Some(&cursor)).await.unwrap());
    }
    pages
}

#[tokio::test]
async fn failure_is_shown_with_its_reason_and_the_advice_of_explain() {
    let world = MemoryWorld::default();
    submission(&world, "s1", 1, true).await;
    let page = failures(&world.store, None).await.unwrap();
    let shown = serde_json::to_value(&page).unwrap();
    let document_id = page.failures[0].document_id;
    let expected = json!({
        "failures": [{
            "submissionId": "s1",
            "documentId": document_id,
            "fileName": "file 0.txt",
            "kind": "document",
            "failedAt": "2026-11-20T16:00:00.000Z",
            "reason": { "code": "overdue", "message": "It took too long." },
            "why": "It took too long.",
            "todo": [
                format!("lectern redrive s1/{document_id}"),
                "Or all documents that failed for this reason: lectern redrive --failed --reason overdue --yes",
            ],
        }],
    });
    assert_eq!(shown, expected);
}

/// Most submissions that need attention have only rejected documents, so some pages are empty and have a cursor.
#[tokio::test]
async fn pages_of_failures_are_bounded_and_together_show_each_failure_once() {
    let world = MemoryWorld::default();
    submission(&world, "oldest", 2, true).await;
    for number in 0..23 {
        submission(&world, &format!("rejected-{number}"), 1, false).await;
    }
    submission(&world, "large", 60, true).await;
    submission(&world, "newest", 3, true).await;
    let mut reads = 0;
    let pages = pages(&world).await;
    for page in &pages {
        assert!(page.failures.len() <= FAILURES, "{}", page.failures.len());
    }
    for call in world.faults.calls() {
        reads += usize::from(call == "documents");
    }
    assert!(reads <= pages.len() * 3, "{reads} calls for {} pages", pages.len());
    let shown: Vec<&FailureSummary> = pages.iter().flat_map(|page| &page.failures).collect();
    let mut ids: Vec<DocumentId> = shown.iter().map(|failure| failure.document_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((shown.len(), ids.len()), (65, 65), "each once");
    let order: Vec<&str> = shown.iter().map(|failure| failure.submission_id.as_str()).collect();
    assert!(order.is_sorted_by_key(|id| ["newest", "large", "oldest"].iter().position(|known| known == id)));
}

#[tokio::test]
async fn page_that_is_full_at_the_end_of_a_submission_is_not_the_last_one() {
    let world = MemoryWorld::default();
    submission(&world, "oldest", 1, true).await;
    world.clock.advance(Duration::from_secs(1));
    submission(&world, "large", 50, true).await;
    let (mut shown, mut cursor) = (0, None);
    loop {
        let page = failures(&world.store, cursor.as_deref()).await.unwrap();
        shown += page.failures.len();
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(shown, 51);
}

#[tokio::test]
async fn nothing_failed_is_an_empty_page_without_a_cursor() {
    let world = MemoryWorld::default();
    submission(&world, "s1", 1, false).await;
    assert_eq!(failures(&world.store, None).await.unwrap(), FailuresPage { failures: vec![], cursor: None });
}

#[tokio::test]
async fn made_up_cursor_is_an_invalid_query() {
    let world = MemoryWorld::default();
    let encoded = |json: &str| URL_SAFE_NO_PAD.encode(json);
    for cursor in [
        String::new(),
        "x".to_owned(),
        encoded("{}"),
        encoded(r#"{"submission":{"createdAt":"now","submissionId":"s1"},"document":null}"#),
        encoded(
            r#"{"submission":{"createdAt":"2026-11-20T16:00:00.000Z","submissionId":"a#b"},"document":null}"#,
        ),
        encoded(
            r#"{"submission":{"createdAt":"2026-11-20T16:00:00.000Z","submissionId":"s1"}, "document":null}"#,
        ),
    ] {
        let answer = failures(&world.store, Some(&cursor)).await;
        assert!(matches!(answer, Err(ApiError::InvalidQuery(_))), "{cursor}: {answer:?}");
    }
}

#[tokio::test]
async fn overview_shows_submissions_queues_and_the_limiter() {
    let world = MemoryWorld::default();
    submission(&world, "s1", 1, true).await;
    let object = ObjectVersion {
        bucket: BUCKET.to_owned(),
        key: "submissions/s2/a.txt".to_owned(),
        version_id: "v1".to_owned(),
    };
    world.objects.upload(&object, None, &b"A lesson."[..]);
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let queues = MemoryQueues::new(vec![QueueDepth {
        name: "transfer-document".to_owned(),
        waiting: 3,
        in_flight: 2,
        dead_letters: 1,
    }]);
    let limits =
        Limits { interval: Duration::from_millis(200), burst: 25, max_in_flight: 50, ..world.limits };
    let shown = overview(&world.store, &queues, &world.clock, &limits).await.unwrap();
    let expected = json!({
        "submissions": { "inProgress": 1, "needsAttention": 1, "oldestInProgressAt": "2026-11-20T16:00:01.000Z" },
        "queues": [{ "name": "transfer-document", "waiting": 3, "inFlight": 2, "deadLetters": 1 }],
        "limiter": {
            "requestsPerSecond": 5.0, "burst": 25, "maxInFlight": 50, "leases": 0, "waiting": 0,
            "breakerOpen": false, "slowdown": 1,
        },
    });
    assert_eq!(serde_json::to_value(&shown).unwrap(), expected);
}

async fn redriven(world: &MemoryWorld, document: &DocumentRef) -> Result<Redriven, ApiError> {
    let MemoryWorld { store, states, clock, .. } = world;
    let ports = redrive::Ports { store, executions: states, state_machine: states, clock };
    redrive(&ports, document, RedriveRequest::default()).await
}

#[tokio::test]
async fn failed_document_is_redriven_once_and_a_document_in_progress_is_left_alone() {
    let world = MemoryWorld::default();
    submission(&world, "s1", 1, true).await;
    let failed = &world.store.all()[0].reference;
    let answer = redriven(&world, failed).await.unwrap();
    let state = DocumentState::Received;
    assert_eq!(answer, Redriven::Open(RedriveAnswer { document_id: failed.document_id, state }));
    assert_eq!(world.states.start_of(failed).unwrap().redrives, 1);
    let again = redriven(&world, failed).await.unwrap();
    assert_eq!(
        again,
        Redriven::NotRedrivable("It is in progress (Received); nothing was changed.".to_owned())
    );
}

#[tokio::test]
async fn rejected_document_is_not_redrivable_and_an_unknown_one_is_not_found() {
    let world = MemoryWorld::default();
    submission(&world, "s1", 1, false).await;
    let rejected = &world.store.all()[0].reference;
    let answer = redriven(&world, rejected).await.unwrap();
    assert!(
        matches!(&answer, Redriven::NotRedrivable(why) if why.starts_with("The upload was not")),
        "{answer:?}"
    );
    let unknown = DocumentRef { submission_id: "s2".parse().unwrap(), ..rejected.clone() };
    assert!(matches!(redriven(&world, &unknown).await, Err(ApiError::NotFound)));
}

#[test]
fn request_for_another_run_is_named_anew() {
    let parsed = |json: Value| serde_json::from_value::<RedriveRequest>(json).map_err(|_| ());
    assert_eq!(parsed(json!({})), Ok(RedriveRequest { anew: false }));
    assert_eq!(parsed(json!({ "anew": true })), Ok(RedriveRequest { anew: true }));
    assert_eq!(parsed(json!({ "discardResult": true })), Err(()));
}
