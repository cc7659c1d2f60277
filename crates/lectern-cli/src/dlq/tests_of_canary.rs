//! The first letter goes alone; the others follow when it is done, and not before.

use std::sync::{Arc, Mutex};

use aws_smithy_mocks::mock;
use lectern::document::DocumentState;
use lectern_aws::{DynamoDbStore, ReturnedBucket};
use serde_json::json;

use super::{
    fake_queues::{FakeQueues, dead_letters, http},
    outcome::{Outcome, RedriveReport, Stop},
    redrive::redrive,
    tests::{options, task},
};
use crate::{
    cloud::Cloud,
    console::{Console, Report as _},
    test_support::{client, cloud, document, item},
};

/// An execution that runs, and is in these states when it is looked at; in the last one from then on.
fn runs_through(states: &'static [&'static str], queues: &FakeQueues) -> aws_sdk_sfn::Client {
    let queues = queues.clone();
    let history = mock!(aws_sdk_sfn::Client::get_execution_history).then_compute_response(move |_| {
        let mut looks = queues.sent_at_looks.lock().unwrap();
        let state = states[looks.len().min(states.len() - 1)];
        looks.push(queues.sent());
        http(&json!({ "events": [
            { "id": 9, "timestamp": 1, "type": "TaskScheduled" },
            { "id": 8, "timestamp": 1, "type": "TaskStateEntered", "stateEnteredEventDetails": { "name": state } },
        ] }))
    });
    let describe = mock!(aws_sdk_sfn::Client::describe_execution).then_compute_response(|_| {
        http(&json!({
            "executionArn": "a", "stateMachineArn": "m", "status": "RUNNING", "startDate": 1, "input": "{}"
        }))
    });
    client!(aws_sdk_sfn, describe, history)
}

fn transfers(number: u32) -> Vec<String> {
    (0..number).map(|round| task(&document(DocumentState::Transferring), 1001 + round)).collect()
}

fn cloud_of(queues: &FakeQueues, states: &'static [&'static str]) -> Cloud {
    let open = document(DocumentState::Transferring);
    cloud(&[open], queues.client(), client!(aws_sdk_s3), runs_through(states, queues))
}

