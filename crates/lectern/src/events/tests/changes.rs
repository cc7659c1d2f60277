//! Each change of an item is the events that it is meant to be, and no others.

use std::collections::BTreeSet;

use rstest::rstest;
use time::Duration;

use super::{
    super::*,
    fixtures::{Deed, Stream, Version, event, perform, subscriber},
};
use crate::{
    document::submission::Submission,
    error::rfc3339,
    ports::{Erasures as _, HandIn as _, NewSubmission},
    testing::{MemoryStore, world::START},
};

const FIRST: Version = Version { submission: 0, file: 0, number: 1 };
const NEWER: Version = Version { number: 2, ..FIRST };

/// The events of the changes that these deeds make, one list for each deed, as `<type>` or, of the newer version,
/// `newer <type>`.
fn events_of(deeds: &[(Version, Deed)]) -> Vec<Vec<String>> {
    let (store, mut stream) = (MemoryStore::default(), Stream::default());
    let mut all = Vec::new();
    for ((version, deed), second) in deeds.iter().zip(1..) {
        perform(&store, *version, *deed, START + Duration::seconds(second));
        let changes = stream.changes(&store, 1);
        let mut names: Vec<String> = changes
            .iter()
            .flat_map(|(old, new)| of_change(old.as_ref(), new))
            .map(|event| {
                let is_newer = event.subject().ends_with(&NEWER.reference().document_id.to_string());
                format!("{}{}", if is_newer { "newer " } else { "" }, event.event_type)
            })
            .collect();
        names.sort();
        all.push(names);
    }
    all
}

/// The events of the last deed.
fn last_of(deeds: &[(Version, Deed)]) -> Vec<String> {
    events_of(deeds).pop().unwrap()
}

const ACCEPTED: Deed = Deed::Register { acceptable: true };
const REFUSED: Deed = Deed::Register { acceptable: false };
const READY: Deed = Deed::Finish { ready: true };
const FAILED: Deed = Deed::Finish { ready: false };
const REDRIVEN: Deed = Deed::Reopen { discard_result: false };

#[rstest]
#[case::registered(&[ACCEPTED], &["document.received", "submission.created"])]
#[case::rejected(&[REFUSED], &["document.rejected", "submission.completed", "submission.created"])]
#[case::ready(&[ACCEPTED, READY], &["document.ready", "submission.completed"])]
#[case::failed(&[ACCEPTED, FAILED], &["document.failed", "submission.completed"])]
#[case::redriven(&[ACCEPTED, FAILED, REDRIVEN], &["document.redriven"])]
#[case::redriven_while_open(&[ACCEPTED, REDRIVEN], &["document.redriven"])]
#[case::redriven_twice(&[ACCEPTED, REDRIVEN, REDRIVEN], &["document.redriven"])]
#[case::ready_after_a_redrive(&[ACCEPTED, FAILED, REDRIVEN, READY], &["document.ready", "submission.completed"])]
#[case::failed_again(&[ACCEPTED, FAILED, REDRIVEN, FAILED], &["document.failed", "submission.completed"])]
#[case::withdrawn(&[ACCEPTED, FAILED, Deed::Withdraw], &["document.withdrawn", "submission.completed"])]
#[case::withdrawn_after_a_rejection(&[REFUSED, Deed::Withdraw], &["document.withdrawn", "submission.completed"])]
#[case::registered_twice(&[ACCEPTED, ACCEPTED], &[])]
#[case::ended_twice(&[ACCEPTED, READY, FAILED], &[])]
fn change_of_a_document_is_these_events(#[case] deeds: &[Deed], #[case] expected: &[&str]) {
    let deeds: Vec<_> = deeds.iter().map(|deed| (FIRST, *deed)).collect();
    assert_eq!(last_of(&deeds), expected);
}

