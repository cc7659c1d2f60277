//! Reads for the operators' page.

use aws_sdk_dynamodb::types::{AttributeValue, Select};
use lectern::{
    document::{Document, DocumentId, DocumentRef, SubmissionId, submission::SubmissionState},
    error::Error,
    ports::Operations,
};

use super::{
    DynamoDbStore,
    items::{SUBMISSIONS_BY_STATE, StoredDocument, document_key, from_item},
};
use crate::error::failed;

impl Operations for DynamoDbStore {
    /// One query, which returns a number and no items. The index holds keys only, so a thousand of its items are far below
    /// the megabyte at which a query ends.
    async fn count_submissions(&self, state: SubmissionState, most: usize) -> Result<usize, Error> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(SUBMISSIONS_BY_STATE)
            .key_condition_expression("#state = :state")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", AttributeValue::S(state.as_str().to_owned()))
            .select(Select::Count)
            .limit(i32::try_from(most).unwrap_or(i32::MAX));
        let answer = query.send().await.map_err(|error| failed("Query", error))?;
        Ok(usize::try_from(answer.count).unwrap_or_default())
    }

    async fn documents_after(
        &self,
        submission: &SubmissionId,
        after: Option<DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>, Error> {
        let mut documents = Vec::new();
        let mut start = after
            .map(|document_id| document_key(&DocumentRef { submission_id: submission.clone(), document_id }));
        // A query also ends after a megabyte, before its limit.
        loop {
            let rest = limit - documents.len();
            let query = self.query_documents(submission).limit(i32::try_from(rest).unwrap_or(i32::MAX));
            let answer = query.set_exclusive_start_key(start).send().await;
            let answer = answer.map_err(|error| failed("Query", error))?;
            for item in answer.items.unwrap_or_default() {
                documents.push(from_item::<StoredDocument>(item)?.document);
            }
            start = answer.last_evaluated_key;
            if start.is_none() || documents.len() >= limit {
                return Ok(documents);
            }
        }
    }
}
