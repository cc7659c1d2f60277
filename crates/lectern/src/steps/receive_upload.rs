//! `receive-upload`: registers each new object in the uploads bucket as a document and starts its execution. It also
//! withdraws the document of a deleted file, so that a rejected or failed document no longer holds its submission (F07).
//!
//! SQS invokes the function with S3 `ObjectCreated` and `ObjectRemoved` events, which arrive at least once and in any
//! order. The function reads a new object's metadata and first bytes, and the end of a ZIP, never the whole of a large
//! file. Every error leaves the message on the queue: SQS delivers it again, and all steps are idempotent.
//!
//! With the malware gate, a document's execution starts only when `GuardDuty` has found nothing in its file. `GuardDuty`
//! writes its result into a tag of the object's version. Until the tag is there, the message stays on the queue.
//!
//! Objects that expire by a lifecycle rule change nothing: S3 reports them only as `LifecycleExpiration` events
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-configure-notification.html>), which the bucket does
//! not send.

mod malware;
mod upload_type;

use lectern_content::{MediaType, sniff_zip_end};
use serde::Deserialize;
use tracing::Instrument as _;

use crate::{
    document::keys::UploadKey,
    document::metadata::{FileName, Owner},
    document::{
        Document, DocumentId, DocumentRef, DocumentState, ObjectVersion, Reason, SubmissionId, UploadId,
    },
    error::{Error, StoreError},
    limits::{SNIFF_BYTES, ZIP_END_BYTES},
    message::{self, Retryable, Unreadable},
    ports::{
        Clock, Executions, FinalOutcome, Finish, Finishing, NewDocument, ObjectHead, Protection, Random,
        Register, Registration, ScanResults, ScanStatus, Sequencer, StartExecution, Uploads, Withdrawing,
    },
    telemetry::metrics,
    telemetry::trace::TraceParent,
};

/// The ports and settings of the step.
#[derive(Debug)]
pub struct Ports<'p, U, S, E, C, R> {
    /// The uploads bucket.
    pub uploads: &'p U,
    /// The documents.
    pub store: &'p S,
    /// The executions of the state machine.
    pub executions: &'p E,
    /// The time.
    pub clock: &'p C,
    /// The source of callback ids and traces.
    pub random: &'p R,
    /// The largest upload that is accepted.
    pub max_upload_bytes: u64,
    /// Whether the malware gate is on.
    pub scans_for_malware: bool,
}

