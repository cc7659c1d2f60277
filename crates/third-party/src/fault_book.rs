//! The rules in force: which one applies to a request, and how often it can still apply.

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

/// All rules in the order in which they were added.
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
    /// The number of draws for each subject; only for rules with a percentage.
    drawn: HashMap<String, u64>,
}

/// The known properties of a document when rules are matched.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'a> {
    /// Only the idempotency key is known: rules that match by hash cannot apply yet.
    Key(&'a str),
    /// Key and hash, of which the hash has just become known: only rules that match by hash apply.
    Sha256(&'a str, &'a str),
    /// Key and hash: all rules may apply.
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

/// The faults of one job, fixed when it is created or when its bytes arrive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pinned {
    pub(crate) job: Vec<JobFault>,
    /// Faults of file declarations in the callback, and the role of the files that each applies to.
    pub(crate) declared: Vec<(Option<FileRole>, FileFault)>,
}

impl Pinned {
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

    /// Removes one rule; false if no rule has this number. Jobs to which it has already applied keep their fault.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut book = self.lock();
        let before = book.rules.len();
        book.rules.retain(|entry| entry.id != id);
        book.rules.len() < before
    }

    /// Removes every rule. Jobs to which a rule has already applied keep their fault.
    pub(crate) fn clear(&self) {
        self.lock().rules.clear();
    }

    /// The rules that can still apply, with their remaining counts.
    pub(crate) fn list(&self) -> Vec<FaultEntry> {
        let book = self.lock();
        book.rules.iter().map(|entry| FaultEntry { id: entry.id, rule: entry.rule.clone() }).collect()
    }

    /// Whether a rule makes the service unreachable for this request about `key`. Uses the rule once.
    pub(crate) fn unreachable(&self, key: &str) -> bool {
        let concerned = |rule: &FaultRule| rule.fault == Fault::Submission(SubmissionFault::Unreachable);
        !self.take_matching(Known::Key(key), None, 1, concerned).is_empty()
    }

    /// The fault of this submission. Uses its rule once.
    pub(crate) fn submission(&self, known: Known<'_>) -> Option<SubmissionFault> {
        let concerned = |rule: &FaultRule| matches!(rule.fault, Fault::Submission(_));
        self.take_matching(known, None, 1, concerned).pop().and_then(|rule| match rule.fault {
            Fault::Submission(fault) => Some(fault),
            Fault::Job(_) | Fault::File(_) => None,
        })
    }

    /// The faults of this job. Uses each of their rules once.
    pub(crate) fn pin(&self, known: Known<'_>) -> Pinned {
        let concerned = |rule: &FaultRule| match &rule.fault {
            Fault::Job(_) => true,
            Fault::File(fault) => fault.changes_declaration(),
            Fault::Submission(_) => false,
        };
        let mut pinned = Pinned::default();
        for rule in self.take_matching(known, None, usize::MAX, concerned) {
            match rule.fault {
                Fault::Job(fault) => pinned.job.push(fault),
                Fault::File(fault) => pinned.declared.push((rule.role, fault)),
                Fault::Submission(_) => {}
            }
        }
        pinned
    }

    /// The fault of this download. Uses its rule once.
    pub(crate) fn download(&self, key: &str, sha256: &str, role: FileRole) -> Option<FileFault> {
        let concerned = |rule: &FaultRule| match &rule.fault {
            Fault::File(fault) => !fault.changes_declaration() && rule.role.is_none_or(|only| only == role),
            Fault::Submission(_) | Fault::Job(_) => false,
        };
        let matching = self.take_matching(Known::Both(key, sha256), Some(role), 1, concerned).pop();
        matching.and_then(|rule| match rule.fault {
            Fault::File(fault) => Some(fault),
            Fault::Submission(_) | Fault::Job(_) => None,
        })
    }

    /// The first `most` rules that concern this kind of event, match the document and are drawn. Uses each rule once.
    fn take_matching(
        &self,
        known: Known<'_>,
        role: Option<FileRole>,
        most: usize,
        concerned: impl Fn(&FaultRule) -> bool,
    ) -> Vec<FaultRule> {
        let mut matching = Vec::new();
        self.lock().rules.retain_mut(|entry| {
            if entry.rule.times == Some(0) {
                return false;
            }
            let applies = matching.len() < most
                && concerned(&entry.rule)
                && known.fits(&entry.rule.matches)
                && entry.draw(known.key(), role);
            if !applies {
                return true;
            }
            matching.push(entry.rule.clone());
            if let Some(times) = entry.rule.times.as_mut() {
                *times -= 1;
                return *times > 0;
            }
            true
        });
        matching
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Draws by the rule's percentage whether the rule applies this time. The draw is a hash of the rule's number, the
    /// subject and the number of draws for it, so other documents do not influence it.
    fn draw(&mut self, key: &str, role: Option<FileRole>) -> bool {
        let Some(percent) = self.rule.percent else { return true };
        let subject = format!("{role:?} {key}");
        let drawn = self.drawn.get(&subject).map_or(1, |before| before + 1);
        let applies = lot(self.id, drawn, &subject) < percent.get();
        self.drawn.insert(subject, drawn);
        applies
    }
}

/// A pseudo-random number from 0 to 99.
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

    fn applies(book: &FaultBook, key: &str) -> bool {
        book.submission(Known::Key(key)).is_some()
    }

    #[test]
    fn a_percentage_applies_to_about_that_share_of_keys() {
        for percent in [0, 10, 50, 100] {
            let book = book(percent);
            let hit = (0..2000).filter(|key| applies(&book, &format!("document-{key}"))).count();
            let expected = usize::from(percent) * 20;
            assert!(hit.abs_diff(expected) <= if percent % 100 == 0 { 0 } else { 90 }, "{percent}: {hit}");
        }
    }

    #[test]
    fn draws_for_a_key_do_not_depend_on_other_keys() {
        let ask = |keys: &[&str], key: &str| -> Vec<bool> {
            let book = book(30);
            let of_key = |asked: &&str| *asked == key;
            keys.iter()
                .map(|asked| (*asked, applies(&book, asked)))
                .filter(|(asked, _)| of_key(asked))
                .map(|(_, hit)| hit)
                .collect()
        };
        let alone = ask(&["a"; 40], "a");
        assert_eq!(ask(&["b", "a", "c"].repeat(40), "a"), alone);
        assert!(alone.contains(&true) && alone.contains(&false), "each request has its own draw: {alone:?}");
    }

    #[test]
    fn rules_with_different_numbers_apply_to_different_keys() {
        let (one, two) = (book(50), book(50));
        let id = two.add(FaultRule::for_all(SubmissionFault::LoseAnswer).percent(50));
        assert!(two.remove(1));
        assert!(!two.remove(1));
        assert_eq!(two.list()[0].id, id);
        assert!((0..50).any(|key| applies(&one, &key.to_string()) != applies(&two, &key.to_string())));
    }

    #[test]
    fn a_rule_that_does_not_apply_is_not_used_up() {
        let book = FaultBook::default();
        book.add(FaultRule::for_all(SubmissionFault::LoseAnswer).percent(0).times(1));
        assert!(!applies(&book, "a"));
        assert_eq!(book.list()[0].rule.times, Some(1));
    }
}
