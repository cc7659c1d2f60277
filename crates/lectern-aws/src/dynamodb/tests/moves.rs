//! Transitions of one document: each is a read and a write on the condition that no other write came in between.

use aws_sdk_dynamodb::{
    Client,
    operation::{
        get_item::GetItemOutput,
        put_item::{PutItemInput, PutItemOutput},
    },
};
use aws_smithy_mocks::mock;
use lectern::{
    contract::wire::{JobError, JobFailed, JobSucceeded},
    document::submission::{Counts, Submission, SubmissionState},
    document::{Attempt, DocumentState, JobResult, Reason, Round},
    ports::{
        Begin, Finish, Finishing as _, Load as _, Reopened, Reopening as _, Transfers as _, Withdrawing as _,
    },
    testing::world::failed_for,
};
use rstest::rstest;

use super::*;
use crate::{
    dynamodb::items::submission_key,
    test_support::{NOW, Seen},
};

fn puts_one(seen: &Seen<PutItemInput>) -> Rule {
    let seen = seen.clone();
    mock!(Client::put_item).then_compute_output(move |request| {
        seen.note(request);
        PutItemOutput::builder().build()
    })
}

pub(super) fn one_open() -> Submission {
    let created_at = "2026-11-20T11:00:00.000Z".to_owned();
    let submission = Submission::new("s1".parse().unwrap(), SubmissionState::InProgress, created_at);
    Submission { counts: Counts { open: 1, ..Counts::default() }, ..submission }
}

#[tokio::test]
async fn move_is_written_on_the_condition_of_the_revision_that_was_read() {
    let seen = Seen::new();
    let store = store!(reads_document(Some(stored(document(), |_| {}))), puts_one(&seen));
    let begun = store.begin_transfer(&reference(), Attempt(2000), Round(1), NOW).await.unwrap();
    let Begin::Begun(moved) = begun else { panic!("not begun") };
    assert_eq!((moved.state, moved.attempt), (DocumentState::Processing, Some(Attempt(2000))));
    let put = seen.only();
    assert_eq!(put.table_name(), Some("table"));
    assert_eq!(put.condition_expression(), Some("revision = :read"));
    assert_eq!(put.expression_attribute_values(), Some(&values(&[(":read", number(7))])));
    let item = put.item().unwrap();
    assert_eq!((&item["revision"], &item["attempt"]), (&number(8), &number(2000)));
}

#[tokio::test]
async fn move_keeps_what_the_state_machine_has_written() {
    let seen = Seen::new();
    let item = stored(document(), |stored| {
        stored.task_token = Some(lectern::document::TaskToken::new("token"));
        stored.result_outcome = Some("succeeded".to_owned());
        stored.result_files = Some(2);
        let job = JobSucceeded { job_id: "j1".to_owned(), files: Vec::new() };
        stored.document.result = Some(JobResult::Succeeded(job));
    });
    let store = store!(reads_document(Some(item)), puts_one(&seen));
    store.record_job(&reference(), Attempt(1000), "j1").await.unwrap();
    let put = seen.only();
    let item = put.item().unwrap();
    assert_eq!((&item["taskToken"], &item["jobId"]), (&text("token"), &text("j1")));
    assert_eq!((&item["resultOutcome"], &item["resultFiles"]), (&text("succeeded"), &number(2)));
}

/// An item to which newer code has added an attribute, and a field within an attribute.
fn newer(change: impl FnOnce(&mut StoredDocument)) -> Item {
    let mut item = stored(document(), change);
    item.insert("newer".to_owned(), text("kept"));
    let Some(AttributeValue::M(times)) = item.get_mut("times") else { panic!("no times") };
    times.insert("Newer".to_owned(), text("kept"));
    let reason = [("code", "x"), ("message", "y"), ("newer", "kept")];
    let reason = reason.map(|(name, value)| (name.to_owned(), text(value)));
    item.insert("reason".to_owned(), AttributeValue::M(HashMap::from(reason)));
    item
}

