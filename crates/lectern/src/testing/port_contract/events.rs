//! The subscribers and their positions.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Outcome, Violation, suite};
use crate::{
    admission::Timestamp,
    error::{Error, StoreError},
    events::{
        self, DeliveryState, DisabledReason, EventItem, QueuedEvent, Secret, Subscriber, SubscriberStatus,
    },
    ports::{Deliveries, Subscribers},
    testing::{model::same, world::START},
};

suite! {
    /// [`Subscribers`]
    subscribers<S: Subscribers> {
        subscriber_is_read_as_it_was_added,
        second_subscriber_of_one_id_is_refused,
        status_and_secrets_change_alone,
        only_an_active_subscriber_is_paused_or_disabled,
        removed_subscriber_stays_removed,
    }
}

suite! {
    /// [`Deliveries`]
    deliveries<D: Deliveries> {
        state_is_read_as_it_was_written,
        case_45_of_two_writers_of_a_state_one_comes_first,
        events_are_read_by_their_numbers_and_deleted,
    }
}

/// A subscriber with a value in every field.
pub fn subscriber(id: &str) -> Result<Subscriber, crate::document::InvalidId> {
    Ok(Subscriber {
        subscriber_id: id.parse()?,
        url: "https://example.com/events?x=1".to_owned(),
        event_types: [events::EventType::DocumentReady].into(),
        kinds: [lectern_content::MediaKind::Video].into(),
        format: events::Format::Thin,
        signature: events::SignatureKind::Ed25519,
        is_ordered: true,
        max_batch: 20,
        max_batch_wait_seconds: 5,
        has_gzip: true,
        requests_per_second: 0.5,
        max_in_flight: 3,
        timeout_seconds: 7,
        status: SubscriberStatus::Active,
        created_at: "2026-11-20T12:00:00.000Z".to_owned(),
        secrets: vec![Secret::of([1, 2])],
    })
}

fn queued(submission: &str) -> Result<QueuedEvent, Violation> {
    let submission = json!({
        "submissionId": submission, "state": "Draft", "open": 0, "ready": 0, "rejected": 0, "failed": 0,
        "createdAt": "2026-11-20T12:00:00.000Z"
    });
    let submission =
        serde_json::from_value(submission).map_err(|error| Violation::from(error.to_string()))?;
    let event = events::of_item(&EventItem::Submission(submission)).remove(0);
    Ok(QueuedEvent { event, changed_at: START.into() })
}

async fn subscriber_is_read_as_it_was_added<S: Subscribers>(store: &S) -> Outcome {
    let added = subscriber("read")?;
    same("added", &true, &store.add_subscriber(&added).await?)?;
    same("read", &Some(added.clone()), &store.subscriber(&added.subscriber_id).await?)?;
    same("unknown", &None, &store.subscriber(&"unknown".parse()?).await?)?;
    let all = store.subscribers().await?;
    Ok(same("in the list", &true, &all.contains(&added))?)
}

async fn second_subscriber_of_one_id_is_refused<S: Subscribers>(store: &S) -> Outcome {
    let first = subscriber("twice")?;
    store.add_subscriber(&first).await?;
    let second = Subscriber { url: "https://other.example.com/".to_owned(), ..first.clone() };
    same("added", &false, &store.add_subscriber(&second).await?)?;
    Ok(same("kept", &Some(first.clone()), &store.subscriber(&first.subscriber_id).await?)?)
}

async fn status_and_secrets_change_alone<S: Subscribers>(store: &S) -> Outcome {
    let mut expected = subscriber("changed")?;
    let id = expected.subscriber_id.clone();
    store.add_subscriber(&expected).await?;
    let disabled = SubscriberStatus::Disabled { reason: DisabledReason::Gone, at: "2026-11-20".to_owned() };
    for status in [disabled, SubscriberStatus::Active, SubscriberStatus::Paused, SubscriberStatus::Active] {
        expected.status = status;
        store.set_status(&id, &expected.status).await?;
        same("status", &Some(expected.clone()), &store.subscriber(&id).await?)?;
    }
    expected.rotate(Secret::of([3, 4]), START);
    store.set_secrets(&expected).await?;
    Ok(same("secrets", &Some(expected), &store.subscriber(&id).await?)?)
}

