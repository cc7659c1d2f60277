//! The API's ports on AWS.

use crate::pages::{Pages, PagesConfig};
use lectern::{
    admission::Limits,
    api::{Backend, Quota},
    events::Source,
};
use lectern_aws::{
    AuditTrail, ConfigError, DocumentExecutions, DynamoDbStore, Environment, ErasureStateMachine,
    EventsQueue, HttpEndpoints, ObservedQueues, ReturnedBucket, StateMachine, SystemClock, SystemRandom,
    UploadDesk,
};
use lectern_content::FileType;

/// The ports.
pub(crate) struct Aws {
    store: DynamoDbStore,
    trail: AuditTrail,
    uploads: UploadDesk,
    files: ReturnedBucket,
    erasures: ErasureStateMachine,
    queues: ObservedQueues,
    runs: DocumentExecutions,
    machine: StateMachine,
    endpoints: HttpEndpoints,
    events: EventsQueue,
    source: Source,
    limits: Limits,
    quota: Quota,
}

impl Aws {
    pub(crate) fn new(env: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            store: env.store()?,
            trail: env.audit_trail()?,
            uploads: env.upload_desk()?,
            files: env.files_for_people()?,
            erasures: env.erasure_state_machine()?,
            queues: env.observed_queues()?,
            runs: env.document_executions()?,
            machine: env.state_machine()?,
            endpoints: env.endpoints()?,
            events: env.event_queue()?,
            source: env.event_source()?,
            limits: env.limits()?,
            quota: env.quota()?,
        })
    }
}

impl Backend for Aws {
    type Store = DynamoDbStore;
    type Trail = AuditTrail;
    type Uploads = UploadDesk;
    type Files = ReturnedBucket;
    type Erasures = ErasureStateMachine;
    type Queues = ObservedQueues;
    type Runs = DocumentExecutions;
    type Machine = StateMachine;
    type Endpoints = HttpEndpoints;
    type Events = EventsQueue;
    type Clock = SystemClock;
    type Random = SystemRandom;

    fn store(&self) -> &DynamoDbStore {
        &self.store
    }

    fn trail(&self) -> &AuditTrail {
        &self.trail
    }

    fn uploads(&self) -> &UploadDesk {
        &self.uploads
    }

    fn files(&self) -> &ReturnedBucket {
        &self.files
    }

    fn erasures(&self) -> &ErasureStateMachine {
        &self.erasures
    }

    fn queues(&self) -> &ObservedQueues {
        &self.queues
    }

    fn runs(&self) -> &DocumentExecutions {
        &self.runs
    }

    fn machine(&self) -> &StateMachine {
        &self.machine
    }

    fn endpoints(&self) -> &HttpEndpoints {
        &self.endpoints
    }

    fn events(&self) -> &EventsQueue {
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

    fn clock(&self) -> &SystemClock {
        &SystemClock
    }

    fn random(&self) -> &SystemRandom {
        &SystemRandom
    }
}

/// The pages with the settings of this stack.
pub(crate) async fn pages(env: &Environment) -> Result<Pages, lambda_http::Error> {
    let sign_in = env.sign_in()?;
    let buckets = [env.upload_desk()?.url().await?, env.returned_files()?.url().await?];
    let origins: Vec<String> =
        buckets.iter().map(String::as_str).chain(sign_in.urls()).filter_map(origin).collect();
    let config = PagesConfig { sign_in, types: FileType::all().collect(), limits: env.quota()? };
    Pages::new(&config, &origins)
}

/// Scheme and host of a URL.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    Some(format!("{scheme}://{}", rest.split('/').next()?))
}
