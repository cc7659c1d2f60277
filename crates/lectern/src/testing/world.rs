//! A whole Lectern in memory: all ports together, and each step wired to them as `lectern-aws` wires it to the real
//! ones.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::datetime};

use super::{
    Faults, MemoryClock, MemoryObjects, MemoryStates, MemoryStore, MemoryThirdParty, SequentialRandom,
};
use crate::{
    admission::{LimiterSnapshot, Limits},
    contract::webhook::{self, SigningSecret, SigningSecrets},
    contract::wire::{Callback, CallbackEvent, FileRole, JobError, JobFailed, JobSucceeded, ReturnedFile},
    document::{Document, DocumentId, DocumentRef, ObjectVersion, Reason},
    error::Error,
    message::Retryable,
    ports::{Clock as _, Executions, Failure, Fetch, FinalOutcome, ThirdParty},
    record::Record,
    steps::admit_document,
    steps::fail_document,
    steps::normalize_document,
    steps::probe_job,
    steps::receive_callback::{self, Answer},
    steps::receive_upload::{self, Summary},
    steps::transfer_document::{self, Settings},
    steps::verify_returned_file,
};

/// The secret that the third party of [`MemoryWorld`] signs with.
pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
/// The time at which a [`MemoryWorld`] begins.
pub const START: OffsetDateTime = datetime!(2026-11-20 16:00 UTC);
/// The bucket of uploads.
pub const BUCKET: &str = "uploads";
/// The largest upload that is accepted.
pub const MAX_UPLOAD_BYTES: u64 = 64 * 1024;

/// All ports, sharing one [`Faults`].
#[derive(Debug)]
pub struct MemoryWorld {
    /// Interrupts any call of any port.
    pub faults: Arc<Faults>,
    /// The table.
    pub store: MemoryStore,
    /// Both buckets.
    pub objects: MemoryObjects,
    /// Step Functions.
    pub states: MemoryStates,
    /// The third party.
    pub third_party: MemoryThirdParty,
    /// The time.
    pub clock: MemoryClock,
    /// Callback ids.
    pub random: SequentialRandom,
    /// The third party's limits: so high that they have no effect, unless a test changes them.
    pub limits: Limits,
    /// Whether the malware gate is on.
    pub scans_for_malware: bool,
}

impl Default for MemoryWorld {
    fn default() -> Self {
        let faults = Arc::new(Faults::default());
        let third_party = MemoryThirdParty::new(faults.clone());
        if let Ok(secrets) = SigningSecrets::parse(SECRET) {
            third_party.set_secrets(secrets);
        }
        Self {
            store: MemoryStore::new(faults.clone()),
            objects: MemoryObjects::new(faults.clone()),
            states: MemoryStates::new(faults.clone()),
            third_party,
            clock: MemoryClock::at(START),
            random: SequentialRandom::default(),
            limits: Limits {
                interval: Duration::from_millis(1),
                burst: 1_000_000_000,
                max_in_flight: 1_000_000,
                lease: Duration::from_hours(1_000),
            },
            scans_for_malware: false,
            faults,
        }
    }
}

impl MemoryWorld {
    /// `receive-upload` of one message.
    pub async fn receive_upload(&self, body: &str) -> Result<Summary, Retryable> {
        self.receive_upload_with(&self.states, body).await
    }

    /// `receive-upload` with another Step Functions.
    pub async fn receive_upload_with(
        &self,
        executions: &impl Executions,
        body: &str,
    ) -> Result<Summary, Retryable> {
        let Self { objects: uploads, store, clock, random, .. } = self;
        let ports = receive_upload::Ports {
            uploads,
            store,
            executions,
            clock,
            random,
            max_upload_bytes: MAX_UPLOAD_BYTES,
            scans_for_malware: self.scans_for_malware,
        };
        ports.handle(receive_upload::Message { body, xray_header: None }).await
    }

    /// `admit-document` of a batch.
    pub async fn admit(&self, batch: admit_document::Batch) -> Result<LimiterSnapshot, Error> {
        let Self { store, states: tasks, clock, limits, .. } = self;
        admit_document::Ports { store, tasks, clock, limits }.handle(batch).await
    }

    /// `transfer-document` of one message, pushing the bytes. As on a later delivery, a message whose token is over is
    /// dropped.
    pub async fn transfer(
        &self,
        input: transfer_document::Input,
    ) -> Result<transfer_document::Outcome, Error> {
        self.transfer_by(u64::MAX, &self.third_party, input, true).await
    }

    /// `transfer-document` of one message, perhaps delivered `again`, to this service. Larger documents than `push_max_bytes`
    /// are pulled.
    pub async fn transfer_by(
        &self,
        push_max_bytes: u64,
        third_party: &impl ThirdParty,
        input: transfer_document::Input,
        again: bool,
    ) -> Result<transfer_document::Outcome, Error> {
        let Self { store, objects: uploads, states: tasks, clock, .. } = self;
        let settings = &Settings { push_max_bytes, callback_base_url: "https://lectern.example".to_owned() };
        transfer_document::Ports { store, uploads, third_party, tasks, orders: tasks, clock, settings }
            .handle(input, again)
            .await
    }

    /// `receive-callback` of one delivery.
    pub async fn callback(&self, callback_id: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
        let Self { store, states, third_party: secrets, clock, .. } = self;
        let ports = receive_callback::Ports { store, tasks: states, orders: states, secrets, clock };
        let delivery = receive_callback::WebhookRequest { callback_id, headers, body };
        ports.handle::<MemoryThirdParty>(delivery).await
    }

