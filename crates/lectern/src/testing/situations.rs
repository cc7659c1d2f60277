//! Every action from every situation that one document can be in, as operations for the harness of [`super::model`].
//! Random runs go far; these miss nothing near.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    Faults, MemoryStore,
    model::{Action, Op, document_after},
};
use crate::document::{Document, DocumentState, JobResult};

/// The shortest way to each situation of a document, and one operation more. A situation is the document's state, the
/// kind of its result, whether it has an attempt, a job and jobs that were given up, and whether a newer version of its file
/// has come.
///
/// # Errors
/// As [`check`](super::model::check): the store in memory is walked to find the situations.
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

fn situation(document: &Document) -> (DocumentState, Option<bool>, [bool; 4]) {
    let succeeded = document.result.as_ref().map(|result| matches!(result, JobResult::Succeeded(_)));
    let has = [
        document.attempt.is_some(),
        document.job_id.is_some(),
        !document.abandoned_jobs.is_empty(),
        document.superseded_by.is_some(),
    ];
    (document.state, succeeded, has)
}

/// Each action that [`Op::decode`] knows, once, for the first document, and its newer version's coming.
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
