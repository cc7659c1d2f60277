//! The first letter goes alone; the others follow when it is done, and not before.

use std::sync::{Arc, Mutex};

use aws_sdk_sqs::{
    Client,
    operation::{
        delete_message_batch::DeleteMessageBatchOutput, list_message_move_tasks::ListMessageMoveTasksOutput,
        send_message_batch::SendMessageBatchOutput, start_message_move_task::StartMessageMoveTaskOutput,
    },
    types::{
        BatchResultErrorEntry, DeleteMessageBatchResultEntry, ListMessageMoveTasksResultEntry,
        SendMessageBatchResultEntry,
    },
};
use aws_smithy_mocks::{MockResponse, Rule, mock};
use lectern::document::DocumentState;
use lectern_aws::{DynamoDbStore, ReturnedBucket};
use serde_json::{Value, json};

use super::{
    outcome::{Outcome, RedriveReport, Stop},
    redrive::redrive,
    tests::{options, task},
};
use crate::{
    cloud::Cloud,
    console::{Console, Report as _},
    stack::{DeadLetters, Source},
    test_support::{answer, client, cloud, document, item, json_error},
};

/// A dead-letter queue and its source, of which only the depth is seen.
#[derive(Clone, Default)]
struct Queues {
    dead: Arc<Mutex<Vec<(String, String)>>>,
    hidden: Arc<Mutex<Vec<String>>>,
    sent: Arc<Mutex<Vec<String>>>,
    /// How many had been sent when the execution was looked at.
    sent_at_looks: Arc<Mutex<Vec<usize>>>,
    in_source: u64,
    /// So many are not taken at first.
    refused: Arc<Mutex<usize>>,
    /// SQS's own moves; none if it offers none.
    moves: Option<Arc<Mutex<u32>>>,
}

impl Queues {
    fn of(bodies: &[String]) -> Self {
        let dead = bodies.iter().enumerate().map(|(id, body)| (format!("m{id}"), body.clone())).collect();
        Self { dead: Arc::new(Mutex::new(dead)), ..Self::default() }
    }

    fn left(&self) -> Vec<String> {
        assert!(self.hidden.lock().unwrap().is_empty(), "others may see what is left");
        self.dead.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }

    fn sent(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    fn client(&self) -> Client {
        let [attributes, receive, release, delete, send, list, start] = self.rules();
        client!(aws_sdk_sqs, attributes, receive, release, delete, send, list, start)
    }

    fn rules(&self) -> [Rule; 7] {
        let [depth, receive, release, delete, send, list, start] = [(); 7].map(|()| self.clone());
        [
            mock!(Client::get_queue_attributes).then_compute_response(move |request| {
                let is_dead = request.queue_url() == Some(queue("x").url.as_str());
                let number = if is_dead { depth.dead.lock().unwrap().len() as u64 } else { depth.in_source };
                http(&json!({ "Attributes": {
                    "QueueArn": "arn", "ApproximateNumberOfMessages": number.to_string(),
                } }))
            }),
            mock!(Client::receive_message).then_compute_response(move |_| {
                let mut hidden = receive.hidden.lock().unwrap();
                let dead = receive.dead.lock().unwrap().clone();
                let mut given: Vec<_> = dead.into_iter().filter(|(id, _)| !hidden.contains(id)).collect();
                given.truncate(10);
                hidden.extend(given.iter().map(|(id, _)| id.clone()));
                let messages = given
                    .iter()
                    .map(|(id, body)| json!({ "MessageId": id, "ReceiptHandle": id, "Body": body }));
                http(&json!({ "Messages": messages.collect::<Vec<_>>() }))
            }),
            mock!(Client::change_message_visibility).then_compute_response(move |request| {
                release.hidden.lock().unwrap().retain(|id| Some(id.as_str()) != request.receipt_handle());
                http(&json!({}))
            }),
            mock!(Client::delete_message_batch).then_compute_output(move |request| {
                let mut output = DeleteMessageBatchOutput::builder().set_failed(Some(Vec::new()));
                for entry in request.entries() {
                    delete.hidden.lock().unwrap().retain(|id| id != entry.receipt_handle());
                    delete.dead.lock().unwrap().retain(|(id, _)| id != entry.receipt_handle());
                    let done = DeleteMessageBatchResultEntry::builder().id(entry.id()).build().unwrap();
                    output = output.successful(done);
                }
                output.build().unwrap()
            }),
            mock!(Client::send_message_batch).then_compute_output(move |request| {
                let mut output = SendMessageBatchOutput::builder()
                    .set_successful(Some(Vec::new()))
                    .set_failed(Some(Vec::new()));
                let mut refused = send.refused.lock().unwrap();
                for entry in request.entries() {
                    if *refused > 0 {
                        *refused -= 1;
                        let error = BatchResultErrorEntry::builder().id(entry.id()).code("InternalError");
                        output = output.failed(error.sender_fault(false).build().unwrap());
                        continue;
                    }
                    send.sent.lock().unwrap().push(entry.message_body().to_owned());
                    let done = SendMessageBatchResultEntry::builder().id(entry.id()).message_id("n");
                    output = output.successful(done.md5_of_message_body("x").build().unwrap());
                }
                output.build().unwrap()
            }),
            mock!(Client::list_message_move_tasks).then_compute_response(move |_| {
                let Some(moves) = &list.moves else { return MockResponse::Http(json_error("InvalidAction")) };
                let done = ListMessageMoveTasksResultEntry::builder().status("COMPLETED").build();
                let done = (*moves.lock().unwrap() > 0).then_some(done);
                let all = Some(done.into_iter().collect());
                MockResponse::Output(ListMessageMoveTasksOutput::builder().set_results(all).build())
            }),
            mock!(Client::start_message_move_task).then_compute_output(move |_| {
                *start.moves.as_ref().unwrap().lock().unwrap() += 1;
                start.dead.lock().unwrap().clear();
                StartMessageMoveTaskOutput::builder().build()
            }),
        ]
    }
}

fn http<O, E>(body: &Value) -> MockResponse<O, E> {
    MockResponse::Http(answer(200, body.to_string()))
}

fn queue(name: &str) -> DeadLetters {
    DeadLetters {
        name: name.to_owned(),
        url: "http://q/dead".to_owned(),
        source: Source::Queue("http://q/source".to_owned()),
    }
}

/// An execution that runs, and is in these states when it is looked at; in the last one from then on.
fn runs_through(states: &'static [&'static str], queues: &Queues) -> aws_sdk_sfn::Client {
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

fn cloud_of(queues: &Queues, states: &'static [&'static str]) -> Cloud {
    let open = document(DocumentState::Transferring);
    cloud(&[open], queues.client(), client!(aws_sdk_s3), runs_through(states, queues))
}

