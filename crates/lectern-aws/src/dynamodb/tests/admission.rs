//! The gate and those who wait: what is written at once, what comes back, and that it fits.

use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::{PutItemInput, PutItemOutput};
use aws_smithy_mocks::mock;
use lectern::{
    admission::{Gate, Limits, Report, Ticket, Waiter},
    document::{DocumentId, DocumentRef, TaskToken},
    error::Error,
    ports::Turns as _,
    steps::admit_document::Changes,
};

use super::*;
use crate::{
    dynamodb::items::{gate_key, place_key, ticket_key},
    test_support::NOW,
};

const LIMITS: Limits = Limits {
    interval: Duration::from_millis(200),
    burst: 10,
    max_in_flight: 1_000,
    lease: Duration::from_hours(6),
};

fn waiter(submission: &str, number: usize, token: &str) -> Waiter {
    let document_id = DocumentId::of("uploads", submission.as_bytes(), &number.to_string());
    let document = DocumentRef { submission_id: submission.parse().unwrap(), document_id };
    Waiter { document, traceparent: None, task_token: TaskToken::new(token), asked_us: 1_795_190_645_006_000 }
}

/// A gate on which everything has happened once.
fn gate() -> Gate {
    let mut gate = Gate::default();
    for number in 0..3 {
        gate.grant(waiter("s1", number, "token"), &LIMITS, NOW);
    }
    let granted: Vec<_> = gate.granted().to_vec();
    for (turn, report) in granted.iter().zip([Report::RateLimited(Some(NOW)), Report::Unauthorized]) {
        gate.report(turn.waiter.document.document_id, turn.attempt, report, NOW);
    }
    gate.line_up(&waiter("s2", 1, "token").document);
    gate
}

fn changes() -> (Changes, Ticket, Waiter) {
    let waiter = waiter("s2", 1, "token-s2");
    let ticket = Ticket { lane: "s2".to_owned(), opened: 3, number: 7 };
    let gone = Ticket { number: 6, ..ticket.clone() };
    let changes = Changes {
        waiters: [(ticket.clone(), Some(waiter.clone())), (gone, None)].into(),
        places: [(waiter.document.clone(), Some(ticket.clone())), (reference(), None)].into(),
    };
    (changes, ticket, waiter)
}

fn put(seen: &Seen<PutItemInput>) -> Rule {
    let seen = seen.clone();
    mock!(Client::put_item).then_compute_output(move |request| {
        seen.note(request);
        PutItemOutput::builder().build()
    })
}

#[tokio::test]
async fn gate_alone_is_one_conditional_write_and_is_read_back_whole() {
    let seen = Seen::new();
    store!(put(&seen)).commit(&gate(), 41, Changes::default()).await.unwrap();
    let request = seen.only();
    assert_eq!(request.table_name(), Some("table"));
    assert_eq!(request.condition_expression(), Some("attribute_not_exists(pk) OR revision = :read"));
    assert_eq!(request.expression_attribute_values(), Some(&values(&[(":read", number(41))])));
    let item = request.item().unwrap().clone();
    assert_eq!((&item["pk"], &item["sk"]), (&text("GATE"), &text("GATE")));
    assert_eq!(item["revision"], number(42));
    let read = store!(reads(&gate_key(), Some(item))).gate().await.unwrap();
    assert_eq!(read, (gate(), 42));
}

#[tokio::test]
async fn gate_that_was_never_written_is_an_empty_one() {
    let read = store!(reads(&gate_key(), None)).gate().await.unwrap();
    assert_eq!(read, (Gate::default(), 0));
}

/// A later version may have added to it.
#[tokio::test]
async fn gate_is_read_also_if_attributes_are_missing_or_unknown() {
    let mut item = gate_key();
    item.extend([("revision".to_owned(), number(5)), ("unheardOf".to_owned(), text("x"))]);
    assert_eq!(store!(reads(&gate_key(), Some(item))).gate().await.unwrap(), (Gate::default(), 5));
}

