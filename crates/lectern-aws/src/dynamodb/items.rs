//! The table's items: their keys, and the domain types as attributes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use lectern::{
    admission::QueuePosition,
    document::{CallbackId, Document, DocumentId, DocumentRef, ObjectVersion, SubmissionId, TaskToken},
    error::Error,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::defect;

pub(super) type Item = HashMap<String, AttributeValue>;

/// Name of the index that lists submissions: partition `state`, sort `createdOrder`. Only submissions have both.
pub(super) const SUBMISSIONS_BY_STATE: &str = "submissions-by-state";

/// Name of the attribute after whose time, in seconds since 1970, `DynamoDB` deletes an item. A contract test compares
/// it with the table's setting.
pub(super) const EXPIRES_AT: &str = "expiresAt";

/// A document's item: `SUBMISSION#<id>` / `DOCUMENT#<id>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredDocument {
    pub(super) pk: String,
    pub(super) sk: String,
    /// Every write increases the revision, also the writes of the state machine.
    pub(super) revision: u64,
    /// The token of the execution that waits for the callback, written by the state `AwaitCallback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) task_token: Option<TaskToken>,
    /// For the state machine: how the job ended, and how many files it returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) result_outcome: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) result_files: Option<u64>,
    #[serde(flatten)]
    pub(super) document: Document,
}

impl StoredDocument {
    pub(super) fn new(document: Document) -> Self {
        Self {
            pk: submission_pk(&document.reference.submission_id),
            sk: document_sk(document.reference.document_id),
            revision: 0,
            task_token: None,
            result_outcome: None,
            result_files: None,
            document,
        }
    }

    /// The item after a transition.
    pub(super) fn moved(self, document: Document) -> Self {
        let has_result = document.result.is_some();
        Self {
            revision: self.revision + 1,
            result_outcome: self.result_outcome.filter(|_| has_result),
            result_files: self.result_files.filter(|_| has_result),
            document,
            ..self
        }
    }
}

pub(super) fn submission_pk(id: &SubmissionId) -> String {
    format!("SUBMISSION#{id}")
}

pub(super) fn document_sk(id: DocumentId) -> String {
    format!("DOCUMENT#{id}")
}

pub(super) fn document_key(document: &DocumentRef) -> Item {
    key(submission_pk(&document.submission_id), document_sk(document.document_id))
}

pub(super) fn submission_key(id: &SubmissionId) -> Item {
    key(submission_pk(id), "SUBMISSION".to_owned())
}

/// The key of a file's current version. The object's key is hashed, since it may be as long as the limit of a sort key.
pub(super) fn file_key(submission: &SubmissionId, object: &ObjectVersion) -> Item {
    let file = DocumentId::of(&object.bucket, object.key.as_bytes(), "");
    key(submission_pk(submission), format!("FILE#{file}"))
}

pub(super) fn callback_key(callback: &CallbackId) -> Item {
    key(format!("CALLBACK#{}", callback.expose()), "CALLBACK".to_owned())
}

pub(super) fn unknown_callback_key(event_id: &str) -> Item {
    key(format!("UNKNOWN_CALLBACK#{event_id}"), "UNKNOWN_CALLBACK".to_owned())
}

pub(super) fn admission_key() -> Item {
    key("ADMISSION".to_owned(), "ADMISSION".to_owned())
}

pub(super) fn position_key(QueuePosition { queue, opening, number }: &QueuePosition) -> Item {
    key(format!("QUEUE#{queue}#{opening}"), format!("POSITION#{number}"))
}

pub(super) fn waiting_key(document: &DocumentRef) -> Item {
    key(format!("WAITING#{}", document.document_id), "WAITING".to_owned())
}

pub(super) fn to_item<T: Serialize>(value: &T) -> Result<Item, Error> {
    serde_dynamo::aws_sdk_dynamodb_1::to_item(value)
        .map_err(|error| defect("an item could not be built", error))
}

pub(super) fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::aws_sdk_dynamodb_1::from_item(item)
        .map_err(|error| defect("an item could not be read", error))
}

fn key(pk: String, sk: String) -> Item {
    HashMap::from([("pk".to_owned(), AttributeValue::S(pk)), ("sk".to_owned(), AttributeValue::S(sk))])
}
