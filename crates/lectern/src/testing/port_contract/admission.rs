//! The ports of admission control.

use std::future::Future;

use super::{Outcome, at_once, conflicts, new_document, suite};
use crate::{
    admission::{AdmissionState, Lane, QueuePosition, Timestamp, WaitingDocument},
    document::{Attempt, TaskToken},
    message::Envelope,
    ports::{AdmissionStore, Orders},
    steps::admit_document::{Input, MAX_CHANGES, Order, QueueChanges},
    testing::{model::same, world::START},
};

suite! {
    /// [`AdmissionStore`]
    admission_store<S: AdmissionStore> {
        store_that_was_never_written_has_the_empty_state,
        state_and_changes_of_a_commit_are_read_back,
        change_without_a_value_deletes,
        writer_with_an_old_revision_changes_nothing,
        one_of_the_writers_at_the_same_revision_commits,
        as_many_changes_as_a_commit_may_have_are_written_at_once,
    }
}

/// Where [`Orders`] sends its orders.
pub trait OrdersSetup: Send + Sync {
    /// The orders since the last call, as `admit-document` reads them.
    fn take_orders(&self) -> impl Future<Output = Vec<Input>> + Send;
}

suite! {
    /// [`Orders`]
    orders<O: Orders, Q: OrdersSetup> {
        orders_arrive_whole_and_in_their_order,
        repeated_order_repeats_no_other_order,
    }
}

fn waiting(submission: &str, number: u64) -> Outcome<WaitingDocument> {
    let new = new_document(submission, &format!("{number}.pdf"), 1)?;
    Ok(WaitingDocument {
        document: new.reference,
        traceparent: number.is_multiple_of(2).then_some(new.traceparent),
        task_token: TaskToken::new(format!("token-{number}")),
        failed_transfers: u32::from(number == 1),
        enqueued_at: Timestamp::from(START),
    })
}

/// Puts these documents into their queue.
fn enqueue(state: &mut AdmissionState, documents: Vec<WaitingDocument>) -> QueueChanges {
    let mut changes = QueueChanges::default();
    for waiting in documents {
        let lane = Lane::of(None, &waiting.document.submission_id);
        let position = state.enqueue(&waiting, &lane);
        changes.positions.insert(waiting.document.clone(), Some(position.clone()));
        changes.waiting.insert(position, Some(waiting));
    }
    changes
}

/// Checks that each change is what the store has now.
async fn expect(store: &impl AdmissionStore, changes: &QueueChanges) -> Outcome {
    for (position, expected) in &changes.waiting {
        same("waiting document", expected, &store.waiting_document(position).await?)?;
    }
    for (document, expected) in &changes.positions {
        same("queue position", expected, &store.queue_position(document).await?)?;
    }
    Ok(())
}

async fn store_that_was_never_written_has_the_empty_state(store: &impl AdmissionStore) -> Outcome {
    same("state", &(AdmissionState::default(), 0), &store.admission_state().await?)?;
    let nowhere = QueuePosition { queue: "s1".to_owned(), opening: 1, number: 0 };
    same("waiting document", &None, &store.waiting_document(&nowhere).await?)?;
    let unknown = new_document("unknown", "plan.pdf", 1)?.reference;
    same("queue position", &None, &store.queue_position(&unknown).await?)?;
    let late = store.commit(&AdmissionState::default(), 7, QueueChanges::default()).await;
    conflicts("commit at a revision that does not exist", &late)
}

async fn state_and_changes_of_a_commit_are_read_back(store: &impl AdmissionStore) -> Outcome {
    let (mut state, revision) = store.admission_state().await?;
    let changes = enqueue(&mut state, vec![waiting("kept", 0)?, waiting("kept", 1)?]);
    store.commit(&state, revision, changes.clone()).await?;
    let (found, next_revision) = store.admission_state().await?;
    same("state", &state, &found)?;
    same("another revision", &true, &(next_revision != revision))?;
    expect(store, &changes).await?;
    // A commit without changes of queues is a write of another kind.
    state.advance_to(START);
    store.commit(&state, next_revision, QueueChanges::default()).await?;
    same("state", &state, &store.admission_state().await?.0)?;
    expect(store, &changes).await
}

