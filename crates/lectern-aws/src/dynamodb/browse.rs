//! Reads for the API and the operator's command: lists of submissions, and one submission with its documents.

use aws_sdk_dynamodb::{
    operation::query::builders::QueryFluentBuilder,
    types::{AttributeValue, KeysAndAttributes},
};
use lectern::{
    document::submission::{Submission, SubmissionState},
    document::{Document, DocumentId, SubmissionId},
    error::{Error, StoreError},
    ports::{Browse, Cursor, DocumentList, Listing, SubmissionFilter, SubmissionList},
};
use serde::Deserialize;

use super::{
    DynamoDbStore,
    erasure::ERASURE_STATE,
    items::{
        Item, SUBMISSIONS_BY_OWNER, SUBMISSIONS_BY_STATE, StoredDocument, document_sk, from_item,
        owner_state, submission_key, submission_pk,
    },
};
use crate::error::{defect, failed};

/// The attributes of a document without its result, which may be 192 KiB for each of thousands of documents.
const WITHOUT_RESULT: &str = "pk, sk, revision, submissionId, documentId, #bucket, #key, versionId, sizeBytes, mediaType, #state, \
     reason, #times, supersededBy, callbackId, attempt, #round, jobId, earlierJobs, redrives, \
     abandonedJobs, recordKey, traceparent, expiresAt, isWithdrawn, #owner, #name";
/// The names of [`WITHOUT_RESULT`] that are reserved words.
const RESERVED: [&str; 7] = ["bucket", "key", "state", "times", "round", "owner", "name"];

/// Later than every time.
const END_OF_TIME: &str = "~";

/// A submission in an index.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    pk: String,
    created_order: String,
}

/// What a query of one state found.
struct Found {
    listed: Vec<Listed>,
    /// The `createdOrder` of the last submission that was looked at, if there are more.
    looked_at: Option<String>,
}

impl Browse for DynamoDbStore {
    /// One query for each state, merged by their common order, then the submissions themselves.
    async fn submissions(
        &self,
        filter: &SubmissionFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<SubmissionList, Error> {
        let mut listed = Vec::new();
        // Submissions older than this one may be missing in `listed`, because a query has not looked at them.
        let mut complete_until: Option<String> = None;
        for state in &filter.states {
            let found = self.listed(filter, *state, after, limit).await?;
            listed.extend(found.listed);
            complete_until = complete_until.max(found.looked_at);
        }
        listed.sort_by(|a, b| b.created_order.cmp(&a.created_order));
        // A submission may move between two of the queries and be seen twice.
        listed.dedup_by(|a, b| a.pk == b.pk);
        if let Some(until) = &complete_until {
            listed.retain(|listed| listed.created_order >= *until);
        }
        let next = if listed.len() > limit {
            listed.truncate(limit);
            listed.last().map(|last| last.created_order.clone())
        } else {
            complete_until
        };
        let mut submissions = self.all_of(&listed).await?;
        // An index is eventually consistent, so a submission that has just changed its state may be listed under the
        // old one. Omitting it here would shorten the page.
        submissions.sort_by(|a, b| {
            (&b.created_at, b.submission_id.as_str()).cmp(&(&a.created_at, a.submission_id.as_str()))
        });
        Ok(SubmissionList { submissions, next: next.as_deref().and_then(cursor) })
    }

    async fn summary(&self, id: &SubmissionId) -> Result<Option<Submission>, Error> {
        self.submission_now(id).await
    }

    async fn documents(
        &self,
        id: &SubmissionId,
        after: Option<DocumentId>,
        limit: usize,
    ) -> Result<DocumentList, Error> {
        let after = after.map(|after| {
            Item::from([
                ("pk".to_owned(), AttributeValue::S(submission_pk(id))),
                ("sk".to_owned(), AttributeValue::S(document_sk(after))),
            ])
        });
        let query = self.documents_query(id).set_exclusive_start_key(after);
        let query = query.limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = query.send().await.map_err(|error| failed("Query", error))?;
        let more = answer.last_evaluated_key.is_some();
        let mut documents = Vec::new();
        for item in answer.items.unwrap_or_default() {
            let stored: StoredDocument = from_item(item)?;
            documents.push(stored.document);
        }
        let last = documents.last().map(|document| document.reference.document_id);
        Ok(DocumentList { documents, next: last.filter(|_| more) })
    }

    async fn submission(&self, id: &SubmissionId) -> Result<Option<(Submission, Vec<Document>)>, Error> {
        let Some(submission) = self.submission_now(id).await? else { return Ok(None) };
        Ok(Some((submission, self.documents_of(id).await?)))
    }
}

/// The position of a `createdOrder`: the time, `#`, and the id.
pub(super) fn cursor(created_order: &str) -> Option<Cursor> {
    let (created_at, submission_id) = created_order.split_once('#')?;
    Some(Cursor { created_at: created_at.to_owned(), submission_id: submission_id.to_owned() })
}

impl DynamoDbStore {
    /// All documents of a submission, oldest first and without their results.
    pub(super) async fn documents_of(&self, id: &SubmissionId) -> Result<Vec<Document>, Error> {
        let mut pages = self.documents_query(id).into_paginator().items().send();
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

    fn documents_query(&self, id: &SubmissionId) -> QueryFluentBuilder {
        let names = RESERVED.into_iter().map(|name| (format!("#{name}"), name.to_owned())).collect();
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :documents)")
            .expression_attribute_values(":pk", AttributeValue::S(submission_pk(id)))
            .expression_attribute_values(":documents", AttributeValue::S("DOCUMENT#".to_owned()))
            .projection_expression(WITHOUT_RESULT)
            .set_expression_attribute_names(Some(names))
            .consistent_read(true)
    }

