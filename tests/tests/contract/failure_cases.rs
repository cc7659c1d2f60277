//! `docs/failure-cases.md` lists each numbered case and each finding with exactly the tests that carry its number.
//!
//! The name of a test begins with `case_NN` for each case that it covers (`case_19_case_20_…`), and with a finding's
//! letter and number, such as `d01` or `v04`. After you add, rename or remove such a test, run this test with
//! `UPDATE_FAILURE_CASES=1`: it rewrites
//! the lists.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::sources::{captures, read, regex, root, rust_files};

const LIST: &str = "docs/failure-cases.md";
/// The numbers of the cases that Lectern has to survive without losing anything.
const CASES: std::ops::RangeInclusive<u32> = 1..=53;
/// The beginning of the sentence that names the issue of a section without tests.
const NOT_YET: &str = "Not yet";

/// A case or a finding, as it appears in a test's name and in a section's heading.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Case(u32),
    Finding(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Case(number) => write!(f, "Case {number}"),
            Self::Finding(id) => f.write_str(id),
        }
    }
}

/// The ids at the beginning of a test's name, as in `case_19_case_20_d01_…`. `case_25_413_…` belongs to case 25 only.
fn ids(test: &str) -> Vec<Id> {
    let mut found = Vec::new();
    let mut words = test.split('_');
    while let Some(word) = words.next() {
        let id = match word {
            "case" => words.next().and_then(|number| number.parse().ok()).map(Id::Case),
            word if is_finding(word) => Some(Id::Finding(word.to_uppercase())),
            _ => None,
        };
        let Some(id) = id else { break };
        found.push(id);
    }
    found
}

fn is_finding(word: &str) -> bool {
    let is_number = |digits: &str| digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    word.strip_prefix(['a', 'd', 'f', 's', 'v']).is_some_and(is_number)
}

/// The names of the tests in the code, by id.
fn tests_of_the_code() -> BTreeMap<Id, BTreeSet<String>> {
    let mut tests: BTreeMap<Id, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files(&["crates", "functions", "tests/tests"]) {
        for test in captures(r"(?m)^\s*(?:async )?fn ((?:case_\d|[adfsv]\d{2}_)\w*)\s*[(<]", &file.text) {
            for id in ids(&test) {
                tests.entry(id).or_default().insert(test.clone());
            }
        }
    }
    tests
}

/// A section of the list: its heading, its text, and the tests that it names.
struct Section {
    id: Id,
    heading: String,
    prose: Vec<String>,
    tests: Vec<String>,
}

/// The text before the first section, and the sections. A higher-level heading counts as part of the section before it.
fn sections(text: &str) -> (String, Vec<Section>) {
    let heading = regex(r"^### (?:Case (\d+)|([ADFSV]\d{2})): ");
    let listed = regex(r"^- `(\w+)`$");
    let (mut before, mut found) = (String::new(), Vec::<Section>::new());
    for line in text.lines() {
        if let Some(of) = heading.captures(line) {
            let id = match of.get(1) {
                Some(number) => Id::Case(number.as_str().parse().unwrap()),
                None => Id::Finding(of[2].to_owned()),
            };
            found.push(Section { id, heading: line.to_owned(), prose: Vec::new(), tests: Vec::new() });
        } else if let Some(section) = found.last_mut() {
            match listed.captures(line) {
                Some(of) => section.tests.push(of[1].to_owned()),
                None => section.prose.push(line.to_owned()),
            }
        } else {
            before.push_str(line);
            before.push('\n');
        }
    }
    (before, found)
}

fn is_not_yet(section: &Section) -> bool {
    section.prose.iter().any(|line| line.starts_with(NOT_YET))
}

/// The text of the list, with the tests that are in the code.
fn updated(text: &str, tests: &BTreeMap<Id, BTreeSet<String>>) -> String {
    let (mut whole, sections) = sections(text);
    for section in sections {
        let named = tests.get(&section.id);
        // A higher-level heading stays below the tests.
        let behind = section.prose.iter().position(|line| line.starts_with("## "));
        let (prose, rest) = section.prose.split_at(behind.unwrap_or(section.prose.len()));
        let prose = prose.iter().filter(|line| named.is_none() || !line.starts_with(NOT_YET));
        let prose = prose.cloned().collect::<Vec<_>>().join("\n");
        whole.extend([&section.heading, "\n\n", prose.trim(), "\n\n"]);
        for test in named.into_iter().flatten() {
            whole.extend(["- `", test, "`\n"]);
        }
        whole.push_str(if named.is_some() { "\n" } else { "" });
        if !rest.is_empty() {
            whole.extend([rest.join("\n").trim(), "\n\n"]);
        }
    }
    whole.trim_end().to_owned() + "\n"
}

#[test]
fn every_test_of_a_case_is_in_the_list_and_every_test_in_the_list_exists() {
    let tests = tests_of_the_code();
    if std::env::var_os("UPDATE_FAILURE_CASES").is_some() {
        std::fs::write(root().join(LIST), updated(&read(LIST), &tests)).unwrap();
    }
    let (_, sections) = sections(&read(LIST));
    let mut problems = Vec::new();
    let mut described = BTreeSet::new();
    for section in &sections {
        let id = &section.id;
        if !described.insert(id.clone()) {
            problems.push(format!("{id} has two sections: merge them"));
        }
        let none = BTreeSet::new();
        let (named, existing) = (section.tests.iter().cloned().collect(), tests.get(id).unwrap_or(&none));
        for test in existing.difference(&named) {
            problems.push(format!("{id} lacks the test {test}: add the line - `{test}`"));
        }
        for test in named.difference(existing) {
            problems.push(format!(
                "{id} names {test}, but no test with that number has this name: remove it, or correct the name"
            ));
        }
        let may_lack_tests = matches!(id, Id::Finding(_));
        match (existing.is_empty(), is_not_yet(section)) {
            (true, _) if !may_lack_tests => {
                problems.push(format!("{id} has no test: write one that carries its number"));
            }
            (true, false) => problems.push(format!(
                "{id} has no test: add a sentence that begins with {NOT_YET:?} and names the issue"
            )),
            (false, true) => problems.push(format!("{id} has tests: remove {NOT_YET:?}")),
            _ => {}
        }
    }
    let needed = CASES.map(Id::Case).chain(tests.keys().cloned()).collect::<BTreeSet<_>>();
    for id in needed.difference(&described) {
        problems.push(format!("{id} has no section: add ### {id}: what happens, and what is right"));
    }
    assert!(
        problems.is_empty(),
        "{LIST} differs from the tests. If only the tests' names differ, run\n\
         UPDATE_FAILURE_CASES=1 cargo test -p lectern-tests --test contract failure_cases\nand read the diff.\n{}",
        problems.join("\n")
    );
}

#[test]
fn ids_are_read_from_the_beginning_of_a_name_only() {
    let of = |test: &str| ids(test).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    assert_eq!(of("case_19_case_20_killed_in_case_1"), "Case 19, Case 20");
    assert_eq!(of("case_25_413_with_retry_in_is_honoured"), "Case 25");
    assert_eq!(of("d01_d12_case_27_asks_by_key"), "D01, D12, Case 27");
    assert_eq!(of("v1a_signature_is_read"), "");
}
