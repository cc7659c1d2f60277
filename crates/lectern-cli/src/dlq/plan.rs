//! A dry run: what a redrive would do with what lies there now.

use std::collections::BTreeSet;

use super::{classify::Action, judged::peek, markers, outcome::Outcome};
use crate::{cloud::Cloud, problem::Problem, stack::DeadLetters};

/// So many letters of a queue are looked at.
const MAX_PLANNED: usize = 10_000;

/// What would be done.
pub(super) async fn plan(cloud: &Cloud, queue: &DeadLetters) -> Result<Outcome, Problem> {
    let mut outcome = Outcome::new(queue);
    let mut seen = BTreeSet::new();
    for judged in peek(cloud, queue, MAX_PLANNED).await? {
        match judged.verdict.class.action() {
            Action::Send if judged.keys().iter().any(|key| seen.contains(key)) => outcome.duplicates += 1,
            Action::Send => {
                seen.extend(judged.keys());
                outcome.sent += 1;
            }
            Action::Drop => outcome.dropped += 1,
            Action::Quarantine => {
                outcome.quarantined.push(markers::quarantine_key(&queue.name, &judged.mark()));
            }
            Action::Keep => outcome.keep(&judged.verdict),
        }
    }
    Ok(outcome)
}