#[track_caller]
fn assert_kept(item: &Item) {
    assert_eq!(item["newer"], text("kept"));
    assert_eq!(item["times"].as_m().unwrap()["Newer"], text("kept"));
}

#[tokio::test]
async fn d08_every_transition_of_a_document_keeps_unknown_attributes() {
    let token =
        |stored: &mut StoredDocument| stored.task_token = Some(lectern::document::TaskToken::new("t"));
    let reads_newer = || reads_document(Some(newer(token)));
    let seen = Seen::new();
    let store = store!(reads_newer(), puts_one(&seen));
    store.begin_transfer(&reference(), Attempt(2000), Round(1), NOW).await.unwrap();
    let item = seen.only().item().unwrap().clone();
    assert_kept(&item);
    assert_eq!(item["reason"].as_m().unwrap()["newer"], text("kept"), "the reason has not changed");
    let seen = Seen::new();
    store!(reads_newer(), puts_one(&seen)).record_job(&reference(), Attempt(1000), "j1").await.unwrap();
    assert_kept(seen.only().item().unwrap());
    let verifying = newer(|stored| stored.document.state = DocumentState::Verifying);
    let seen = Seen::new();
    store!(reads_document(Some(verifying)), puts_one(&seen))
        .begin_normalize(&reference(), NOW)
        .await
        .unwrap();
    assert_kept(seen.only().item().unwrap());
    let submission =
        || reads(&submission_key(&reference().submission_id), Some(submission_item(&one_open())));
    let seen = Seen::new();
    let outcome = failed_for(Reason::new("internal", "It failed."));
    store!(reads_newer(), submission(), transacts(&seen)).finish(&reference(), outcome, NOW).await.unwrap();
    let item = puts(&seen.only())[0].item().clone();
    assert_kept(&item);
    assert_eq!(
        item["reason"].as_m().unwrap()["code"],
        text("internal"),
        "a changed attribute is this code's"
    );
    let seen = Seen::new();
    let failed = newer(|stored| {
        token(stored);
        stored.document.state = DocumentState::Failed;
    });
    store!(reads_document(Some(failed)), submission(), transacts(&seen))
        .reopen(&reference(), 0, false, NOW)
        .await
        .unwrap();
    let item = puts(&seen.only())[0].item().clone();
    assert_eq!(item["newer"], text("kept"));
    assert!(!item.contains_key("taskToken") && !item.contains_key("reason"), "what it removes is gone");
}

#[tokio::test]
async fn s07_result_of_another_job_goes_with_its_outcome_when_the_jobs_id_is_known() {
    let seen = Seen::new();
    let item = stored(document(), |stored| {
        stored.result_outcome = Some("succeeded".to_owned());
        stored.result_files = Some(2);
        let job = JobSucceeded { job_id: "j2".to_owned(), files: Vec::new() };
        stored.document.result = Some(JobResult::Succeeded(job));
    });
    let store = store!(reads_document(Some(item)), puts_one(&seen));
    store.record_job(&reference(), Attempt(1000), "j1").await.unwrap();
    let put = seen.only();
    let item = put.item().unwrap();
    for gone in ["result", "resultOutcome", "resultFiles"] {
        assert!(!item.contains_key(gone), "{gone}");
    }
    assert_eq!(item["jobId"], text("j1"));
}

#[tokio::test]
async fn case_45_two_writers_that_meet_lose_no_update() {
    let other = Attempt(3000);
    let read = mock!(Client::get_item)
        .match_requests(is_read_of(&document_key(&reference())))
        .sequence()
        .output(|| GetItemOutput::builder().set_item(Some(stored(document(), |_| {}))).build())
        .output(move || {
            let item = stored(Document { attempt: Some(other), ..document() }, |s| s.revision = 8);
            GetItemOutput::builder().set_item(Some(item)).build()
        })
        .build();
    let put = mock!(Client::put_item)
        .match_requests(|request| {
            request.expression_attribute_values() == Some(&values(&[(":read", number(7))]))
        })
        .then_http_response(|| json_error("ConditionalCheckFailedException"));
    let store = store!(read, put);
    let error = store.record_job(&reference(), Attempt(1000), "j1").await.unwrap_err();
    assert_eq!(error.to_string(), "our own store failed: another writer came first");
    // The next try reads the other writer's document, in which a newer attempt has started.
    store.record_job(&reference(), Attempt(1000), "j1").await.unwrap();
    assert_eq!(put.num_calls(), 1, "the newer attempt's item is left alone");
}

