//! The write to the submission in a transaction: it changes counts, and its condition guards the submission's state.
//!
//! Additions do not conflict, but the state depends on whether a document is the last open one. The condition guards
//! only that boundary: away from it, many documents of a submission can change at the same time; at the boundary,
//! exactly one of them writes the new state.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use lectern::{
    document::submission::{CountChange, Counts, Submission, SubmissionState},
    document::{Document, SubmissionId},
    error::{Error, rfc3339},
};
use lectern_content::MediaType;
use time::OffsetDateTime;

use super::{
    DynamoDbStore,
    erasure::ERASURE_STATE,
    items::{Item, created_order, from_item, owner_state, submission_key},
    update,
};
use crate::error::failed;

impl DynamoDbStore {
    /// The write that counts a document's transition, if the transition changes a count. Its condition is that the
    /// submission has no erasure. `None` if the submission has one.
    ///
    /// A submission without an owner gets that of its document.
    pub(super) async fn count(
        &self,
        document: &Document,
        change: Option<CountChange>,
        now: OffsetDateTime,
    ) -> Result<Option<TransactWriteItem>, Error> {
        let id = &document.reference.submission_id;
        let stored = self.submission_item(id).await?;
        if stored.as_ref().is_some_and(|item| item.contains_key(ERASURE_STATE)) {
            return Ok(None);
        }
        let Some(change) = change else {
            let unchanged = Update::builder()
                .table_name(&self.table)
                .set_key(Some(submission_key(id)))
                .update_expression("SET submissionId = :id")
                .condition_expression(NOT_ERASED)
                .expression_attribute_values(":id", AttributeValue::S(id.to_string()));
            return update(unchanged.build()).map(Some);
        };
        let before = stored.map(from_item::<Submission>).transpose()?;
        let owner = before
            .as_ref()
            .and_then(|submission| submission.owner.clone())
            .or_else(|| document.owner.clone());
        let guard = Guard::of(before.map(|submission| submission.counts).unwrap_or_default(), change);
        let (created_at, counted_at) = (rfc3339(now), rfc3339(now));
        // A submission expires when its last document does.
        let expires_at = match guard.after.state() {
            SubmissionState::Draft | SubmissionState::InProgress => None,
            SubmissionState::Ready | SubmissionState::NeedsAttention => self.retention.expires_at(now),
        };
        let state = guard.after.state();
        let ownership = if owner.is_some() {
            ", #owner = if_not_exists(#owner, :owner), ownerState = :ownerState"
        } else {
            ""
        };
        let kind = document.media_type.map(MediaType::kind);
        let kinds = if kind.is_some() { ", kinds :kind" } else { "" };
        let expiry = if expires_at.is_some() { ", expiresAt = :expires" } else { " REMOVE expiresAt" };
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(submission_key(id)))
            .update_expression(format!(
                "SET #state = :state, submissionId = :id, createdAt = if_not_exists(createdAt, :created), \
                 createdOrder = if_not_exists(createdOrder, :order), countedAt = :now{ownership}{expiry} \
                 ADD #open :open, #ready :ready, #rejected :rejected, #failed :failed, countChanges :one{kinds}",
            ))
            .condition_expression(match guard.condition {
                Some(condition) => format!("({condition}) AND {NOT_ERASED}"),
                None => NOT_ERASED.to_owned(),
            })
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#open", "open")
            .expression_attribute_names("#ready", "ready")
            .expression_attribute_names("#rejected", "rejected")
            .expression_attribute_names("#failed", "failed")
            .expression_attribute_values(":state", AttributeValue::S(state.as_str().to_owned()))
            .expression_attribute_values(":id", AttributeValue::S(id.to_string()))
            .expression_attribute_values(":order", AttributeValue::S(created_order(&created_at, id)))
            .expression_attribute_values(":created", AttributeValue::S(created_at))
            .expression_attribute_values(":now", AttributeValue::S(counted_at))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        if let Some(owner) = owner {
            update = update
                .expression_attribute_names("#owner", "owner")
                .expression_attribute_values(":ownerState", AttributeValue::S(owner_state(&owner, state)))
                .expression_attribute_values(":owner", AttributeValue::S(owner.into()));
        }
        if let Some(kind) = kind {
            update = update
                .expression_attribute_values(":kind", AttributeValue::Ss(vec![kind.as_str().to_owned()]));
        }
        if let Some(expires_at) = expires_at {
            update =
                update.expression_attribute_values(":expires", AttributeValue::N(expires_at.to_string()));
        }
        for (name, value) in guard.additions.into_iter().chain(guard.values) {
            update = update.expression_attribute_values(name, AttributeValue::N(value.to_string()));
        }
        super::update(update.build()).map(Some)
    }

    /// A submission; `None` also for one that is erased.
    pub(super) async fn submission_now(&self, id: &SubmissionId) -> Result<Option<Submission>, Error> {
        let item = self.submission_item(id).await?;
        item.filter(|item| !item.contains_key(ERASURE_STATE)).map(from_item).transpose()
    }

    /// A submission's item, which may be that of an erased submission.
    pub(super) async fn submission_item(&self, id: &SubmissionId) -> Result<Option<Item>, Error> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(submission_key(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("GetItem", error))?;
        Ok(answer.item)
    }
}

