//! The rules in force: which one strikes, and how often it still may.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lectern::house::FileRole;

use crate::{
    admin::FaultEntry,
    faults::{Fault, FaultRule, FileFault, JobFault, Matcher, SubmissionFault},
};

/// All rules, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct FaultBook(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    next_id: u64,
    rules: Vec<(u64, FaultRule)>,
}

/// What is known of a document when a rule is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'a> {
    /// Only its idempotency key: rules that match by hash do not strike yet.
    Key(&'a str),
    /// Its hash has become known: just the rules that match by hash strike.
    Sha256(&'a str),
    /// Both.
    Both(&'a str, &'a str),
}

impl Known<'_> {
    fn fits(self, matcher: &Matcher) -> bool {
        let (key, sha256) = match self {
            Self::Key(key) => (Some(key), None),
            Self::Sha256(sha256) => (None, Some(sha256)),
            Self::Both(key, sha256) => (Some(key), Some(sha256)),
        };
        match matcher {
            Matcher::Sha256(wanted) => sha256.is_some_and(|sha256| sha256.eq_ignore_ascii_case(wanted)),
            Matcher::IdempotencyKeyPrefix(prefix) => key.is_some_and(|key| key.starts_with(prefix.as_str())),
            Matcher::Any(any) => *any && key.is_some(),
        }
    }
}

/// Faults that go with one job from its creation to its callback.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pinned {
    /// About the job.
    pub(crate) job: Vec<JobFault>,
    /// About what the callback declares of a file.
    pub(crate) declared: Vec<(Option<FileRole>, FileFault)>,
}

impl Pinned {
    /// Adds what was pinned later.
    pub(crate) fn extend(&mut self, later: Self) {
        self.job.extend(later.job);
        self.declared.extend(later.declared);
    }
}

impl FaultBook {
    /// Adds a rule and returns its number.
    pub(crate) fn add(&self, rule: FaultRule) -> u64 {
        let mut book = self.lock();
        book.next_id += 1;
        let id = book.next_id;
        book.rules.push((id, rule));
        id
    }

    /// Removes every rule. Jobs that a rule has already struck keep their fault.
    pub(crate) fn clear(&self) {
        self.lock().rules.clear();
    }

    /// The rules that are not used up, with what is left of their count.
    pub(crate) fn list(&self) -> Vec<FaultEntry> {
        self.lock().rules.iter().map(|(id, rule)| FaultEntry { id: *id, rule: rule.clone() }).collect()
    }

    /// The fault of this submission, used once.
    pub(crate) fn submission(&self, known: Known<'_>) -> Option<SubmissionFault> {
        self.take_first(known, |rule| match &rule.fault {
            Fault::Submission(fault) => Some(fault.clone()),
            Fault::Job(_) | Fault::File(_) => None,
        })
    }

    /// The faults of this job, each used once.
    pub(crate) fn pin(&self, known: Known<'_>) -> Pinned {
        let mut pinned = Pinned::default();
        self.take(known, |rule| match &rule.fault {
            Fault::Job(fault) => {
                pinned.job.push(fault.clone());
                Strike::Yes
            }
            Fault::File(fault) if fault.changes_declaration() => {
                pinned.declared.push((rule.role, fault.clone()));
                Strike::Yes
            }
            Fault::Submission(_) | Fault::File(_) => Strike::No,
        });
        pinned
    }

    /// The fault of this download, used once.
    pub(crate) fn download(&self, key: &str, sha256: &str, role: FileRole) -> Option<FileFault> {
        self.take_first(Known::Both(key, sha256), |rule| match &rule.fault {
            Fault::File(fault)
                if !fault.changes_declaration() && rule.role.is_none_or(|only| only == role) =>
            {
                Some(fault.clone())
            }
            Fault::File(_) | Fault::Submission(_) | Fault::Job(_) => None,
        })
    }

    fn take_first<T>(&self, known: Known<'_>, mut choose: impl FnMut(&FaultRule) -> Option<T>) -> Option<T> {
        let mut chosen = None;
        self.take(known, |rule| {
            if chosen.is_none() {
                chosen = choose(rule);
                if chosen.is_some() { Strike::Yes } else { Strike::No }
            } else {
                Strike::No
            }
        });
        chosen
    }

    fn take(&self, known: Known<'_>, mut strikes: impl FnMut(&FaultRule) -> Strike) {
        self.lock().rules.retain_mut(|(_, rule)| {
            if rule.times == Some(0) {
                return false;
            }
            if !known.fits(&rule.matches) || strikes(rule) == Strike::No {
                return true;
            }
            if let Some(times) = rule.times.as_mut() {
                *times -= 1;
                return *times > 0;
            }
            true
        });
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strike {
    Yes,
    No,
}
