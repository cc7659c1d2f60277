//! Wraps the in-memory third party: records each submission and probe, and applies outages and the behaviour of single
//! documents.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use lectern::{
    contract::callback::VerifiedCallback,
    contract::webhook::{SigningSecrets, VerifyError},
    contract::wire::JobStatus,
    document::{Attempt, DocumentId},
    error::Error,
    ports::{JobRequest, ThirdParty},
    testing::MemoryThirdParty,
};
use time::OffsetDateTime;

/// A period in which the third party refuses every submission and sends no callback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) from: OffsetDateTime,
    pub(crate) until: OffsetDateTime,
    pub(crate) error: fn() -> Error,
    /// Whether the third party still answers probes.
    pub(crate) answers_probes: bool,
}

impl Outage {
    pub(crate) fn lasts_at(&self, now: OffsetDateTime) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// How the third party answers every submission of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// The third party accepts the document.
    #[default]
    Accepts,
    /// The third party answers 503 at once.
    Fails,
    /// A gateway answers 504 after this time.
    TimesOut(Duration, Behind),
}

/// What the third party has done behind a gateway's 504.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The third party has no job, and probes get that answer.
    NoJob,
    /// The third party has no job, and probes get no answer.
    NoAnswer,
    /// The third party has created the job.
    Job,
}

/// A submission of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) key: String,
    pub(crate) attempt: Attempt,
    pub(crate) at: OffsetDateTime,
    /// Whether the third party answered that it accepted the document.
    pub(crate) accepted: bool,
}

/// A probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) key: String,
    pub(crate) at: OffsetDateTime,
    pub(crate) answered: bool,
}

/// All requests to the third party.
#[derive(Debug, Default)]
pub(crate) struct Log {
    requests: Mutex<Vec<Request>>,
    questions: Mutex<Vec<Question>>,
}

impl Log {
    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap()
    }

    pub(crate) fn questions(&self) -> MutexGuard<'_, Vec<Question>> {
        self.questions.lock().unwrap()
    }
}

/// The third party, as one attempt sees it.
#[derive(Debug)]
pub(crate) struct Observed<'w> {
    pub(crate) inside: &'w MemoryThirdParty,
    pub(crate) log: &'w Log,
    pub(crate) outage: Option<Outage>,
    pub(crate) behaviours: &'w BTreeMap<DocumentId, Behaviour>,
    /// Replaces the document's behaviour for this submission.
    pub(crate) instead: Option<Behaviour>,
    pub(crate) attempt: Attempt,
    pub(crate) now: OffsetDateTime,
}

impl Observed<'_> {
    fn check_outage(&self) -> Result<(), Error> {
        let outage = self.outage.filter(|outage| outage.lasts_at(self.now));
        outage.map_or(Ok(()), |outage| Err((outage.error)()))
    }

    async fn answer(&self, request: JobRequest) -> Result<String, Error> {
        self.check_outage()?;
        let unavailable = || Error::Unavailable("it answered 503".to_owned());
        let unknown = || Error::OutcomeUnknown("it answered 504".to_owned());
        let usual = behaviour(self.behaviours, &request.idempotency_key);
        match self.instead.unwrap_or(usual) {
            Behaviour::Accepts => self.inside.submit(request).await,
            Behaviour::Fails => Err(unavailable()),
            Behaviour::TimesOut(_, Behind::Job) => {
                self.inside.submit(request).await?;
                Err(unknown())
            }
            Behaviour::TimesOut(_, Behind::NoJob | Behind::NoAnswer) => Err(unknown()),
        }
    }
}

/// The behaviour towards the document of this idempotency key.
pub(crate) fn behaviour(behaviours: &BTreeMap<DocumentId, Behaviour>, key: &str) -> Behaviour {
    behaviours.get(&document_id(key)).copied().unwrap_or_default()
}

/// The document of this idempotency key.
pub(crate) fn document_id(key: &str) -> DocumentId {
    let (id, _round) = key.rsplit_once('-').unwrap();
    id.parse().unwrap()
}

impl ThirdParty for Observed<'_> {
    async fn prepare(&self) -> Result<(), Error> {
        self.inside.prepare().await
    }

    async fn submit(&self, request: JobRequest) -> Result<String, Error> {
        let key = request.idempotency_key.clone();
        let answer = self.answer(request).await;
        let (attempt, at, accepted) = (self.attempt, self.now, answer.is_ok());
        self.log.requests().push(Request { key, attempt, at, accepted });
        answer
    }

    async fn status(&self, idempotency_key: &str) -> Result<Option<JobStatus>, Error> {
        let no_answer =
            matches!(behaviour(self.behaviours, idempotency_key), Behaviour::TimesOut(_, Behind::NoAnswer));
        let answers = self.outage.is_some_and(|outage| outage.answers_probes);
        let answer = match self.check_outage() {
            Err(error) if !answers => Err(error),
            _ if no_answer => Err(Error::Unavailable("no answer".to_owned())),
            _ => self.inside.status(idempotency_key).await,
        };
        // For a probe, a gateway's answer means that the third party did not answer.
        let answer = match answer {
            Err(Error::OutcomeUnknown(detail)) => Err(Error::Unavailable(detail)),
            answer => answer,
        };
        let (key, at, answered) = (idempotency_key.to_owned(), self.now, answer.is_ok());
        self.log.questions().push(Question { key, at, answered });
        answer
    }

    fn verify_callback(
        headers: &reqwest::header::HeaderMap,
        body: &[u8],
        secrets: &SigningSecrets,
        now: OffsetDateTime,
    ) -> Result<VerifiedCallback, VerifyError> {
        MemoryThirdParty::verify_callback(headers, body, secrets, now)
    }
}
