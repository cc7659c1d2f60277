//! Random sequences of transitions: the events of the stream are those that a small model of the documents expects, each
//! with its own id, and a replay of the items sends some of them again.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use time::Duration;

use super::{
    super::*,
    fixtures::{Deed, Stream, Version, perform},
};
use crate::{
    document::DocumentRef,
    testing::{MemoryStore, world::START},
};

const SUBMISSIONS: usize = 2;

/// What the model knows of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    stage: Stage,
    /// Neither superseded nor withdrawn.
    counts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Ready,
    Rejected,
    Failed,
}

#[derive(Debug, Default)]
struct Model(BTreeMap<Version, Known>);

impl Model {
    /// The events of a deed: the type and the subject of each.
    fn expected(&mut self, version: Version, deed: Deed) -> Vec<(EventType, String)> {
        let (events, counts_change) = match (deed, self.0.get(&version).copied()) {
            (Deed::Register { acceptable }, None) => self.register(version, acceptable),
            (Deed::Finish { ready }, Some(Known { stage: Stage::Open, counts })) => {
                let (stage, ended) = if ready {
                    (Stage::Ready, EventType::DocumentReady)
                } else {
                    (Stage::Failed, EventType::DocumentFailed)
                };
                self.0.insert(version, Known { stage, counts });
                (vec![(ended, subject(version))], counts)
            }
            (Deed::Reopen { .. }, Some(Known { stage: Stage::Open | Stage::Failed, counts: true })) => {
                self.0.insert(version, Known { stage: Stage::Open, counts: true });
                (vec![(EventType::DocumentRedriven, subject(version))], false)
            }
            (
                Deed::Withdraw,
                Some(Known { stage: stage @ (Stage::Rejected | Stage::Failed), counts: true }),
            ) => {
                self.0.insert(version, Known { stage, counts: false });
                (vec![(EventType::DocumentWithdrawn, subject(version))], true)
            }
            _ => (Vec::new(), false),
        };
        let is_open = |(other, known): (&Version, &Known)| {
            other.submission == version.submission && known.counts && known.stage == Stage::Open
        };
        let is_complete = counts_change && !self.0.iter().any(is_open);
        let completed =
            is_complete.then(|| (EventType::SubmissionCompleted, version.submission_id().to_string()));
        let mut events: Vec<_> = events.into_iter().chain(completed).collect();
        events.sort();
        events
    }

    fn register(&mut self, version: Version, acceptable: bool) -> (Vec<(EventType, String)>, bool) {
        let is_new_submission = !self.0.keys().any(|other| other.submission == version.submission);
        let of_file = |other: &&Version| (other.submission, other.file) == (version.submission, version.file);
        let current = self.0.keys().filter(of_file).max().copied();
        if current.is_some_and(|current| current > version) {
            self.0.insert(version, Known { stage: Stage::Rejected, counts: false });
            let types = [EventType::DocumentRejected, EventType::DocumentSuperseded];
            return (types.map(|event_type| (event_type, subject(version))).to_vec(), false);
        }
        let (stage, registered) = if acceptable {
            (Stage::Open, EventType::DocumentReceived)
        } else {
            (Stage::Rejected, EventType::DocumentRejected)
        };
        let mut events = vec![(registered, subject(version))];
        if let Some(current) = current {
            events.push((EventType::DocumentSuperseded, subject(current)));
            if let Some(known) = self.0.get_mut(&current) {
                known.counts = false;
            }
        }
        if is_new_submission {
            events.push((EventType::SubmissionCreated, version.submission_id().to_string()));
        }
        self.0.insert(version, Known { stage, counts: true });
        (events, true)
    }
}

fn subject(version: Version) -> String {
    let DocumentRef { submission_id, document_id } = version.reference();
    format!("{submission_id}/{document_id}")
}

/// Some versions of some files of two submissions.
fn version() -> impl Strategy<Value = Version> {
    (0..SUBMISSIONS, 0..2usize, 0..3u32).prop_map(|(submission, file, version)| Version {
        submission,
        file,
        number: version,
    })
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        5 => prop::bool::weighted(0.8).prop_map(|acceptable| Deed::Register { acceptable }),
        1 => (1..4u32).prop_map(Deed::BeginTransfer),
        1 => (1..4u32).prop_map(Deed::RecordJob),
        1 => Just(Deed::AwaitCallback),
        1 => any::<bool>().prop_map(|succeeded| Deed::RecordResult { succeeded }),
        1 => Just(Deed::BeginVerify),
        1 => Just(Deed::BeginNormalize),
        4 => any::<bool>().prop_map(|ready| Deed::Finish { ready }),
        3 => any::<bool>().prop_map(|discard_result| Deed::Reopen { discard_result }),
        2 => Just(Deed::Withdraw),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn case_47_events_are_those_of_the_changes_no_id_occurs_twice_and_a_replay_sends_the_same_ones(
        deeds in prop::collection::vec((version(), deed()), 1..80),
    ) {
        let (store, mut stream, mut model) = (MemoryStore::default(), Stream::default(), Model::default());
        let mut sent: Vec<Event> = Vec::new();
        for ((version, deed), second) in deeds.into_iter().zip(0..) {
            perform(&store, version, deed, START + Duration::seconds(second));
            let changes = stream.changes(&store, SUBMISSIONS);
            let events: Vec<Event> =
                changes.iter().flat_map(|(old, new)| of_change(old.as_ref(), new)).collect();
            let mut found: Vec<_> = events.iter().map(|event| (event.event_type, event.subject())).collect();
            found.sort();
            prop_assert_eq!(found, model.expected(version, deed), "{:?}", deed);
            sent.extend(events);
        }
        let ids: BTreeSet<Uuid> = sent.iter().map(|event| event.id).collect();
        prop_assert_eq!(ids.len(), sent.len());
        for event in stream.items().flat_map(of_item) {
            prop_assert!(sent.contains(&event), "{event:?} is replayed and was never sent");
        }
    }
}
