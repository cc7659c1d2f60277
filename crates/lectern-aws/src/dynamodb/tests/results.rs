//! The store's half of the rendezvous.

use aws_sdk_dynamodb::{
    Client,
    operation::{
        put_item::{PutItemInput, PutItemOutput},
        update_item::{UpdateItemInput, UpdateItemOutput},
    },
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use aws_smithy_mocks::mock;
use lectern::{
    contract::wire::{FileRole, JobError, JobFailed, JobSucceeded, ReturnedFile},
    document::{CallbackId, JobResult, TaskToken},
    error::{Error, StoreError},
    ports::{CallbackTarget, Recorded, ResultContext, Results as _},
};

use super::*;
use crate::{
    dynamodb::items::callback_key,
    test_support::{NOW, Seen, answer, traceparent},
};

fn succeeded() -> JobResult {
    let file = ReturnedFile {
        name: "text.txt".into(),
        role: FileRole::Text,
        url: "https://files.example.com/1".to_owned(),
        size_bytes: 5,
        sha256: "0".repeat(64),
        media_type: "text/plain".to_owned(),
    };
    JobResult::Succeeded(JobSucceeded { job_id: "j1".to_owned(), files: vec![file.clone(), file] })
}

fn failed() -> JobResult {
    let error = JobError { code: "drm".to_owned(), message: "No.".into() };
    JobResult::Failed(JobFailed { job_id: "j1".to_owned(), error })
}

/// The context of the document that [`with`] stores.
fn context(token: Option<&str>) -> ResultContext {
    ResultContext::of(&document(), token.map(TaskToken::new))
}

fn with(result: Option<JobResult>, token: Option<&str>) -> Item {
    stored(Document { result, ..document() }, |stored| stored.task_token = token.map(TaskToken::new))
}

fn takes(seen: &Seen<UpdateItemInput>, token: Option<&'static str>) -> Rule {
    let seen = seen.clone();
    mock!(Client::update_item).then_compute_output(move |request| {
        seen.note(request);
        UpdateItemOutput::builder().set_attributes(Some(with(Some(succeeded()), token))).build()
    })
}

/// The condition fails on this item, as `DynamoDB` sends it back.
fn refuses(item: Option<Item>) -> Rule {
    refuses_if(item, "")
}

/// The same for updates whose condition ends like this.
fn refuses_if(item: Option<Item>, end: &'static str) -> Rule {
    let is_meant = move |request: &UpdateItemInput| request.condition_expression().unwrap().ends_with(end);
    mock!(Client::update_item).match_requests(is_meant).then_http_response(move || {
        let mut body = serde_json::json!({
            "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            "message": "The conditional request failed"
        });
        if let Some(item) = &item {
            body["Item"] = item.iter().map(|(name, value)| (name.clone(), wire(value))).collect();
        }
        answer(400, body.to_string())
    })
}

fn wire(value: &AttributeValue) -> Value {
    if let Ok(list) = value.as_l() {
        serde_json::json!({ "L": list.iter().map(wire).collect::<Vec<_>>() })
    } else if let Ok(map) = value.as_m() {
        let map: serde_json::Map<_, _> = map.iter().map(|(k, v)| (k.clone(), wire(v))).collect();
        serde_json::json!({ "M": map })
    } else if let Ok(number) = value.as_n() {
        serde_json::json!({ "N": number })
    } else {
        serde_json::json!({ "S": value.as_s().unwrap() })
    }
}

#[tokio::test]
async fn case_31_first_result_is_stored_if_there_is_none_and_the_token_read_in_the_same_write() {
    for token in [None, Some("token")] {
        let seen = Seen::new();
        let store = store!(takes(&seen, token));
        let recorded = store.record_result(&reference(), &succeeded(), NOW).await.unwrap();
        assert_eq!(recorded, Recorded::First(context(token)));
        let request = seen.only();
        assert_eq!((request.table_name(), request.key()), (Some("table"), Some(&document_key(&reference()))));
        assert_eq!(
            request.condition_expression(),
            Some(
                "attribute_exists(pk) AND attribute_not_exists(#result) AND NOT contains(abandonedJobs, :job) \
                 AND (attribute_not_exists(jobId) OR jobId = :job OR contains(earlierJobs, :job)) \
                 AND #state = :processing"
            )
        );
        assert_eq!(request.return_values(), Some(&ReturnValue::AllNew));
        let old = ReturnValuesOnConditionCheckFailure::AllOld;
        assert_eq!(request.return_values_on_condition_check_failure(), Some(&old));
        let expression = request.update_expression().unwrap();
        assert!(expression.contains("#result = :result") && expression.contains("ADD revision :one"));
        assert!(expression.contains("#state = :state"), "the document moves on in the same write");
        let sent = request.expression_attribute_values().unwrap();
        assert_eq!((&sent[":outcome"], &sent[":files"]), (&text("succeeded"), &number(2)));
        assert_eq!((&sent[":state"], &sent[":processing"]), (&text("Verifying"), &text("Processing")));
        assert_eq!(request.expression_attribute_names().unwrap()["#result"], "result");
    }
}

#[tokio::test]
async fn failure_of_a_job_is_a_result_without_files_and_the_document_stays_where_it_is() {
    let seen = Seen::new();
    store!(takes(&seen, None)).record_result(&reference(), &failed(), NOW).await.unwrap();
    let request = seen.only();
    let sent = request.expression_attribute_values().unwrap();
    assert_eq!((&sent[":outcome"], &sent[":files"]), (&text("failed"), &number(0)));
    assert_eq!(sent[":state"], text("Processing"));
}

#[tokio::test]
async fn case_31_result_of_a_document_that_does_not_wait_is_stored_and_moves_nothing() {
    let seen = Seen::new();
    let store = store!(refuses_if(Some(with(None, None)), "= :processing"), takes(&seen, None));
    let recorded = store.record_result(&reference(), &succeeded(), NOW).await.unwrap();
    assert_eq!(recorded, Recorded::First(context(None)));
    let request = seen.only();
    assert!(request.condition_expression().unwrap().ends_with("AND #state <> :processing"));
    assert!(!request.update_expression().unwrap().contains("#state"), "{request:?}");
}

/// Another writer moved the document between the two updates.
#[tokio::test]
async fn result_that_neither_update_stores_is_a_conflict() {
    let store = store!(refuses(Some(with(None, None))));
    let error = store.record_result(&reference(), &succeeded(), NOW).await.unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Conflict)), "{error:?}");
}

