//! Tests of replaying past events: the same ids, in pages, and only what the subscriber wants.

use rstest::rstest;

use super::*;
use crate::{
    events::{Event, EventType},
    ports::{ErasureState, Erasures as _},
    steps::deliver_events::Order,
};

fn since(from: &str) -> Replay {
    Replay { from: from.to_owned(), ..Replay::default() }
}

/// Replays all pages. Returns the numbers of their events, and the events in the queue.
async fn replayed(backend: &MemoryBackend, mut request: Replay) -> (Vec<usize>, Vec<Event>) {
    backend.events.take();
    let mut numbers = Vec::new();
    loop {
        let page = replay_events(backend, &operator(), "portal", &request).await.unwrap();
        numbers.push(page.events);
        assert!(numbers.len() < 50, "the pages end");
        let Some(cursor) = page.cursor else { break };
        request.cursor = Some(cursor);
    }
    let messages = backend.events.take().into_iter();
    let events = messages.flat_map(|message| {
        let Order::Deliver { events } = message.order else { panic!("{message:?}") };
        events
    });
    let events: Vec<QueuedEvent> = events.collect();
    assert!(events.iter().all(|queued| queued.changed_at == backend.clock.now().into()));
    let events: Vec<Event> = events.into_iter().map(|queued| queued.event).collect();
    assert_eq!(numbers.iter().sum::<usize>(), events.len());
    (numbers, events)
}

fn types(events: &[Event]) -> Vec<EventType> {
    events.iter().map(|event| event.event_type).collect()
}

/// A submission with so many rejected documents.
async fn with_documents(backend: &MemoryBackend, documents: usize) -> SubmissionId {
    backend.clock.advance(Duration::from_secs(1));
    let names: Vec<String> = (0..documents).map(|number| format!("{number}.pdf")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let created = created(backend, &teacher(), &files).await;
    let id = created.submission.submission_id;
    for file in created.pending {
        backend.arrive(&id, file.file_id, Some(damaged())).await.unwrap();
    }
    id
}

fn roomy() -> MemoryBackend {
    let mut backend = MemoryBackend::default();
    backend.quota.max_open_submissions = 1000;
    backend.quota.max_files_per_submission = 1000;
    backend
}

async fn roomy_with_portal(with: Value) -> MemoryBackend {
    let backend = roomy();
    add_subscriber(&backend, &operator(), &settings(&with)).await.unwrap();
    backend
}

#[tokio::test]
async fn replay_sends_what_the_items_say_with_the_ids_of_before() {
    let backend = subscribed(json!({})).await;
    let document = arrived(&backend, &teacher(), "a.pdf", None).await;
    make_ready(&backend, &document).await;
    let (numbers, events) = replayed(&backend, since("2026-11-20")).await;
    assert_eq!(numbers, [4]);
    let expected = [
        EventType::SubmissionCreated,
        EventType::DocumentReceived,
        EventType::DocumentReady,
        EventType::SubmissionCompleted,
    ];
    assert_eq!(types(&events), expected);
    backend.clock.advance(Duration::from_hours(24));
    assert_eq!(
        replayed(&backend, since("2026-11-20")).await.1,
        events,
        "a second replay sends the same events"
    );
    let stored = backend.store.get(&document).unwrap();
    let ids: Vec<_> =
        events::of_item(&EventItem::Document(Box::new(stored))).iter().map(|event| event.id).collect();
    assert_eq!(ids, [events[1].id, events[2].id]);
}

#[tokio::test]
async fn replay_of_a_paused_subscriber_waits() {
    let backend = subscribed(json!({})).await;
    pause_subscriber(&backend, &operator(), "portal").await.unwrap();
    created(&backend, &teacher(), &[]).await;
    assert_eq!(replay_events(&backend, &operator(), "portal", &since("2026-01-01")).await.unwrap().events, 1);
    run(&backend, backend.events.take()).await;
    assert_eq!(shown(&backend).await.deliveries.waiting, 1);
}

#[tokio::test]
async fn only_the_events_that_the_subscriber_wants_are_sent() {
    let backend = subscribed(json!({ "eventTypes": ["document.ready"], "kinds": ["document"] })).await;
    for name in ["a.pdf", "b.mp4"] {
        let document = arrived(&backend, &teacher(), name, None).await;
        make_ready(&backend, &document).await;
    }
    let (numbers, events) = replayed(&backend, since("2026-11-20")).await;
    assert_eq!((numbers, types(&events)), (vec![1], vec![EventType::DocumentReady]));
    let backend = subscribed(json!({ "eventTypes": ["document.failed"] })).await;
    arrived(&backend, &teacher(), "a.pdf", None).await;
    assert_eq!(replayed(&backend, since("2026-11-20")).await.0, [0]);
    assert!(!backend.faults.calls().contains(&"send_events"), "no message is sent for nothing");
}

#[tokio::test]
async fn submissions_are_those_that_were_created_in_the_time() {
    let backend = subscribed(json!({})).await;
    for _ in 0..4 {
        created(&backend, &teacher(), &[]).await;
        backend.clock.advance(Duration::from_mins(1));
    }
    let between = Replay {
        from: "2026-11-20T17:01:00+01:00".to_owned(),
        to: Some("2026-11-20T16:03:00Z".to_owned()),
        cursor: None,
    };
    let (_, events) = replayed(&backend, between).await;
    let times: Vec<_> = events.iter().map(|event| event.time.as_deref().unwrap()).collect();
    assert_eq!(times, ["2026-11-20T16:02:00.000Z", "2026-11-20T16:01:00.000Z"], "the newest first");
}

#[rstest]
#[case::many_submissions(&[0; 35], 4)]
#[case::exactly_one_page(&[0; 10], 1)]
#[case::one_large_submission(&[450], 3)]
#[case::large_between_small(&[1, 250, 1, 199, 1], 3)]
#[case::pages_that_end_with_a_submission(&[200, 200, 1], 3)]
#[tokio::test]
async fn every_event_is_sent_once_over_all_pages(#[case] sizes: &[usize], #[case] pages: usize) {
    let backend = roomy_with_portal(json!({})).await;
    for size in sizes {
        with_documents(&backend, *size).await;
    }
    let before = backend.faults.calls().len();
    let (numbers, events) = replayed(&backend, since("2026-11-20")).await;
    assert_eq!(numbers.len(), pages, "{numbers:?}");
    let read = backend.faults.calls().split_off(before).iter().filter(|call| **call == "documents").count();
    assert!(read <= pages * 10 + sizes.len(), "{read} calls");
    let documents: usize = sizes.iter().sum();
    let count = |event_type| types(&events).iter().filter(|is| **is == event_type).count();
    assert_eq!(count(EventType::SubmissionCreated), sizes.len());
    assert_eq!(count(EventType::DocumentRejected), documents);
    let completed = sizes.iter().filter(|size| **size > 0).count();
    assert_eq!(count(EventType::SubmissionCompleted), completed);
    let mut ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let sent = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), sent);
    // Within a submission, its creation comes first and its completion last.
    for (index, event) in events.iter().enumerate() {
        let is_of_it = |other: &Event| other.group() == event.group();
        if event.event_type == EventType::SubmissionCreated {
            assert!(!events[..index].iter().any(is_of_it));
        }
        if event.event_type == EventType::SubmissionCompleted {
            assert!(!events[index + 1..].iter().any(is_of_it));
        }
    }
}