async fn redriven(cloud: &Cloud, name: &str) -> Outcome {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    redrive(cloud, &queue(name), &options(&[]), &Console::new(&mut out, &mut err, false)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn others_follow_when_the_first_letter_is_done() {
    let queues = Queues { in_source: 1, ..Queues::of(&transfers(25)) };
    let states = &["TransferDocument", "TransferDocument", "TransferDocument", "WaitAfterTrouble"];
    let begun = tokio::time::Instant::now();
    let outcome = redriven(&cloud_of(&queues, states), "TransferDocument").await;
    assert_eq!(*queues.sent_at_looks.lock().unwrap(), [0, 1, 1, 1], "alone until it is done");
    assert_eq!((outcome.sent, &outcome.stopped, queues.sent()), (25, &None, 25));
    assert!(queues.left().is_empty() && begun.elapsed().as_secs() >= 60, "the others are watched as before");
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_sent_while_the_first_letter_is_still_being_tried() {
    let queues = Queues { in_source: 1, ..Queues::of(&transfers(3)) };
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
    let queues = Queues::of(&transfers(3));
    let outcome = redriven(&cloud_of(&queues, &["TransferDocument"]), "TransferDocument").await;
    assert_eq!((outcome.sent, outcome.stopped), (3, None));
}

#[tokio::test(start_paused = true)]
async fn first_letter_that_was_not_taken_is_sent_again_and_the_others_wait_for_it() {
    let queues = Queues { in_source: 1, refused: Arc::new(Mutex::new(2)), ..Queues::of(&transfers(3)) };
    let states = &["TransferDocument", "TransferDocument", "TransferDocument", "WaitAfterTrouble"];
    let outcome = redriven(&cloud_of(&queues, states), "TransferDocument").await;
    assert_eq!((outcome.sent, outcome.stopped), (3, None));
    assert_eq!(*queues.sent_at_looks.lock().unwrap(), [0, 0, 0, 1]);
    assert!(queues.left().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_so_before_the_letter_was_sent_is_no_sign() {
    let queues = Queues { in_source: 1, ..Queues::of(&transfers(3)) };
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
    let queues = Queues { in_source: 1, ..Queues::of(&["a", "b"].map(event)) };
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
    let queues = Queues { in_source: 1, moves: Some(Arc::default()), ..Queues::of(&transfers(25)) };
    let outcome =
        redriven(&cloud_of(&queues, &["TransferDocument", "WaitAfterTrouble"]), "TransferDocument").await;
    assert_eq!((outcome.sent, outcome.native, queues.sent()), (25, true, 1), "SQS moves the other 24");
    let queues = Queues { in_source: 1, moves: Some(Arc::default()), ..Queues::of(&transfers(25)) };
    let outcome = redriven(&cloud_of(&queues, &["TransferDocument"]), "TransferDocument").await;
    assert_eq!((outcome.sent, outcome.native), (1, false));
    assert_eq!(queues.left().len(), 24, "and none before it is done");
}
