//! The table's items: their keys, and the domain types as attributes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use lectern::{
    admission::QueuePosition,
    document::{
        CallbackId, Document, DocumentId, DocumentRef, ObjectVersion, Owner, SubmissionId, TaskToken,
        UploadId, submission::SubmissionState,
    },
    error::Error,
    events::SubscriberId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::defect;

pub(super) type Item = HashMap<String, AttributeValue>;

/// Name of the index that lists submissions: partition `state`, sort `createdOrder`. Only submissions have both.
pub(super) const SUBMISSIONS_BY_STATE: &str = "submissions-by-state";

/// Name of the index that lists a teacher's submissions: partition `ownerState`, sort `createdOrder`.
pub(super) const SUBMISSIONS_BY_OWNER: &str = "submissions-by-owner";

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
    /// The item as it was read, with the attributes that this code does not know.
    #[serde(skip)]
    pub(super) read: Item,
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
            read: Item::new(),
        }
    }

    /// Parses an item that may be written again.
    pub(super) fn from_read(item: Item) -> Result<Self, Error> {
        let stored: Self = from_item(item.clone())?;
        Ok(Self { read: item, ..stored })
    }

    /// The item to write. Of the item that was read, attributes stay that this code does not know, because newer code
    /// wrote them, and attributes that have not changed, because they may contain fields that this code does not know
    /// (D08).
    pub(super) fn to_write(&self) -> Result<Item, Error> {
        let mut item = to_item(self)?;
        if self.read.is_empty() {
            return Ok(item);
        }
        let before = to_item(&from_item::<Self>(self.read.clone())?)?;
        for (name, value) in &self.read {
            match before.get(name) {
                None => {
                    item.entry(name.clone()).or_insert_with(|| value.clone());
                }
                Some(known) if item.get(name) == Some(known) => {
                    item.insert(name.clone(), value.clone());
                }
                Some(_) => {}
            }
        }
        Ok(item)
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

/// The partition of [`SUBMISSIONS_BY_OWNER`]: a teacher's submissions in one state.
pub(super) fn owner_state(owner: &Owner, state: SubmissionState) -> String {
    format!("{}#{}", owner.expose(), state.as_str())
}

/// The position of a submission among those of its partition in both indexes.
pub(super) fn created_order(created_at: &str, id: &SubmissionId) -> String {
    format!("{created_at}#{id}")
}

/// The key of a file that is declared and not registered yet.
pub(super) fn upload_key(submission: &SubmissionId, upload: &UploadId) -> Item {
    key(submission_pk(submission), format!("UPLOAD#{upload}"))
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

pub(super) fn audit_pk(submission: &SubmissionId) -> String {
    format!("AUDIT#{submission}")
}

pub(super) fn audit_key(submission: &SubmissionId, position: String) -> Item {
    key(audit_pk(submission), position)
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

/// The partition of all subscribers.
pub(super) const SUBSCRIBERS: &str = "SUBSCRIBERS";

pub(super) fn subscriber_key(id: &SubscriberId) -> Item {
    key(SUBSCRIBERS.to_owned(), format!("SUBSCRIBER#{id}"))
}

pub(super) fn deliveries_key(id: &SubscriberId) -> Item {
    key(format!("DELIVERIES#{id}"), "DELIVERIES".to_owned())
}

pub(super) fn event_key(id: &SubscriberId, number: u64) -> Item {
    key(format!("EVENTS#{id}"), number.to_string())
}

pub(super) fn to_item<T: Serialize>(value: &T) -> Result<Item, Error> {
    serde_dynamo::aws_sdk_dynamodb_1::to_item(value)
        .map_err(|error| defect("an item could not be built", error))
}

pub(super) fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::aws_sdk_dynamodb_1::from_item(item)
        .map_err(|error| defect("an item could not be read", error))
}

/// An update that sets the attributes of an item and removes others of its attributes. It leaves attributes alone that
/// this code does not know (D08).
pub(super) struct Assignment {
    pub(super) expression: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

impl Assignment {
    /// An update of a whole state that has a revision, and its condition: nobody has written the state since the revision was
    /// read. Of the `optional` attributes, those that the state does not have are removed.
    pub(super) fn of_state(attributes: Item, optional: &[&str], read_revision: u64) -> (Self, &'static str) {
        let removed: Vec<&str> =
            optional.iter().copied().filter(|name| !attributes.contains_key(*name)).collect();
        let mut assignment = Self::of(attributes, &removed);
        // Revision 0 is that of a state that was never written.
        if read_revision == 0 {
            return (assignment, "attribute_not_exists(pk)");
        }
        assignment.values.insert(":read".to_owned(), AttributeValue::N(read_revision.to_string()));
        (assignment, "revision = :read")
    }

    pub(super) fn of(attributes: Item, removed: &[&str]) -> Self {
        let mut attributes: Vec<(String, AttributeValue)> = attributes.into_iter().collect();
        attributes.sort_by(|(one, _), (other, _)| one.cmp(other));
        let (mut names, mut values, mut sets) = (HashMap::new(), Item::new(), Vec::new());
        for (number, (name, value)) in attributes.into_iter().enumerate() {
            sets.push(format!("#set{number} = :set{number}"));
            names.insert(format!("#set{number}"), name);
            values.insert(format!(":set{number}"), value);
        }
        let removals: Vec<String> = (0..removed.len()).map(|number| format!("#removed{number}")).collect();
        names.extend(removals.iter().cloned().zip(removed.iter().map(|name| (*name).to_owned())));
        let remove = if removals.is_empty() { "" } else { " REMOVE " };
        let expression = format!("SET {}{remove}{}", sets.join(", "), removals.join(", "));
        Self { expression, names, values }
    }
}

fn key(pk: String, sk: String) -> Item {
    HashMap::from([("pk".to_owned(), AttributeValue::S(pk)), ("sk".to_owned(), AttributeValue::S(sk))])
}
