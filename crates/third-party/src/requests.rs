//! Counts the requests, and keeps a log of the submissions.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use lectern::error::rfc3339;
use serde::{Deserialize, Serialize};

use crate::{clock, faults::SubmissionFault, routes::Route};

/// How many submissions the log keeps. The counts include older ones.
const KEPT_SUBMISSIONS: usize = 20_000;

/// The requests so far.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    counts: BTreeMap<(Route, Option<u16>), u64>,
    submissions: VecDeque<SubmissionView>,
}

impl Requests {
    /// Counts one request; the status is `None` if its connection was cut.
    pub(crate) fn count(&self, route: Route, status: Option<u16>) {
        *self.lock().counts.entry((route, status)).or_default() += 1;
    }

    /// Adds one submission to the log.
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

/// The number of requests to one route with one status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestCount {
    /// `GET` or `POST`.
    pub method: String,
    /// Path of the route, with its parameters' names.
    pub route: String,
    /// The status; absent if a fault cut the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The number of requests.
    pub count: u64,
}

/// One submission, accepted or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubmissionView {
    /// The idempotency key; empty if absent.
    pub idempotency_key: String,
    /// The status; absent if a fault cut the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The fault that applied to the submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<SubmissionFault>,
    /// The number of received bytes of the document.
    pub bytes_received: u64,
    /// When the submission began, RFC 3339.
    pub at: String,
}

impl SubmissionView {
    pub(crate) fn begun(idempotency_key: &str) -> Self {
        Self { idempotency_key: idempotency_key.to_owned(), at: rfc3339(clock::now()), ..Self::default() }
    }
}
