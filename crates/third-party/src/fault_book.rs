//! The rules in force: which one strikes, and how often it still may.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lectern::contract::wire::FileRole;
use sha2::{Digest as _, Sha256};

use crate::{
    admin::FaultEntry,
    faults::{Fault, FaultRule, FileFault, JobFault, Matcher, Percent, SubmissionFault},
};

/// All rules, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct FaultBook(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    next_id: u64,
    rules: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    rule: FaultRule,
    /// How often lots were drawn for a subject; only for rules with a percentage.
    drawn: HashMap<String, u64>,
}

/// What is known of a document when a rule is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'a> {
    /// Only its idempotency key: rules that match by hash do not strike yet.
    Key(&'a str),
    /// Its hash, the second, has become known too: just the rules that match by hash strike.
    Sha256(&'a str, &'a str),
    /// Its key and its hash: all rules may strike.
    Both(&'a str, &'a str),
}

impl Known<'_> {
    fn key(&self) -> &str {
        let (Self::Key(key) | Self::Sha256(key, _) | Self::Both(key, _)) = self;
        key
    }

    fn fits(self, matcher: &Matcher) -> bool {
        let (key, sha256) = match self {
            Self::Key(key) => (Some(key), None),
            Self::Sha256(_, sha256) => (None, Some(sha256)),
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
        book.rules.push(Entry { id, rule, drawn: HashMap::new() });
        id
    }

    /// Removes one rule; false if there is none with this number. Jobs that it has already struck keep their fault.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut book = self.lock();
        let before = book.rules.len();
        book.rules.retain(|entry| entry.id != id);
        book.rules.len() < before
    }

    /// Removes every rule. Jobs that a rule has already struck keep their fault.
    pub(crate) fn clear(&self) {
        self.lock().rules.clear();
    }

    /// The rules that are not used up, with what is left of their count.
    pub(crate) fn list(&self) -> Vec<FaultEntry> {
        let book = self.lock();
        book.rules.iter().map(|entry| FaultEntry { id: entry.id, rule: entry.rule.clone() }).collect()
    }

    /// Whether the service cannot be reached for a request about `key`; used once.
    pub(crate) fn unreachable(&self, key: &str) -> bool {
        let concerned = |rule: &FaultRule| rule.fault == Fault::Submission(SubmissionFault::Unreachable);
        !self.strike(Known::Key(key), None, 1, concerned).is_empty()
    }

    /// The fault of this submission, used once.
    pub(crate) fn submission(&self, known: Known<'_>) -> Option<SubmissionFault> {
        let concerned = |rule: &FaultRule| matches!(rule.fault, Fault::Submission(_));
        self.strike(known, None, 1, concerned).pop().and_then(|rule| match rule.fault {
            Fault::Submission(fault) => Some(fault),
            Fault::Job(_) | Fault::File(_) => None,
        })
    }

    /// The faults of this job, each used once.
    pub(crate) fn pin(&self, known: Known<'_>) -> Pinned {
        let concerned = |rule: &FaultRule| match &rule.fault {
            Fault::Job(_) => true,
            Fault::File(fault) => fault.changes_declaration(),
            Fault::Submission(_) => false,
        };
        let mut pinned = Pinned::default();
        for rule in self.strike(known, None, usize::MAX, concerned) {
            match rule.fault {
                Fault::Job(fault) => pinned.job.push(fault),
                Fault::File(fault) => pinned.declared.push((rule.role, fault)),
                Fault::Submission(_) => {}
            }
        }
        pinned
    }

    /// The fault of this download, used once.
    pub(crate) fn download(&self, key: &str, sha256: &str, role: FileRole) -> Option<FileFault> {
        let concerned = |rule: &FaultRule| match &rule.fault {
            Fault::File(fault) => !fault.changes_declaration() && rule.role.is_none_or(|only| only == role),
            Fault::Submission(_) | Fault::Job(_) => false,
        };
        let struck = self.strike(Known::Both(key, sha256), Some(role), 1, concerned).pop();
        struck.and_then(|rule| match rule.fault {
            Fault::File(fault) => Some(fault),
            Fault::Submission(_) | Fault::Job(_) => None,
        })
    }

    /// The first `most` rules that concern what happens, fit what is known, and are lucky; each is used once.
    fn strike(
        &self,
        known: Known<'_>,
        role: Option<FileRole>,
        most: usize,
        concerned: impl Fn(&FaultRule) -> bool,
    ) -> Vec<FaultRule> {
        let mut struck = Vec::new();
        self.lock().rules.retain_mut(|entry| {
            if entry.rule.times == Some(0) {
                return false;
            }
            let strikes = struck.len() < most
                && concerned(&entry.rule)
                && known.fits(&entry.rule.matches)
                && entry.draw(known.key(), role);
            if !strikes {
                return true;
            }
            struck.push(entry.rule.clone());
            if let Some(times) = entry.rule.times.as_mut() {
                *times -= 1;
                return *times > 0;
            }
            true
        });
        struck
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whether the rule strikes this time, by its percentage. The lots are drawn by hash: what happens to one key
    /// depends on the rule's number, the key, and how often it was asked, and on nothing that other documents do.
    fn draw(&mut self, key: &str, role: Option<FileRole>) -> bool {
        let Some(percent) = self.rule.percent else { return true };
        let subject = format!("{role:?} {key}");
        let drawn = self.drawn.get(&subject).map_or(1, |before| before + 1);
        let strikes = lot(self.id, drawn, &subject) < percent.get();
        self.drawn.insert(subject, drawn);
        strikes
    }
}

