//! Redriving dead-letter messages: no message is lost, and none is sent in a loop.

use rstest::rstest;
use serde_json::{Value, json};

use super::{
    super::{
        queue::{REDRIVES, RUN},
        report::{Outcome, RedriveReport},
        testing::{Fake, options, task},
    },
    redrive,
};
use crate::{
    console::{Console, Report as _},
    problem::Problem,
};

const NEWER: &str = r#"{"schemaVersion":99}"#;

async fn redriven(fake: &Fake, arguments: &[&str]) -> Result<Outcome, Problem> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let console = Console::new(&mut out, &mut err, false);
    redrive(&fake.cloud(), &fake.queue, &options(arguments), &console).await
}

fn text(outcome: Outcome) -> String {
    let mut out = Vec::new();
    RedriveReport { queues: vec![outcome] }.write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn message_goes_back_as_it_was_with_a_count() {
    let fake = Fake::of([task(1), task(2)], true);
    fake.with(|state| {
        let kept = [(REDRIVES, "1"), ("trace", "t")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        state.dead[0].attributes.extend(kept);
    });
    let outcome = redriven(&fake, &[]).await.unwrap();
    assert_eq!((outcome.sent, outcome.stopped), (2, None));
    assert_eq!(fake.left().len(), 0);
    fake.with(|state| {
        let [first, second] = state.sent.as_slice() else { panic!("{state:?}") };
        assert_eq!((&first.body, &second.body), (&task(1), &task(2)), "in their original order");
        assert_eq!((first.attributes[REDRIVES].as_str(), first.attributes["trace"].as_str()), ("2", "t"));
        assert_eq!(second.attributes[REDRIVES], "1");
        assert_eq!(first.group.as_deref(), Some("group"));
        assert_eq!(
            first.once.as_deref(),
            Some("m0-redrive-2"),
            "after a killed run, the message has the same deduplication id"
        );
    });
}

#[tokio::test]
async fn message_that_could_not_be_sent_is_not_deleted() {
    let fake = Fake::of([task(1)], false);
    // Fails the third call, after the depth and the message were read.
    fake.with(|state| state.fails = Some((3, true)));
    let problem = redriven(&fake, &[]).await.unwrap_err();
    assert_eq!(problem.what, "AWS answered SendMessage with InternalError");
    assert_eq!(fake.left(), ["m0"], "and the message is visible at once");
}

/// Messages that come back to a standard queue have new ids.
#[tokio::test]
async fn redrive_stops_when_its_messages_come_straight_back() {
    let fake = Fake::of([task(1), task(2)], false);
    fake.with(|state| state.returns = true);
    let outcome = redriven(&fake, &[]).await.unwrap();
    assert_eq!(outcome.sent, 2);
    assert!(outcome.needs_attention());
    assert!(outcome.stopped.as_ref().unwrap().contains("are dead letters again"), "{outcome:?}");
    assert_eq!(fake.left().len(), 2, "the messages stay and are visible at once");
    assert!(text(outcome).contains("Stopped: 2 of the messages just sent are dead letters again."));
}

#[tokio::test]
async fn case_48_message_that_came_back_twice_is_quarantined_and_not_sent_in_a_loop() {
    let fake = Fake::of([task(1)], false);
    fake.with(|state| state.returns = true);
    for sent in [1, 2] {
        assert_eq!(redriven(&fake, &[]).await.unwrap().sent, 1);
        assert_eq!(fake.with(|state| state.sent.len()), sent);
    }
    let outcome = redriven(&fake, &[]).await.unwrap();
    assert_eq!((outcome.sent, &outcome.stopped), (0, &None));
    let key = "quarantine/dead-letters/TransferDocument/returned1.json";
    assert_eq!(outcome.quarantined, [key]);
    assert!(fake.left().is_empty());
    fake.with(|state| {
        let kept: Value = serde_json::from_str(&state.quarantined[key]).unwrap();
        assert_eq!((&kept["class"], &kept["body"]), (&json!("cameBack"), &json!(task(1))), "whole");
        assert_eq!(kept["attributes"][REDRIVES], "2");
        assert!(kept["attributes"].get(RUN).is_some());
    });
}

/// Each call to AWS fails once, before or after its effect, and then the command runs again.
#[rstest]
#[tokio::test]
async fn case_48_redrive_that_is_cut_off_at_any_call_loses_nothing(
    #[values(false, true)] is_fifo: bool,
    #[values(false, true)] before: bool,
) {
    let poison = "no json".to_owned();
    for call in 1.. {
        let fake = Fake::of([task(1), poison.clone(), NEWER.to_owned(), task(2)], is_fifo);
        fake.with(|state| state.fails = Some((call, before)));
        let _ = redriven(&fake, &[]).await;
        let was_cut_off = fake.with(|state| {
            // Messages that a killed command hid become visible after five minutes.
            state.hidden.clear();
            state.fails.take().is_some_and(|_| state.calls >= call)
        });
        redriven(&fake, &[]).await.unwrap();
        assert_eq!(fake.left(), ["m2"], "call {call}");
        fake.with(|state| {
            for body in [task(1), task(2)] {
                let sent: Vec<_> = state.sent.iter().filter(|sent| sent.body == body).collect();
                assert!((1..=2).contains(&sent.len()), "call {call}: {sent:?}");
                assert!(sent.iter().all(|one| one.once == sent[0].once), "a FIFO queue accepts it once");
            }
            assert!(state.quarantined.values().any(|kept| kept.contains(&poison)), "call {call}");
        });
        if !was_cut_off {
            assert!(call > 10, "only {call} calls were cut off");
            break;
        }
    }
}

#[tokio::test]
async fn limit_sends_a_few_first() {
    let fake = Fake::of((0..25).map(task), false);
    let outcome = redriven(&fake, &["--limit", "3"]).await.unwrap();
    assert_eq!((outcome.sent, fake.left().len()), (3, 22));
}

#[tokio::test]
async fn redrive_of_a_fifo_queue_goes_through_all_of_it_if_nothing_has_to_stay() {
    let fake = Fake::of((0..25).map(task), true);
    let outcome = redriven(&fake, &[]).await.unwrap();
    assert!(outcome.sent == 25 && fake.left().is_empty() && !outcome.needs_attention(), "{outcome:?}");
}

#[tokio::test]
async fn message_that_stays_at_the_head_of_a_fifo_queue_is_reported_with_how_many_it_hides() {
    let mut bodies: Vec<String> = (0..25).map(task).collect();
    bodies.insert(12, NEWER.to_owned());
    let fake = Fake::of(bodies, true);
    let outcome = redriven(&fake, &[]).await.unwrap();
    assert_eq!(
        (outcome.sent, outcome.not_seen),
        (19, 6),
        "the ten before it, and those received with it are sent"
    );
    assert!(outcome.needs_attention());
    let shown = text(outcome);
    for expected in ["About 6 more: the FIFO queue hides", "left: it has schema version 99; deploy a version"]
    {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    assert_eq!(fake.left().len(), 7, "nothing is lost");
}

#[tokio::test]
async fn fifo_queue_whose_head_another_command_has_received_is_not_called_empty() {
    let fake = Fake::of((0..3).map(task), true);
    fake.with(|state| state.hidden.push("m0".to_owned()));
    let outcome = redriven(&fake, &[]).await.unwrap();
    assert_eq!((outcome.sent, outcome.not_seen), (0, 2));
    let shown = text(outcome);
    assert!(
        shown.contains("that another command received") && shown.contains("less than 5 minutes ago"),
        "{shown}"
    );
}

#[tokio::test]
async fn failing_call_stops_the_redrive_and_what_was_sent_is_reported() {
    let fake = Fake::of([task(1), task(2), task(3)], true);
    // The calls: depth, messages, then sending and deleting the first message. The fifth call sends the second one.
    fake.with(|state| state.fails = Some((5, true)));
    let outcome = redriven(&fake, &[]).await.unwrap();
    assert_eq!(outcome.sent, 2);
    assert!(outcome.stopped.unwrap().starts_with("AWS answered SendMessage with InternalError. "));
    assert_eq!(fake.left(), ["m1"], "the message that was not sent is visible at once");
}
