//! Results of the third party, the store's half of the rendezvous.
//!
//! The state `AwaitCallback` stores the task token on the condition that there is no result; this module stores the result
//! on the same condition and reads the token in the same write. One of the two always sees the other.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    primitives::Blob,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use lectern::{
    document::transitions,
    document::{CallbackId, DocumentRef, DocumentState, JobResult},
    error::{Error, StoreError, rfc3339},
    limits::UNKNOWN_CALLBACK_LIFETIME,
    ports::{CallbackTarget, Recorded, ResultContext, Results},
    telemetry::trace::{self, TraceParent},
};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{
    DynamoDbStore,
    items::{EXPIRES_AT, StoredDocument, callback_key, document_key, from_item, unknown_callback_key},
};
use crate::error::{defect, failed};

/// There is a document, and it has no result yet.
const FIRST: &str = "attribute_exists(pk) AND attribute_not_exists(#result)";
/// And it may have the job, as `Document::may_have_job` says.
const OF_A_JOB: &str = "attribute_exists(pk) AND attribute_not_exists(#result) AND NOT contains(abandonedJobs, :job) \
                        AND (attribute_not_exists(jobId) OR jobId = :job OR contains(earlierJobs, :job))";

/// A callback's item: `CALLBACK#<callback id>` / `CALLBACK`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredCallback {
    #[serde(flatten)]
    document: DocumentRef,
    #[serde(default, deserialize_with = "trace::optional")]
    traceparent: Option<TraceParent>,
    /// Only of an erased document.
    #[serde(default)]
    is_erased: bool,
}

impl DynamoDbStore {
    /// The update that stores a result. If it `moves`, it applies to a document that waits for its callback, and moves it
    /// on if the job succeeded; otherwise it applies to all other documents.
    fn result_update(
        &self,
        document: &DocumentRef,
        result: &JobResult,
        now: OffsetDateTime,
        moves: bool,
    ) -> Result<UpdateItemFluentBuilder, Error> {
        let (files, state) = match result {
            JobResult::Succeeded(job) => (job.files.len(), DocumentState::Verifying),
            JobResult::Failed(_) => (0, DocumentState::Processing),
        };
        let value = serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value(result)
            .map_err(|error| defect("a result could not be written as an attribute", error))?;
        let stores = "SET #result = :result, resultOutcome = :outcome, resultFiles = :files";
        let names_job = !result.job_id().is_empty();
        let is_possible = if names_job { OF_A_JOB } else { FIRST };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(document_key(document)))
            .expression_attribute_names("#result", "result")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":result", value)
            .expression_attribute_values(":outcome", text(result.outcome()))
            .expression_attribute_values(":files", AttributeValue::N(files.to_string()))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .expression_attribute_values(":processing", text(DocumentState::Processing.as_str()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let update = if names_job {
            update.expression_attribute_values(":job", text(result.job_id()))
        } else {
            update
        };
        Ok(if moves {
            update
                .update_expression(format!(
                    "{stores}, #state = :state, #times.#entered = if_not_exists(#times.#entered, :now) \
                     ADD revision :one"
                ))
                .condition_expression(format!("{is_possible} AND #state = :processing"))
                .expression_attribute_names("#times", "times")
                .expression_attribute_names("#entered", state.as_str())
                .expression_attribute_values(":state", text(state.as_str()))
                .expression_attribute_values(":now", text(&rfc3339(now)))
        } else {
            update
                .update_expression(format!("{stores} ADD revision :one"))
                .condition_expression(format!("{is_possible} AND #state <> :processing"))
        })
    }
}

impl Results for DynamoDbStore {
    async fn resolve(&self, callback: &CallbackId) -> Result<Option<CallbackTarget>, Error> {
        // No callback id is empty or that long.
        if callback.expose().is_empty() || callback.expose().len() > 512 {
            return Ok(None);
        }
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(callback_key(callback)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("GetItem", error))?;
        let found: Option<StoredCallback> = answer.item.map(from_item).transpose()?;
        Ok(found.map(|StoredCallback { document, traceparent, is_erased }| CallbackTarget {
            document,
            traceparent,
            is_erased,
        }))
    }

    async fn record_result(
        &self,
        document: &DocumentRef,
        result: &JobResult,
        now: OffsetDateTime,
    ) -> Result<Recorded, Error> {
        // One update cannot choose what it writes by the state, so there are two updates with opposite conditions.
        for moves in [true, false] {
            match self.result_update(document, result, now, moves)?.send().await {
                Ok(answer) => {
                    let stored: StoredDocument = from_item(answer.attributes.unwrap_or_default())?;
                    let awaited = stored.task_token.is_some();
                    tracing::debug!(awaited, revision = stored.revision, "The result was written.");
                    return Ok(Recorded::First(ResultContext::of(&stored.document, stored.task_token)));
                }
                Err(SdkError::ServiceError(service))
                    if service.err().is_conditional_check_failed_exception() =>
                {
                    let UpdateItemError::ConditionalCheckFailedException(failed) = service.into_err() else {
                        return Ok(Recorded::Unknown);
                    };
                    let Some(item) = failed.item else { return Ok(Recorded::Unknown) };
                    let StoredDocument { document, task_token, .. } = from_item(item)?;
                    if transitions::record_result(&document, result, now).is_none() {
                        let context = ResultContext::of(&document, task_token);
                        return Ok(transitions::refused_result(&document, result, context));
                    }
                }
                Err(error) => return Err(failed("UpdateItem", error)),
            }
        }
        Err(StoreError::Conflict.into())
    }

    async fn keep_unknown(
        &self,
        event_id: &str,
        callback_id: &str,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let mut item = unknown_callback_key(event_id);
        item.insert("callbackId".to_owned(), AttributeValue::S(callback_id.to_owned()));
        item.insert("body".to_owned(), AttributeValue::B(Blob::new(body)));
        item.insert("receivedAt".to_owned(), AttributeValue::S(rfc3339(now)));
        let expires_at = (now + UNKNOWN_CALLBACK_LIFETIME).unix_timestamp();
        item.insert(EXPIRES_AT.to_owned(), AttributeValue::N(expires_at.to_string()));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match put {
            // An earlier delivery of the event has been kept.
            Err(SdkError::ServiceError(service)) if service.err().is_conditional_check_failed_exception() => {
                Ok(())
            }
            put => put.map(drop).map_err(|error| failed("PutItem", error)),
        }
    }
}
