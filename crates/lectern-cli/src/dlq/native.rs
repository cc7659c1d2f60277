//! SQS's own way to move a dead-letter queue back, where there is one and nothing has to be sorted out.

use std::{collections::BTreeSet, time::Duration};

use super::{
    classify::Class,
    judged::{Judged, Seen, peek},
    letters::Letters,
};
use crate::{cloud::Cloud, problem::Problem, stack::DeadLetters};

/// So many letters are looked at before they are moved unsorted.
const MAX_LOOKED_AT: usize = 10_000;
const LONGEST_MOVE: Duration = Duration::from_hours(1);

/// Whether all letters may go back just as they are: each one may work, none is there twice, none has been back.
pub(super) fn nothing_to_sort(found: &[Judged], approximately: u64) -> bool {
    let mut seen = BTreeSet::new();
    let fine = |judged: &Judged| {
        judged.verdict.class == Class::MayWork
            && judged.redrives == 0
            && judged.keys().into_iter().all(|key| seen.insert(key))
    };
    !found.is_empty() && found.len() as u64 >= approximately && found.iter().all(fine)
}

/// Whether SQS offers moves of its own and has made none yet: it leaves no count on the letters, so what comes back is
/// counted by our own way.
pub(super) async fn is_offered(cloud: &Cloud, queue: &DeadLetters) -> Result<bool, Problem> {
    let letters = Letters { client: &cloud.sqs, queue };
    Ok(letters.own_moves().await?.is_some_and(|moves| moves.is_empty()))
}

/// Moves everything by SQS itself, if nothing has to be sorted out. Tells what was moved.
pub(super) async fn move_all(
    cloud: &Cloud,
    queue: &DeadLetters,
    rate: f64,
) -> Result<Option<BTreeSet<String>>, Problem> {
    let letters = Letters { client: &cloud.sqs, queue };
    let Seen { letters: found, depth } = peek(cloud, queue, MAX_LOOKED_AT).await?;
    if !nothing_to_sort(&found, depth.visible) || !letters.move_all(rate).await? {
        return Ok(None);
    }
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < LONGEST_MOVE {
        // SQS tells how far its move is only when it is asked.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let newest = letters.own_moves().await?.and_then(|moves| moves.into_iter().next());
        match newest {
            Some(one) if one.running => {}
            Some(one) if one.failure.is_some() => {
                return Err(Problem::new(
                    format!("SQS gave its own move up after {} messages", one.moved),
                    "Run the command again with --no-native.",
                ));
            }
            _ => break,
        }
    }
    Ok(Some(found.iter().map(Judged::mark).collect()))
}
