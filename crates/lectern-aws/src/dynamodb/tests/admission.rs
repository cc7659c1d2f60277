//! The admission state and the waiting documents: their transaction, their reads, and the size of the item.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use aws_smithy_mocks::mock;
use lectern::{
    admission::{AdmissionState, Lane, Limits, Permit, QueuePosition, Report, WaitingDocument},
    document::{DocumentId, DocumentRef, TaskToken},
    error::Error,
    ports::AdmissionStore as _,
    steps::admit_document::QueueChanges,
};

use super::*;
use crate::{
    dynamodb::items::{admission_key, position_key, waiting_key},
    test_support::NOW,
};

const LIMITS: Limits = Limits {
    interval: Duration::from_millis(200),
    burst: 10,
    max_in_flight: 1_000,
    lease: Duration::from_hours(6),
};

fn waiting(submission: &str, number: usize, token: &str) -> WaitingDocument {
    let document_id = DocumentId::of("uploads", submission.as_bytes(), &number.to_string());
    WaitingDocument {
        document: DocumentRef { submission_id: submission.parse().unwrap(), document_id },
        traceparent: None,
        task_token: TaskToken::new(token),
        failed_transfers: 1,
        enqueued_at: NOW.into(),
    }
}

/// A state in which each part is set: leases, a slowdown, an open breaker, a queue, a stall and granted permits.
pub(super) fn state() -> AdmissionState {
    let mut state = AdmissionState::default();
    for number in 0..3 {
        state.grant(waiting("s1", number, "token"), &LIMITS, NOW);
    }
    let granted: Vec<Permit> = state.granted().to_vec();
    for (permit, report) in granted.iter().zip([Report::RateLimited(Some(NOW)), Report::Unauthorized]) {
        state.report(permit.attempt, report, NOW);
    }
    state.enqueue(&waiting("s2", 1, "token"), &Lane::of(None, &"s2".parse().unwrap()));
    state.note_progress(NOW);
    state
}

pub(super) fn changes() -> (QueueChanges, QueuePosition, WaitingDocument) {
    let waiting = waiting("s2", 1, "token-s2");
    let position = QueuePosition { queue: "s2".to_owned(), opening: 3, number: 7 };
    let served = QueuePosition { number: 6, ..position.clone() };
    let changes = QueueChanges {
        waiting: [(position.clone(), Some(waiting.clone())), (served, None)].into(),
        positions: [(waiting.document.clone(), Some(position.clone())), (reference(), None)].into(),
    };
    (changes, position, waiting)
}

fn updates(seen: &Seen<UpdateItemInput>) -> Rule {
    let seen = seen.clone();
    mock!(Client::update_item).then_compute_output(move |request| {
        seen.note(request);
        UpdateItemOutput::builder().build()
    })
}

/// What the update makes of an item. Panics if the update is more than assignments and removals.
pub(super) fn applied(update: &Update, stored: Option<Item>) -> Item {
    let (names, values) =
        (update.expression_attribute_names().unwrap(), update.expression_attribute_values().unwrap());
    let mut item = stored.unwrap_or_default();
    item.extend(update.key().clone());
    let expression = update.update_expression();
    let (sets, removals) = expression.split_once(" REMOVE ").unwrap_or((expression, ""));
    for set in sets.strip_prefix("SET ").unwrap().split(", ") {
        let (name, value) = set.split_once(" = ").unwrap();
        item.insert(names[name].clone(), values[value].clone());
    }
    for name in removals.split(", ").filter(|name| !name.is_empty()) {
        item.remove(&names[name]);
    }
    item
}

/// The single update as part of a transaction, which has the same form.
fn as_part(request: &UpdateItemInput) -> Update {
    Update::builder()
        .table_name(request.table_name().unwrap())
        .set_key(request.key().cloned())
        .update_expression(request.update_expression().unwrap())
        .set_condition_expression(request.condition_expression().map(str::to_owned))
        .set_expression_attribute_names(request.expression_attribute_names().cloned())
        .set_expression_attribute_values(request.expression_attribute_values().cloned())
        .build()
        .unwrap()
}