    /// Looks at one submission more than `limit`, to find out whether there are more.
    async fn listed(
        &self,
        filter: &SubmissionFilter,
        state: SubmissionState,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Found, Error> {
        let (index, partition, value) = match &filter.listing {
            Listing::All => (SUBMISSIONS_BY_STATE, "state", state.as_str().to_owned()),
            Listing::Of(owner) => (SUBMISSIONS_BY_OWNER, "ownerState", owner_state(owner, state)),
        };
        // An order begins with a time, so the time itself lies before all orders of that time.
        let after = after.map(|cursor| format!("{}#{}", cursor.created_at, cursor.submission_id));
        let before = after.into_iter().chain(filter.to.clone()).min();
        let mut condition = "#partition = :partition".to_owned();
        let mut excluded = None;
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .expression_attribute_names("#partition", partition)
            .expression_attribute_values(":partition", AttributeValue::S(value))
            .scan_index_forward(false)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX));
        match (&filter.from, before) {
            (None, None) => {}
            (None, Some(before)) => {
                condition.push_str(" AND createdOrder < :before");
                query = query.expression_attribute_values(":before", AttributeValue::S(before));
            }
            (Some(from), before) => {
                // A key has one condition, and BETWEEN contains its upper end, which is left out below.
                condition.push_str(" AND createdOrder BETWEEN :from AND :before");
                let before = before.unwrap_or_else(|| END_OF_TIME.to_owned());
                excluded = Some(before.clone());
                if *from > before {
                    return Ok(Found { listed: Vec::new(), looked_at: None });
                }
                query = query
                    .expression_attribute_values(":from", AttributeValue::S(from.clone()))
                    .expression_attribute_values(":before", AttributeValue::S(before));
            }
        }
        if let Some(kind) = filter.kind {
            query = query
                .filter_expression("contains(kinds, :kind)")
                .expression_attribute_values(":kind", AttributeValue::S(kind.as_str().to_owned()));
        }
        let answer = query.key_condition_expression(condition).send().await;
        let answer = answer.map_err(|error| failed("Query", error))?;
        let looked_at = answer.last_evaluated_key.as_ref().and_then(|key| key.get("createdOrder"));
        let looked_at = looked_at.and_then(|order| order.as_s().ok()).cloned();
        let listed: Result<Vec<Listed>, Error> =
            answer.items.unwrap_or_default().into_iter().map(from_item).collect();
        let mut listed = listed?;
        listed.retain(|listed| Some(&listed.created_order) != excluded.as_ref());
        Ok(Found { listed, looked_at })
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
