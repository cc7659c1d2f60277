//! A dry run: what a redrive would do with what lies there now.

use std::collections::BTreeSet;

use super::{classify::Action, judged::peek, markers, outcome::Outcome};
use crate::{cloud::Cloud, problem::Problem, stack::DeadLetters};

/// So many letters of a queue are looked at.
const MAX_PLANNED: usize = 10_000;

/// What would be done.
pub(super) async fn plan(cloud: &Cloud, queue: &DeadLetters) -> Result<Outcome, Problem> {
    let mut outcome = Outcome::new(queue);
    let seen = peek(cloud, queue, MAX_PLANNED).await?;
    outcome.not_seen = seen.not_seen();
    let mut asked = BTreeSet::new();
    for judged in seen.letters {
        match judged.verdict.class.action() {
            Action::Send if judged.keys().iter().any(|key| asked.contains(key)) => outcome.duplicates += 1,
            Action::Send => {
                asked.extend(judged.keys());
                outcome.sent += 1;
            }
            Action::Drop => outcome.dropped += 1,
            Action::Quarantine => {
                outcome.quarantined.push(markers::quarantine_key(&queue.name, &judged.mark()));
            }
            Action::Keep => outcome.keep(&judged),
        }
    }
    if DeadLetters::is_fifo(&queue.url) && outcome.not_seen > 0 {
        outcome.is_in_order();
    }
    Ok(outcome)
}