#[tokio::test]
async fn state_alone_is_one_conditional_write_and_is_read_back_whole() {
    let seen = Seen::new();
    store!(updates(&seen)).commit(&state(), 41, QueueChanges::default()).await.unwrap();
    let request = seen.only();
    assert_eq!(request.table_name(), Some("table"));
    assert_eq!(request.condition_expression(), Some("revision = :read"));
    assert_eq!(request.expression_attribute_values().unwrap()[":read"], number(41));
    let item = applied(&as_part(&request), None);
    assert_eq!((&item["pk"], &item["sk"]), (&text("ADMISSION"), &text("ADMISSION")));
    assert_eq!(item["revision"], number(42));
    let read = store!(reads(&admission_key(), Some(item))).admission_state().await.unwrap();
    assert_eq!(read, (state(), 42));
}

#[tokio::test]
async fn first_write_of_the_state_needs_that_there_is_none() {
    let seen = Seen::new();
    store!(updates(&seen)).commit(&state(), 0, QueueChanges::default()).await.unwrap();
    let request = seen.only();
    assert_eq!(request.condition_expression(), Some("attribute_not_exists(pk)"));
    let values = request.expression_attribute_values().unwrap();
    assert!(!values.contains_key(":read"), "DynamoDB refuses values that are not used");
}

#[tokio::test]
async fn state_that_was_never_written_is_an_empty_one() {
    let read = store!(reads(&admission_key(), None)).admission_state().await.unwrap();
    assert_eq!(read, (AdmissionState::default(), 0));
}

/// A later version may have added to it.
#[tokio::test]
async fn state_is_read_also_if_attributes_are_missing_or_unknown() {
    let mut item = admission_key();
    item.extend([("revision".to_owned(), number(5)), ("unheardOf".to_owned(), text("x"))]);
    assert_eq!(
        store!(reads(&admission_key(), Some(item))).admission_state().await.unwrap(),
        (AdmissionState::default(), 5)
    );
}

#[tokio::test]
async fn waiting_documents_are_written_with_the_state_at_once_and_are_read_back() {
    let seen = Seen::new();
    let (changes, position, waiting) = changes();
    store!(transacts(&seen)).commit(&state(), 41, changes).await.unwrap();
    let request = seen.only();
    assert_eq!(request.transact_items().len(), 5);
    let written: Vec<&Update> =
        request.transact_items().iter().filter_map(TransactWriteItem::update).collect();
    assert_eq!(applied(written[0], None)["revision"], number(42));
    assert_eq!(written[0].condition_expression(), Some("revision = :read"));
    assert!(written[1..].iter().all(|update| update.condition_expression().is_none()));
    let [document, queued] = [written[1], written[2]].map(|update| applied(update, None));
    assert_eq!((&document["pk"], &document["sk"]), (&text("QUEUE#s2#3"), &text("POSITION#7")));
    let id = waiting.document.document_id;
    assert_eq!((&queued["pk"], &queued["sk"]), (&text(&format!("WAITING#{id}")), &text("WAITING")));
    let removals = request.transact_items().iter().filter_map(TransactWriteItem::delete);
    let deleted: Vec<Item> = removals.map(|delete| delete.key().clone()).collect();
    let served = QueuePosition { number: 6, ..position.clone() };
    assert_eq!(deleted, [position_key(&served), waiting_key(&reference())]);
    let store = store!(
        reads(&position_key(&position), Some(document)),
        reads(&waiting_key(&waiting.document), Some(queued)),
        reads(&position_key(&served), None)
    );
    assert_eq!(store.waiting_document(&position).await.unwrap(), Some(waiting.clone()));
    assert_eq!(store.queue_position(&waiting.document).await.unwrap(), Some(position));
    assert_eq!(store.waiting_document(&served).await.unwrap(), None);
}

