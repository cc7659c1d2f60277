//! Tests of resuming a subscriber: nothing is lost, and what is skipped is counted.

use rstest::rstest;

use super::*;
use crate::steps::deliver_events::Order;

/// A backend with a paused subscriber for which three events wait.
async fn paused() -> MemoryBackend {
    let backend = subscribed(json!({})).await;
    pause_subscriber(&backend, &operator(), "portal").await.unwrap();
    deliver(&backend, &["s1", "s2", "s3"]).await;
    assert!(backend.events.take().is_empty());
    backend
}

async fn resume(backend: &MemoryBackend, from: ResumeFrom) -> Result<ResumedSubscriber, ApiError> {
    resume_subscriber(backend, &operator(), "portal", ResumeSubscriber { from }).await
}

/// Delivers what waits, and returns the subjects of the events that arrive.
async fn arriving(backend: &mut MemoryBackend) -> Vec<String> {
    let (sender, arrived) = std::sync::mpsc::channel();
    backend.endpoints = MemoryEndpoints::new(move |_, request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        sender.send(body["subject"].as_str().unwrap().to_owned()).unwrap();
        Ok(answer(204, ""))
    });
    let messages = backend.events.take();
    run(backend, messages).await;
    arrived.try_iter().collect()
}

#[tokio::test]
async fn resumed_subscriber_gets_what_has_waited() {
    let mut backend = paused().await;
    let resumed = resume(&backend, ResumeFrom::Position).await.unwrap();
    assert_eq!((resumed.events, resumed.subscriber.status), (3, SubscriberState::Active));
    assert_eq!(resumed.subscriber.deliveries.waiting, 3);
    assert_eq!(arriving(&mut backend).await, ["s1", "s2", "s3"]);
    assert_eq!(shown(&backend).await.deliveries.waiting, 0);
}

#[tokio::test]
async fn resumption_from_now_skips_what_has_waited_and_nothing_later() {
    let mut backend = paused().await;
    let resumed = resume(&backend, ResumeFrom::Now).await.unwrap();
    assert_eq!((resumed.events, resumed.subscriber.deliveries.waiting), (3, 0));
    assert_eq!(arriving(&mut backend).await, Vec::<String>::new());
    backend.events.send_events(&in_messages(&portal(), [event(&backend, "s4")])).await.unwrap();
    assert_eq!(arriving(&mut backend).await, ["s4"]);
}

#[tokio::test]
async fn disabled_subscriber_is_active_again_and_its_failures_are_forgotten() {
    let mut backend = subscribed(json!({})).await;
    backend.endpoints = answering(410);
    deliver(&backend, &["s1", "s2"]).await;
    let disabled = shown(&backend).await;
    assert_eq!(disabled.disabled_reason, Some(DisabledReason::Gone));
    backend.events.take();
    let resumed = resume(&backend, ResumeFrom::Position).await.unwrap();
    assert_eq!((resumed.events, resumed.subscriber.status), (2, SubscriberState::Active));
    assert!(resumed.subscriber.disabled_reason.is_none() && resumed.subscriber.disabled_at.is_none());
    assert!(resumed.subscriber.deliveries.failing_since.is_none());
    assert_eq!(arriving(&mut backend).await, ["s1", "s2"]);
}

#[tokio::test]
async fn active_subscriber_whose_breaker_is_open_is_retried_at_once() {
    let mut backend = subscribed(json!({ "maxInFlight": 50, "requestsPerSecond": 100 })).await;
    backend.endpoints = answering(500);
    let submissions: Vec<String> = (0..20).map(|number| format!("s{number:02}")).collect();
    deliver(&backend, &submissions.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(shown(&backend).await.deliveries.breaker_open);
    backend.events.take();
    let resumed = resume(&backend, ResumeFrom::Position).await.unwrap();
    assert!(!resumed.subscriber.deliveries.breaker_open);
    assert_eq!(resumed.events, 20);
    assert_eq!(arriving(&mut backend).await, submissions);
}

#[tokio::test]
async fn each_resumption_starts_a_run_of_its_own() {
    let backend = paused().await;
    for _ in 0..2 {
        resume(&backend, ResumeFrom::Position).await.unwrap();
    }
    let texts: Vec<String> = backend
        .events
        .take()
        .into_iter()
        .map(|message| {
            let Order::Continue { after } = message.order else { panic!("{message:?}") };
            after
        })
        .collect();
    assert!(texts.len() == 2 && texts[0] != texts[1], "SQS would take two equal messages for one: {texts:?}");
}

#[rstest]
#[case::one(1, true)]
#[case::two(2, true)]
#[case::three(3, false)]
#[tokio::test]
async fn position_is_read_again_if_another_writer_came_first(
    #[case] conflicts: usize,
    #[case] succeeds: bool,
    #[values(ResumeFrom::Position, ResumeFrom::Now)] from: ResumeFrom,
) {
    let backend = paused().await;
    for _ in 0..conflicts {
        backend.faults.cut_next("commit_deliveries", Cut::Conflict);
    }
    match resume(&backend, from).await {
        Ok(resumed) => assert!(succeeds && resumed.events == 3),
        Err(error) => {
            assert!(!succeeds);
            assert_eq!(error.problem().status, 503);
            let shown = shown(&backend).await;
            assert_eq!((shown.status, shown.deliveries.waiting), (SubscriberState::Paused, 3));
            assert!(backend.events.take().is_empty(), "no run is started");
        }
    }
}

#[rstest]
#[case("subscriber")]
#[case("delivery_state")]
#[case("commit_deliveries")]
#[case("set_status")]
#[case("send_events")]
#[tokio::test]
async fn resumption_that_broke_off_loses_nothing_and_may_be_repeated(
    #[case] call: &'static str,
    #[values(Cut::Before, Cut::After)] cut: Cut,
) {
    let mut backend = paused().await;
    backend.faults.cut_next(call, cut);
    assert_eq!(resume(&backend, ResumeFrom::Position).await.unwrap_err().problem().status, 503);
    assert_eq!(resume(&backend, ResumeFrom::Position).await.unwrap().events, 3);
    assert_eq!(arriving(&mut backend).await, ["s1", "s2", "s3"]);
}
