//! Events reach subscribers: signed, in order, isolated from each other, and without loss.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::Person,
    content::text,
    event_receiver::{Receiver, by_id},
    hand_in::hand_in,
    stack::Stack,
    wait::{LATER, eventually},
};

const OF_A_READY_LESSON: [&str; 4] = [
    "lectern.submission.created.v1",
    "lectern.document.received.v1",
    "lectern.document.ready.v1",
    "lectern.submission.completed.v1",
];

fn accept(_: usize) -> (StatusCode, Option<&'static str>) {
    (StatusCode::NO_CONTENT, None)
}

/// Hands in a lesson with one file, and returns the submission's id.
async fn lesson(stack: &Stack) -> String {
    let handed_in = hand_in(stack, Person::Teacher, "plan.txt", &text()).await;
    handed_in.path.rsplit('/').next().unwrap().to_owned()
}

fn sorted(mut types: Vec<String>) -> Vec<String> {
    types.sort();
    types
}

#[tokio::test]
async fn subscriber_hears_of_a_lesson_from_its_creation_to_its_completion() {
    let stack = Stack::open();
    let receiver = Receiver::subscribe(&stack, &json!({}), accept).await;
    let submission = lesson(&stack).await;
    receiver.hears(&submission, OF_A_READY_LESSON[3]).await;
    let expected = OF_A_READY_LESSON.map(str::to_owned).to_vec();
    assert_eq!(sorted(receiver.types_of(&submission)), sorted(expected));
    for event in receiver.events_of(&submission) {
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["source"], format!("urn:lectern:{}", stack.is.stack_name));
        assert!(!event.to_string().contains("plan.txt") && !event.to_string().contains("Rivers"), "{event}");
    }
    receiver.unsubscribe().await;
}

#[tokio::test]
async fn case_46_subscriber_that_fails_delays_no_other() {
    let stack = Stack::open();
    let types = json!({ "eventTypes": ["document.ready"] });
    let ready = OF_A_READY_LESSON[2];
    let failing = [
        Receiver::subscribe(&stack, &types, |_| (StatusCode::INTERNAL_SERVER_ERROR, None)).await,
        Receiver::subscribe(&stack, &types, |_| (StatusCode::TOO_MANY_REQUESTS, Some("3600"))).await,
        Receiver::subscribe(&stack, &types, |_| (StatusCode::FOUND, None)).await,
    ];
    let gone = Receiver::subscribe(&stack, &types, |_| (StatusCode::GONE, None)).await;
    let healthy = Receiver::subscribe(&stack, &types, accept).await;
    let submission = lesson(&stack).await;
    healthy.hears(&submission, ready).await;
    for receiver in &failing {
        eventually("the delivery is tried again", LATER, async || {
            let shown = receiver.shown().await;
            let is_held = shown["deliveries"]["retryingCount"].as_u64().is_some_and(|count| count > 0);
            if is_held && shown["status"] == "active" { Ok(()) } else { Err(shown.to_string()) }
        })
        .await;
    }
    let limited = failing[1].requests();
    eventually("410 disables", LATER, async || {
        let shown = gone.shown().await;
        if shown["status"] == "disabled" && shown["disabledReason"] == "gone" {
            Ok(())
        } else {
            Err(shown.to_string())
        }
    })
    .await;
    assert!(gone.shown().await["deliveries"]["waiting"].as_u64().unwrap() > 0, "its events wait");
    assert!(failing[1].requests() <= limited + 1, "Retry-After is honoured");
    for receiver in failing {
        receiver.unsubscribe().await;
    }
    gone.unsubscribe().await;
    healthy.unsubscribe().await;
}

