//! Time, randomness, Step Functions and the third party, in memory.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    Faults, lock,
    port_contract::{
        admission::OrdersSetup,
        machine::{ErasuresSetup, ExecutionsSetup, TaskOutcome, TasksSetup},
    },
};
use crate::{
    contract::callback::{VerifiedCallback, verify_callback_body},
    contract::webhook::{SigningSecrets, VerifyError},
    contract::wire::{JobStatus, ReturnedFile},
    document::{CallbackId, DocumentRef, SubmissionId, TaskToken},
    error::{Error, StoreError},
    ports::{
        ByteStream, Clock, Content, EraseJobs, ExecutionStatus, Executions, Fetch, FindExecution, JobErasure,
        JobRequest, Orders, QueueDepth, Queues, Random, Secrets, StartErasure, StartExecution,
        StopExecutions, Tasks, ThirdParty, TokenUse,
    },
    steps::admit_document::Input,
    telemetry::trace::TraceParent,
};

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct MemoryClock(Mutex<OffsetDateTime>);

impl MemoryClock {
    /// A clock at this time.
    pub fn at(now: OffsetDateTime) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        *lock(&self.0) += by;
    }
}

impl Clock for MemoryClock {
    fn now(&self) -> OffsetDateTime {
        *lock(&self.0)
    }
}

/// Callback ids in sequence, and so are the bits.
#[derive(Debug, Default)]
pub struct SequentialRandom {
    ids: AtomicU64,
    bits: AtomicU64,
}

impl Random for SequentialRandom {
    fn callback_id(&self) -> CallbackId {
        CallbackId::new(format!("callback-{}", self.ids.fetch_add(1, Ordering::Relaxed)))
    }

    fn bits(&self) -> u128 {
        let next = u128::from(self.bits.fetch_add(1, Ordering::Relaxed)) + 1;
        next << 64 | next
    }
}

/// Queues with these depths.
#[derive(Debug)]
pub struct MemoryQueues(Vec<QueueDepth>);

impl MemoryQueues {
    /// Queues with these depths.
    pub fn new(depths: Vec<QueueDepth>) -> Self {
        Self(depths)
    }
}

impl Queues for MemoryQueues {
    async fn depths(&self) -> Result<Vec<QueueDepth>, Error> {
        Ok(self.0.clone())
    }
}

/// The state machine's side: started executions and answered tokens.
#[derive(Debug, Default)]
pub struct MemoryStates {
    /// By document and number of redrives, as the executions' names are.
    started: Mutex<BTreeMap<(DocumentRef, u32), StartExecution>>,
    answers: Mutex<BTreeMap<String, Result<Value, &'static str>>>,
    causes: Mutex<BTreeMap<String, Value>>,
    stopped: Mutex<BTreeSet<(DocumentRef, u32)>>,
    erasures: Mutex<Vec<SubmissionId>>,
    gone: Mutex<BTreeSet<String>>,
    begun: AtomicU64,
    orders: Mutex<Vec<Input>>,
    faults: Arc<Faults>,
}

impl MemoryStates {
    /// No executions; calls may be cut off by `faults`.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, ..Self::default() }
    }

    /// The documents whose execution was started.
    pub fn started(&self) -> BTreeSet<DocumentRef> {
        lock(&self.started).keys().map(|(document, _)| document.clone()).collect()
    }

    /// The input of the document's newest execution, if one was started.
    pub fn start_of(&self, document: &DocumentRef) -> Option<StartExecution> {
        let started = lock(&self.started);
        let mut all = started.range((document.clone(), 0)..=(document.clone(), u32::MAX));
        all.next_back().map(|(_, start)| start.clone())
    }

    /// The executions that were stopped, by document and number of redrives.
    pub fn stopped(&self) -> BTreeSet<(DocumentRef, u32)> {
        lock(&self.stopped).clone()
    }

    /// The submissions whose erasure was started, in this order.
    pub fn erasures(&self) -> Vec<SubmissionId> {
        lock(&self.erasures).clone()
    }

    /// The first answer that a token got: its output or the error's name.
    pub fn answer(&self, token: &TaskToken) -> Option<Result<Value, &'static str>> {
        lock(&self.answers).get(token.expose()).cloned()
    }

    /// The cause that came with the error.
    pub fn cause(&self, token: &TaskToken) -> Option<Value> {
        lock(&self.causes).get(token.expose()).cloned()
    }

    /// Takes the orders to `admit-document` that functions have sent since the last call.
    pub fn take_orders(&self) -> Vec<Input> {
        std::mem::take(&mut lock(&self.orders))
    }

    /// Makes a token one that no task waits for, as after a timeout.
    pub fn expire(&self, token: &TaskToken) {
        lock(&self.gone).insert(token.expose().to_owned());
    }

    fn answer_with(&self, token: &TaskToken, answer: Result<Value, &'static str>) -> TokenUse {
        if lock(&self.gone).contains(token.expose()) || lock(&self.answers).contains_key(token.expose()) {
            return TokenUse::NotAwaited;
        }
        lock(&self.answers).insert(token.expose().to_owned(), answer);
        TokenUse::Delivered
    }
}