impl<U, S, E, C, R> Ports<'_, U, S, E, C, R>
where
    U: Uploads + ScanResults,
    S: Register + Withdrawing + Finishing,
    E: Executions,
    C: Clock,
    R: Random,
{
    /// Handles one message: an S3 event with any number of records. This function also chooses a new document's trace.
    ///
    /// # Errors
    /// [`Retryable`] if the message has to stay on the queue.
    pub async fn handle(&self, message: Message<'_>) -> Result<Summary, Retryable> {
        let mut summary = Summary::default();
        for record in parse_event(message.body)? {
            let Some(found) = Found::in_record(record)? else {
                tracing::info!(ignored = 1, "An event that announces no upload was ignored.");
                summary.ignored += 1;
                continue;
            };
            if found.change != Change::Created {
                self.remove(&found).await?;
                summary.removed += 1;
                continue;
            }
            let trace = TraceParent::begin(message.xray_header, self.random);
            let span = tracing::info_span!(
                "upload",
                submissionId = %found.reference.submission_id,
                documentId = %found.reference.document_id,
                traceId = trace.trace_id()
            );
            match self.receive(found, trace).instrument(span).await? {
                None => summary.erased += 1,
                Some(document) if document.state == DocumentState::Rejected => summary.rejected += 1,
                Some(_) => summary.accepted += 1,
            }
        }
        Ok(summary)
    }

    /// Registers a document and starts its execution. `None` if its submission is erased.
    async fn receive(&self, found: Found, traceparent: TraceParent) -> Result<Option<Document>, Retryable> {
        let has_valid_key = found.invalid_key.is_none();
        let judged = match found.invalid_key {
            Some(reason) => Judged::unseen(reason),
            None => self.judge(&found.object).await?,
        };
        let still_exists = judged.rejected.as_ref().is_none_or(|reason| reason.code != SOURCE_GONE);
        let new = NewDocument {
            reference: found.reference,
            object: found.object,
            sequencer: found.sequencer,
            owner: judged.owner,
            name: judged.name,
            upload: judged.upload,
            size_bytes: judged.size_bytes,
            media_type: judged.media_type,
            rejected: judged.rejected,
            callback_id: self.random.callback_id(),
            traceparent,
            now: self.clock.now(),
        };
        let document = match self.store.register(new).await? {
            Registration::New(document) => {
                let reason = document.reason.as_ref().map(|reason| reason.code.as_str());
                tracing::info!(state = %document.state, reason, sizeBytes = document.size_bytes, "The upload was registered.");
                metrics::registered(&document);
                document
            }
            Registration::Known(document) => {
                // The document keeps the trace of its first registration.
                if let Some(trace) = document.traceparent {
                    tracing::Span::current().record("traceId", trace.trace_id());
                }
                tracing::info!(state = %document.state, "The upload had been registered before.");
                document
            }
            Registration::Erased if still_exists => {
                tracing::error!("A file was uploaded to an erased submission; it was not registered.");
                metrics::uploaded_to_erased();
                return Ok(None);
            }
            Registration::Erased => {
                tracing::info!("A late event of an erased file was ignored.");
                return Ok(None);
            }
        };
        // Also for a known document: an earlier run may have died after registering it.
        let document =
            if document.state == DocumentState::Received { self.start(document).await? } else { document };
        // The event of the file's deletion may have come before the document was registered.
        if document.state == DocumentState::Rejected
            && document.is_counted()
            && has_valid_key
            && self.uploads.current_version(&document.object).await?.is_none()
        {
            self.withdraw(&document.reference).await?;
        }
        Ok(Some(document))
    }

    /// Starts the execution of a document, unless its file has to be scanned first, or the scan speaks against it. Starting
    /// an execution and rejecting a document are idempotent. Returns the document as it is now.
    async fn start(&self, document: Document) -> Result<Document, Retryable> {
        let status = if self.scans_for_malware {
            self.uploads.scan_status(&document.object).await?
        } else {
            ScanStatus::Clean
        };
        let reason = match status {
            ScanStatus::Clean => {
                self.executions.start(&StartExecution::of(&document)).await?;
                return Ok(document);
            }
            ScanStatus::Pending => return Err(Retryable::Waiting("the malware scan of the upload")),
            ScanStatus::Gone => source_gone(),
            ScanStatus::Threats => malware::found(),
            ScanStatus::Unsupported => malware::unsupported(),
            ScanStatus::Failed => {
                tracing::error!("The malware scan failed.");
                malware::failed()
            }
        };
        let rejected = FinalOutcome::Rejected(reason.clone());
        if self.store.finish(&document.reference, rejected, self.clock.now()).await? != Finish::Finished {
            return Ok(document);
        }
        tracing::info!(reason = reason.code, "The document was rejected after the malware scan.");
        let document = Document { state: DocumentState::Rejected, reason: Some(reason), ..document };
        metrics::registered(&document);
        Ok(document)
    }

    /// Withdraws the document of a deleted file. A delete marker that is older than the file's newest registered version
    /// changes nothing.
    async fn remove(&self, found: &Found) -> Result<(), Error> {
        if found.change == Change::VersionDeleted {
            return self.withdraw(&found.reference).await;
        }
        match self.store.newest_version(&found.reference.submission_id, &found.object).await? {
            Some((document, sequencer)) if sequencer < found.sequencer => self.withdraw(&document).await,
            Some(_) | None => Ok(()),
        }
    }

    async fn withdraw(&self, document: &DocumentRef) -> Result<(), Error> {
        if self.store.withdraw(document, self.clock.now()).await? {
            let DocumentRef { submission_id, document_id } = document;
            tracing::info!(submissionId = %submission_id, documentId = %document_id, "The file was deleted; its document was withdrawn.");
        }
        Ok(())
    }

    async fn judge(&self, object: &ObjectVersion) -> Result<Judged, Error> {
        let Some(head) = self.uploads.head(object).await? else {
            return Ok(Judged::unseen(source_gone()));
        };
        let (media_type, rejected) = match self.check(object, &head).await? {
            Ok(media_type) => (Some(media_type), None),
            Err(reason) => (None, Some(reason)),
        };
        let ObjectHead { owner, name, upload, size_bytes, .. } = head;
        Ok(Judged { owner, name, upload, size_bytes, media_type, rejected })
    }

    /// The type of an upload, or the reason for rejecting the upload.
    async fn check(
        &self,
        object: &ObjectVersion,
        head: &ObjectHead,
    ) -> Result<Result<MediaType, Reason>, Error> {
        let (max_upload_bytes, size_bytes) = (self.max_upload_bytes, head.size_bytes);
        if let Some(reason) = unreadable(head.protection) {
            return Ok(Err(reason));
        }
        if size_bytes == 0 {
            return Ok(Err(Reason::new("empty", "The file is empty. Upload it again.")));
        }
        if size_bytes > max_upload_bytes {
            let message = format!("The file is larger than {max_upload_bytes} bytes. Upload a smaller one.");
            return Ok(Err(Reason::new("tooLarge", message)));
        }
        let declared = head.content_type.as_deref().unwrap_or_default();
        let claimed = match upload_type::claimed(&object.key, declared) {
            Ok(claimed) => claimed,
            Err(reason) => return Ok(Err(reason)),
        };
        let first_bytes = match self.uploads.read(object, 0..SNIFF_BYTES).await {
            Err(Error::Store(StoreError::Defect { what, .. })) if head.protection == Protection::KmsKey => {
                tracing::warn!(detail = what, "An upload is encrypted with a key that Lectern may not use.");
                return Ok(Err(Reason::new(
                    "unreadableUpload",
                    "The file is encrypted with a key that Lectern may not use. Upload it again without a key.",
                )));
            }
            read => read?,
        };
        let zip = if upload_type::needs_end(claimed, &first_bytes) {
            let end = size_bytes.saturating_sub(ZIP_END_BYTES)..size_bytes;
            Some(sniff_zip_end(&self.uploads.read(object, end).await?))
        } else {
            None
        };
        Ok(upload_type::check(claimed, &first_bytes, zip).map(|()| claimed))
    }
}

