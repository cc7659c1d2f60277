//! Compares the bucket with the table for one submission.

use std::collections::{BTreeMap, BTreeSet};

use lectern::{
    document::{Document, DocumentId, DocumentRef, DocumentState, ObjectVersion},
    ports::Sequencer,
    steps::receive_upload,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::listing::UploadVersion;
use crate::text::time;

/// The characters that S3 does not encode in the keys of its events, besides letters and digits.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// The maximum number of versions in one event, which one invocation handles.
const MAX_RECORDS: usize = 10;

/// A version whose event was lost.
pub(crate) type Unannounced = (DocumentRef, ObjectVersion);

/// The event that S3 sends for a new version.
pub(crate) fn event(object: &ObjectVersion, sequencer: Option<&str>) -> String {
    json!({ "Records": [record(object, sequencer)] }).to_string()
}

/// Makes events for a file's versions whose events were lost, newest version first. `newest` is the sequencer of the
/// registered version. Each event is returned with its number of versions.
///
/// The made-up sequencers follow `newest` directly and increase with the versions. So if the real event was only late,
/// its document is already registered, and every later upload is newer than all of them. The newest version comes
/// first, so the older ones are registered as superseded and are not processed.
pub(crate) fn events(versions: &[Unannounced], newest: Option<&Sequencer>) -> Vec<(String, usize)> {
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

/// The document of a version; `None` for keys that Lectern ignores, such as folder markers.
pub(crate) fn document_of(object: &ObjectVersion) -> Option<DocumentRef> {
    receive_upload::announced(&event(object, None)).ok()?.pop()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// For each file, the versions that are newer than the registered one and whose events were lost, newest first.
    pub(crate) unannounced: Vec<Vec<Unannounced>>,
    /// The number of files that are skipped because the event of the newest version may still arrive.
    pub(crate) young: usize,
    /// Open documents whose object version no longer exists.
    pub(crate) gone: Vec<DocumentRef>,
    /// Open documents that are old enough to have an execution.
    pub(crate) open: Vec<Document>,
}

/// Compares the objects of a submission with its documents. Skips what is newer than `before`.
pub(crate) fn compare(
    versions: &[UploadVersion],
    documents: &[Document],
    before: OffsetDateTime,
) -> Compared {
    let registered: BTreeMap<DocumentId, &Document> =
        documents.iter().map(|document| (document.reference.document_id, document)).collect();
    let mut found = Compared::default();
    let mut present = BTreeSet::new();
    let mut files: BTreeMap<&str, Vec<(&UploadVersion, DocumentRef)>> = BTreeMap::new();
    for version in versions {
        let Some(reference) = document_of(&version.object) else { continue };
        present.insert(reference.document_id);
        files.entry(&version.object.key).or_default().push((version, reference));
    }
    for mut file in files.into_values() {
        // S3 lists the newest version first; versions of the same second keep this order.
        file.sort_by_key(|(version, _)| std::cmp::Reverse((version.is_latest, version.modified)));
        let Some((newest, _)) = file.first() else { continue };
        let (is_latest, is_young) = (newest.is_latest, newest.modified >= before);
        let is_current =
            |id: DocumentId| registered.get(&id).is_some_and(|known| known.superseded_by.is_none());
        // The registered version supersedes every older one, even if the older version's event comes later.
        let newer = file.into_iter().take_while(|(_, reference)| !is_current(reference.document_id));
        let lost: Vec<Unannounced> = newer
            .filter(|(_, reference)| !registered.contains_key(&reference.document_id))
            .map(|(version, reference)| (reference, version.object.clone()))
            .collect();
        // A deleted file is not registered.
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