impl Executions for MemoryStates {
    async fn start(&self, execution: &StartExecution) -> Result<(), Error> {
        self.faults.run("start", || {
            let name = (execution.document.clone(), execution.redrives);
            lock(&self.started).entry(name).or_insert_with(|| execution.clone());
        })
    }
}

impl FindExecution for MemoryStates {
    async fn find(&self, document: &DocumentRef, redrives: u32) -> Result<Option<ExecutionStatus>, Error> {
        self.faults.run("find", || {
            let name = (document.clone(), redrives);
            let is_stopped = lock(&self.stopped).contains(&name);
            lock(&self.started).contains_key(&name).then_some(if is_stopped {
                ExecutionStatus::Broken("was aborted")
            } else {
                ExecutionStatus::Running
            })
        })
    }
}

impl StopExecutions for MemoryStates {
    async fn stop(&self, document: &DocumentRef, redrives: u32) -> Result<(), Error> {
        self.faults.run("stop", || {
            let name = (document.clone(), redrives);
            if lock(&self.started).contains_key(&name) {
                lock(&self.stopped).insert(name);
            }
        })
    }
}

impl StartErasure for MemoryStates {
    async fn start_erasure(&self, id: &SubmissionId) -> Result<(), Error> {
        self.faults.run("start_erasure", || {
            let mut erasures = lock(&self.erasures);
            if !erasures.contains(id) {
                erasures.push(id.clone());
            }
        })
    }
}

impl ErasuresSetup for MemoryStates {
    async fn erasures_of(&self, id: &SubmissionId) -> usize {
        lock(&self.erasures).iter().filter(|started| *started == id).count()
    }
}

impl ExecutionsSetup for MemoryStates {
    async fn executions_of(&self, document: &DocumentRef) -> usize {
        lock(&self.started).keys().filter(|(started, _)| started == document).count()
    }
}

impl Orders for MemoryStates {
    async fn send(&self, order: Input) -> Result<(), Error> {
        self.faults.run("send", || lock(&self.orders).push(order))
    }
}

impl OrdersSetup for MemoryStates {
    async fn take_orders(&self) -> Vec<Input> {
        self.take_orders()
    }
}

impl Tasks for MemoryStates {
    async fn succeed(&self, token: &TaskToken, output: Value) -> Result<TokenUse, Error> {
        self.faults.run("succeed", || self.answer_with(token, Ok(output)))
    }

    async fn is_awaited(&self, token: &TaskToken) -> Result<TokenUse, Error> {
        self.faults.run("is_awaited", || {
            let over =
                lock(&self.gone).contains(token.expose()) || lock(&self.answers).contains_key(token.expose());
            if over { TokenUse::NotAwaited } else { TokenUse::Delivered }
        })
    }

    async fn fail(&self, token: &TaskToken, error: &Error) -> Result<TokenUse, Error> {
        self.faults.run("fail", || {
            let used = self.answer_with(token, Err(error.name()));
            if used == TokenUse::Delivered {
                lock(&self.causes).insert(token.expose().to_owned(), error.cause());
            }
            used
        })
    }
}

impl TasksSetup for MemoryStates {
    async fn begin(&self) -> TaskToken {
        TaskToken::new(format!("token-{}", self.begun.fetch_add(1, Ordering::Relaxed)))
    }

    async fn outcome(&self, token: &TaskToken) -> TaskOutcome {
        let answer = self.answer(token).unwrap_or(Err("the task was not answered"));
        answer.map_err(|name| (name.to_owned(), self.cause(token).unwrap_or_default()))
    }
}

/// A third party with configurable answers, which accepts everything by default.
#[derive(Debug, Default)]
pub struct MemoryThirdParty {
    refusals: Mutex<VecDeque<Error>>,
    statuses: Mutex<BTreeMap<String, JobStatus>>,
    jobs: Mutex<BTreeMap<String, Vec<u8>>>,
    traces: Mutex<BTreeMap<String, Vec<Option<TraceParent>>>>,
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    secrets: Mutex<Option<SigningSecrets>>,
    late_erasures: Mutex<BTreeSet<String>>,
    faults: Arc<Faults>,
}

