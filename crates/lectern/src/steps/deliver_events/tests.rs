//! Messages become requests to subscribers, whatever is interrupted.

mod chaos;
mod crashes;
mod endpoints;
mod timers;
mod world;

use std::sync::{Arc, Mutex};

use self::world::*;
use super::*;
use crate::{
    events::tests::fixtures::{at_once, event, subscriber},
    testing::{lock, world::START},
};

#[tokio::test]
async fn events_are_delivered_and_nothing_is_stored_but_the_position() {
    let mut world = World::accepting(subscriber("portal"));
    world.send("portal", "a1 a2 b1");
    world.work().await;
    assert_eq!(world.accepted("portal"), words("a1 b1 a2"));
    assert_eq!((world.count("store_events"), world.count("delete_events"), world.runs), (0, 0, 1));
    assert_eq!((world.state("portal").waiting(), world.timers.len()), (0, 0));
}

#[tokio::test]
async fn events_that_wait_are_sent_before_new_ones_of_their_submission() {
    let mut is_down = true;
    let mut world = World::new(&[subscriber("portal")], move |_, _| {
        if std::mem::take(&mut is_down) { Reply::Status(500) } else { OK }
    });
    world.send("portal", "a1 a2");
    world.send("portal", "a3 b1");
    world.work_for(Duration::from_mins(1)).await;
    assert_eq!(world.accepted("portal"), words("b1 a1 a2 a3"));
    let id = "portal".parse().unwrap();
    assert!(world.store.stored_events(&id).is_empty(), "delivered events are deleted");
}

#[tokio::test]
async fn removed_subscriber_gets_nothing_and_its_message_is_done() {
    let mut world = World::accepting(subscriber("portal"));
    at_once(world.store.remove_subscriber(&"portal".parse().unwrap()));
    world.send("portal", "a1");
    world.messages.push_back(message("portal", Order::Wake { due_at: START.into() }));
    world.work().await;
    assert_eq!(world.accepted("portal"), words(""));
    let writes = ["commit_deliveries", "store_events", "send_timer"].map(|call| world.count(call));
    assert_eq!(writes, [0, 0, 0]);
}

#[tokio::test]
async fn paused_subscriber_is_sent_nothing_and_its_events_are_stored_until_it_is_resumed() {
    let mut world = World::accepting(Subscriber { status: SubscriberStatus::Paused, ..subscriber("portal") });
    world.send("portal", "a1 a2");
    world.send("portal", "b1");
    world.work().await;
    assert_eq!((world.accepted("portal").len(), world.state("portal").waiting()), (0, 3));
    let id = "portal".parse().unwrap();
    assert_eq!(world.store.stored_events(&id).len(), 3);
    assert_eq!((world.messages.len(), world.timers.len()), (0, 0), "nothing runs while it is paused");

    world.clock.advance(Duration::from_hours(24 * 7));
    assert_eq!(world.resume("portal"), 3);
    world.work().await;
    assert_eq!(world.accepted("portal"), words("a1 b1 a2"));
    assert!(world.store.stored_events(&id).is_empty());
}

#[tokio::test]
async fn subscriber_that_is_paused_while_events_are_repeated_gets_no_more_of_them() {
    let mut world = World::new(&[subscriber("portal")], |_, _| Reply::Status(500));
    world.send("portal", "a1");
    world.work().await;
    at_once(world.store.set_status(&"portal".parse().unwrap(), &SubscriberStatus::Paused));
    world.work_for(Duration::from_hours(24 * 7)).await;
    assert_eq!((world.seconds("portal"), world.timers.len()), (vec![0], 0));
    assert_eq!(world.state("portal").waiting(), 1);
}

#[tokio::test]
async fn run_begins_no_further_round_after_20_seconds_and_another_run_goes_on() {
    let subscriber = Subscriber { max_in_flight: 1, ..subscriber("portal") };
    let mut world = World::new(&[subscriber], |_, _| Reply::Slow(Duration::from_secs(9)));
    world.send("portal", "a1 b1 c1 d1 e1");
    world.work().await;
    assert_eq!(world.accepted("portal"), words("a1 b1 c1 d1 e1"));
    assert_eq!((world.seconds("portal"), world.runs), (vec![0, 9, 18, 27, 36], 2));
}

#[tokio::test]
async fn run_sends_no_more_than_the_rate_allows_and_a_timer_goes_on() {
    let slow = Subscriber { requests_per_second: 1.0, ..subscriber("portal") };
    let mut world = World::accepting(slow);
    world.send("portal", "a1 b1 c1 d1 e1 a2 b2");
    world.work_for(Duration::from_mins(1)).await;
    // At the start also those of the two seconds before.
    assert_eq!(world.seconds("portal"), [0, 0, 0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn batch_waits_in_the_store_and_a_timer_sends_it() {
    let batches = Subscriber { max_batch: 3, max_batch_wait_seconds: 30, ..subscriber("portal") };
    let mut world = World::accepting(batches);
    world.send("portal", "a1 a2 b1 c1");
    world.work_for(Duration::from_mins(1)).await;
    let received = lock(&world.received).clone();
    let requests: Vec<_> =
        received.iter().map(|it| (it.events.join(" "), (it.at - START).whole_seconds())).collect();
    assert_eq!(requests, [("a1 a2 b1".to_owned(), 0), ("c1".to_owned(), 30)]);
}

#[tokio::test]
async fn event_that_expired_in_the_store_is_skipped() {
    let mut is_down = true;
    let mut world = World::new(&[subscriber("portal")], move |_, _| {
        if std::mem::take(&mut is_down) { Reply::Status(500) } else { OK }
    });
    world.send("portal", "a1 a2");
    world.work().await;
    at_once(world.store.delete_events(&"portal".parse().unwrap(), &[0]));
    world.work_for(Duration::from_mins(1)).await;
    assert_eq!((world.accepted("portal"), world.state("portal").waiting()), (words("a2"), 0));
}

#[tokio::test]
async fn many_events_behind_a_failing_one_start_no_run_and_delay_no_other_submission() {
    let mut world =
        World::new(
            &[subscriber("portal")],
            |_, events| {
                if events == ["a0"] { Reply::Status(400) } else { OK }
            },
        );
    let names: Vec<String> = (0..40).map(|number| format!("a{number}")).collect();
    world.send("portal", &names.join(" "));
    world.work_for(Duration::from_hours(1)).await;
    let runs = world.runs;
    world.send("portal", "b1 c1");
    world.work_for(Duration::from_secs(1)).await;
    assert_eq!(world.accepted("portal"), words("b1 c1"));
    assert!(runs < 40, "{runs} runs for ten requests");
}
