//! Actions of the command `lectern` that need the stack to themselves: messages in dead-letter queues and lost events.

use lectern::message::SCHEMA_VERSION;
use lectern_cli::Exit;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    alone::then,
    case::Case,
    command::name_of,
    content::text,
    queues::{event, event_record},
    stack::Stack,
    wait::{SOON, eventually},
};

#[tokio::test]
async fn dead_letters_of_admit_document_are_sent_back_and_change_nothing_of_a_document_that_has_ended() {
    let case = Case::begin();
    let upload = case.upload("orders.txt", text()).await;
    let ready = case.stack.ready(&upload).await;
    let dead = &case.stack.is.dead_letter_queue_urls.admit_document;
    for (kind, attempt) in [("request", 1), ("report", 2), ("renew", 3), ("release", 4)] {
        let order = json!({
            "schemaVersion": SCHEMA_VERSION, "submissionId": case.submission, "documentId": upload.id(),
            "kind": kind, "attempt": attempt, "count": 1, "failedTransfers": 0, "repeats": 0, "error": "", "taskToken": "a-token-that-is-a-secret",
        });
        let request = case.stack.sqs.send_message().queue_url(dead).message_body(order.to_string());
        request.message_group_id("admission").send().await.unwrap();
    }
    let listed = case.stack.lectern(&["dlq", "list", "admit-document", "--json"]).await;
    let queue = listed.json()["queues"][0].clone();
    assert_eq!(queue["classes"], json!({ "readable": 4 }), "{queue}");
    let done = case.stack.lectern(&["dlq", "redrive", "admit-document", "--yes", "--json"]).await;
    let queue = done.json()["queues"][0].clone();
    assert_eq!((done.exit, &queue["sent"]), (Exit::Done, &json!(4)), "{queue}");
    let source = &case.stack.is.queue_urls.admit_document;
    eventually("all messages are handled", SOON, async || {
        let depth = case.stack.depth(source).await;
        if depth == 0 { Ok(()) } else { Err(depth) }
    })
    .await;
    let empty = case.stack.lectern(&["dlq", "list", "admit-document", "--json"]).await.json();
    assert_eq!(empty["queues"][0]["messages"], json!([]), "no message came back");
    assert_eq!(case.stack.load(&upload).await.unwrap(), ready);
    case.stack.only_job(&upload).await;
}

#[tokio::test]
async fn case_08_lost_event_is_found_by_reconcile_and_the_upload_becomes_ready() {
    let stack = Stack::open();
    let queues = stack.notified().await;
    assert!(!queues.is_empty());
    stack.notify(Vec::new()).await;
    let body = async {
        let case = Case::begin();
        let older = case.upload("lost +%教案.txt", text()).await;
        let upload = case.upload("lost +%教案.txt", text()).await;
        let arguments = ["reconcile", "--submission", case.submission.as_str(), "--json"];
        let young = case.stack.lectern(&arguments).await.json();
        assert_eq!(
            (&young["young"], &young["findings"]),
            (&json!(1), &json!([])),
            "its event may still come"
        );
        let now = [&arguments[..], &["--min-age", "0"]].concat();
        let dry = case.stack.lectern(&now).await.json();
        for (finding, found) in [&upload, &older].into_iter().enumerate() {
            assert_eq!(dry["findings"][finding]["document"], name_of(found));
            assert!(case.stack.load(found).await.is_none(), "a dry run changes nothing");
        }
        let done = case.stack.lectern(&[&now[..], &["--yes"]].concat()).await;
        assert_eq!((done.exit, &done.json()["announced"]), (Exit::Done, &json!(2)));
        case.stack.ready(&upload).await;
        case.stack.until(&older, "is superseded", |old| old.superseded_by == Some(upload.id())).await;
        let again = case.stack.lectern(&[&now[..], &["--yes"]].concat()).await.json();
        assert_eq!((&again["announced"], &again["findings"]), (&json!(0), &json!([])), "nothing differs");
        // The older version's late event changes nothing; the event of the newer upload supersedes the one before.
        let newer = case.upload("lost +%教案.txt", text()).await;
        let records = [(&older, "EE"), (&newer, "FF")]
            .map(|(upload, sequencer)| event_record(&case.stack, &upload.key, &upload.version, sequencer));
        case.stack.send(&case.stack.is.queue_urls.receive_upload, &event(&records)).await;
        case.stack.ready(&newer).await;
        case.stack.until(&upload, "is superseded", |old| old.superseded_by == Some(newer.id())).await;
        let document = case.stack.load(&older).await.unwrap();
        assert_eq!(document.superseded_by, Some(upload.id()), "its late event superseded no version");
    };
    then(body, stack.notify(queues)).await;
}