/// The code of the reason for a version that no longer exists.
const SOURCE_GONE: &str = "sourceGone";

fn source_gone() -> Reason {
    Reason::new(SOURCE_GONE, "The file was deleted before it could be looked at.")
}

/// Why S3 would not let Lectern read the object. Without this check, such an upload would look like an outage of our own
/// (S04).
fn unreadable(protection: Protection) -> Option<Reason> {
    let message = match protection {
        Protection::Archived => {
            "The file is in an archive and cannot be read. Upload it again in the storage class STANDARD."
        }
        Protection::CustomerKey => {
            "The file is encrypted with a key of its own. Upload it again without a key."
        }
        // Lectern may be allowed to use the key.
        Protection::KmsKey | Protection::None => return None,
    };
    Some(Reason::new("unreadableUpload", message))
}

/// One message of the queue that S3 feeds.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    /// An S3 event.
    pub body: &'m str,
    /// X-Ray's trace header, if there is one: that of the message, otherwise that of the invocation.
    pub xray_header: Option<&'m str>,
}

/// The outcome of a message's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records whose document is registered (now or before) and whose execution is started.
    pub accepted: usize,
    /// Records whose document is registered (now or before) as rejected.
    pub rejected: usize,
    /// Records of files whose submission is erased; no document is registered.
    pub erased: usize,
    /// Records of deleted files, whether a document was withdrawn or not.
    pub removed: usize,
    /// Ignored records: folder markers, companion files, foreign prefixes, other kinds of event.
    pub ignored: usize,
}

