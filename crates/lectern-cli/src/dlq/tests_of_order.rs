//! A queue that keeps an order shows no more than its head: what is behind it is told of, and never silently left.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use aws_sdk_sqs::{
    Client,
    operation::delete_message_batch::DeleteMessageBatchOutput,
    types::{DeleteMessageBatchResultEntry, SendMessageBatchResultEntry},
};
use aws_smithy_mocks::{MockResponse, Rule, mock};
use lectern::document::DocumentState;
use serde_json::{Value, json};

use super::{
    judged::peek,
    outcome::{Outcome, RedriveReport, Stop},
    plan::plan,
    redrive::redrive,
    report::{ListReport, QueueReport},
};
use crate::{
    args::{Cli, Command, Dlq, DlqCommand, DlqRedrive},
    cloud::Cloud,
    console::{Console, Report as _},
    stack::{DeadLetters, Source},
    test_support::{answer, client, cloud, document},
};

const GROUP_OF: usize = 10;

/// The dead-letter queue of one message group, as SQS keeps it: while a letter is hidden, none behind it is given out.
#[derive(Clone, Default)]
struct Fifo {
    letters: Arc<Mutex<Vec<(String, String)>>>,
    hidden: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicU64>,
}

impl Fifo {
    fn of(bodies: Vec<String>) -> Self {
        let letters = bodies.into_iter().enumerate().map(|(id, body)| (format!("m{id}"), body)).collect();
        Self { letters: Arc::new(Mutex::new(letters)), ..Self::default() }
    }

    fn ids(&self) -> Vec<String> {
        self.letters.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }

    fn rules(&self) -> [Rule; 5] {
        let (depth, receive, release, delete, send) =
            (self.clone(), self.clone(), self.clone(), self.clone(), self.clone());
        [
            mock!(Client::get_queue_attributes).then_compute_response(move |request| {
                let is_dead = request.queue_url() == Some(queue().url.as_str());
                let hidden = if is_dead { depth.hidden.lock().unwrap().len() } else { 0 };
                let visible = if is_dead { depth.letters.lock().unwrap().len() - hidden } else { 0 };
                http(&json!({ "Attributes": {
                    "ApproximateNumberOfMessages": visible.to_string(),
                    "ApproximateNumberOfMessagesNotVisible": hidden.to_string(),
                } }))
            }),
            mock!(Client::receive_message).then_compute_response(move |request| {
                let mut hidden = receive.hidden.lock().unwrap();
                let most = usize::try_from(request.max_number_of_messages().unwrap()).unwrap().min(GROUP_OF);
                let given = if hidden.is_empty() { most } else { 0 };
                let letters = receive.letters.lock().unwrap();
                let messages = letters.iter().take(given).map(|(id, body)| {
                    hidden.push(id.clone());
                    json!({ "MessageId": id, "ReceiptHandle": id, "Body": body,
                        "Attributes": { "MessageGroupId": "turns" } })
                });
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
                    delete.letters.lock().unwrap().retain(|(id, _)| id != entry.receipt_handle());
                    let done = DeleteMessageBatchResultEntry::builder().id(entry.id()).build().unwrap();
                    output = output.successful(done);
                }
                output.build().unwrap()
            }),
            mock!(Client::send_message_batch).then_compute_output(move |request| {
                let mut output =
                    aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput::builder()
                        .set_failed(Some(Vec::new()));
                for entry in request.entries() {
                    send.sent.fetch_add(1, Ordering::Relaxed);
                    let done = SendMessageBatchResultEntry::builder().id(entry.id()).message_id("n");
                    output = output.successful(done.md5_of_message_body("x").build().unwrap());
                }
                output.build().unwrap()
            }),
        ]
    }

    fn cloud(&self) -> Cloud {
        let [depth, receive, release, delete, send] = self.rules();
        let sqs = client!(aws_sdk_sqs, depth, receive, release, delete, send);
        let ready = document(DocumentState::Ready);
        cloud(&[ready], sqs, client!(aws_sdk_s3), client!(aws_sdk_sfn))
    }
}

fn http<O, E>(body: &Value) -> MockResponse<O, E> {
    MockResponse::Http(answer(200, body.to_string()))
}

fn queue() -> DeadLetters {
    DeadLetters {
        name: "GrantTurn".to_owned(),
        url: "http://q/dead.fifo".to_owned(),
        source: Source::Queue("http://q/source.fifo".to_owned()),
    }
}