#[tokio::test]
async fn case_08_dead_event_is_redriven_and_the_upload_becomes_ready_once() {
    let stack = Stack::open();
    let queues = stack.notified().await;
    stack.notify(Vec::new()).await;
    let body = async {
        let case = Case::begin();
        let upload = case.upload("dead.txt", text()).await;
        let body = event(&[event_record(&case.stack, &upload.key, &upload.version, "0001")]);
        let dead = &case.stack.is.dead_letter_queue_urls.receive_upload;
        case.stack.send_batch(dead, &[body.clone(), body]).await;
        let redrive = ["dlq", "redrive", "receive-upload", "--json"];
        let dry = case.stack.lectern(&redrive).await.json();
        assert_eq!(dry["queues"][0]["classes"], json!({ "readable": 2 }), "{dry}");
        assert!(case.stack.load(&upload).await.is_none(), "a dry run changes nothing");
        let done = case.stack.lectern(&[&redrive[..], &["--yes"]].concat()).await.json();
        assert_eq!(done["queues"][0]["sent"], 2, "{done}");
        case.stack.ready(&upload).await;
        case.stack.only_job(&upload).await;
    };
    then(body, stack.notify(queues)).await;
}

#[tokio::test]
async fn unreadable_message_is_quarantined_whole_and_one_that_nobody_waits_for_has_no_effect() {
    let case = Case::begin();
    let upload = case.upload("ended.txt", text()).await;
    let ready = case.stack.ready(&upload).await;
    let poison = format!("no json at all: {} \u{1F480}", Uuid::new_v4());
    let late = json!({
        "schemaVersion": SCHEMA_VERSION, "submissionId": case.submission, "documentId": upload.id(),
        "attempt": 1, "round": 1, "permitExpiresAt": "2026-11-20T20:00:00.000Z", "reportSuccess": false, "taskToken": "a-token-that-is-a-secret",
        "traceparent": ready.traceparent.expect("every document has a trace").to_string(),
    });
    let dead = &case.stack.is.dead_letter_queue_urls.transfer_document;
    case.stack.send_batch(dead, &[poison.clone(), late.to_string()]).await;
    let listed = case.stack.lectern(&["dlq", "list", "transfer-document", "--json"]).await;
    assert_eq!(listed.json()["queues"][0]["classes"], json!({ "readable": 1, "unreadable": 1 }));
    let shown = case.stack.lectern(&["dlq", "list", "transfer-document", "--bodies"]).await;
    assert!(shown.out.contains(&format!("lectern explain {}", name_of(&upload))), "{}", shown.out);
    for ran in [&listed, &shown] {
        assert!(!ran.out.contains("a-token-that-is-a-secret") && !ran.out.contains("no json at all"));
    }
    let redrive = ["dlq", "redrive", "transfer-document", "--yes", "--json"];
    let done = case.stack.lectern(&redrive).await;
    let queue = done.json()["queues"][0].clone();
    assert_eq!((done.exit, &queue["sent"]), (Exit::Done, &json!(1)), "{queue}");
    let key = queue["quarantined"][0].as_str().unwrap();
    assert!(key.starts_with("quarantine/dead-letters/TransferDocument/"), "{key}");
    let kept =
        case.stack.s3.get_object().bucket(&case.stack.is.returned_bucket).key(key).send().await.unwrap();
    let kept: Value = serde_json::from_slice(&kept.body.collect().await.unwrap().into_bytes()).unwrap();
    assert_eq!(kept["body"], poison.as_str(), "whole");
    let source = &case.stack.is.queue_urls.transfer_document;
    eventually("the late message is handled", SOON, async || {
        let depth = case.stack.depth(source).await;
        if depth == 0 { Ok(()) } else { Err(depth) }
    })
    .await;
    let again = case.stack.lectern(&redrive).await.json();
    assert_eq!((&again["queues"][0]["sent"], &again["queues"][0]["quarantined"]), (&json!(0), &json!([])));
    assert_eq!(case.stack.load(&upload).await.unwrap(), ready);
    case.stack.only_job(&upload).await;
}
