//! Reads for the API: lists of submissions, and one submission with its documents.

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use lectern::{
    document::submission::{Submission, SubmissionState},
    document::{Document, SubmissionId},
    error::{Error, StoreError},
    ports::{Browse, Cursor},
};
use serde::Deserialize;

use super::{
    DynamoDbStore,
    erasure::ERASURE_STATE,
    items::{Item, SUBMISSIONS_BY_STATE, StoredDocument, from_item, submission_key, submission_pk},
};
use crate::error::{defect, failed};

/// A submission in the index.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    pk: String,
    created_order: String,
}

impl Browse for DynamoDbStore {
    /// One query for each wanted state, merged by their common order, then the submissions themselves.
    async fn submissions(
        &self,
        state: Option<SubmissionState>,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Vec<Submission>, Error> {
        let states = state.map_or_else(|| SubmissionState::ALL.to_vec(), |state| vec![state]);
        let mut listed = Vec::new();
        for state in states {
            listed.extend(self.listed(state, after, limit).await?);
        }
        listed.sort_by(|a, b| b.created_order.cmp(&a.created_order));
        // A submission may move between two of the queries and be seen twice.
        listed.dedup_by(|a, b| a.pk == b.pk);
        listed.truncate(limit);
        let mut submissions = self.all_of(&listed).await?;
        // The index is eventually consistent, so a submission that has just changed its state may be listed under the
        // old one. Omitting it here would shorten the page and end the list early.
        submissions.sort_by(|a, b| {
            (&b.created_at, b.submission_id.as_str()).cmp(&(&a.created_at, a.submission_id.as_str()))
        });
        Ok(submissions)
    }

    async fn submission(&self, id: &SubmissionId) -> Result<Option<(Submission, Vec<Document>)>, Error> {
        let Some(submission) = self.submission_now(id).await? else { return Ok(None) };
        Ok(Some((submission, self.documents_of(id).await?)))
    }
}

impl DynamoDbStore {
    /// All documents of a submission, oldest first and without their results.
    pub(super) async fn documents_of(&self, id: &SubmissionId) -> Result<Vec<Document>, Error> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :documents)")
            .expression_attribute_values(":pk", AttributeValue::S(submission_pk(id)))
            .expression_attribute_values(":documents", AttributeValue::S("DOCUMENT#".to_owned()))
            // Without the result, which may be 192 KiB for each of thousands of documents.
            .projection_expression(
                "pk, sk, revision, submissionId, documentId, #bucket, #key, versionId, sizeBytes, mediaType, #state, \
                 reason, #times, supersededBy, callbackId, attempt, #round, jobId, earlierJobs, redrives, \
                 abandonedJobs, recordKey, traceparent, expiresAt, isWithdrawn, #owner, #name",
            )
            .expression_attribute_names("#bucket", "bucket")
            .expression_attribute_names("#key", "key")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#times", "times")
            .expression_attribute_names("#round", "round")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#name", "name")
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut documents = Vec::new();
        while let Some(item) = pages.next().await {
            let stored: StoredDocument = from_item(item.map_err(|error| failed("Query", error))?)?;
            documents.push(stored.document);
        }
        // A document that was rejected on registration was never `Received`, so the order uses the earliest time of any
        // state.
        let first_seen = |document: &Document| document.times.values().min().cloned();
        documents.sort_by_key(|document| (first_seen(document), document.reference.document_id));
        Ok(documents)
    }

    async fn listed(
        &self,
        state: SubmissionState,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Vec<Listed>, Error> {
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(SUBMISSIONS_BY_STATE)
            .key_condition_expression(match after {
                Some(_) => "#state = :state AND createdOrder < :after",
                None => "#state = :state",
            })
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", AttributeValue::S(state.as_str().to_owned()))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        if let Some(cursor) = after {
            let order = format!("{}#{}", cursor.created_at, cursor.submission_id);
            query = query.expression_attribute_values(":after", AttributeValue::S(order));
        }
        let answer = query.send().await.map_err(|error| failed("Query", error))?;
        answer.items.unwrap_or_default().into_iter().map(from_item).collect()
    }

    async fn all_of(&self, listed: &[Listed]) -> Result<Vec<Submission>, Error> {
        let mut submissions = Vec::with_capacity(listed.len());
        let mut wanted: Vec<Item> = listed
            .iter()
            .filter_map(|listed| listed.pk.strip_prefix("SUBMISSION#"))
            .filter_map(|id| SubmissionId::try_from(id.to_owned()).ok())
            .map(|id| submission_key(&id))
            .collect();
        // DynamoDB may return a part of the items and list the unprocessed keys; each request returns at least one
        // item.
        while !wanted.is_empty() {
            let keys =
                KeysAndAttributes::builder().set_keys(Some(wanted.clone())).consistent_read(true).build();
            let keys = keys.map_err(|error| defect("a BatchGetItem could not be built", error))?;
            let request = self.client.batch_get_item().request_items(&self.table, keys);
            let answer = request.send().await.map_err(|error| failed("BatchGetItem", error))?;
            let items =
                answer.responses.and_then(|mut tables| tables.remove(&self.table)).unwrap_or_default();
            let rest = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.table));
            let rest: Vec<Item> = rest.map(|keys| keys.keys).unwrap_or_default();
            if items.is_empty() && rest.len() == wanted.len() {
                return Err(StoreError::unavailable("BatchGetItem answers for none of its keys").into());
            }
            // The index may still list a submission that has just been erased.
            for item in items.into_iter().filter(|item| !item.contains_key(ERASURE_STATE)) {
                submissions.push(from_item(item)?);
            }
            wanted = rest;
        }
        Ok(submissions)
    }
}
