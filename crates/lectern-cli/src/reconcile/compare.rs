//! What differs between the bucket and the table, for one submission: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use lectern::{
    document::{Document, DocumentId, DocumentRef, DocumentState, ObjectVersion},
    ports::Sequencer,
    steps::receive_upload,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::listing::Version;
use crate::text::time;

/// What S3 leaves as it is in a key, besides letters and digits.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// So many versions go into one event: a function handles it at once.
const MAX_RECORDS: usize = 10;

/// A version that no event announced.
pub type Unannounced = (DocumentRef, ObjectVersion);

/// The event that S3 sends of a new version.
pub fn event(object: &ObjectVersion, sequencer: Option<&str>) -> String {
    json!({ "Records": [record(object, sequencer)] }).to_string()
}

/// The events that never came of a file's versions, newest first, when `newest` is registered of it; each with how many
/// it announces. Their sequencers lie right behind that one and grow with the versions, so that an event that comes late
/// after all finds its document registered, and whatever is uploaded from now on is newer than all of them. The newest
/// version stands first, so that the older ones are registered as superseded and nobody works on them.
pub fn events(versions: &[Unannounced], newest: Option<&Sequencer>) -> Vec<(String, usize)> {
    let mut sequencer = match newest {
        Some(newest) => newest.successor(),
        None => Some(Sequencer::new("")),
    };
    let mut records = Vec::with_capacity(versions.len());
    for (_, object) in versions.iter().rev() {
        records.push(record(object, sequencer.as_ref().map(Sequencer::as_str)));
        sequencer = sequencer.as_ref().and_then(Sequencer::successor);
    }
    records.reverse();
    let event = |records: &[Value]| (json!({ "Records": records }).to_string(), records.len());
    records.chunks(MAX_RECORDS).map(event).collect()
}

fn record(object: &ObjectVersion, sequencer: Option<&str>) -> Value {
    let key = utf8_percent_encode(&object.key, KEPT).to_string().replace("%20", "+");
    let mut described = json!({ "key": key, "versionId": object.version_id });
    if let Some(sequencer) = sequencer {
        described["sequencer"] = sequencer.into();
    }
    json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": object.bucket }, "object": described },
    })
}

/// The document that a version is, `None` if it is none of ours, such as a folder marker.
pub fn document_of(object: &ObjectVersion) -> Option<DocumentRef> {
    receive_upload::announced(&event(object, None)).ok()?.pop()
}

/// What was found of one submission, before Step Functions is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// By file, the versions that no event announced and that are newer than the registered one, newest first.
    pub unannounced: Vec<Vec<Unannounced>>,
    /// Files that are left alone because the event of the newest version may still be under way.
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
    let mut files: BTreeMap<&str, Vec<(&Version, DocumentRef, ObjectVersion)>> = BTreeMap::new();
    for version in versions {
        let object = ObjectVersion {
            bucket: bucket.to_owned(),
            key: version.key.clone(),
            version_id: version.version_id.clone(),
        };
        let Some(reference) = document_of(&object) else { continue };
        present.insert(reference.document_id);
        files.entry(&version.key).or_default().push((version, reference, object));
    }
    for mut file in files.into_values() {
        // As S3 lists them; what it stored within the same second stays in its order.
        file.sort_by_key(|(version, ..)| std::cmp::Reverse((version.is_latest, version.modified)));
        let Some((newest, ..)) = file.first() else { continue };
        let (is_latest, is_young) = (newest.is_latest, newest.modified >= before);
        let is_current =
            |id: DocumentId| registered.get(&id).is_some_and(|known| known.superseded_by.is_none());
        // What is older than the registered version is superseded by it, whenever its event comes.
        let newer = file.into_iter().take_while(|(_, reference, _)| !is_current(reference.document_id));
        let lost: Vec<Unannounced> = newer
            .filter(|(_, reference, _)| !registered.contains_key(&reference.document_id))
            .map(|(_, reference, object)| (reference, object))
            .collect();
        // Of a file that was deleted there is nothing to register.
        match (lost.is_empty() || !is_latest, is_young) {
            (true, _) => {}
            (false, true) => found.young += 1,
            (false, false) => found.unannounced.push(lost),
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