#[tokio::test]
async fn case_32_same_result_again_changes_nothing_and_still_finds_the_token() {
    for token in [None, Some("token")] {
        let store = store!(refuses(Some(with(Some(succeeded()), token))));
        let recorded = store.record_result(&reference(), &succeeded(), NOW).await.unwrap();
        assert_eq!(recorded, Recorded::Same(context(token)));
    }
}

#[tokio::test]
async fn case_40_contradictory_result_is_a_conflict_and_the_first_stands() {
    let store = store!(refuses(Some(with(Some(succeeded()), Some("token")))));
    assert_eq!(store.record_result(&reference(), &failed(), NOW).await.unwrap(), Recorded::Conflict);
}

#[tokio::test]
async fn result_of_another_job_of_the_document_contradicts_nothing() {
    let store = store!(refuses(Some(with(Some(succeeded()), Some("token")))));
    let JobResult::Failed(job) = failed() else { unreachable!("it failed") };
    let other = JobResult::Failed(JobFailed { job_id: "j2".to_owned(), ..job });
    assert_eq!(store.record_result(&reference(), &other, NOW).await.unwrap(), Recorded::OtherJob);
}

#[tokio::test]
async fn result_of_no_document_is_unknown() {
    let store = store!(refuses(None));
    assert_eq!(store.record_result(&reference(), &failed(), NOW).await.unwrap(), Recorded::Unknown);
}

#[tokio::test]
async fn case_39_result_that_cannot_be_stored_is_unavailable() {
    for code in ["ThrottlingException", "InternalServerError", "ItemCollectionSizeLimitExceededException"] {
        let rule = mock!(Client::update_item).then_http_response(move || json_error(code));
        let error = store!(rule).record_result(&reference(), &succeeded(), NOW).await.unwrap_err();
        assert_eq!(error.name(), "Store.Unavailable");
        assert!(error.to_string().contains(code), "{error}");
    }
}

#[tokio::test]
async fn callback_id_leads_to_its_document_and_an_impossible_one_is_not_even_asked_for() {
    let id = CallbackId::new("callback-one");
    let key = callback_key(&id);
    assert_eq!(key["pk"], text("CALLBACK#callback-one"));
    let mut item = key.clone();
    item.extend(to_item(&reference()).unwrap());
    item.insert("traceparent".to_owned(), text(&traceparent().to_string()));
    let (known, unknown) = (reads(&key, Some(item)), reads(&callback_key(&CallbackId::new("x")), None));
    let store = store!(known, unknown);
    let target = CallbackTarget { document: reference(), traceparent: Some(traceparent()), is_erased: false };
    assert_eq!(store.resolve(&id).await.unwrap(), Some(target));
    assert_eq!(store.resolve(&CallbackId::new("x")).await.unwrap(), None);
    for impossible in [String::new(), "x".repeat(513)] {
        assert_eq!(store.resolve(&CallbackId::new(impossible)).await.unwrap(), None);
    }
    assert_eq!((known.num_calls(), unknown.num_calls()), (1, 1));
}

#[tokio::test]
async fn callback_id_of_a_document_without_a_trace_leads_to_it_all_the_same() {
    let id = CallbackId::new("callback-one");
    let key = callback_key(&id);
    let mut item = key.clone();
    item.extend(to_item(&reference()).unwrap());
    let known = reads(&key, Some(item));
    let target = CallbackTarget { document: reference(), traceparent: None, is_erased: false };
    assert_eq!(store!(known).resolve(&id).await.unwrap(), Some(target));
}

#[tokio::test]
async fn case_35_d15_callback_of_no_document_is_kept_as_the_bytes_that_came_and_expires() {
    let seen = Seen::<PutItemInput>::new();
    let noted = seen.clone();
    let rule = mock!(Client::put_item).then_compute_output(move |request| {
        noted.note(request);
        PutItemOutput::builder().build()
    });
    store!(rule).keep_unknown("evt", "no-such-id", &[0xFF, 0], NOW).await.unwrap();
    let request = seen.only();
    let item = request.item().unwrap();
    assert_eq!(item["pk"], text("UNKNOWN_CALLBACK#evt"));
    assert_eq!(item["callbackId"], text("no-such-id"));
    assert_eq!(item["body"].as_b().unwrap().as_ref(), [0xFF, 0]);
    assert_eq!(
        request.condition_expression(),
        Some("attribute_not_exists(pk)"),
        "a kept one is not written anew"
    );
    assert_eq!(item["receivedAt"], text("2026-11-20T12:00:00.000Z"));
    let month = lectern::limits::UNKNOWN_CALLBACK_LIFETIME.as_secs();
    assert_eq!(item["expiresAt"], number(u64::try_from(NOW.unix_timestamp()).unwrap() + month));
}
