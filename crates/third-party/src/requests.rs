//! Counts of the requests that were served, and a log of the submissions.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use lectern::error::rfc3339;
use serde::{Deserialize, Serialize};

use crate::{clock, faults::SubmissionFault, routes::Route};

/// Older submissions than the newest so many are forgotten; the counts are not.
const KEPT_SUBMISSIONS: usize = 20_000;

/// What was asked of the server so far.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    counts: BTreeMap<(Route, Option<u16>), u64>,
    submissions: VecDeque<SubmissionView>,
}

impl Requests {
    /// Counts one request; `None` for one whose connection was cut.
    pub(crate) fn count(&self, route: Route, status: Option<u16>) {
        *self.lock().counts.entry((route, status)).or_default() += 1;
    }

    /// Notes one submission.
    pub(crate) fn note(&self, submission: SubmissionView) {
        let mut book = self.lock();
        if book.submissions.len() == KEPT_SUBMISSIONS {
            book.submissions.pop_front();
        }
        book.submissions.push_back(submission);
    }

    /// All counts, and the submissions whose idempotency key starts with `prefix`.
    pub(crate) fn view(&self, prefix: &str) -> RequestsView {
        let book = self.lock();
        let counts = book
            .counts
            .iter()
            .map(|((route, status), count)| RequestCount {
                method: route.method().to_string(),
                route: route.path().to_owned(),
                status: *status,
                count: *count,
            })
            .collect();
        let submissions = book
            .submissions
            .iter()
            .filter(|note| note.idempotency_key.starts_with(prefix))
            .cloned()
            .collect();
        RequestsView { counts, submissions }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answer of `GET /admin/requests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestsView {
    /// By route and status.
    pub counts: Vec<RequestCount>,
    /// Oldest first.
    pub submissions: Vec<SubmissionView>,
}

/// How many requests of one route were answered with one status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestCount {
    /// `GET` or `POST`.
    pub method: String,
    /// Path of the route, with its parameters' names.
    pub route: String,
    /// The answer; absent if the connection was cut on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How many.
    pub count: u64,
}

/// One submission, whatever it came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubmissionView {
    /// Its idempotency key; empty if it had none.
    pub idempotency_key: String,
    /// The answer; absent if the connection was cut on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The fault that struck it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<SubmissionFault>,
    /// Bytes of the document that were taken in.
    pub bytes_received: u64,
    /// When it began, RFC 3339.
    pub at: String,
}

impl SubmissionView {
    /// A submission that has just begun.
    pub(crate) fn begun(idempotency_key: &str) -> Self {
        Self { idempotency_key: idempotency_key.to_owned(), at: rfc3339(clock::now()), ..Self::default() }
    }
}
