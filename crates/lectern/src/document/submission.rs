//! A submission, and how its state follows from the states of its documents.

use std::collections::BTreeSet;

use lectern_content::MediaKind;
use serde::{Deserialize, Serialize};

use crate::{
    display_text::Label,
    document::{DocumentState, Owner, SubmissionId},
};

/// A submission as it is stored. Superseded and withdrawn documents do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Submission {
    /// The submission's id.
    pub submission_id: SubmissionId,
    /// The state that follows from the counts.
    pub state: SubmissionState,
    /// The number of documents by state.
    #[serde(flatten)]
    pub counts: Counts,
    /// When it was created or, if an operator copied its files into the bucket, when its first document was registered;
    /// RFC 3339.
    pub created_at: String,
    /// The teacher who handed it in. Absent if an operator copied its files into the bucket and named no owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// What the teacher calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Label>,
    /// The kinds of all files that were ever registered.
    #[serde(default)]
    pub kinds: BTreeSet<MediaKind>,
    /// How many files were declared to the API, replacements included.
    #[serde(default)]
    pub declared_files: u64,
    /// Their size together.
    #[serde(default)]
    pub declared_bytes: u64,
    /// How many times the counts have changed.
    #[serde(default)]
    pub count_changes: u64,
    /// When the counts last changed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_at: Option<String>,
}

impl Submission {
    /// A submission without documents.
    pub fn new(submission_id: SubmissionId, state: SubmissionState, created_at: String) -> Self {
        Self {
            submission_id,
            state,
            counts: Counts::default(),
            created_at,
            owner: None,
            title: None,
            kinds: BTreeSet::new(),
            declared_files: 0,
            declared_bytes: 0,
            count_changes: 0,
            counted_at: None,
        }
    }

    /// Whether this person handed it in.
    pub fn is_of(&self, person: &Owner) -> bool {
        self.owner.as_ref() == Some(person)
    }
}

/// How a submission stands as a whole.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema,
)]
pub enum SubmissionState {
    /// A teacher has created it, and no file has arrived yet. Only its owner sees it.
    Draft,
    /// At least one document is not in a final state.
    InProgress,
    /// Every document that counts is `Ready`, also if none counts.
    Ready,
    /// All documents are in a final state, and at least one was rejected or failed.
    NeedsAttention,
}

impl SubmissionState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Draft, Self::InProgress, Self::Ready, Self::NeedsAttention];
    /// The states of submissions with documents.
    pub const WITH_DOCUMENTS: [Self; 3] = [Self::InProgress, Self::Ready, Self::NeedsAttention];
    /// The states in which a teacher's submission counts as open: something is missing, in progress or not usable.
    pub const OPEN: [Self; 3] = [Self::Draft, Self::InProgress, Self::NeedsAttention];

    /// The name in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "Draft",
            Self::InProgress => "InProgress",
            Self::Ready => "Ready",
            Self::NeedsAttention => "NeedsAttention",
        }
    }
}

impl std::str::FromStr for SubmissionState {
    type Err = crate::document::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(crate::document::InvalidId)
    }
}

/// The number of a submission's documents by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Not in a final state.
    pub open: u64,
    /// `Ready`.
    pub ready: u64,
    /// `Rejected`.
    pub rejected: u64,
    /// `Failed`.
    pub failed: u64,
}

impl Counts {
    /// The state that follows from the counts.
    pub fn state(self) -> SubmissionState {
        if self.open > 0 {
            SubmissionState::InProgress
        } else if self.rejected + self.failed > 0 {
            SubmissionState::NeedsAttention
        } else {
            SubmissionState::Ready
        }
    }

    /// The counts after a document changed its state.
    #[must_use]
    pub fn after(mut self, change: CountChange) -> Self {
        if let Some(state) = change.leaves {
            let count = self.of(state);
            *count = count.saturating_sub(1);
        }
        if let Some(state) = change.enters {
            *self.of(state) += 1;
        }
        self
    }

    fn of(&mut self, state: DocumentState) -> &mut u64 {
        match state {
            DocumentState::Ready => &mut self.ready,
            DocumentState::Rejected => &mut self.rejected,
            DocumentState::Failed => &mut self.failed,
            DocumentState::Received
            | DocumentState::Transferring
            | DocumentState::Processing
            | DocumentState::Verifying
            | DocumentState::Normalizing => &mut self.open,
        }
    }
}

/// How one document's change of state changes its submission's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountChange {
    /// The state whose count decreases by one.
    pub leaves: Option<DocumentState>,
    /// The state whose count increases by one.
    pub enters: Option<DocumentState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_follows_from_the_counts() {
        let counts = |open, ready, rejected, failed| Counts { open, ready, rejected, failed };
        assert_eq!(counts(1, 5, 5, 5).state(), SubmissionState::InProgress);
        assert_eq!(counts(0, 5, 0, 0).state(), SubmissionState::Ready);
        assert_eq!(counts(0, 5, 1, 0).state(), SubmissionState::NeedsAttention);
        assert_eq!(counts(0, 0, 0, 1).state(), SubmissionState::NeedsAttention);
    }
}