async fn only_an_active_subscriber_is_paused_or_disabled<S: Subscribers>(store: &S) -> Outcome {
    let mut expected = subscriber("stopped")?;
    let id = expected.subscriber_id.clone();
    store.add_subscriber(&expected).await?;
    let disabled = SubscriberStatus::Disabled { reason: DisabledReason::Gone, at: "2026-11-20".to_owned() };
    for (first, second) in [(&disabled, &SubscriberStatus::Paused), (&SubscriberStatus::Paused, &disabled)] {
        store.set_status(&id, &SubscriberStatus::Active).await?;
        store.set_status(&id, first).await?;
        store.set_status(&id, second).await?;
        expected.status = first.clone();
        same("the first one", &Some(expected.clone()), &store.subscriber(&id).await?)?;
    }
    Ok(())
}

async fn removed_subscriber_stays_removed<S: Subscribers>(store: &S) -> Outcome {
    let removed = subscriber("removed")?;
    let id = &removed.subscriber_id;
    store.add_subscriber(&removed).await?;
    store.remove_subscriber(id).await?;
    store.remove_subscriber(id).await?;
    store.set_status(id, &SubscriberStatus::Paused).await?;
    store.set_secrets(&removed).await?;
    Ok(same("read", &None, &store.subscriber(id).await?)?)
}

async fn state_is_read_as_it_was_written<D: Deliveries>(store: &D) -> Outcome {
    let id = "state".parse()?;
    same("new", &(DeliveryState::default(), 0), &store.delivery_state(&id).await?)?;
    let mut state = DeliveryState::default();
    state.append(3);
    state.wake_at(Timestamp::from(START));
    store.commit_deliveries(&id, &state, 0).await?;
    same("written", &(state.clone(), 1), &store.delivery_state(&id).await?)?;
    // The timer has ended.
    state.advance_to(START);
    store.commit_deliveries(&id, &state, 1).await?;
    Ok(same("written again", &(state, 2), &store.delivery_state(&id).await?)?)
}

async fn case_45_of_two_writers_of_a_state_one_comes_first<D: Deliveries>(store: &D) -> Outcome {
    let id = "conflict".parse()?;
    let mut state = DeliveryState::default();
    for revision in 0..2 {
        state.append(1);
        store.commit_deliveries(&id, &state, revision).await?;
        let second = store.commit_deliveries(&id, &DeliveryState::default(), revision).await;
        let is_conflict = matches!(second, Err(Error::Store(StoreError::Conflict)));
        same("conflict", &true, &is_conflict)?;
    }
    Ok(same("the first one's", &(state, 2), &store.delivery_state(&id).await?)?)
}

async fn events_are_read_by_their_numbers_and_deleted<D: Deliveries>(store: &D) -> Outcome {
    let id = "events".parse()?;
    let mut events = BTreeMap::new();
    for number in 0..130 {
        events.insert(number, queued(&format!("s{number}"))?);
    }
    store.store_events(&id, &events, START).await?;
    store.store_events(&"events-2".parse()?, &BTreeMap::from([(0, queued("other")?)]), START).await?;
    let numbers: Vec<u64> = (0..200).collect();
    same("all", &events, &store.waiting_events(&id, &numbers).await?)?;
    store.delete_events(&id, &numbers[..129]).await?;
    events.retain(|number, _| *number == 129);
    same("the last one", &events, &store.waiting_events(&id, &numbers[100..]).await?)?;
    Ok(same("none", &BTreeMap::new(), &store.waiting_events(&id, &[]).await?)?)
}