impl MemoryThirdParty {
    /// One that accepts everything; calls may be cut off by `faults`.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, ..Self::default() }
    }

    /// Refuses the next submission or status request with this error.
    pub fn refuse_next(&self, error: Error) {
        lock(&self.refusals).push_back(error);
    }

    /// What it says of the job with this key.
    pub fn set_status(&self, idempotency_key: &str, status: JobStatus) {
        lock(&self.statuses).insert(idempotency_key.to_owned(), status);
    }

    /// Removes the job with this key.
    pub fn forget(&self, idempotency_key: &str) {
        lock(&self.statuses).remove(idempotency_key);
    }

    /// Answers the next request to erase the job with this key that the job will be erased later.
    pub fn erase_later(&self, idempotency_key: &str) {
        lock(&self.late_erasures).insert(idempotency_key.to_owned());
    }

    /// What it serves under this URL.
    pub fn serve(&self, url: &str, bytes: impl Into<Vec<u8>>) {
        lock(&self.files).insert(url.to_owned(), bytes.into());
    }

    /// The secrets that Lectern knows.
    pub fn set_secrets(&self, secrets: SigningSecrets) {
        *lock(&self.secrets) = Some(secrets);
    }

    /// The bytes (or the URL) received, by idempotency key.
    pub fn jobs(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.jobs).clone()
    }

    /// The trace of each submission, by idempotency key.
    pub fn traces(&self) -> BTreeMap<String, Vec<Option<TraceParent>>> {
        lock(&self.traces).clone()
    }

    fn refusal(&self) -> Result<(), Error> {
        lock(&self.refusals).pop_front().map_or(Ok(()), Err)
    }
}

impl ThirdParty for MemoryThirdParty {
    async fn prepare(&self) -> Result<(), Error> {
        self.faults.run("prepare", || ())
    }

    async fn submit(&self, request: JobRequest) -> Result<String, Error> {
        lock(&self.traces).entry(request.idempotency_key.clone()).or_default().push(request.traceparent);
        self.refusal()?;
        let received = match request.content {
            Content::Push(mut body) => {
                let mut bytes = Vec::new();
                while let Some(chunk) = body.next().await {
                    let chunk = chunk.map_err(|error| Error::SourceUnavailable(error.to_string()));
                    bytes.extend_from_slice(&chunk?);
                }
                bytes
            }
            Content::Pull(url) => url.into_bytes(),
        };
        self.faults
            .run("submit", || {
                lock(&self.jobs).entry(request.idempotency_key.clone()).or_insert(received);
                format!("job-{}", request.idempotency_key)
            })
            .map_err(|error| Error::OutcomeUnknown(error.to_string()))
    }

    async fn status(&self, idempotency_key: &str) -> Result<Option<JobStatus>, Error> {
        self.refusal()?;
        let status = self.faults.run("status", || lock(&self.statuses).get(idempotency_key).cloned());
        status.map_err(|error| Error::Unavailable(error.to_string()))
    }

    fn verify_callback(
        headers: &http::HeaderMap,
        body: &[u8],
        secrets: &SigningSecrets,
        now: OffsetDateTime,
    ) -> Result<VerifiedCallback, VerifyError> {
        verify_callback_body(headers, body, secrets, now)
    }
}

impl EraseJobs for MemoryThirdParty {
    async fn erase(&self, idempotency_key: &str) -> Result<JobErasure, Error> {
        self.refusal()?;
        let erasure = self.faults.run("erase", || {
            if lock(&self.late_erasures).remove(idempotency_key) {
                return JobErasure::Accepted;
            }
            lock(&self.statuses).remove(idempotency_key);
            match lock(&self.jobs).remove(idempotency_key) {
                Some(_) => JobErasure::Erased,
                None => JobErasure::Unknown,
            }
        });
        erasure.map_err(|error| Error::Unavailable(error.to_string()))
    }
}

impl Fetch for MemoryThirdParty {
    async fn fetch(&self, file: &ReturnedFile) -> Result<ByteStream, Error> {
        self.refusal()?;
        self.faults.run("fetch", || lock(&self.files).get(&file.url).cloned()).and_then(|bytes| {
            let bytes = bytes.ok_or_else(|| Error::Unavailable("the file is not there".to_owned()))?;
            Ok(Box::pin(stream::iter([Ok(bytes.into())])) as ByteStream)
        })
    }
}

impl Secrets for MemoryThirdParty {
    async fn signing_secrets(&self) -> Result<SigningSecrets, Error> {
        self.faults
            .run("signing_secrets", || lock(&self.secrets).clone())?
            .ok_or_else(|| StoreError::defect("no secret was set").into())
    }
}