#[test]
fn step_of_the_workflow_that_ends_nothing_is_no_event() {
    let steps = [
        Deed::BeginTransfer(1),
        Deed::BeginTransfer(2),
        Deed::RecordJob(2),
        Deed::AwaitCallback,
        Deed::RecordResult { succeeded: true },
        Deed::BeginVerify,
        Deed::BeginNormalize,
    ];
    let deeds: Vec<_> = [ACCEPTED].into_iter().chain(steps).map(|deed| (FIRST, deed)).collect();
    for (step, events) in steps.iter().zip(&events_of(&deeds)[1..]) {
        assert_eq!(*events, [""; 0], "{step:?}");
    }
    assert_eq!(
        last_of(&[(FIRST, ACCEPTED), (FIRST, Deed::RecordResult { succeeded: false })]),
        [""; 0],
        "the document has not failed yet"
    );
}

#[test]
fn newer_version_supersedes_the_one_before_whatever_its_state() {
    let newer = ["document.superseded", "newer document.received"];
    assert_eq!(last_of(&[(FIRST, ACCEPTED), (NEWER, ACCEPTED)]), newer);
    assert_eq!(last_of(&[(FIRST, ACCEPTED), (FIRST, READY), (NEWER, ACCEPTED)]), newer);
    assert_eq!(
        last_of(&[(FIRST, ACCEPTED), (NEWER, ACCEPTED), (FIRST, READY)]),
        ["document.ready"],
        "a superseded document does not count"
    );
    assert_eq!(
        last_of(&[(FIRST, ACCEPTED), (NEWER, REFUSED)]),
        ["document.superseded", "newer document.rejected", "submission.completed"]
    );
}

#[test]
fn older_version_that_arrives_late_is_rejected_and_superseded() {
    assert_eq!(
        last_of(&[(NEWER, ACCEPTED), (FIRST, ACCEPTED)]),
        ["document.rejected", "document.superseded"]
    );
}

#[test]
fn data_says_what_has_happened_and_nothing_of_later_changes() {
    let (store, mut stream) = (MemoryStore::default(), Stream::default());
    let mut events = Vec::new();
    for (version, deed) in [(FIRST, ACCEPTED), (FIRST, FAILED), (FIRST, REDRIVEN), (NEWER, ACCEPTED)] {
        perform(&store, version, deed, START);
        for (old, new) in stream.changes(&store, 1) {
            events.extend(of_change(old.as_ref(), &new));
        }
    }
    let document = events.iter().filter_map(|event| match &event.data {
        EventData::Document(data) if data.document_id == FIRST.reference().document_id => {
            Some((event.event_type, data.redrives, data.reason_code.as_deref(), data.superseded_by))
        }
        EventData::Document(_) | EventData::Submission(_) | EventData::Subscriber(_) => None,
    });
    assert_eq!(
        document.collect::<Vec<_>>(),
        [
            (EventType::DocumentReceived, 0, None, None),
            (EventType::DocumentFailed, 0, Some("unreadable"), None),
            (EventType::DocumentRedriven, 1, None, None),
            (EventType::DocumentSuperseded, 1, None, Some(NEWER.reference().document_id)),
        ]
    );
}

#[test]
fn completed_submission_repeats_its_event_whenever_its_counts_change() {
    let (store, mut stream) = (MemoryStore::default(), Stream::default());
    let second = Version { file: 1, ..FIRST };
    let mut completed = Vec::new();
    for (version, deed) in [(FIRST, ACCEPTED), (second, REFUSED), (FIRST, READY), (second, Deed::Withdraw)] {
        perform(&store, version, deed, START + Duration::seconds(i64::try_from(completed.len()).unwrap()));
        for (old, new) in stream.changes(&store, 1) {
            let events = of_change(old.as_ref(), &new).into_iter();
            completed.extend(events.filter(|event| event.event_type == EventType::SubmissionCompleted));
        }
    }
    let data: Vec<_> = completed.iter().map(|event| event.data.clone()).collect();
    let of = |state, ready, rejected, failed| {
        EventData::Submission(SubmissionData {
            submission_id: FIRST.submission_id(),
            state: Some(state),
            ready: Some(ready),
            rejected: Some(rejected),
            failed: Some(failed),
        })
    };
    assert_eq!(data, [of(SubmissionState::NeedsAttention, 1, 1, 0), of(SubmissionState::Ready, 1, 0, 0)]);
    assert_ne!(completed[0].id, completed[1].id);
    assert!(completed.iter().all(|event| event.time.is_some()));
}

