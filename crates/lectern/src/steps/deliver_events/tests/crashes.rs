//! Whichever call is interrupted, no event is lost, and each submission's events keep their order.

use super::*;
use crate::testing::Cut;

const CUTS: [Cut; 3] = [Cut::Before, Cut::After, Cut::Conflict];

/// Each call that the scenario makes, and how often.
async fn calls_of(play: impl AsyncFn(&mut World), new: impl Fn() -> World) -> BTreeMap<&'static str, usize> {
    let mut world = new();
    let before = world.faults.calls().len();
    play(&mut world).await;
    let mut calls = BTreeMap::new();
    for call in &world.faults.calls()[before..] {
        *calls.entry(*call).or_default() += 1;
    }
    calls
}

/// Plays the scenario once for each call, interrupted there.
async fn interrupted_everywhere(
    new: impl Fn() -> World,
    play: impl AsyncFn(&mut World),
    expected_calls: &[&'static str],
    check: impl Fn(&World, &str),
) {
    let calls = calls_of(&play, &new).await;
    for call in expected_calls {
        assert!(calls.contains_key(call), "{call} is never made: {calls:?}");
    }
    for (call, times) in calls {
        for nth in 0..times {
            for cut in CUTS {
                for visibility in [Duration::ZERO, Duration::from_mins(6)] {
                    let mut world = new();
                    world.visibility = visibility;
                    world.faults.cut_nth(call, nth, cut);
                    play(&mut world).await;
                    check(&world, &format!("{call} {nth} {cut:?}, again after {visibility:?}"));
                }
            }
        }
    }
}

fn assert_in_order(world: &World, expected: &str, at: &str) {
    let accepted = firsts(&world.accepted("portal"));
    let mut sorted = accepted.clone();
    sorted.sort();
    let mut all = words(expected);
    all.sort();
    assert_eq!(sorted, all, "{at}: each is delivered, and no other");
    for submission in ["a", "b", "c"] {
        let own: Vec<_> = accepted.iter().filter(|name| name.starts_with(submission)).collect();
        assert!(own.is_sorted(), "{at}: {accepted:?}");
    }
}

fn assert_done(world: &World, at: &str) {
    let mut state = world.state("portal");
    state.advance_to(world.clock.now() + Duration::from_hours(1));
    assert_eq!((state.waiting(), state.summary().in_flight), (0, 0), "{at}");
    assert!(world.messages.is_empty() && world.timers.is_empty(), "{at}");
}

/// Refuses the first request with each of these events.
fn refusing_once(names: &str) -> impl FnMut(&str, &[String]) -> Reply + Send + 'static {
    let mut refused = words(names);
    move |_, events| {
        let before = refused.len();
        refused.retain(|name| !events.contains(name));
        if refused.len() < before { Reply::Status(500) } else { OK }
    }
}

async fn two_messages(world: &mut World) {
    world.send("portal", "a1 a2 b1");
    world.work().await;
    world.send("portal", "a3 c1");
    world.work_for(Duration::from_hours(2)).await;
}

#[tokio::test]
async fn case_19_case_20_crash_at_any_call_loses_no_event_and_keeps_the_order() {
    interrupted_everywhere(
        || World::new(&[subscriber("portal")], refusing_once("a1 c1")),
        two_messages,
        &[
            "subscriber",
            "delivery_state",
            "commit_deliveries",
            "waiting_events",
            "store_events",
            "delete_events",
            "send_events",
            "send_timer",
        ],
        |world, at| {
            assert_in_order(world, "a1 a2 a3 b1 c1", at);
            assert_done(world, at);
        },
    )
    .await;
}

#[tokio::test]
async fn case_20_crash_at_any_call_of_batches_without_order_loses_no_event() {
    let batches = || Subscriber {
        is_ordered: false,
        max_batch: 3,
        max_batch_wait_seconds: 5,
        max_in_flight: 2,
        ..subscriber("portal")
    };
    interrupted_everywhere(
        || World::new(&[batches()], refusing_once("b1")),
        two_messages,
        &["store_events", "delete_events", "send_timer"],
        |world, at| {
            let mut accepted = firsts(&world.accepted("portal"));
            accepted.sort();
            assert_eq!(accepted, words("a1 a2 a3 b1 c1"), "{at}");
            assert_done(world, at);
        },
    )
    .await;
}

