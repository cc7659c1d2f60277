//! Every action from every situation that one document can be in, as operations for the harness of [`super::model`].
//! Random runs reach distant situations; these runs cover all near ones.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    Faults, MemoryStore,
    model::{Action, Op, document_after},
};
use crate::document::{Document, DocumentState, JobResult};

/// The shortest sequence of operations to each situation of a document, and one operation more. A situation consists of
/// the document's state, the kind of its result, whether it has an attempt, a job and abandoned jobs, whether a
/// newer version of its file is registered, and whether it is withdrawn.
///
/// # Errors
/// As [`check`](super::model::check), because the search for situations runs the operations on the in-memory store.
pub async fn every_action_from_every_situation() -> Result<Vec<Vec<Op>>, String> {
    let next = operations();
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([Vec::new()]);
    let mut runs = Vec::new();
    while let Some(way) = ways.pop_front() {
        let document = document_after(&MemoryStore::new(Arc::new(Faults::default())), &way).await?;
        if !seen.insert(document.as_ref().map(situation)) {
            continue;
        }
        for op in &next {
            let run: Vec<Op> = way.iter().chain([op]).copied().collect();
            ways.push_back(run.clone());
            runs.push(run);
        }
    }
    Ok(runs)
}

fn situation(document: &Document) -> (DocumentState, Option<bool>, [bool; 6]) {
    let succeeded = document.result.as_ref().map(|result| matches!(result, JobResult::Succeeded(_)));
    let has = [
        document.attempt.is_some(),
        document.job_id.is_some(),
        !document.earlier_jobs.is_empty(),
        !document.abandoned_jobs.is_empty(),
        document.superseded_by.is_some(),
        document.is_withdrawn,
    ];
    (document.state, succeeded, has)
}

/// Each action that [`Op::decode`] knows, once, for the first document, and the registration of its newer version.
fn operations() -> Vec<Op> {
    let mut operations = vec![Op { document: 1, action: Action::Register { acceptable: true } }];
    for number in 0..2000 {
        let op = Op { document: 0, ..Op::decode(number) };
        if !operations.contains(&op) {
            operations.push(op);
        }
    }
    operations
}