#[tokio::test]
async fn draft_is_created_when_the_teacher_creates_it_and_other_changes_of_the_item_are_no_events() {
    let store = MemoryStore::default();
    let id = FIRST.submission_id();
    let new = NewSubmission {
        submission_id: id.clone(),
        title: crate::display_text::Label::new("Title"),
        owner: "owner".parse().unwrap(),
        files: Vec::new(),
        now: START,
    };
    store.create(&new).await.unwrap();
    let mut stream = Stream::default();
    let changes = stream.changes(&store, 1);
    let events: Vec<_> = changes.iter().flat_map(|(old, new)| of_change(old.as_ref(), new)).collect();
    assert_eq!(
        events.iter().map(|event| event.event_type).collect::<Vec<_>>(),
        [EventType::SubmissionCreated]
    );

    let draft = store.submission_now(&id).unwrap();
    let later = Submission { declared_files: 7, declared_bytes: 7, ..draft.clone() };
    let item = |submission| EventItem::Submission(Box::new(submission));
    assert_eq!(of_change(Some(&item(draft)), &item(later)), []);
}

#[tokio::test]
async fn submission_is_erased_once_nothing_of_it_is_left() {
    let (store, mut stream) = (MemoryStore::default(), Stream::default());
    perform(&store, FIRST, ACCEPTED, START);
    stream.changes(&store, 1);
    let id = FIRST.submission_id();
    let mut types = |store: &MemoryStore| {
        let changes = stream.changes(store, 1);
        let events = changes.iter().flat_map(|(old, new)| of_change(old.as_ref(), new));
        events.map(|event| (event.event_type, event.id)).collect::<Vec<_>>()
    };
    store.begin_erasure(&id, "operator", START).await.unwrap();
    assert_eq!(types(&store), []);
    store.count_erased_versions(&id, 3).await.unwrap();
    assert_eq!(types(&store), []);
    store.end_erasure(&id, START).await.unwrap();
    let erased = types(&store);
    assert_eq!(erased.iter().map(|(of, _)| *of).collect::<Vec<_>>(), [EventType::SubmissionErased]);

    store.begin_erasure(&id, "operator", START).await.unwrap();
    assert_eq!(types(&store), []);
    store.end_erasure(&id, START + Duration::days(1)).await.unwrap();
    assert_eq!(types(&store), erased, "erased again: the same event");
}

#[test]
fn subscriber_that_is_disabled_is_an_event_each_time_and_no_other_change_is() {
    let active = subscriber("portal");
    let status = |status| EventItem::Subscriber(Box::new(Subscriber { status, ..active.clone() }));
    let disabled = |second| {
        status(SubscriberStatus::Disabled {
            reason: DisabledReason::Gone,
            at: rfc3339(START + Duration::seconds(second)),
        })
    };
    let (on, paused) = (status(SubscriberStatus::Active), status(SubscriberStatus::Paused));
    let types = |old: Option<&EventItem>, new: &EventItem| -> Vec<EventType> {
        of_change(old, new).iter().map(|event| event.event_type).collect()
    };
    assert_eq!(types(None, &on), []);
    assert_eq!(types(Some(&on), &paused), []);
    assert_eq!(types(Some(&paused), &on), []);
    assert_eq!(types(Some(&on), &disabled(1)), [EventType::SubscriberDisabled]);
    assert_eq!(types(Some(&disabled(1)), &on), []);
    let rotated = Subscriber { secrets: vec![Secret::of([3, 4])], ..active.clone() };
    assert_eq!(types(Some(&on), &EventItem::Subscriber(Box::new(rotated))), []);
    let ids = [1, 2].map(|second| of_item(&disabled(second))[0].id);
    assert_ne!(ids[0], ids[1], "disabled a second time");
}