#[rstest]
#[case("ProvisionedThroughputExceededException")]
#[case("RequestLimitExceeded")]
#[case("AccessDeniedException")]
#[tokio::test]
async fn failing_table_is_unavailable_and_says_so(#[case] code: &'static str) {
    let put = mock!(Client::put_item).then_http_response(move || json_error(code));
    let verified = Document { state: DocumentState::Verifying, ..document() };
    let store = store!(reads_document(Some(stored(verified, |_| {}))), put);
    let error = store.begin_normalize(&reference(), NOW).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
    assert!(error.to_string().contains(&format!("PutItem: it answered with an error ({code})")), "{error}");
    let unreadable = mock!(Client::get_item).then_http_response(move || json_error(code));
    let error = store!(unreadable).load(&reference()).await.unwrap_err();
    assert!(error.to_string().contains(&format!("GetItem: it answered with an error ({code})")), "{error}");
    assert!(!format!("{error:?}").contains("secret detail"));
}

#[tokio::test]
async fn item_of_another_form_is_an_error_and_no_panic() {
    let mut item = stored(document(), |_| {});
    item.insert("state".to_owned(), text("Nowhere"));
    assert_eq!(
        store!(reads_document(Some(item))).load(&reference()).await.unwrap_err().name(),
        "Store.Unavailable"
    );
}

#[tokio::test]
async fn unknown_document_is_nothing_stale_or_unknown() {
    let store = store!(reads_document(None));
    assert_eq!(store.load(&reference()).await.unwrap(), None);
    assert_eq!(store.begin_transfer(&reference(), Attempt(1), Round(1), NOW).await.unwrap(), Begin::Stale);
    let failed = failed_for(Reason::new("x", "y"));
    assert_eq!(store.finish(&reference(), failed, NOW).await.unwrap(), Finish::Unknown);
}

#[tokio::test]
async fn document_that_has_ended_is_left_alone() {
    let ended = stored(Document { state: DocumentState::Ready, ..document() }, |_| {});
    let store = store!(reads_document(Some(ended)));
    assert_eq!(store.begin_normalize(&reference(), NOW).await.unwrap(), Begin::Stale);
    let failed = failed_for(Reason::new("x", "y"));
    assert_eq!(store.finish(&reference(), failed, NOW).await.unwrap(), Finish::AlreadyTerminal);
}

#[tokio::test]
async fn end_of_a_document_and_its_submissions_count_are_one_write() {
    let seen = Seen::new();
    let store = store!(
        reads_document(Some(stored(document(), |_| {}))),
        reads(&submission_key(&reference().submission_id), Some(submission_item(&one_open()))),
        transacts(&seen)
    );
    let failed = failed_for(Reason::new("drm", "No."));
    assert_eq!(store.finish(&reference(), failed, NOW).await.unwrap(), Finish::Finished);
    let request = seen.only();
    assert_eq!(request.transact_items().len(), 2);
    let puts = puts(&request);
    assert_eq!(puts[0].condition_expression(), Some("revision = :read"));
    assert_eq!(puts[0].item()["state"], text("Failed"));
    let update = request.transact_items()[1].update().unwrap();
    assert_eq!(update.key(), &submission_key(&reference().submission_id));
    let sent = update.expression_attribute_values().unwrap();
    assert_eq!((&sent[":open"], &sent[":failed"]), (&AttributeValue::N("-1".to_owned()), &number(1)));
    assert_eq!(sent[":state"], text("NeedsAttention"));
    let condition = "(#open = :wasOpen) AND attribute_not_exists(erasureState)";
    assert_eq!(update.condition_expression(), Some(condition));
}

