//! A queue that keeps an order shows no more than its head: what is behind it is told of, and never silently left.

use lectern::document::DocumentState;
use serde_json::json;

use super::{
    fake_queues::{FakeQueues, dead_letters},
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
    stack::DeadLetters,
    test_support::{client, cloud, document},
};

fn fifo_of(bodies: Vec<String>) -> FakeQueues {
    FakeQueues { is_fifo: true, ..FakeQueues::of(bodies) }
}

fn cloud_of(fifo: &FakeQueues) -> Cloud {
    cloud(&[document(DocumentState::Ready)], fifo.client(), client!(aws_sdk_s3), client!(aws_sdk_sfn))
}

fn queue() -> DeadLetters {
    dead_letters("AdmitDocument", true)
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

async fn redriven(fifo: &FakeQueues) -> Outcome {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let console = Console::new(&mut out, &mut err, false);
    redrive(&cloud_of(fifo), &queue(), &options(), &console).await.unwrap()
}

fn text(outcome: Outcome, dry_run: bool) -> String {
    let mut out = Vec::new();
    RedriveReport { dry_run, watched_s: 0, queues: vec![outcome] }.write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn list_and_dry_run_tell_how_many_they_could_not_see() {
    let fifo = fifo_of(releases(25));
    let cloud = cloud_of(&fifo);
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
    let fifo = fifo_of(releases(25));
    let outcome = redriven(&fifo).await;
    assert_eq!((outcome.sent, &outcome.stopped), (25, &None));
    assert!(fifo.ids().is_empty() && !outcome.needs_attention());
}

#[tokio::test(start_paused = true)]
async fn letter_that_stays_at_the_head_is_named_with_what_is_untouched_behind_it() {
    let mut bodies = releases(25);
    bodies.insert(12, r#"{"schemaVersion":99}"#.to_owned());
    let fifo = fifo_of(bodies);
    let planned = plan(&cloud_of(&fifo), &queue()).await.unwrap();
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
    let planned = plan(&cloud_of(&fifo), &queue()).await.unwrap();
    assert_eq!((planned.sent, planned.stopped), (6, None), "now all of it is seen");
}

#[tokio::test(start_paused = true)]
async fn queue_whose_head_is_in_other_hands_is_not_called_empty() {
    let fifo = fifo_of(releases(3));
    fifo.hidden.lock().unwrap().push("m0".to_owned());
    let outcome = redriven(&fifo).await;
    assert_eq!(outcome.stopped, Some(Stop::Order { kept: Vec::new(), untouched: 2 }));
    let shown = text(outcome, false);
    assert!(shown.contains("another command is at work") && shown.contains("in 5 minutes"), "{shown}");
}