    /// `receive-callback` of this event for this document, with a valid signature of the present time.
    pub async fn call_back(&self, document: &DocumentRef, event: CallbackEvent) -> Answer {
        let body = callback_body(event);
        let headers = signed(SECRET, "event", self.clock.now(), &body);
        let callback_id = self.store.get(document).map(|document| document.callback_id);
        self.callback(callback_id.as_ref().map_or("", |id| id.expose()), &headers, &body).await
    }

    /// `probe-job`.
    pub async fn probe(&self, input: probe_job::Input) -> Result<probe_job::Output, Error> {
        let Self { store, third_party, clock, .. } = self;
        probe_job::Ports { store, third_party, clock }.handle(input).await
    }

    /// `verify-returned-file`.
    pub async fn verify(
        &self,
        input: verify_returned_file::Input,
    ) -> Result<verify_returned_file::Output, Error> {
        self.verify_from(&self.third_party, input).await
    }

    /// `verify-returned-file`, fetching from this service.
    pub async fn verify_from(
        &self,
        third_party: &impl Fetch,
        input: verify_returned_file::Input,
    ) -> Result<verify_returned_file::Output, Error> {
        let Self { store, objects: files, .. } = self;
        verify_returned_file::Ports { store, third_party, files }.handle(input).await
    }

    /// `normalize-document` of one message, perhaps delivered `again`.
    pub async fn normalize(
        &self,
        input: normalize_document::Input,
        again: bool,
    ) -> Result<normalize_document::Outcome, Error> {
        let Self { store, objects: files, states: tasks, clock, .. } = self;
        normalize_document::Ports { store, files, tasks, clock, provider: "memory" }
            .handle(input, again)
            .await
    }

    /// `fail-document`.
    pub async fn fail(&self, input: fail_document::Input) -> Result<fail_document::Output, Error> {
        fail_document::Ports { store: &self.store, clock: &self.clock }.handle(input).await
    }

    /// The document of one version of an object, if it is registered.
    pub fn document(&self, object: &ObjectVersion) -> Option<Document> {
        let id = DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id);
        self.store.all().into_iter().find(|document| document.reference.document_id == id)
    }

    /// A document's record, if it has one.
    pub fn record(&self, document: &DocumentRef) -> Option<Record> {
        let json = self.objects.returned(&self.store.get(document)?.record_key?)?;
        serde_json::from_slice(&json).ok()
    }

    /// How often a port's method was called.
    pub fn count(&self, call: &str) -> usize {
        self.faults.calls().iter().filter(|made| **made == call).count()
    }
}

/// One version of `submissions/s1/{file_name}`.
pub fn object(file_name: &str, version_id: &str) -> ObjectVersion {
    ObjectVersion {
        bucket: BUCKET.to_owned(),
        key: format!("submissions/s1/{file_name}"),
        version_id: version_id.to_owned(),
    }
}

/// The S3 event of these new objects, each with its sequencer.
pub fn s3_event(created: &[(&ObjectVersion, &str)]) -> String {
    let records: Vec<Value> = created
        .iter()
        .map(|(object, sequencer)| {
            let key = percent_encoding::utf8_percent_encode(&object.key, percent_encoding::NON_ALPHANUMERIC);
            json!({
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": { "name": object.bucket },
                    "object": { "key": key.to_string(), "versionId": object.version_id, "sequencer": sequencer },
                },
            })
        })
        .collect();
    json!({ "Records": records }).to_string()
}

/// The declaration of a returned file with this content.
pub fn returned_file(name: &str, role: FileRole, media_type: &str, content: &[u8]) -> ReturnedFile {
    ReturnedFile {
        name: name.into(),
        role,
        url: format!("https://third-party.example/files/{name}"),
        size_bytes: content.len() as u64,
        sha256: super::objects::sha256(content),
        media_type: media_type.to_owned(),
    }
}

/// The event of a job that returned these files.
pub fn succeeded(files: &[ReturnedFile]) -> CallbackEvent {
    CallbackEvent::Succeeded(JobSucceeded { job_id: "job".to_owned(), files: files.to_vec() })
}

/// The event of a job that failed with this code.
pub fn failed(code: &str) -> CallbackEvent {
    let error = JobError { code: code.to_owned(), message: "The service gave it up.".into() };
    CallbackEvent::Failed(JobFailed { job_id: "job".to_owned(), error })
}

/// The event of this job.
pub fn of_job(job_id: &str, mut event: CallbackEvent) -> CallbackEvent {
    let (CallbackEvent::Succeeded(JobSucceeded { job_id: of, .. })
    | CallbackEvent::Failed(JobFailed { job_id: of, .. })) = &mut event;
    job_id.clone_into(of);
    event
}

/// The end of a document that failed for this reason, in its first execution.
pub fn failed_for(reason: Reason) -> FinalOutcome {
    FinalOutcome::Failed(Failure { reason, redrives: 0 })
}

/// The body of a callback.
pub fn callback_body(event: CallbackEvent) -> Vec<u8> {
    let callback = Callback { timestamp: "2026-11-20T16:00:00Z".to_owned(), event };
    serde_json::to_vec(&callback).unwrap_or_default()
}

/// The headers of a delivery signed with `secret`; without a signature if `secret` is not a valid secret.
pub fn signed(secret: &str, id: &str, timestamp: OffsetDateTime, body: &[u8]) -> HeaderMap {
    let signature = SigningSecret::parse(secret).map(|secret| webhook::sign(&secret, id, timestamp, body));
    let values = [
        (webhook::WEBHOOK_ID, id.to_owned()),
        (webhook::WEBHOOK_TIMESTAMP, timestamp.unix_timestamp().to_string()),
        (webhook::WEBHOOK_SIGNATURE, signature.unwrap_or_default()),
    ];
    let header = |(name, value): (&'static str, String)| {
        Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
    };
    values.into_iter().filter_map(header).collect()
}