#[test]
fn case_47_replay_of_an_item_sends_the_events_of_its_changes_with_the_same_ids() {
    let (store, mut stream) = (MemoryStore::default(), Stream::default());
    let mut sent = Vec::new();
    let deeds = [
        (FIRST, ACCEPTED),
        (FIRST, FAILED),
        (FIRST, REDRIVEN),
        (FIRST, READY),
        (NEWER, REFUSED),
        (NEWER, Deed::Withdraw),
    ];
    for ((version, deed), second) in deeds.into_iter().zip(0..) {
        perform(&store, version, deed, START + Duration::seconds(second));
        for (old, new) in stream.changes(&store, 1) {
            sent.extend(of_change(old.as_ref(), &new));
        }
    }
    let replayed: Vec<Event> = stream.items().flat_map(of_item).collect();
    assert!(replayed.iter().all(|event| sent.contains(event)), "{replayed:?}");
    // Only what the items still say: not the first failure, and not the submission's earlier counts.
    assert_eq!((sent.len(), replayed.len()), (12, 8));
}

#[test]
fn ids_differ_between_changes_and_never_change() {
    let (store, mut stream) = (MemoryStore::default(), Stream::default());
    let mut ids = BTreeSet::new();
    let mut count = 0;
    let second = Version { submission: 1, ..FIRST };
    for deed in [ACCEPTED, FAILED, REDRIVEN, FAILED, REDRIVEN, REDRIVEN, READY] {
        for version in [FIRST, second] {
            perform(&store, version, deed, START);
            for (old, new) in stream.changes(&store, 2) {
                for event in of_change(old.as_ref(), &new) {
                    ids.insert(event.id);
                    count += 1;
                }
            }
        }
    }
    assert_eq!((ids.len(), count), (22, 22));
    // A receiver may keep ids for as long as it likes, so no release computes others.
    assert_eq!(event("s1", 1).id.to_string(), "67569b09-4b8a-53eb-88e4-0c7d23cdfc62");
}

#[test]
fn event_is_read_from_a_message_as_it_was_written() {
    let data = SubscriberData { subscriber_id: "portal".parse().unwrap(), reason: None, challenge: None };
    let of_submission = |state| SubmissionData {
        submission_id: "s1".parse().unwrap(),
        state,
        ready: state.map(|_| 1),
        rejected: state.map(|_| 0),
        failed: state.map(|_| 0),
    };
    for data in [
        event("s1", 1).data,
        EventData::Submission(of_submission(None)),
        EventData::Submission(of_submission(Some(SubmissionState::Ready))),
        EventData::Subscriber(data.clone()),
        EventData::Subscriber(SubscriberData { reason: Some(DisabledReason::Unreachable), ..data }),
    ] {
        let event = Event { data, ..event("s1", 1) };
        let queued = QueuedEvent { event, changed_at: START.into() };
        let json = serde_json::to_string(&queued).unwrap();
        assert_eq!(serde_json::from_str::<QueuedEvent>(&json).unwrap(), queued, "{json}");
    }
}

#[test]
fn each_type_has_one_name_that_subscribers_write_and_receivers_read() {
    for event_type in EventType::SUBSCRIBABLE {
        assert_eq!(event_type.as_str().parse(), Ok(event_type));
        assert_eq!(serde_json::to_value(event_type).unwrap(), event_type.as_str());
        assert_eq!(event_type.versioned(), format!("lectern.{event_type}.v1"));
    }
    for never in [EventType::SubscriberChallenge, EventType::SubscriberTest] {
        assert_eq!(never.as_str().parse::<EventType>(), Err(InvalidId));
        assert_eq!(serde_json::to_value(never).unwrap(), never.as_str());
    }
}
