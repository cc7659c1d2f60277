//! The alarms about events are set off by real causes, and the message about a disabled subscriber names it.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use lectern::{
    admission::Timestamp,
    events::{self, DeliveryState, EventItem, QueuedEvent, SubscriberId},
    message::SCHEMA_VERSION,
    ports::{Clock as _, Deliveries as _, Subscribers as _},
    steps::deliver_events::{Message, Order},
};
use lectern_aws::SystemClock;
use reqwest::StatusCode;
use serde_json::json;
use time::Duration;

use crate::{alarms::Subscriber, event_receiver::Receiver, stack::Stack};

const DAY_S: u32 = 86_400;

/// An event of a change that happened so long ago.
fn old_event(age: Duration) -> QueuedEvent {
    let submission = json!({
        "submissionId": "late", "state": "Draft", "open": 0, "ready": 0, "rejected": 0, "failed": 0,
        "createdAt": "2026-11-20T12:00:00.000Z"
    });
    let item = EventItem::Submission(serde_json::from_value(submission).unwrap());
    let event = events::of_item(&item).remove(0);
    QueuedEvent { event, changed_at: Timestamp::from(SystemClock.now() - age) }
}

impl Stack {
    async fn deliver(&self, subscriber: &SubscriberId, order: Order) {
        let message = Message { schema_version: SCHEMA_VERSION, subscriber_id: subscriber.clone(), order };
        let send = self.sqs.send_message().queue_url(&self.is.queue_urls.deliver_events);
        let send = send.message_group_id(subscriber.as_str());
        send.message_body(serde_json::to_string(&message).unwrap()).send().await.unwrap();
    }
}

#[tokio::test]
async fn every_alarm_about_events_goes_off_and_a_disabled_subscriber_is_named() {
    let stack = Stack::open();
    stack.age_metrics(DAY_S).await;
    let mut alarms = Subscriber::subscribe(&stack).await;
    let none = json!({ "eventTypes": ["subscriber.disabled"] });
    let refuse = |_| (StatusCode::INTERNAL_SERVER_ERROR, None);

    let late = Receiver::subscribe(&stack, &none, refuse).await;
    let late_id: SubscriberId = late.id.parse().unwrap();
    stack.deliver(&late_id, Order::Deliver { events: vec![old_event(Duration::hours(2))] }).await;
    alarms.goes_off("EventsLateAlarm").await;

    let choosy = Receiver::subscribe(&stack, &none, refuse).await;
    let choosy_id: SubscriberId = choosy.id.parse().unwrap();
    let since = Timestamp::from(SystemClock.now() - Duration::days(4));
    let event_id = old_event(Duration::ZERO).event.id;
    let held = json!({ "number": 0, "eventId": event_id, "group": "late", "attempts": 40, "dueAt": 0, "failedSince": since });
    let state: DeliveryState =
        serde_json::from_value(json!({ "head": 1, "tail": 1, "held": [held] })).unwrap();
    let events = BTreeMap::from([(0, old_event(Duration::days(4)))]);
    stack.store.store_events(&choosy_id, &events, SystemClock.now()).await.unwrap();
    let (_, revision) = stack.store.delivery_state(&choosy_id).await.unwrap();
    stack.store.commit_deliveries(&choosy_id, &state, revision).await.unwrap();
    stack.deliver(&choosy_id, Order::Continue { after: "the test".to_owned() }).await;
    alarms.goes_off("EventsGivenUpAlarm").await;

    let gone = Receiver::subscribe(&stack, &none, |_| (StatusCode::GONE, None)).await;
    let gone_id: SubscriberId = gone.id.parse().unwrap();
    let event = old_event(Duration::ZERO);
    stack.deliver(&gone_id, Order::Deliver { events: vec![event.clone()] }).await;
    alarms.goes_off("SubscriberDisabledAlarm").await;
    let told = alarms.is_told(&gone.id).await;
    for part in
        [event.event.id.to_string().as_str(), "submission.created", "410", "lectern subscribers resume"]
    {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(stack.store.subscriber(&gone_id).await.unwrap().is_some());

    let text = |text: &str| AttributeValue::S(text.to_owned());
    let key = [("pk", text("SUBMISSION#unreadable")), ("sk", text("DOCUMENT#unreadable"))];
    let put = key.iter().fold(
        stack.dynamodb.put_item().table_name(&stack.is.table).item("state", text("Ready")),
        |put, (name, value)| put.item(*name, value.clone()),
    );
    put.send().await.unwrap();
    alarms.goes_off("UnreadableChangesAlarm").await;
    let delete = key
        .into_iter()
        .fold(stack.dynamodb.delete_item().table_name(&stack.is.table), |delete, (name, value)| {
            delete.key(name, value)
        });
    delete.send().await.unwrap();

    for receiver in [late, choosy, gone] {
        receiver.unsubscribe().await;
    }
    alarms.unsubscribe().await;
    stack.age_metrics(DAY_S).await;
}