#[tokio::test]
async fn who_waits_is_written_with_the_gate_at_once_and_is_read_back() {
    let seen = Seen::new();
    let (changes, ticket, waiter) = changes();
    store!(transacts(&seen)).commit(&gate(), 41, changes).await.unwrap();
    let request = seen.only();
    assert_eq!(request.transact_items().len(), 5);
    let written = puts(&request);
    assert_eq!(written[0].item()["revision"], number(42));
    assert_eq!(written[0].condition_expression(), Some("attribute_not_exists(pk) OR revision = :read"));
    assert!(written[1..].iter().all(|put| put.condition_expression().is_none()));
    let [waits, place] = [&written[1], &written[2]].map(|put| put.item().clone());
    assert_eq!((&waits["pk"], &waits["sk"]), (&text("LANE#s2#3"), &text("TICKET#7")));
    let id = waiter.document.document_id;
    assert_eq!((&place["pk"], &place["sk"]), (&text(&format!("TURN#{id}")), &text("TURN")));
    let removals = request.transact_items().iter().filter_map(TransactWriteItem::delete);
    let deleted: Vec<Item> = removals.map(|delete| delete.key().clone()).collect();
    let gone = Ticket { number: 6, ..ticket.clone() };
    assert_eq!(deleted, [ticket_key(&gone), place_key(&reference())]);
    let store = store!(
        reads(&ticket_key(&ticket), Some(waits)),
        reads(&place_key(&waiter.document), Some(place)),
        reads(&ticket_key(&gone), None)
    );
    assert_eq!(store.waiter(&ticket).await.unwrap(), Some(waiter.clone()));
    assert_eq!(store.place(&waiter.document).await.unwrap(), Some(ticket));
    assert_eq!(store.waiter(&gone).await.unwrap(), None);
}

#[tokio::test]
async fn case_23_write_that_meets_another_writer_or_a_busy_table_is_unavailable() {
    for (code, detail) in [
        ("ConditionalCheckFailedException", "another writer came first"),
        ("ProvisionedThroughputExceededException", "ProvisionedThroughputExceededException"),
        ("InternalServerError", "InternalServerError"),
    ] {
        let rule = mock!(Client::put_item).then_http_response(move || json_error(code));
        let error = store!(rule).commit(&gate(), 41, Changes::default()).await.unwrap_err();
        assert!(matches!(error, Error::StoreUnavailable(_)));
        assert!(error.to_string().contains(detail), "{error}");
    }
    for (codes, detail) in [
        (["ConditionalCheckFailed", "None"], "another writer came first"),
        (["None", "TransactionConflict"], "another writer came first"),
        (["None", "ThrottlingError"], "ThrottlingError"),
    ] {
        let rule = mock!(Client::transact_write_items).then_http_response(move || cancelled(&codes));
        let error = store!(rule).commit(&gate(), 41, changes().0).await.unwrap_err();
        assert!(matches!(error, Error::StoreUnavailable(_)));
        assert!(error.to_string().contains(detail) && !error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn item_that_cannot_be_read_is_unavailable_and_never_an_empty_gate() {
    for code in ["ThrottlingException", "InternalServerError"] {
        let rule = mock!(Client::get_item).then_http_response(move || json_error(code));
        let store = store!(rule);
        assert_eq!(store.gate().await.unwrap_err().name(), "Store.Unavailable");
        assert_eq!(store.place(&reference()).await.unwrap_err().name(), "Store.Unavailable");
    }
    let mut odd = gate_key();
    odd.extend([("revision".to_owned(), number(5)), ("leases".to_owned(), text("odd"))]);
    let error = store!(reads(&gate_key(), Some(odd))).gate().await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
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
async fn largest_gate_stays_far_below_what_an_item_may_have() {
    let (mut gate, token) = (Gate::default(), "t".repeat(1_000));
    let submission = |number: usize| format!("{number:0>64}");
    for number in 0..1_000 {
        if number == 1_000 - 35 {
            gate.begin();
        }
        gate.grant(waiter(&submission(number), number, &token), &LIMITS, NOW);
    }
    for number in 0..2_000 {
        gate.line_up(&waiter(&submission(9_000 + number), number, &token).document);
    }
    assert_eq!((gate.granted().len(), gate.standing().leases), (35, 1_000));
    let seen = Seen::new();
    store!(put(&seen)).commit(&gate, u64::MAX - 1, Changes::default()).await.unwrap();
    let item = seen.only().item().unwrap().clone();
    assert_eq!(item["lanes"].as_m().unwrap()["open"].as_m().unwrap().len(), 256 + 64);
    let bytes: usize = item.iter().map(|(name, value)| name.len() + size(value)).sum();
    assert!((100_000..250_000).contains(&bytes), "{bytes} bytes");
}