fn releases(number: u32) -> Vec<String> {
    let reference = document(DocumentState::Ready).reference;
    let release = |attempt: u32| {
        json!({
            "schemaVersion": 2, "submissionId": reference.submission_id, "documentId": reference.document_id,
            "kind": "release", "attempt": attempt,
        })
    };
    (0..number).map(|attempt| release(attempt).to_string()).collect()
}

fn options() -> DlqRedrive {
    use clap::Parser as _;
    let all = "lectern dlq redrive --all --yes --rate 1000 --no-native".split(' ');
    let command = Cli::try_parse_from(all).unwrap().command;
    let Command::Dlq(Dlq { command: DlqCommand::Redrive(options) }) = command else { panic!("{command:?}") };
    options
}

async fn redriven(fifo: &Fifo) -> Outcome {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let console = Console::new(&mut out, &mut err, false);
    redrive(&fifo.cloud(), &queue(), &options(), &console).await.unwrap()
}

fn text(outcome: Outcome, dry_run: bool) -> String {
    let mut out = Vec::new();
    RedriveReport { dry_run, watched_s: 0, queues: vec![outcome] }.write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn list_and_dry_run_tell_how_many_they_could_not_see() {
    let fifo = Fifo::of(releases(25));
    let cloud = fifo.cloud();
    let seen = peek(&cloud, &queue(), 1000).await.unwrap();
    assert_eq!((seen.letters.len(), seen.not_seen()), (10, 15));
    let now = time::macros::datetime!(2026-11-20 14:00:00 UTC);
    let report = ListReport { queues: vec![QueueReport::new(&queue(), &seen, now)] };
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    let shown = String::from_utf8(out).unwrap();
    assert!(
        shown.contains(
            "10 may work again (of 10 that were read; about 15 not seen: the queue keeps its order"
        )
    );
    assert_eq!(serde_json::to_value(&report).unwrap()["queues"][0]["notSeen"], 15);
    let planned = plan(&cloud, &queue()).await.unwrap();
    assert_eq!((planned.sent, planned.not_seen, &planned.stopped), (10, 15, &None));
    assert!(text(planned, true).contains("about 15 not seen"));
    assert!(fifo.hidden.lock().unwrap().is_empty(), "others may see them again");
}

#[tokio::test(start_paused = true)]
async fn redrive_goes_through_the_whole_queue_if_nothing_has_to_stay() {
    let fifo = Fifo::of(releases(25));
    let outcome = redriven(&fifo).await;
    assert_eq!((outcome.sent, &outcome.stopped), (25, &None));
    assert!(fifo.ids().is_empty() && !outcome.needs_attention());
}

#[tokio::test(start_paused = true)]
async fn letter_that_stays_at_the_head_is_named_with_what_is_untouched_behind_it() {
    let mut bodies = releases(25);
    bodies.insert(12, r#"{"schemaVersion":99}"#.to_owned());
    let fifo = Fifo::of(bodies);
    let planned = plan(&fifo.cloud(), &queue()).await.unwrap();
    assert_eq!(planned.stopped, None, "it cannot see so far");
    let outcome = redriven(&fifo).await;
    assert_eq!(outcome.sent, 19, "the ten before it, and those that came with it");
    let stop = Stop::Order { kept: vec!["m12".to_owned()], untouched: 6 };
    assert_eq!(outcome.stopped, Some(stop));
    assert!(outcome.needs_attention());
    let json = serde_json::to_value(&outcome).unwrap();
    assert_eq!(json["stopped"], json!({ "because": "order", "kept": ["m12"], "untouched": 6 }));
    let shown = text(outcome, false);
    for expected in
        ["Stopped: the queue keeps its order, and about 6 messages behind", "m12", "deploy a version"]
    {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    assert_eq!(fifo.ids().len(), 7, "nothing is lost");
    let planned = plan(&fifo.cloud(), &queue()).await.unwrap();
    assert_eq!((planned.sent, planned.stopped), (6, None), "now all of it is seen");
}

#[tokio::test(start_paused = true)]
async fn queue_whose_head_is_in_other_hands_is_not_called_empty() {
    let fifo = Fifo::of(releases(3));
    fifo.hidden.lock().unwrap().push("m0".to_owned());
    let outcome = redriven(&fifo).await;
    assert_eq!(outcome.stopped, Some(Stop::Order { kept: Vec::new(), untouched: 2 }));
    let shown = text(outcome, false);
    assert!(shown.contains("another command is at work") && shown.contains("in 5 minutes"), "{shown}");
}