#[tokio::test]
async fn paused_subscriber_loses_nothing_and_catches_up_when_it_is_resumed() {
    let stack = Stack::open();
    let receiver = Receiver::subscribe(&stack, &json!({ "maxBatch": 10 }), accept).await;
    receiver.call(Method::POST, "/pause", &Value::Null).await;
    let submission = lesson(&stack).await;
    eventually("the events wait", LATER, async || {
        let waiting = receiver.shown().await["deliveries"]["waiting"].as_u64().unwrap();
        if waiting >= 4 { Ok(()) } else { Err(waiting.to_string()) }
    })
    .await;
    assert_eq!(receiver.requests(), 0);
    let resumed = receiver.call(Method::POST, "/resume", &json!({ "from": "position" })).await;
    assert!(resumed["events"].as_u64().unwrap() >= 4, "{resumed}");
    receiver.hears(&submission, OF_A_READY_LESSON[3]).await;
    assert_eq!(receiver.types_of(&submission).len(), 4);
    receiver.unsubscribe().await;
}

#[tokio::test]
async fn case_47_replay_sends_the_same_events_with_the_same_ids() {
    let stack = Stack::open();
    let receiver = Receiver::subscribe(&stack, &json!({}), accept).await;
    let submission = lesson(&stack).await;
    receiver.hears(&submission, OF_A_READY_LESSON[3]).await;
    let before = receiver.events_of(&submission);
    let created = stack.read_as(Person::Teacher, &format!("/v1/submissions/{submission}")).await;
    let from = created["submission"]["createdAt"].as_str().unwrap();
    let mut request = json!({ "from": from });
    loop {
        let page = receiver.call(Method::POST, "/replay", &request).await;
        match page["cursor"].as_str() {
            Some(cursor) => request["cursor"] = cursor.into(),
            None => break,
        }
    }
    eventually("every event comes again", LATER, async || {
        let all = receiver.events_of(&submission);
        if all.len() == 2 * before.len() { Ok(()) } else { Err(all.len().to_string()) }
    })
    .await;
    for (id, events) in by_id(&receiver.events_of(&submission)) {
        assert_eq!(events.len(), 2, "{id}");
        assert_eq!(events[0], events[1]);
    }
    receiver.unsubscribe().await;
}

/// Subscribers with the kinds of trouble that the issue of this feature names, and many lessons at the same time.
#[tokio::test]
async fn nothing_is_lost_or_reordered_while_subscribers_are_down_slow_limited_and_lie() {
    let stack = Arc::new(Stack::open());
    // Documents are registered and become ready one after the other, so the order of these two is known.
    let types = json!({ "eventTypes": ["document.received", "document.ready"], "requestsPerSecond": 100 });
    let expected = [OF_A_READY_LESSON[1], OF_A_READY_LESSON[2]];
    let receivers = [
        // Down for its first requests.
        Receiver::subscribe(&stack, &types, |number| match number {
            0..=3 => (StatusCode::SERVICE_UNAVAILABLE, None),
            _ => (StatusCode::OK, None),
        })
        .await,
        // Limited, with and without a time.
        Receiver::subscribe(&stack, &types, |number| match number % 4 {
            0 => (StatusCode::TOO_MANY_REQUESTS, Some("1")),
            2 => (StatusCode::TOO_MANY_REQUESTS, Some("soon")),
            _ => (StatusCode::OK, None),
        })
        .await,
        // Refuses at random what it has accepted before, and accepts what it has refused.
        Receiver::subscribe(&stack, &types, |number| match number % 3 {
            1 => (StatusCode::BAD_REQUEST, None),
            _ => (StatusCode::OK, None),
        })
        .await,
        Receiver::subscribe(&stack, &types, accept).await,
    ];
    let mut submissions = Vec::new();
    for _ in 0..6 {
        submissions.push(lesson(&stack).await);
    }
    for receiver in &receivers {
        for submission in &submissions {
            receiver.hears(submission, expected[1]).await;
            assert_eq!(receiver.types_of(submission), expected, "{}", receiver.id);
            for events in by_id(&receiver.events_of(submission)).values() {
                assert!(events.iter().all(|event| *event == events[0]), "one id, one event: {events:?}");
            }
        }
    }
    for receiver in receivers {
        receiver.unsubscribe().await;
    }
}