#[tokio::test]
async fn case_20_crash_at_any_call_of_a_slow_run_loses_no_event() {
    let slow = || Subscriber { max_in_flight: 1, ..subscriber("portal") };
    interrupted_everywhere(
        || World::new(&[slow()], |_, _| Reply::Slow(Duration::from_secs(15))),
        two_messages,
        &["send_events", "store_events", "waiting_events"],
        |world, at| {
            assert_in_order(world, "a1 a2 a3 b1 c1", at);
            assert_done(world, at);
        },
    )
    .await;
}

#[tokio::test]
async fn crash_while_a_subscriber_is_paused_loses_no_event() {
    interrupted_everywhere(
        || World::accepting(Subscriber { status: SubscriberStatus::Paused, ..subscriber("portal") }),
        async |world| {
            two_messages(world).await;
            assert_eq!(world.accepted("portal"), words(""), "nothing is sent");
            world.resume("portal");
            world.work_for(Duration::from_hours(1)).await;
        },
        &["store_events", "commit_deliveries"],
        |world, at| {
            assert_in_order(world, "a1 a2 a3 b1 c1", at);
            assert_done(world, at);
        },
    )
    .await;
}

/// Seen in this test: after a crash between the new status and the alarm, nobody was told.
#[tokio::test]
async fn case_46_crash_while_a_subscriber_is_disabled_loses_neither_an_event_nor_the_alarm() {
    let gone_once = || {
        let mut reply = refusing_once("b1");
        World::new(&[subscriber("portal")], move |subscriber, events| match reply(subscriber, events) {
            Reply::Status(500) => Reply::Status(410),
            Reply::Status(_) | Reply::RetryAfter(..) | Reply::Slow(_) | Reply::Nothing => OK,
        })
    };
    interrupted_everywhere(
        gone_once,
        async |world| {
            two_messages(world).await;
            if world.status("portal") != SubscriberStatus::Active {
                assert_ne!(world.alarms.sent(), [], "operators do not know");
            }
            world.resume("portal");
            world.work_for(Duration::from_hours(1)).await;
        },
        &["set_status", "alarm", "store_events"],
        |world, at| {
            assert_in_order(world, "a1 a2 a3 b1 c1", at);
            assert_done(world, at);
            assert_eq!(world.status("portal"), SubscriberStatus::Active, "{at}");
            assert!(world.alarms.sent().len() <= 2, "{at}: once for each time that the endpoint was asked");
        },
    )
    .await;
}

/// Each subscriber has its own messages, so a crash of one run concerns one subscriber.
#[tokio::test]
async fn crash_of_one_subscribers_run_delivers_nothing_twice_to_another() {
    let mut world = World::new(&[subscriber("archive"), subscriber("portal")], |_, _| OK);
    world.send("archive", "a1");
    world.send("portal", "a1");
    world.faults.cut_nth("commit_deliveries", 3, Cut::Before);
    world.work_for(Duration::from_hours(1)).await;
    assert_eq!((world.accepted("archive"), world.accepted("portal")), (words("a1"), words("a1 a1")));
}

#[tokio::test]
async fn operator_who_resumes_during_a_run_loses_no_event() {
    let mut world = World::new(&[subscriber("portal")], refusing_once("a1 b1"));
    world.send("portal", "a1 a2 b1");
    world.work().await;
    // The operator's write comes between the run's read and its write.
    world.send("portal", "c1");
    world.faults.cut_next("commit_deliveries", Cut::Conflict);
    let message = world.messages.pop_front().unwrap();
    world.handle(message.clone(), false).await.unwrap_err();
    assert_eq!(world.resume("portal"), 3);
    world.messages.push_front(message);
    world.work_for(Duration::from_hours(1)).await;
    assert_in_order(&world, "a1 a2 b1 c1", "resumed");
    assert_done(&world, "resumed");
}