#[rstest]
#[case(&["ConditionalCheckFailed", "None"])]
#[case(&["None", "ConditionalCheckFailed"])]
#[case(&["TransactionConflict", "None"])]
#[case(&[])]
#[tokio::test]
async fn case_45_cancelled_end_is_a_conflict_to_try_again(#[case] reasons: &'static [&'static str]) {
    let transact = mock!(Client::transact_write_items).then_http_response(move || cancelled(reasons));
    let store = store!(
        reads_document(Some(stored(document(), |_| {}))),
        reads(&submission_key(&reference().submission_id), Some(submission_item(&one_open()))),
        transact
    );
    let error = store.finish(&reference(), failed_for(Reason::new("x", "y")), NOW).await.unwrap_err();
    assert_eq!(error.to_string(), "our own store failed: another writer came first");
}

#[tokio::test]
async fn document_is_ready_with_the_key_of_its_record_in_one_write() {
    let seen = Seen::new();
    let store = store!(
        reads_document(Some(stored(document(), |_| {}))),
        reads(&submission_key(&reference().submission_id), Some(submission_item(&one_open()))),
        transacts(&seen)
    );
    let outcome = lectern::ports::FinalOutcome::Ready { record_key: "records/s1/d1/hash.json".to_owned() };
    assert_eq!(store.finish(&reference(), outcome, NOW).await.unwrap(), Finish::Finished);
    let item = puts(&seen.only())[0].item().clone();
    assert_eq!((&item["state"], &item["recordKey"]), (&text("Ready"), &text("records/s1/d1/hash.json")));
}

#[tokio::test]
async fn end_that_cannot_be_written_is_unavailable() {
    let code = "ThrottlingException";
    let transact = mock!(Client::transact_write_items).then_http_response(move || json_error(code));
    let store = store!(
        reads_document(Some(stored(document(), |_| {}))),
        reads(&submission_key(&reference().submission_id), None),
        transact
    );
    let error = store.finish(&reference(), failed_for(Reason::new("x", "y")), NOW).await.unwrap_err();
    assert!(error.to_string().contains(code), "{error}");
    assert!(!format!("{error:?}").contains("secret detail"));
}

pub(super) fn failed() -> Document {
    Document { state: DocumentState::Failed, reason: Some(Reason::new("overdue", "No.")), ..document() }
}

#[tokio::test]
async fn case_48_document_is_reopened_and_counted_in_one_write() {
    let seen = Seen::new();
    let one_failed = Submission {
        state: SubmissionState::NeedsAttention,
        counts: Counts { failed: 1, ..Counts::default() },
        ..one_open()
    };
    let error = JobError { code: "encrypted".to_owned(), message: "No.".into() };
    let result = Some(JobResult::Failed(JobFailed { job_id: "j1".to_owned(), error }));
    let item = stored(Document { result, ..failed() }, |stored| {
        stored.task_token = Some(lectern::document::TaskToken::new("token"));
        stored.result_outcome = Some("failed".to_owned());
    });
    let store = store!(
        reads_document(Some(item)),
        reads(&submission_key(&reference().submission_id), Some(submission_item(&one_failed))),
        transacts(&seen)
    );
    let Reopened::Open(open) = store.reopen(&reference(), 0, false, NOW).await.unwrap() else {
        panic!("it is not open")
    };
    assert_eq!((open.state, open.redrives, &open.reason), (DocumentState::Received, 1, &None));
    assert_eq!((open.round, open.abandoned_jobs.len()), (Round(2), 1));
    let request = seen.only();
    let puts = puts(&request);
    assert_eq!(puts[0].condition_expression(), Some("revision = :read"));
    assert_eq!(puts[0].item()["redrives"], number(1));
    for removed in ["taskToken", "resultOutcome", "reason", "result"] {
        assert_eq!(puts[0].item().get(removed), None, "{removed}");
    }
    let update = request.transact_items()[1].update().unwrap();
    let sent = update.expression_attribute_values().unwrap();
    assert_eq!((&sent[":open"], &sent[":failed"]), (&number(1), &AttributeValue::N("-1".to_owned())));
    assert_eq!(sent[":state"], text("InProgress"));
}

