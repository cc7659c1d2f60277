//! What differs between the bucket and the table, for one submission: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use lectern::{
    document::{Document, DocumentId, DocumentRef, DocumentState, ObjectVersion},
    receive_upload,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use time::OffsetDateTime;

use super::listing::Version;
use crate::text::time;

/// What S3 leaves as it is in a key, besides letters and digits.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// The event that S3 sends of a new version.
pub fn event(object: &ObjectVersion, sequencer: Option<&str>) -> String {
    let key = utf8_percent_encode(&object.key, KEPT).to_string().replace("%20", "+");
    let mut described = json!({ "key": key, "versionId": object.version_id });
    if let Some(sequencer) = sequencer {
        described["sequencer"] = sequencer.into();
    }
    let record = json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": object.bucket }, "object": described },
    });
    json!({ "Records": [record] }).to_string()
}

/// The document that a version is, `None` if it is none of ours, such as a folder marker.
pub fn document_of(object: &ObjectVersion) -> Option<DocumentRef> {
    receive_upload::announced(&event(object, None)).ok()?.pop()
}

/// What was found of one submission, before Step Functions is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Newest versions that no event announced.
    pub unannounced: Vec<(DocumentRef, ObjectVersion)>,
    /// Objects whose event may still be under way.
    pub young: usize,
    /// Open documents whose version of the object is gone.
    pub gone: Vec<DocumentRef>,
    /// Open documents that are old enough to have an execution.
    pub open: Vec<Document>,
}

/// Compares what the bucket holds of a submission with its documents. Nothing younger than `before` is judged.
pub fn compare(
    bucket: &str,
    versions: &[Version],
    documents: &[Document],
    before: OffsetDateTime,
) -> Compared {
    let registered: BTreeMap<DocumentId, &Document> =
        documents.iter().map(|document| (document.reference.document_id, document)).collect();
    let mut found = Compared::default();
    let mut present = BTreeSet::new();
    for version in versions {
        let object = ObjectVersion {
            bucket: bucket.to_owned(),
            key: version.key.clone(),
            version_id: version.version_id.clone(),
        };
        let Some(reference) = document_of(&object) else { continue };
        present.insert(reference.document_id);
        // Older versions are superseded by the latest, whether they were ever announced or not.
        if !version.is_latest || registered.contains_key(&reference.document_id) {
            continue;
        }
        if version.modified >= before {
            found.young += 1;
        } else {
            found.unannounced.push((reference, object));
        }
    }
    for document in documents.iter().filter(|document| !document.state.is_terminal()) {
        if !present.contains(&document.reference.document_id) {
            found.gone.push(document.reference.clone());
        }
        let received = document.times.get(DocumentState::Received.as_str()).and_then(|text| time(text));
        if received.is_none_or(|received| received < before) {
            found.open.push(document.clone());
        }
    }
    found
}
