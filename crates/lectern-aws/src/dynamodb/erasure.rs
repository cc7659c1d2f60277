//! Erases the items of a submission. The submission's own item stays: without its counts, and with the erasure.
//!
//! Every registration, end and redrive of a document writes the submission's item on the condition that it has no erasure
//! ([`DynamoDbStore::count`]), so nothing is added after the erasure has begun.

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, Delete, TransactWriteItem, Update},
};
use lectern::{
    document::{Document, SubmissionId},
    error::{Error, rfc3339},
    limits::ERASED_CALLBACK_LIFETIME,
    ports::{Erasure, ErasureState, Erasures},
};
use time::OffsetDateTime;

use super::{
    DynamoDbStore,
    items::{callback_key, document_key, file_key, from_item, submission_key, submission_pk},
    update,
};
use crate::error::{defect, failed};

/// The attribute that only the item of an erased submission has.
pub(crate) const ERASURE_STATE: &str = "erasureState";
impl Erasures for DynamoDbStore {
    async fn erasure(&self, id: &SubmissionId) -> Result<Option<Erasure>, Error> {
        let item = self.submission_item(id).await?;
        item.filter(|item| item.contains_key(ERASURE_STATE)).map(from_item).transpose()
    }

    async fn begin_erasure(&self, id: &SubmissionId, by: &str, now: OffsetDateTime) -> Result<(), Error> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(submission_key(id)))
            .update_expression(
                "SET submissionId = :id, erasureState = :state, erasedBy = :by, \
                 erasureBeganAt = if_not_exists(erasureBeganAt, :now) \
                 REMOVE #state, createdAt, createdOrder, #open, #ready, #rejected, #failed, expiresAt, erasureEndedAt, \
                 #owner, ownerState, title, kinds, declaredFiles, declaredBytes, countChanges, countedAt",
            )
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#open", "open")
            .expression_attribute_names("#ready", "ready")
            .expression_attribute_names("#rejected", "rejected")
            .expression_attribute_names("#failed", "failed")
            .expression_attribute_values(":id", AttributeValue::S(id.to_string()))
            .expression_attribute_values(":state", state(ErasureState::Erasing))
            .expression_attribute_values(":by", AttributeValue::S(by.to_owned()))
            .expression_attribute_values(":now", AttributeValue::S(rfc3339(now)));
        request.send().await.map(drop).map_err(|error| failed("UpdateItem", error))
    }

    async fn documents_to_erase(&self, id: &SubmissionId) -> Result<Vec<Document>, Error> {
        self.documents_of(id).await
    }

    async fn erase_document(&self, document: &Document, now: OffsetDateTime) -> Result<(), Error> {
        let reference = &document.reference;
        let gone = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(document_key(reference)))
            .condition_expression("attribute_exists(pk)");
        let expires_at = (now + ERASED_CALLBACK_LIFETIME).unix_timestamp();
        let callback = Update::builder()
            .table_name(&self.table)
            .set_key(Some(callback_key(&document.callback_id)))
            .update_expression(
                "SET submissionId = :submission, documentId = :document, isErased = :true, expiresAt = :expires REMOVE traceparent",
            )
            .expression_attribute_values(":submission", AttributeValue::S(reference.submission_id.to_string()))
            .expression_attribute_values(":document", AttributeValue::S(reference.document_id.to_string()))
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":expires", AttributeValue::N(expires_at.to_string()));
        let counted = Update::builder()
            .table_name(&self.table)
            .set_key(Some(submission_key(&reference.submission_id)))
            .update_expression("ADD erasedDocuments :one")
            .condition_expression("attribute_exists(erasureState)")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        let file = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(file_key(&reference.submission_id, &document.object)));
        self.transact(vec![
            delete(gone.build())?,
            delete(file.build())?,
            update(callback.build())?,
            update(counted.build())?,
        ])
        .await
    }

    async fn count_erased_versions(&self, id: &SubmissionId, versions: u64) -> Result<(), Error> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(submission_key(id)))
            .update_expression("ADD erasedObjectVersions :versions")
            .condition_expression("attribute_exists(erasureState)")
            .expression_attribute_values(":versions", AttributeValue::N(versions.to_string()));
        request.send().await.map(drop).map_err(|error| failed("UpdateItem", error))
    }

    async fn end_erasure(&self, id: &SubmissionId, now: OffsetDateTime) -> Result<(), Error> {
        let mut left = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(submission_pk(id)))
            .projection_expression("pk, sk")
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let own = submission_key(id);
        while let Some(key) = left.next().await {
            let key = key.map_err(|error| failed("Query", error))?;
            if key != own {
                let request = self.client.delete_item().table_name(&self.table).set_key(Some(key));
                request.send().await.map_err(|error| failed("DeleteItem", error))?;
            }
        }
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(own))
            .update_expression("SET erasureState = :state, erasureEndedAt = :now")
            .condition_expression("attribute_exists(erasureState)")
            .expression_attribute_values(":state", state(ErasureState::Erased))
            .expression_attribute_values(":now", AttributeValue::S(rfc3339(now)));
        request.send().await.map(drop).map_err(|error| failed("UpdateItem", error))
    }
}

fn state(state: ErasureState) -> AttributeValue {
    AttributeValue::S(format!("{state:?}"))
}

fn delete(delete: Result<Delete, BuildError>) -> Result<TransactWriteItem, Error> {
    let delete = delete.map_err(|error| defect("a delete could not be built", error))?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}
