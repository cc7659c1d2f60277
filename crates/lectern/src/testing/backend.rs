//! The API's ports in memory, and what happens to a submission between two requests: an upload arrives, and its document
//! becomes `Ready`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Faults, MemoryClock, MemoryDesk, MemoryEndpoints, MemoryEventQueue, MemoryObjects, MemoryQueues,
    MemoryStates, MemoryStore, SequentialRandom,
    world::{BUCKET, START},
};
use crate::{
    admission::Limits,
    api::{Backend, Quota},
    contract::wire::{JobSucceeded, ReturnedFile},
    document::{
        CallbackId, DocumentId, DocumentRef, JobResult, ObjectVersion, Reason, SubmissionId, UploadId, keys,
        metadata::FileName,
    },
    error::{Error, StoreError, rfc3339},
    events::Source,
    ports::{
        Browse as _, Clock as _, FinalOutcome, Finishing as _, HandIn as _, NewDocument, QueueDepth,
        Random as _, Records as _, Register as _, Registration, Results as _, Sequencer,
    },
    record::Draft,
    telemetry::trace::TraceParent,
};

/// All ports of the API, sharing one [`Faults`].
#[derive(Debug)]
pub struct MemoryBackend {
    /// Interrupts any call of any port.
    pub faults: Arc<Faults>,
    /// The table, with the audit trail.
    pub store: MemoryStore,
    /// The uploads bucket, as the API hands it out.
    pub desk: MemoryDesk,
    /// Both buckets, for readers.
    pub objects: MemoryObjects,
    /// The state machines: that of documents, and the one that erases submissions.
    pub states: MemoryStates,
    /// The queues of the stack, which are empty.
    pub queues: MemoryQueues,
    /// The endpoints of subscribers, which answer every challenge.
    pub endpoints: MemoryEndpoints,
    /// The queue of `deliver-events`.
    pub events: MemoryEventQueue,
    /// The sender that events name.
    pub source: Source,
    /// The third party's limits.
    pub limits: Limits,
    /// The time.
    pub clock: MemoryClock,
    /// The source of ids.
    pub random: SequentialRandom,
    /// What one teacher may have open at once.
    pub quota: Quota,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        let faults = Arc::new(Faults::default());
        Self {
            store: MemoryStore::new(faults.clone()),
            desk: MemoryDesk::new(faults.clone()),
            objects: MemoryObjects::new(faults.clone()),
            states: MemoryStates::new(faults.clone()),
            queues: MemoryQueues::new(vec![QueueDepth {
                name: "transfer-document".to_owned(),
                waiting: 0,
                in_flight: 0,
                dead_letters: 0,
            }]),
            endpoints: MemoryEndpoints::default(),
            events: MemoryEventQueue::new(faults.clone()),
            source: Source {
                name: "https://lectern.example".to_owned(),
                api_url: "https://lectern.example".to_owned(),
            },
            limits: Limits {
                interval: Duration::from_secs(1),
                burst: 10,
                max_in_flight: 100,
                lease: Duration::from_hours(1),
            },
            clock: MemoryClock::at(START),
            random: SequentialRandom::default(),
            quota: Quota {
                max_open_submissions: 50,
                max_files_per_submission: 50,
                max_open_bytes: 200 * 1024 * 1024 * 1024,
                max_file_bytes: 20 * 1024 * 1024 * 1024,
            },
            faults,
        }
    }
}

impl MemoryBackend {
    /// What happens when the upload of a pending file arrives: the bucket has the object, and `receive-upload` registers its
    /// document.
    ///
    /// # Errors
    /// A defect, if no such file is pending.
    pub async fn arrive(
        &self,
        submission: &SubmissionId,
        upload: UploadId,
        rejected: Option<Reason>,
    ) -> Result<DocumentRef, Error> {
        let file = self.store.pending_file(submission, &upload).await?;
        let file = file.ok_or_else(|| StoreError::defect("no such file is pending"))?;
        let owner = self.store.summary(submission).await?.and_then(|submission| submission.owner);
        let version = self.random.bits() >> 64;
        let object =
            ObjectVersion { bucket: BUCKET.to_owned(), key: file.key, version_id: format!("v{version}") };
        self.objects.upload(&object, Some(file.media_type.as_str()), &b"bytes"[..]);
        let new = NewDocument {
            reference: DocumentRef {
                submission_id: submission.clone(),
                document_id: DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id),
            },
            callback_id: CallbackId::new(format!("callback-{version}")),
            traceparent: TraceParent::new(&self.random),
            object,
            sequencer: Sequencer::new(&format!("{version:016X}")),
            owner,
            name: FileName::new(&file.name),
            upload: Some(upload),
            size_bytes: file.size_bytes,
            media_type: Some(file.media_type),
            rejected,
            now: self.clock.now(),
        };
        match self.store.register(new).await? {
            Registration::New(document) | Registration::Known(document) => Ok(document.reference),
            Registration::Erased => Err(StoreError::defect("the submission is erased").into()),
        }
    }

    /// Makes a document `Ready`, with the record of the files that its job returned.
    ///
    /// # Errors
    /// A defect, if there is no such document, or if no record can be made of the files.
    pub async fn make_ready(
        &self,
        document: &DocumentRef,
        files: &[(ReturnedFile, Bytes)],
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let declared = files.iter().map(|(file, _)| file.clone()).collect();
        let result = JobResult::Succeeded(JobSucceeded { job_id: "job".to_owned(), files: declared });
        self.store.record_result(document, &result, now).await?;
        let stored =
            self.store.get(document).ok_or_else(|| StoreError::defect("there is no such document"))?;
        let mut draft = Draft::new(&stored, "third party")?;
        for (index, (file, content)) in files.iter().enumerate() {
            self.objects.put_returned(&keys::returned_file(document, index), content.clone());
            draft.add(file, Some(content))?;
        }
        let (record_key, json) = draft.finish(rfc3339(now))?.to_object(document)?;
        self.objects.put_record(&record_key, json).await?;
        self.store.finish(document, FinalOutcome::Ready { record_key }, now).await?;
        Ok(())
    }
}

impl Backend for MemoryBackend {
    type Store = MemoryStore;
    type Trail = MemoryStore;
    type Uploads = MemoryDesk;
    type Files = MemoryObjects;
    type Erasures = MemoryStates;
    type Queues = MemoryQueues;
    type Runs = MemoryStates;
    type Machine = MemoryStates;
    type Endpoints = MemoryEndpoints;
    type Events = MemoryEventQueue;
    type Clock = MemoryClock;
    type Random = SequentialRandom;

    fn store(&self) -> &MemoryStore {
        &self.store
    }

    fn trail(&self) -> &MemoryStore {
        &self.store
    }

    fn uploads(&self) -> &MemoryDesk {
        &self.desk
    }

    fn files(&self) -> &MemoryObjects {
        &self.objects
    }

    fn erasures(&self) -> &MemoryStates {
        &self.states
    }

    fn queues(&self) -> &MemoryQueues {
        &self.queues
    }

    fn runs(&self) -> &MemoryStates {
        &self.states
    }

    fn machine(&self) -> &MemoryStates {
        &self.states
    }

    fn endpoints(&self) -> &MemoryEndpoints {
        &self.endpoints
    }

    fn events(&self) -> &MemoryEventQueue {
        &self.events
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn quota(&self) -> Quota {
        self.quota
    }

    fn clock(&self) -> &MemoryClock {
        &self.clock
    }

    fn random(&self) -> &SequentialRandom {
        &self.random
    }
}
