//! Timers start the runs in which events are due, in pieces that SQS can delay, and no more often than needed.

use super::*;
use crate::testing::Cut;

/// The ends of the timers in seconds from the start.
fn ends(world: &World) -> Vec<i64> {
    world.timers.iter().map(|(at, _)| (*at - START).whole_seconds()).collect()
}

fn wake(seconds: u64) -> Message {
    message("portal", Order::Wake { due_at: (START + Duration::from_secs(seconds)).into() })
}

/// A subscriber that asks to wait for so many seconds, once.
fn asks_to_wait(seconds: u64) -> World {
    let mut asked = false;
    World::new(&[subscriber("portal")], move |_, _| {
        if std::mem::replace(&mut asked, true) { OK } else { Reply::RetryAfter(429, seconds.to_string()) }
    })
}

#[tokio::test]
async fn timer_ends_when_the_next_event_is_due() {
    let mut world = asks_to_wait(40);
    world.send("portal", "a1");
    world.work().await;
    assert_eq!(ends(&world), [40]);
    world.work_for(Duration::from_mins(1)).await;
    assert_eq!((world.seconds("portal"), world.timers.len()), (vec![0, 40], 0));
}

#[tokio::test]
async fn long_wait_is_split_into_pieces_of_15_minutes() {
    let mut world = asks_to_wait(3000);
    world.send("portal", "a1");
    world.work().await;
    assert_eq!(ends(&world), [900]);
    let runs = world.count("delivery_state");
    world.work_for(Duration::from_secs(2999)).await;
    assert_eq!(ends(&world), [3000]);
    assert_eq!(world.count("delivery_state"), runs, "pieces of a timer read nothing");
    world.work_for(Duration::from_secs(1)).await;
    assert_eq!(world.seconds("portal"), [0, 3000]);
}

#[tokio::test]
async fn timer_is_not_repeated_while_one_that_ends_soon_enough_is_on_its_way() {
    let mut world = asks_to_wait(600);
    for names in ["a1", "a2", "b1", "c1"] {
        world.send("portal", names);
        world.work().await;
        world.clock.advance(Duration::from_secs(10));
    }
    assert_eq!(ends(&world), [600]);
    world.work_for(Duration::from_hours(1)).await;
    assert_eq!((world.accepted("portal").len(), world.timers.len()), (4, 0));
}

#[tokio::test]
async fn timer_is_sent_again_when_a_message_is_delivered_again() {
    for cut in [Cut::Before, Cut::After] {
        let mut world = asks_to_wait(600);
        world.faults.cut_next("send_timer", cut);
        world.send("portal", "a1");
        world.visibility = Duration::from_secs(30);
        world.work().await;
        assert_eq!(ends(&world).last(), Some(&600), "{cut:?}");
        world.work_for(Duration::from_hours(1)).await;
        assert_eq!(firsts(&world.accepted("portal")), words("a1"));
    }
}

/// Seen in this test: the run that was repeated ended with another run at once, which found that a timer was on its way.
/// It had never been sent, so the event waited for the next change of any document.
#[tokio::test]
async fn timer_that_was_lost_is_sent_by_the_run_after_the_repeated_one_too() {
    let mut is_slow = false;
    let one_by_one = Subscriber { max_in_flight: 1, is_ordered: false, ..subscriber("portal") };
    let mut world = World::new(&[one_by_one], move |_, events| match events[0].as_str() {
        "a1" => Reply::Status(500),
        // The first run is fast, the second one is slow.
        "b2" if !std::mem::replace(&mut is_slow, true) => OK,
        _ if is_slow => Reply::Slow(Duration::from_secs(21)),
        _ => OK,
    });
    world.send("portal", "a1");
    world.work_for(Duration::from_mins(10)).await;
    let next = world.timers.remove(0).0;
    world.wait_until(next);

    world.faults.cut_next("send_timer", Cut::Before);
    world.visibility = Duration::from_secs(1);
    world.send("portal", "b1 b2");
    world.work().await;
    assert_eq!(firsts(&world.accepted("portal")), words("b1 b2"));
    assert_eq!(world.timers.len(), 1, "for the event that fails");
}

#[tokio::test]
async fn early_timer_waits_for_the_rest_and_a_late_one_starts_a_run() {
    let world = World::accepting(subscriber("portal"));
    world.handle(wake(60), false).await.unwrap();
    let timers = world.queue.take_timers();
    assert_eq!(timers, [(wake(60), Duration::from_mins(1))]);
    assert_eq!(world.queue.take(), []);

    world.clock.advance(Duration::from_secs(90));
    world.handle(wake(60), false).await.unwrap();
    assert_eq!(world.queue.take_timers(), []);
    let started = world.queue.take();
    assert!(matches!(started[..], [Message { order: Order::Continue { .. }, .. }]), "{started:?}");
    assert_eq!(world.count("subscriber"), 0, "the run begins in the subscriber's group");
}

/// SQS takes two messages with the same text within five minutes for one.
#[tokio::test]
async fn each_message_that_starts_a_run_has_another_text() {
    let slow = Subscriber { max_in_flight: 1, ..subscriber("portal") };
    let mut world = World::new(&[slow], |_, _| Reply::Slow(Duration::from_secs(25)));
    let mut texts = std::collections::BTreeSet::new();
    let mut number = 0;
    world.send("portal", "a1 b1 c1 d1 e1");
    while let Some(message) = world.messages.pop_front() {
        number += 1;
        assert!(texts.insert(serde_json::to_string(&message).unwrap()), "{message:?}");
        world.succeed(message).await;
    }
    assert_eq!(number, 5);
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(1));
        world.handle(wake(1), false).await.unwrap();
        assert!(texts.insert(serde_json::to_string(&world.queue.take()).unwrap()));
    }
}

/// The machine whose clock says that the timer has ended is not the one that runs.
#[tokio::test]
async fn run_whose_clock_is_behind_that_of_the_timer_sends_another_timer() {
    let mut world = asks_to_wait(40);
    world.send("portal", "a1");
    world.work().await;
    world.timers.clear();
    world.clock.advance(Duration::from_millis(39_500));
    world.messages.push_back(Message::run("portal".parse().unwrap(), "timer".to_owned()));
    world.work().await;
    assert_eq!(ends(&world), [40]);
}