#[tokio::test]
async fn kept_success_stays_when_its_document_is_reopened() {
    let seen = Seen::new();
    let result = JobResult::Succeeded(JobSucceeded { job_id: "j1".to_owned(), files: Vec::new() });
    let item = stored(Document { result: Some(result), ..document() }, |stored| {
        stored.result_outcome = Some("succeeded".to_owned());
        stored.result_files = Some(0);
    });
    let store = store!(
        reads_document(Some(item)),
        reads(&submission_key(&reference().submission_id), Some(submission_item(&one_open()))),
        transacts(&seen)
    );
    let Reopened::Open(open) = store.reopen(&reference(), 0, false, NOW).await.unwrap() else {
        panic!("it is not open")
    };
    assert_eq!((open.state, open.has_succeeded_result()), (DocumentState::Verifying, true));
    let request = seen.only();
    let update = request.transact_items()[1].update().unwrap();
    assert_eq!(update.update_expression(), "SET submissionId = :id", "an open document is counted already");
    let item = puts(&request)[0].item().clone();
    assert_eq!((&item["resultOutcome"], &item["resultFiles"]), (&text("succeeded"), &number(0)));
}

#[rstest]
#[case::ready(Document { state: DocumentState::Ready, ..document() }, 0)]
#[case::redriven_meanwhile(Document { redrives: 1, ..failed() }, 0)]
#[case::superseded(Document { superseded_by: Some(reference().document_id), ..failed() }, 0)]
#[case::withdrawn(Document { is_withdrawn: true, ..failed() }, 0)]
#[tokio::test]
async fn document_that_may_not_be_reopened_stays_as_it_is(#[case] as_it_is: Document, #[case] after: u32) {
    let store = store!(reads_document(Some(stored(as_it_is.clone(), |_| {}))));
    let found = store.reopen(&reference(), after, false, NOW).await.unwrap();
    assert_eq!(found, Reopened::Unchanged(Box::new(as_it_is)));
    assert_eq!(
        store!(reads_document(None)).reopen(&reference(), 0, false, NOW).await.unwrap(),
        Reopened::Unknown
    );
}

#[tokio::test]
async fn f07_document_is_withdrawn_and_leaves_the_counts_in_one_write() {
    let seen = Seen::new();
    let one_failed = Submission {
        state: SubmissionState::NeedsAttention,
        counts: Counts { ready: 1, failed: 1, ..Counts::default() },
        ..one_open()
    };
    let store = store!(
        reads_document(Some(stored(failed(), |_| {}))),
        reads(&submission_key(&reference().submission_id), Some(submission_item(&one_failed))),
        transacts(&seen)
    );
    assert!(store.withdraw(&reference(), NOW).await.unwrap());
    let request = seen.only();
    let puts = puts(&request);
    assert_eq!(puts[0].condition_expression(), Some("revision = :read"));
    assert_eq!(puts[0].item()["isWithdrawn"], AttributeValue::Bool(true));
    assert_eq!(puts[0].item()["state"], text("Failed"));
    let update = request.transact_items()[1].update().unwrap();
    let sent = update.expression_attribute_values().unwrap();
    assert_eq!((&sent[":failed"], &sent[":wasFailed"]), (&AttributeValue::N("-1".to_owned()), &number(1)));
    assert_eq!(sent[":state"], text("Ready"));
}

/// `DynamoDB` deletes expired items in any order. A write to the submission's counts would fail again and again.
#[tokio::test]
async fn f07_document_whose_submission_has_expired_stays_as_it_is() {
    let store = store!(
        reads_document(Some(stored(failed(), |_| {}))),
        reads(&submission_key(&reference().submission_id), None)
    );
    assert!(!store.withdraw(&reference(), NOW).await.unwrap());
}