#[tokio::test]
async fn erased_submission_is_not_replayed_also_if_a_page_has_begun_with_it() {
    let backend = roomy_with_portal(json!({})).await;
    with_documents(&backend, 1).await;
    let large = with_documents(&backend, 250).await;
    let first = replay_events(&backend, &operator(), "portal", &since("2026-11-20")).await.unwrap();
    backend.store.begin_erasure(&large, "operator", backend.clock.now()).await.unwrap();
    let erasure = backend.store.erasure(&large).await.unwrap().unwrap();
    assert_eq!(erasure.state, ErasureState::Erasing);
    backend.events.take();
    let rest = Replay { cursor: first.cursor, ..since("2026-11-20") };
    let (_, events) = replayed(&backend, rest).await;
    assert!(events.iter().all(|event| event.group() != large.as_str()));
    assert_eq!(events.len(), 3, "those of the other submission: {events:?}");
}

#[rstest]
#[case::no_time(since("yesterday"), "from must be a time")]
#[case::no_such_day(since("2026-02-30"), "from must be a time")]
#[case::bad_end(Replay { to: Some("soon".to_owned()), ..since("2026-01-01") }, "to must be a time")]
#[case::backwards(Replay { to: Some("2025-01-01".to_owned()), ..since("2026-01-01") }, "to must be later than from.")]
#[case::empty(Replay { to: Some("2026-01-01".to_owned()), ..since("2026-01-01") }, "to must be later than from.")]
#[case::made_up_cursor(Replay { cursor: Some("e30".to_owned()), ..since("2026-01-01") }, "cursor must be")]
#[case::empty_cursor(Replay { cursor: Some(String::new()), ..since("2026-01-01") }, "cursor must be")]
#[tokio::test]
async fn malformed_replay_is_refused_with_a_sentence(#[case] request: Replay, #[case] expected: &str) {
    let backend = subscribed(json!({})).await;
    let problem = replay_events(&backend, &operator(), "portal", &request).await.unwrap_err().problem();
    assert_eq!(problem.kind, "urn:problem-type:lectern:invalid-request");
    assert!(problem.detail.starts_with(expected) && problem.detail.ends_with('.'), "{}", problem.detail);
}

#[tokio::test]
async fn page_that_broke_off_may_be_repeated() {
    for call in ["submissions", "documents", "send_events"] {
        let backend = subscribed(json!({})).await;
        arrived(&backend, &teacher(), "a.pdf", None).await;
        backend.faults.cut_next(call, Cut::Before);
        let page = async || replay_events(&backend, &operator(), "portal", &since("2026-11-20")).await;
        assert_eq!(page().await.unwrap_err().problem().status, 503, "{call}");
        assert_eq!(page().await.unwrap().events, 2, "{call}");
    }
}