async fn redriven(cloud: &Cloud, name: &str) -> Outcome {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    redrive(cloud, &dead_letters(name, false), &options(&[]), &Console::new(&mut out, &mut err, false))
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn others_follow_when_the_first_letter_is_done() {
    let queues = FakeQueues { in_source: 1, ..FakeQueues::of(transfers(25)) };
    let states = &["TransferDocument", "TransferDocument", "TransferDocument", "WaitAfterTrouble"];
    let begun = tokio::time::Instant::now();
    let outcome = redriven(&cloud_of(&queues, states), "TransferDocument").await;
    assert_eq!(*queues.sent_at_looks.lock().unwrap(), [0, 1, 1, 1], "alone until it is done");
    assert_eq!((outcome.sent, &outcome.stopped, queues.sent()), (25, &None, 25));
    assert!(queues.left().is_empty() && begun.elapsed().as_secs() >= 60, "the others are watched as before");
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_sent_while_the_first_letter_is_still_being_tried() {
    let queues = FakeQueues { in_source: 1, ..FakeQueues::of(transfers(3)) };
    let cloud = cloud_of(&queues, &["TransferDocument"]);
    let outcome = redriven(&cloud, "TransferDocument").await;
    assert_eq!((outcome.sent, &outcome.stopped), (1, &Some(Stop::StillTried { waited_s: 60 })));
    assert!(outcome.needs_attention(), "so that the exit code says it");
    assert_eq!(queues.left(), ["m1", "m2"], "nothing is lost");
    let json = serde_json::to_value(&outcome).unwrap();
    assert_eq!(json["stopped"], json!({ "because": "stillTried", "waitedS": 60 }));
    let mut text = Vec::new();
    RedriveReport { dry_run: false, watched_s: 60, queues: vec![outcome] }.write(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for expected in
        ["the first message is still being tried after 60 s", "were not sent", "the function's log"]
    {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let again = redriven(&cloud, "TransferDocument").await;
    assert_eq!((again.sent, queues.left().as_slice()), (1, ["m2".to_owned()].as_slice()), "it goes on there");
    let last = redriven(&cloud, "TransferDocument").await;
    assert_eq!((last.sent, last.stopped), (1, None), "nothing waits for the last one");
}

#[tokio::test(start_paused = true)]
async fn letter_that_nobody_awaits_is_done_when_its_source_is_empty() {
    let queues = FakeQueues::of(transfers(3));
    let outcome = redriven(&cloud_of(&queues, &["TransferDocument"]), "TransferDocument").await;
    assert_eq!((outcome.sent, outcome.stopped), (3, None));
}

#[tokio::test(start_paused = true)]
async fn first_letter_that_was_not_taken_is_sent_again_and_the_others_wait_for_it() {
    let queues =
        FakeQueues { in_source: 1, refused: Arc::new(Mutex::new(2)), ..FakeQueues::of(transfers(3)) };
    let states = &["TransferDocument", "TransferDocument", "TransferDocument", "WaitAfterTrouble"];
    let outcome = redriven(&cloud_of(&queues, states), "TransferDocument").await;
    assert_eq!((outcome.sent, outcome.stopped), (3, None));
    assert_eq!(*queues.sent_at_looks.lock().unwrap(), [0, 0, 0, 1]);
    assert!(queues.left().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_so_before_the_letter_was_sent_is_no_sign() {
    let queues = FakeQueues { in_source: 1, ..FakeQueues::of(transfers(3)) };
    let outcome = redriven(&cloud_of(&queues, &["AwaitCallback"]), "TransferDocument").await;
    assert_eq!((outcome.sent, outcome.stopped), (1, Some(Stop::StillTried { waited_s: 60 })));
}

#[tokio::test(start_paused = true)]
async fn upload_is_done_when_it_is_registered_and_on_its_way() {
    let event = |name: &str| {
        let mut object = document(DocumentState::Received).object;
        object.key = format!("submissions/s1/{name}.txt");
        crate::reconcile::compare::event(&object, Some("01"))
    };
    let queues = FakeQueues { in_source: 1, ..FakeQueues::of(["a", "b"].map(event).to_vec()) };
    let received = document(DocumentState::Received);
    let asked = Mutex::new(0);
    // Before it is judged, before it is sent, and at the first look it is unknown.
    let get = mock!(aws_sdk_dynamodb::Client::get_item).then_compute_response(move |_| {
        *asked.lock().unwrap() += 1;
        let known = *asked.lock().unwrap() > 4;
        http(&if known { json!({ "Item": item(&received) }) } else { json!({}) })
    });
    let cloud = cloud_of(&queues, &["AwaitTurn"]);
    let returned = ReturnedBucket::new(client!(aws_sdk_s3), "returned".to_owned());
    let store = DynamoDbStore::new(client!(aws_sdk_dynamodb, get), "table".to_owned(), returned);
    let outcome = redriven(&Cloud { store, ..cloud }, "ReceiveUpload").await;
    assert_eq!((outcome.sent, outcome.stopped), (2, None));
}

#[tokio::test(start_paused = true)]
async fn native_move_comes_after_the_first_letter_of_our_own() {
    let queues = FakeQueues { in_source: 1, moves: Some(Arc::default()), ..FakeQueues::of(transfers(25)) };
    let outcome =
        redriven(&cloud_of(&queues, &["TransferDocument", "WaitAfterTrouble"]), "TransferDocument").await;
    assert_eq!((outcome.sent, outcome.native, queues.sent()), (25, true, 1), "SQS moves the other 24");
    let queues = FakeQueues { in_source: 1, moves: Some(Arc::default()), ..FakeQueues::of(transfers(25)) };
    let outcome = redriven(&cloud_of(&queues, &["TransferDocument"]), "TransferDocument").await;
    assert_eq!((outcome.sent, outcome.native), (1, false));
    assert_eq!(queues.left().len(), 24, "and none before it is done");
}