/// The condition that a submission's item has no erasure, and is not the item of one.
const NOT_ERASED: &str = "attribute_not_exists(erasureState)";

struct Guard {
    condition: Option<&'static str>,
    after: Counts,
    additions: [(&'static str, i128); 4],
    values: Vec<(&'static str, i128)>,
}

impl Guard {
    fn of(before: Counts, change: CountChange) -> Self {
        let after = before.after(change);
        let difference = |new: u64, old: u64| i128::from(new) - i128::from(old);
        let [open, ready, rejected, failed] = [
            difference(after.open, before.open),
            difference(after.ready, before.ready),
            difference(after.rejected, before.rejected),
            difference(after.failed, before.failed),
        ];
        // These are the changes of the counts: a count that is `n` after the write was `n - change` before it. The
        // conditions are about the counts before the write. So a count that becomes 0 has to be `-change`, and a count
        // that stays above 0 has to be greater than `-change`.
        let (condition, values) = match after.state() {
            // One more document is open, so the submission is in progress.
            SubmissionState::Draft | SubmissionState::InProgress if open > 0 => (None, Vec::new()),
            SubmissionState::Draft | SubmissionState::InProgress => {
                (Some("#open >= :least"), vec![(":least", 1 - open)])
            }
            SubmissionState::Ready => (
                Some("#open = :wasOpen AND #rejected = :wasRejected AND #failed = :wasFailed"),
                vec![(":wasOpen", -open), (":wasRejected", -rejected), (":wasFailed", -failed)],
            ),
            // The last open document failed, or a document is rejected while no document is open.
            SubmissionState::NeedsAttention if rejected + failed > 0 && open == 0 => {
                (Some("attribute_not_exists(#open) OR #open = :wasOpen"), vec![(":wasOpen", 0)])
            }
            SubmissionState::NeedsAttention if rejected + failed > 0 => {
                (Some("#open = :wasOpen"), vec![(":wasOpen", -open)])
            }
            SubmissionState::NeedsAttention => (
                Some("#open = :wasOpen AND (#rejected > :lessRejected OR #failed > :lessFailed)"),
                vec![(":wasOpen", -open), (":lessRejected", -rejected), (":lessFailed", -failed)],
            ),
        };
        let additions = [(":open", open), (":ready", ready), (":rejected", rejected), (":failed", failed)];
        Self { condition, after, additions, values }
    }
}

#[cfg(test)]
mod tests {
    use lectern::document::DocumentState::{self, Failed, Normalizing, Ready, Received, Rejected};

    use super::*;

    fn guard(before: Counts, leaves: Option<DocumentState>, enters: DocumentState) -> Guard {
        Guard::of(before, CountChange { leaves, enters: Some(enters) })
    }

    #[test]
    fn documents_far_from_the_boundary_need_only_that_another_one_is_open() {
        let many = guard(Counts { open: 7, ..Counts::default() }, Some(Normalizing), Ready);
        assert_eq!((many.condition, many.values), (Some("#open >= :least"), vec![(":least", 2)]));
        let rejected = guard(Counts { open: 7, ..Counts::default() }, None, Rejected);
        assert_eq!((rejected.condition, rejected.values), (Some("#open >= :least"), vec![(":least", 1)]));
    }

    #[test]
    fn case_45_documents_that_arrive_together_never_wait_for_each_other() {
        for before in [Counts::default(), Counts { open: 3, failed: 1, ..Counts::default() }] {
            assert_eq!(guard(before, None, Received).condition, None);
        }
    }

    #[test]
    fn last_open_document_writes_the_state_that_follows_or_nothing() {
        let ready = guard(Counts { open: 1, ready: 4, ..Counts::default() }, Some(Normalizing), Ready);
        assert_eq!(ready.after.state(), SubmissionState::Ready);
        assert_eq!(ready.values, [(":wasOpen", 1), (":wasRejected", 0), (":wasFailed", 0)]);
        let failed = guard(Counts { open: 1, ready: 4, ..Counts::default() }, Some(Normalizing), Failed);
        assert_eq!((failed.condition, failed.values), (Some("#open = :wasOpen"), vec![(":wasOpen", 1)]));
        let attention = guard(Counts { open: 1, rejected: 2, ..Counts::default() }, Some(Normalizing), Ready);
        assert!(attention.condition.is_some_and(|condition| condition.contains("OR #failed > :lessFailed")));
    }
}
