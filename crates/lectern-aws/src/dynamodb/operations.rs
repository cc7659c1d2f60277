//! Reads for the operators' page.

use aws_sdk_dynamodb::types::{AttributeValue, Select};
use lectern::{document::submission::SubmissionState, error::Error, ports::Operations};

use super::{DynamoDbStore, items::SUBMISSIONS_BY_STATE};
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
}
