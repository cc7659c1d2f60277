//! What the documents promise exists: tests of the cases, make targets, links.

use std::collections::BTreeSet;

use super::sources::{captures, folders, read, regex, root, rust_files};

const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// The cases of the workflow that have to be survived with nothing lost, each by a test that carries its number.
#[test]
fn every_case_has_a_test_that_carries_its_number() {
    let needed = (1..=45).chain(48..=50).chain([53]);
    let mut tested: BTreeSet<u32> = BTreeSet::new();
    for file in rust_files(&["crates", "functions", "tests/tests"]) {
        for numbers in captures(r"(?m)^\s*(?:async )?fn case((?:_\d+)+)_\w+\(", &file.text) {
            tested.extend(numbers.split('_').filter_map(|number| number.parse::<u32>().ok()));
        }
    }
    let missing: Vec<u32> = needed.filter(|case| !tested.contains(case)).collect();
    assert!(missing.is_empty(), "write a test named case_NN_… for each of the cases {missing:?}");
}

#[test]
fn readme_exists() {
    assert!(root().join("README.md").is_file(), "write README.md");
}

#[test]
fn documents_mention_only_make_targets_that_exist() {
    let targets = captures(r"(?m)^([a-z][a-z0-9-]*):", &read("Makefile"));
    for document in written() {
        // In code, as in `make run`; prose may make things.
        let code = code_of(&read(document));
        for target in captures(r"\bmake ((?:[A-Z_]+=\S+ )*[a-z][a-z0-9-]*)", &code) {
            let target = target.split(' ').next_back().unwrap();
            assert!(
                targets.contains(target),
                "{document} mentions `make {target}`, which the Makefile does not have"
            );
        }
    }
}

#[test]
fn relative_links_of_documents_resolve() {
    for document in written() {
        for link in captures(r"\]\(([^)\s]+)\)", &read(document)) {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || regex("^[a-z]+:").is_match(path) {
                continue;
            }
            assert!(root().join(path).exists(), "{document} links to {path}, which does not exist");
        }
    }
}

#[test]
fn architecture_names_every_function() {
    if !root().join("ARCHITECTURE.md").is_file() {
        return;
    }
    let text = read("ARCHITECTURE.md");
    for function in folders("functions") {
        assert!(text.contains(&function), "ARCHITECTURE.md does not mention {function}");
    }
    for name in lectern::error::Error::NAMES {
        assert!(text.contains(name), "the error table of ARCHITECTURE.md lacks {name}");
    }
}

fn written() -> impl Iterator<Item = &'static str> {
    DOCUMENTS.into_iter().filter(|document| root().join(document).is_file())
}

/// The code blocks and inline code of a Markdown text.
fn code_of(markdown: &str) -> String {
    let mut code = String::new();
    for (index, part) in markdown.split("```").enumerate() {
        let inline = captures("`([^`\n]+)`", part).into_iter().collect::<Vec<_>>().join("\n");
        code.push_str(if index % 2 == 1 { part } else { &inline });
        code.push('\n');
    }
    code
}