async fn change_without_a_value_deletes(store: &impl AdmissionStore) -> Outcome {
    let (mut state, revision) = store.admission_state().await?;
    let mut changes = enqueue(&mut state, vec![waiting("deleted", 0)?, waiting("deleted", 2)?]);
    store.commit(&state, revision, changes.clone()).await?;
    let deleted = waiting("deleted", 0)?.document;
    for (document, position) in &mut changes.positions {
        if *document == deleted
            && let Some(position) = position.take()
        {
            changes.waiting.insert(position, None);
        }
    }
    let (state, revision) = store.admission_state().await?;
    store.commit(&state, revision, changes.clone()).await?;
    expect(store, &changes).await?;
    // Deleting what is not there is no error: a redelivered order does it.
    let (state, revision) = store.admission_state().await?;
    store.commit(&state, revision, changes.clone()).await?;
    expect(store, &changes).await
}

async fn writer_with_an_old_revision_changes_nothing(store: &impl AdmissionStore) -> Outcome {
    let (state, old) = store.admission_state().await?;
    store.commit(&state, old, QueueChanges::default()).await?;
    let (mut late, revision) = (state.clone(), store.admission_state().await?.1);
    let changes = enqueue(&mut late, vec![waiting("late", 0)?]);
    conflicts("commit", &store.commit(&late, old, changes.clone()).await)?;
    let alone = store.commit(&late, old, QueueChanges::default()).await;
    conflicts("commit without changes", &alone)?;
    same("state", &(state, revision), &store.admission_state().await?)?;
    let none = QueueChanges {
        waiting: changes.waiting.into_keys().map(|position| (position, None)).collect(),
        positions: changes.positions.into_keys().map(|document| (document, None)).collect(),
    };
    expect(store, &none).await
}

async fn one_of_the_writers_at_the_same_revision_commits(store: &impl AdmissionStore) -> Outcome {
    let (state, revision) = store.admission_state().await?;
    let mut writers = Vec::new();
    for number in 0..4 {
        let mut state = state.clone();
        let changes = enqueue(&mut state, vec![waiting("writers", number)?]);
        writers.push((state, changes));
    }
    let commits = writers.iter().map(async |(state, changes)| {
        store.commit(state, revision, changes.clone()).await.map(|()| (state, changes))
    });
    let committed = at_once(commits).await?;
    let (found, found_revision) = store.admission_state().await?;
    match committed.as_slice() {
        // Transactions that meet may cancel each other.
        [] => Ok(same("state", &(state, revision), &(found, found_revision))?),
        [(written, changes)] => {
            same("state", *written, &found)?;
            expect(store, changes).await
        }
        more => Err(format!("{} writers committed", more.len()).into()),
    }
}

async fn as_many_changes_as_a_commit_may_have_are_written_at_once(store: &impl AdmissionStore) -> Outcome {
    let (mut state, revision) = store.admission_state().await?;
    let documents = (0..MAX_CHANGES as u64 / 2).map(|number| waiting("many", number));
    let changes = enqueue(&mut state, documents.collect::<Outcome<_>>()?);
    store.commit(&state, revision, changes.clone()).await?;
    expect(store, &changes).await
}

async fn orders_arrive_whole_and_in_their_order<O: Orders, Q: OrdersSetup>(orders: &O, queue: &Q) -> Outcome {
    let [first, second] = [new_document("orders", "1.pdf", 1)?, new_document("orders", "2.pdf", 1)?];
    let accepted = Order::Report { error: String::new(), cause: String::new() };
    let traced =
        Envelope { traceparent: Some(first.traceparent), ..Envelope::new(first.reference, Attempt(1000)) };
    let last = Envelope::new(second.reference, Attempt(u32::MAX));
    let expected = vec![
        Input { envelope: traced.clone(), order: accepted },
        Input { envelope: traced, order: Order::Release },
        Input { envelope: last, order: Order::Release },
    ];
    for order in &expected {
        orders.send(order.clone()).await?;
    }
    Ok(same("orders, in their order", &expected, &queue.take_orders().await)?)
}

async fn repeated_order_repeats_no_other_order<O: Orders, Q: OrdersSetup>(orders: &O, queue: &Q) -> Outcome {
    let envelope = Envelope::new(new_document("repeated", "1.pdf", 1)?.reference, Attempt(1000));
    let order = Input { envelope, order: Order::Release };
    for _ in 0..2 {
        orders.send(order.clone()).await?;
    }
    let mut found = queue.take_orders().await;
    // A FIFO queue drops the repetition if it comes within five minutes.
    found.dedup();
    Ok(same("orders", &vec![order], &found)?)
}