#[tokio::test]
async fn case_23_write_that_meets_another_writer_or_a_busy_table_is_unavailable() {
    for (code, detail) in [
        ("ConditionalCheckFailedException", "another writer came first"),
        ("ProvisionedThroughputExceededException", "ProvisionedThroughputExceededException"),
        ("InternalServerError", "InternalServerError"),
    ] {
        let rule = mock!(Client::update_item).then_http_response(move || json_error(code));
        let error = store!(rule).commit(&state(), 41, QueueChanges::default()).await.unwrap_err();
        assert!(matches!(error, Error::Store(_)));
        assert!(error.to_string().contains(detail), "{error}");
    }
    for (codes, detail) in [
        (["ConditionalCheckFailed", "None"], "another writer came first"),
        (["None", "TransactionConflict"], "another writer came first"),
        (["None", "ThrottlingError"], "ThrottlingError"),
    ] {
        let rule = mock!(Client::transact_write_items).then_http_response(move || cancelled(&codes));
        let error = store!(rule).commit(&state(), 41, changes().0).await.unwrap_err();
        assert!(matches!(error, Error::Store(_)));
        assert!(error.to_string().contains(detail) && !error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn item_that_cannot_be_read_is_unavailable_and_never_an_empty_state() {
    for code in ["ThrottlingException", "InternalServerError"] {
        let rule = mock!(Client::get_item).then_http_response(move || json_error(code));
        let store = store!(rule);
        assert_eq!(store.admission_state().await.unwrap_err().name(), "Store.Unavailable");
        assert_eq!(store.queue_position(&reference()).await.unwrap_err().name(), "Store.Unavailable");
    }
    let mut odd = admission_key();
    odd.extend([("revision".to_owned(), number(5)), ("leases".to_owned(), text("odd"))]);
    let error = store!(reads(&admission_key(), Some(odd))).admission_state().await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
}

/// Each write of admit-document, on items to which newer code has added an attribute.
#[tokio::test]
async fn d08_writes_of_the_admission_items_keep_unknown_attributes() {
    let newer = || Item::from([("newer".to_owned(), text("kept")), ("stalledSince".to_owned(), number(1))]);
    for state in [state(), AdmissionState::default()] {
        let seen = Seen::new();
        store!(updates(&seen)).commit(&state, 41, QueueChanges::default()).await.unwrap();
        let item = applied(&as_part(&seen.only()), Some(newer()));
        assert_eq!(item["newer"], text("kept"));
        let read = store!(reads(&admission_key(), Some(item))).admission_state().await.unwrap();
        assert_eq!(read, (state, 42), "an optional attribute that the state no longer has is removed");
    }
    let seen = Seen::new();
    store!(transacts(&seen)).commit(&state(), 41, changes().0).await.unwrap();
    let request = seen.only();
    assert!(puts(&request).is_empty(), "a put would remove them");
    for update in request.transact_items().iter().filter_map(TransactWriteItem::update) {
        assert_eq!(applied(update, Some(newer()))["newer"], text("kept"));
    }
}

/// An item may have 400 KB, by AWS's rules of counting:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>.
fn size(value: &AttributeValue) -> usize {
    if let Ok(text) = value.as_s() {
        text.len()
    } else if let Ok(digits) = value.as_n() {
        digits.len().div_ceil(2) + 1
    } else if let Ok(list) = value.as_l() {
        3 + list.iter().map(|item| 1 + size(item)).sum::<usize>()
    } else if let Ok(map) = value.as_m() {
        3 + map.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>()
    } else {
        1
    }
}

#[tokio::test]
async fn largest_state_stays_far_below_what_an_item_may_have() {
    let (mut state, token) = (AdmissionState::default(), "t".repeat(1_000));
    let submission = |number: usize| format!("{number:0>64}");
    for number in 0..1_000 {
        if number == 1_000 - 35 {
            state.clear_granted();
        }
        state.grant(waiting(&submission(number), number, &token), &LIMITS, NOW);
    }
    for number in 0..2_000 {
        let failed_transfers = u32::from(number % 2 == 0);
        let waiting =
            WaitingDocument { failed_transfers, ..waiting(&submission(9_000 + number), number, &token) };
        state.enqueue(&waiting, &Lane::of(None, &waiting.document.submission_id));
    }
    assert_eq!((state.granted().len(), state.snapshot().leases), (35, 1_000));
    let seen = Seen::new();
    store!(updates(&seen)).commit(&state, u64::MAX - 1, QueueChanges::default()).await.unwrap();
    let item = applied(&as_part(&seen.only()), None);
    assert_eq!(item["queues"].as_m().unwrap()["open"].as_m().unwrap().len(), 256 + 2 * 64);
    let bytes: usize = item.iter().map(|(name, value)| name.len() + size(value)).sum();
    assert!((100_000..250_000).contains(&bytes), "{bytes} bytes");
}
