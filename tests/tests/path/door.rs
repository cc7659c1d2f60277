//! The third party's door: who knocked when, and whether it was open.

use std::sync::Mutex;

use lectern::{
    contract::webhook::{SigningSecrets, VerifyError},
    contract::wire::JobStatus,
    document::Attempt,
    error::Error,
    ports::{JobRequest, ThirdParty},
    steps::receive_callback::VerifiedCallback,
    testing::MemoryThirdParty,
};
use time::OffsetDateTime;

/// A time in which nobody is let in and nobody is answered, nor called back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) from: OffsetDateTime,
    pub(crate) until: OffsetDateTime,
    pub(crate) error: fn() -> Error,
}

/// A request to take a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Knock {
    pub(crate) attempt: Attempt,
    pub(crate) at: OffsetDateTime,
    pub(crate) refused: bool,
}

impl Outage {
    pub(crate) fn lasts_at(&self, now: OffsetDateTime) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// A question how a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) key: String,
    pub(crate) at: OffsetDateTime,
    pub(crate) refused: bool,
}

/// The service as one attempt finds it.
#[derive(Debug)]
pub(crate) struct Door<'w> {
    pub(crate) inside: &'w MemoryThirdParty,
    pub(crate) outage: Option<Outage>,
    pub(crate) attempt: Attempt,
    pub(crate) now: OffsetDateTime,
    pub(crate) knocks: &'w Mutex<Vec<Knock>>,
    pub(crate) questions: &'w Mutex<Vec<Question>>,
}

impl Door<'_> {
    fn closed(&self) -> Option<Outage> {
        self.outage.filter(|outage| outage.lasts_at(self.now))
    }
}

impl ThirdParty for Door<'_> {
    async fn prepare(&self) -> Result<(), Error> {
        self.inside.prepare().await
    }

    async fn submit(&self, request: JobRequest) -> Result<String, Error> {
        let outage = self.closed();
        let knock = Knock { attempt: self.attempt, at: self.now, refused: outage.is_some() };
        self.knocks.lock().unwrap().push(knock);
        match outage {
            Some(outage) => Err((outage.error)()),
            None => self.inside.submit(request).await,
        }
    }

    async fn status(&self, idempotency_key: &str) -> Result<Option<JobStatus>, Error> {
        let outage = self.closed();
        let answer = match outage {
            Some(outage) => Err((outage.error)()),
            None => self.inside.status(idempotency_key).await,
        };
        let (key, refused) = (idempotency_key.to_owned(), answer.is_err());
        self.questions.lock().unwrap().push(Question { key, at: self.now, refused });
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