/// A number from 0 to 99.
fn lot(id: u64, drawn: u64, subject: &str) -> u8 {
    let hash = Sha256::digest(format!("{id} {drawn} {subject}"));
    let number = hash.iter().take(8).fold(0, |number: u64, byte| (number << 8) | u64::from(*byte));
    u8::try_from(number % u64::from(Percent::ALWAYS)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(percent: u8) -> FaultBook {
        let book = FaultBook::default();
        book.add(FaultRule::for_all(SubmissionFault::LoseAnswer).percent(percent));
        book
    }

    fn struck(book: &FaultBook, key: &str) -> bool {
        book.submission(Known::Key(key)).is_some()
    }

    #[test]
    fn a_percentage_strikes_about_so_many_keys() {
        for percent in [0, 10, 50, 100] {
            let book = book(percent);
            let hit = (0..2000).filter(|key| struck(&book, &format!("document-{key}"))).count();
            let expected = usize::from(percent) * 20;
            assert!(hit.abs_diff(expected) <= if percent % 100 == 0 { 0 } else { 90 }, "{percent}: {hit}");
        }
    }

    #[test]
    fn a_percentage_strikes_the_same_again_whatever_other_keys_do() {
        let ask = |keys: &[&str], key: &str| -> Vec<bool> {
            let book = book(30);
            let of_key = |asked: &&str| *asked == key;
            keys.iter()
                .map(|asked| (*asked, struck(&book, asked)))
                .filter(|(asked, _)| of_key(asked))
                .map(|(_, hit)| hit)
                .collect()
        };
        let alone = ask(&["a"; 40], "a");
        assert_eq!(ask(&["b", "a", "c"].repeat(40), "a"), alone);
        assert!(alone.contains(&true) && alone.contains(&false), "each request draws anew: {alone:?}");
    }

    #[test]
    fn rules_with_other_numbers_strike_others() {
        let (one, two) = (book(50), book(50));
        let id = two.add(FaultRule::for_all(SubmissionFault::LoseAnswer).percent(50));
        assert!(two.remove(1));
        assert!(!two.remove(1));
        assert_eq!(two.list()[0].id, id);
        assert!((0..50).any(|key| struck(&one, &key.to_string()) != struck(&two, &key.to_string())));
    }

    #[test]
    fn a_rule_that_does_not_strike_is_not_used_up() {
        let book = FaultBook::default();
        book.add(FaultRule::for_all(SubmissionFault::LoseAnswer).percent(0).times(1));
        assert!(!struck(&book, "a"));
        assert_eq!(book.list()[0].rule.times, Some(1));
    }
}
