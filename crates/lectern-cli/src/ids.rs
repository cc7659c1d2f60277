//! The ids in a command line: a document, a document with its submission, or a submission.

use std::str::FromStr;

use lectern::document::{DocumentId, DocumentRef, SubmissionId};

use crate::problem::Problem;

/// A UUID is a document id; any other text without a slash is a submission id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Document(DocumentId),
    DocumentOf(DocumentRef),
    Submission(SubmissionId),
}

impl FromStr for Named {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unreadable = || {
            Problem::new(
                "this is not an id",
                "Give a document id (a UUID), <submission id>/<document id>, or a submission id.",
            )
        };
        if let Some((submission, document)) = text.split_once('/') {
            let submission_id = SubmissionId::try_from(submission.to_owned()).map_err(|_| unreadable())?;
            let document_id = document.parse().map_err(|_| unreadable())?;
            return Ok(Self::DocumentOf(DocumentRef { submission_id, document_id }));
        }
        if let Ok(document) = text.parse() {
            return Ok(Self::Document(document));
        }
        SubmissionId::try_from(text.to_owned()).map(Self::Submission).map_err(|_| unreadable())
    }
}

/// Parses the id of a submission.
pub(crate) fn submission_id(text: &str) -> Result<SubmissionId, Problem> {
    let refused = |_| Problem::new("this is not a submission id", "Give the second part of an object key.");
    text.parse().map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinguished() {
        let id = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";
        assert!(matches!(id.parse(), Ok(Named::Document(_))));
        assert!(matches!(format!("s1/{id}").parse(), Ok(Named::DocumentOf(_))));
        assert!(matches!(format!("_unassigned/{id}").parse(), Ok(Named::DocumentOf(_))));
        assert!(matches!("spring-term-7".parse(), Ok(Named::Submission(_))));
        for wrong in ["", "s1/x", "/", "a b", "s1/../x"] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
    }
}
