//! Reads for the operators' page.

use aws_sdk_dynamodb::{
    operation::query::builders::QueryFluentBuilder,
    types::{AttributeValue, Select},
};
use lectern::{document::submission::SubmissionState, error::Error, ports::Operations};
use serde::Deserialize;

use super::{
    DynamoDbStore,
    browse::cursor,
    items::{SUBMISSIONS_BY_STATE, from_item},
};
use crate::error::failed;

/// A submission in the index of submissions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Indexed {
    created_order: String,
}

impl Operations for DynamoDbStore {
    /// One query, which returns a number and no items. The index holds keys only, so a thousand of its items are far below
    /// the megabyte at which a query ends.
    async fn count_submissions(&self, state: SubmissionState, most: usize) -> Result<usize, Error> {
        let query = self.submissions_in(state).select(Select::Count);
        let query = query.limit(i32::try_from(most).unwrap_or(i32::MAX));
        let answer = query.send().await.map_err(|error| failed("Query", error))?;
        Ok(usize::try_from(answer.count).unwrap_or_default())
    }

    async fn oldest_submission(&self, state: SubmissionState) -> Result<Option<String>, Error> {
        let query = self.submissions_in(state).limit(1);
        let answer = query.send().await.map_err(|error| failed("Query", error))?;
        let Some(item) = answer.items.unwrap_or_default().pop() else { return Ok(None) };
        let Indexed { created_order } = from_item(item)?;
        Ok(cursor(&created_order).map(|cursor| cursor.created_at))
    }
}

impl DynamoDbStore {
    /// The submissions in this state, oldest first, as the index holds them.
    fn submissions_in(&self, state: SubmissionState) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .index_name(SUBMISSIONS_BY_STATE)
            .key_condition_expression("#state = :state")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", AttributeValue::S(state.as_str().to_owned()))
    }
}
