//! The audit trail in the table: `AUDIT#<submission>` / `<time>#<random>`. The entries lie in a partition of their own, so
//! that the erasure of a submission leaves them alone.

use std::time::Duration;

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use lectern::{
    document::SubmissionId,
    error::{Error, rfc3339},
    ports::{Audit, AuditCursor, AuditEntry, AuditPage},
};
use uuid::Uuid;

use super::items::{EXPIRES_AT, audit_key, audit_pk, from_item, to_item};
use crate::error::failed;

/// The audit trail of all submissions of one stack.
#[derive(Clone, Debug)]
pub struct AuditTrail {
    client: Client,
    table: String,
    retention: Option<Duration>,
}

impl AuditTrail {
    /// The audit trail in this table, whose entries are kept for good.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table, retention: None }
    }

    /// The same trail, whose entries expire after this time; `None` keeps them for good. Only a trail that records entries
    /// needs it.
    #[must_use]
    pub fn with_retention(self, retention: Option<Duration>) -> Self {
        Self { retention, ..self }
    }
}

impl Audit for AuditTrail {
    /// The random part of the key is chosen once for each call, so the SDK's repeated requests write one entry.
    async fn record(&self, submission: &SubmissionId, entry: &AuditEntry) -> Result<(), Error> {
        let mut item = to_item(entry)?;
        let position = format!("{}#{}", rfc3339(entry.at), Uuid::new_v4().simple());
        item.extend(audit_key(submission, position));
        if let Some(retention) = self.retention {
            let expires_at = (entry.at + retention).unix_timestamp();
            item.insert(EXPIRES_AT.to_owned(), AttributeValue::N(expires_at.to_string()));
        }
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        request.send().await.map(drop).map_err(|error| failed("PutItem", error))
    }

    async fn entries(
        &self,
        submission: &SubmissionId,
        after: Option<&AuditCursor>,
        limit: usize,
    ) -> Result<AuditPage, Error> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(audit_pk(submission)))
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(
                after.map(|AuditCursor(position)| audit_key(submission, position.clone())),
            )
            .send()
            .await
            .map_err(|error| failed("Query", error))?;
        let next = answer.last_evaluated_key.and_then(|mut key| key.remove("sk"));
        let next = next.and_then(|position| position.as_s().ok().cloned()).map(AuditCursor);
        let entries = answer.items.unwrap_or_default().into_iter().map(from_item);
        Ok(AuditPage { entries: entries.collect::<Result<_, _>>()?, next })
    }
}