/// One record of an S3 event, with only the fields that Lectern uses. `aws_lambda_events` demands fields that Lectern
/// does not need, such as `eventTime`, and cannot parse the test event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    event_name: String,
    s3: S3Entity,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct S3Entity {
    bucket: S3Bucket,
    object: S3Object,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct S3Bucket {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Object {
    key: String,
    #[serde(default)]
    version_id: Option<String>,
    #[serde(default)]
    sequencer: Option<String>,
}

/// Parses an S3 event notification. The test event that S3 sends after set-up has no records.
///
/// # Errors
/// [`Unreadable`] if the body is neither.
pub fn parse_event(body: &str) -> Result<Vec<EventRecord>, Unreadable> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Event {
        Records {
            #[serde(rename = "Records")]
            records: Vec<EventRecord>,
        },
        Test {
            #[serde(rename = "Event")]
            event: String,
        },
    }
    match serde_json::from_str(body).map_err(|error| message::form(&error))? {
        Event::Records { records } => Ok(records),
        Event::Test { event } if event == "s3:TestEvent" => Ok(Vec::new()),
        Event::Test { .. } => Err(Unreadable::Form("an event without records".to_owned())),
    }
}

/// The documents of new objects that an event announces, without the objects that Lectern ignores.
///
/// # Errors
/// [`Unreadable`] if the body is not an S3 event.
pub fn announced(body: &str) -> Result<Vec<DocumentRef>, Unreadable> {
    let found: Result<Vec<_>, _> = parse_event(body)?.into_iter().map(Found::in_record).collect();
    let created = found?.into_iter().flatten().filter(|found| found.change == Change::Created);
    Ok(created.map(|found| found.reference).collect())
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Created,
    /// The file was deleted: a delete marker is now its newest version. The event names the marker's version.
    MarkerCreated,
    /// One version was deleted permanently, or a delete marker, which is no document.
    VersionDeleted,
}

/// A change of an object that Lectern registers.
struct Found {
    change: Change,
    reference: DocumentRef,
    object: ObjectVersion,
    sequencer: Sequencer,
    invalid_key: Option<Reason>,
}

impl Found {
    /// Returns `None` for an object that Lectern ignores.
    fn in_record(record: EventRecord) -> Result<Option<Self>, Unreadable> {
        let EventRecord { event_name, s3 } = record;
        let change = match event_name.trim_start_matches("s3:") {
            created if created.starts_with("ObjectCreated:") => Change::Created,
            "ObjectRemoved:DeleteMarkerCreated" => Change::MarkerCreated,
            "ObjectRemoved:Delete" => Change::VersionDeleted,
            _ => return Ok(None),
        };
        let (submission_id, key, key_bytes, invalid_key) = match UploadKey::from_event(&s3.object.key) {
            UploadKey::Foreign => return Ok(None),
            UploadKey::Document { submission_id, key } => {
                (submission_id, key.clone(), key.into_bytes(), None)
            }
            // Lectern never reads an object with an invalid key, so it stores the encoded key exactly as S3 sent it.
            UploadKey::Invalid { key, reason } => {
                (SubmissionId::unassigned(), s3.object.key, key, Some(reason))
            }
        };
        // Without versions, an overwritten file would be taken for the one before it, and ignored (D14).
        let version_id = s3.object.version_id.filter(|version| version != "null");
        let Some(version_id) = version_id else {
            return Err(Unreadable::Form(
                "an event without a version: the bucket's versioning is off".to_owned(),
            ));
        };
        let document_id = DocumentId::of(&s3.bucket.name, &key_bytes, &version_id);
        Ok(Some(Self {
            change,
            reference: DocumentRef { submission_id, document_id },
            object: ObjectVersion { bucket: s3.bucket.name, key, version_id },
            sequencer: Sequencer::new(s3.object.sequencer.as_deref().unwrap_or_default()),
            invalid_key,
        }))
    }
}

struct Judged {
    owner: Option<Owner>,
    name: Option<FileName>,
    upload: Option<UploadId>,
    size_bytes: u64,
    media_type: Option<MediaType>,
    rejected: Option<Reason>,
}

impl Judged {
    /// An object of which nothing was read.
    fn unseen(reason: Reason) -> Self {
        Self {
            owner: None,
            name: None,
            upload: None,
            size_bytes: 0,
            media_type: None,
            rejected: Some(reason),
        }
    }
}

#[cfg(test)]
mod tests;
