//! What the endpoints' answers mean, and that the answers of one subscriber do not concern another.

use rstest::rstest;

use super::*;
use crate::events::DisabledReason;

/// Two subscribers get the same events; the endpoint of one answers so, and that of the other accepts them.
async fn beside_another(reply: Reply, time: Duration) -> World {
    let mut world = World::new(&[subscriber("archive"), subscriber("portal")], move |subscriber, _| {
        if subscriber == "portal" { reply.clone() } else { OK }
    });
    for names in ["a1 a2 b1", "a3 c1"] {
        world.send("portal", names);
        world.send("archive", names);
    }
    world.work_for(time).await;
    let (accepted, mut all) = (world.accepted("archive"), words("a1 a2 a3 b1 c1"));
    all.sort();
    let mut sorted = accepted.clone();
    sorted.sort();
    assert_eq!(sorted, all, "the other subscriber gets everything once");
    assert!(world.seconds("archive").iter().all(|second| *second == 0), "and at once");
    world
}

#[tokio::test]
async fn case_46_subscriber_that_answers_410_is_disabled_and_operators_are_told() {
    let world = beside_another(Reply::Status(410), Duration::from_hours(1)).await;
    let at = rfc3339(START);
    assert_eq!(world.status("portal"), SubscriberStatus::Disabled { reason: DisabledReason::Gone, at });
    assert_eq!(world.status("archive"), SubscriberStatus::Active);
    assert_eq!((world.seconds("portal"), world.timers.len()), (vec![0, 0], 0), "one round");
    assert_eq!(
        (world.state("portal").waiting(), world.store.stored_events(&"portal".parse().unwrap()).len()),
        (5, 5)
    );
    let sent = world.alarms.sent();
    let [(subject, text)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(subject, "Lectern: subscriber portal is disabled");
    let event = event("b", 1).id.to_string();
    for expected in ["portal", &event, "document.received", "410", "lectern subscribers resume portal"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    for forbidden in ["https://", "whsec", "uploads"] {
        assert!(!text.contains(forbidden), "{text}");
    }
}

#[tokio::test]
async fn case_46_subscriber_that_answers_429_is_delayed() {
    let world = beside_another(Reply::RetryAfter(429, "600".to_owned()), Duration::from_mins(35)).await;
    let seconds = world.seconds("portal");
    assert!(seconds.iter().all(|second| [0, 600, 1200, 1800].contains(second)), "{seconds:?}");
    assert_eq!((world.status("portal"), world.state("portal").waiting()), (SubscriberStatus::Active, 5));
    assert!(!world.state("portal").summary().breaker_open);
}

#[rstest]
#[case::slow(Reply::Nothing, None)]
#[case::redirect(Reply::Status(302), Some(302))]
#[case::permanent_redirect(Reply::Status(308), Some(308))]
#[case::refusal(Reply::Status(400), Some(400))]
#[case::not_found(Reply::Status(404), Some(404))]
#[case::failure(Reply::Status(500), Some(500))]
#[case::unavailable(Reply::Status(503), Some(503))]
#[case::informational(Reply::Status(101), Some(101))]
#[tokio::test]
async fn case_46_any_other_answer_and_none_are_failures(#[case] reply: Reply, #[case] status: Option<u16>) {
    let world = beside_another(reply, Duration::from_mins(30)).await;
    let summary = world.state("portal").summary();
    assert_eq!((summary.waiting, summary.retrying[0].status), (5, status));
    assert!(summary.breaker_open && summary.retrying[0].attempts > 2);
    assert_eq!(world.status("portal"), SubscriberStatus::Active);
}

#[rstest]
#[case(200)]
#[case(201)]
#[case(202)]
#[case(204)]
#[case(299)]
#[tokio::test]
async fn any_2xx_is_a_delivery(#[case] status: u16) {
    let world = beside_another(Reply::Status(status), Duration::from_mins(1)).await;
    assert_eq!((world.state("portal").waiting(), world.seconds("portal").len()), (0, 5));
}

#[tokio::test]
async fn status_503_without_a_usable_time_is_a_failure_of_the_endpoint() {
    let world = beside_another(Reply::RetryAfter(503, "soon".to_owned()), Duration::from_mins(30)).await;
    assert!(world.state("portal").summary().breaker_open);
}

/// When the next request comes, in seconds.
#[rstest]
#[case::seconds(429, "90", 90)]
#[case::date(429, "Fri, 20 Nov 2026 16:01:30 GMT", 90)]
#[case::date_in_the_past(429, "Fri, 20 Nov 2020 16:01:30 GMT", 5)]
#[case::zero(429, "0", 5)]
#[case::negative(429, "-30", 5)]
#[case::garbage(429, "soon", 5)]
#[case::empty(429, "", 5)]
#[case::far_too_long(429, "99999999999", 86_400)]
#[case::unavailable(503, "90", 90)]
#[case::of_another_status(500, "90", 5)]
#[case::of_a_redirect(301, "90", 5)]
#[tokio::test]
async fn case_46_retry_after_is_honoured_and_bounded(
    #[case] status: u16,
    #[case] after: &str,
    #[case] next: i64,
) {
    let after = after.to_owned();
    let mut world = World::new(&[subscriber("portal")], move |_, _| Reply::RetryAfter(status, after.clone()));
    world.send("portal", "a1");
    world.work_for(Duration::from_hours(24)).await;
    assert_eq!(world.seconds("portal")[..2], [0, next]);
}

#[tokio::test]
async fn subscriber_that_never_answers_for_three_days_is_disabled_and_gets_everything_when_it_is_back() {
    let is_back = Arc::new(Mutex::new(false));
    let back = is_back.clone();
    let mut world =
        World::new(&[subscriber("portal")], move |_, _| if *lock(&back) { OK } else { Reply::Nothing });
    world.send("portal", "a1 a2 b1");
    world.work_for(Duration::from_hours(71)).await;
    assert_eq!(world.status("portal"), SubscriberStatus::Active);
    world.work_for(Duration::from_hours(6)).await;
    let SubscriberStatus::Disabled { reason: DisabledReason::Unreachable, .. } = world.status("portal")
    else {
        panic!("{:?}", world.status("portal"))
    };
    assert!(world.alarms.sent()[0].1.contains("The last status was none."));
    let requests = world.seconds("portal").len();
    world.send("portal", "c1");
    world.work_for(Duration::from_hours(24 * 7)).await;
    assert_eq!(world.seconds("portal").len(), requests, "no request while it is disabled");

    *lock(&is_back) = true;
    assert_eq!(world.resume("portal"), 4);
    world.work().await;
    let accepted = world.accepted("portal");
    assert_eq!(accepted.len(), 4);
    assert!(accepted.iter().position(|name| name == "a1") < accepted.iter().position(|name| name == "a2"));
}

#[tokio::test]
async fn poisonous_event_is_given_up_after_three_days_and_counted_and_the_next_one_is_sent() {
    let mut world =
        World::new(
            &[subscriber("portal")],
            |_, events| {
                if events == ["a1"] { Reply::Status(422) } else { OK }
            },
        );
    world.send("portal", "a1 a2 b1");
    for hour in 1..80u32 {
        world.work_for(Duration::from_hours(1)).await;
        world.send("portal", if hour % 2 == 0 { "b2" } else { "c1" });
    }
    world.work_for(Duration::from_hours(1)).await;
    let summary = world.state("portal").summary();
    assert_eq!((summary.waiting, summary.dead_letters), (0, 1));
    assert!(world.accepted("portal").contains(&"a2".to_owned()));
    assert_eq!(world.status("portal"), SubscriberStatus::Active);
    assert!(world.seconds("portal").len() < 120, "the waits grow");
}

/// Collects log lines.
#[derive(Clone, Debug, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn case_53_log_names_subscriber_event_and_status_but_neither_url_nor_secret_nor_signature() {
    let logged = Logged::default();
    let writer = logged.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(log);
    let world = beside_another(Reply::Status(500), Duration::from_mins(1)).await;
    beside_another(Reply::Nothing, Duration::from_mins(1)).await;
    beside_another(Reply::Status(410), Duration::from_mins(1)).await;
    drop(guard);
    let text = String::from_utf8(lock(&logged.0).clone()).unwrap();
    let event = event("a", 1).id.to_string();
    for expected in ["A delivery has failed", "The subscriber is disabled", "portal", "500", &event] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let stored = at_once(world.store.subscriber(&"portal".parse().unwrap())).unwrap();
    let secret = stored.shown_secret().secret.unwrap();
    for forbidden in ["https://", "portal.example", &secret["whsec_".len()..], "v1,", "uploads"] {
        assert!(!text.contains(forbidden), "{forbidden}: {text}");
    }
}
