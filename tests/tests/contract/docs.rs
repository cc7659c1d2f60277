//! Everything that the docs name exists: the tests of their promises, make targets, links, commands, alarms and
//! parameters.

use std::{collections::BTreeSet, path::Path};

use lectern_cli::{Console, Exit};

use super::{
    asl::Machine,
    sources::{captures, files, folders, read, regex, root, rust_files},
    template::Template,
};

const GUIDE: &str = "docs/operating.md";
const LOCAL_CLOUD: &str = "docs/local-cloud.md";
const LIMITS: &str = "docs/limits.md";
const WALKTHROUGH: &str = "docs/walkthrough.md";
/// The docs at the root of the repository; all others are in `docs/`.
const AT_THE_ROOT: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

#[test]
fn readme_exists() {
    assert!(root().join("README.md").is_file(), "write README.md");
}

#[test]
fn documents_mention_only_make_targets_that_exist() {
    let targets = captures(r"(?m)^([a-z][a-z0-9-]*):", &read("Makefile"));
    for document in documents() {
        // Look at code only, such as `make run`: in prose, "make" is a verb.
        let code = code_of(&read(&document));
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
    for document in documents() {
        for link in captures(r"\]\(([^)\s]+)\)", &read(&document)) {
            if regex("^[a-z]+:").is_match(&link) {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let linked = match path {
                "" => Path::new(&document).to_owned(),
                path => Path::new(&document).parent().unwrap().join(path),
            };
            assert!(root().join(&linked).exists(), "{document} links to {path}, which does not exist");
            if !heading.is_empty() {
                let anchors = headings(&read(linked.to_str().unwrap())).map(|(_, title, _)| anchor(&title));
                assert!(
                    anchors.collect::<BTreeSet<_>>().contains(heading),
                    "{document} links to {link}; there is no such heading"
                );
            }
        }
    }
}

/// An alarm's mail names the alarm, and the engineer on call searches the guide for that name.
#[test]
fn every_alarm_has_its_heading_in_the_guide_and_every_such_heading_is_an_alarm() {
    let template = Template::load();
    let alarms: Vec<String> =
        template.resources("AWS::CloudWatch::Alarm").into_keys().map(str::to_owned).collect();
    let name = regex(r"\b[A-Z]\w*Alarm\b");
    let mut described: Vec<String> = headings(&read(GUIDE))
        .flat_map(|(_, title, _)| {
            name.find_iter(&title).map(|found| found.as_str().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    described.sort();
    assert_eq!(described, alarms, "left: headings of {GUIDE}; right: alarms of the template");
}

#[test]
fn every_test_of_the_local_cloud_is_of_a_difference_that_the_document_lists() {
    let tests = captures(r"(?m)^async fn (\w+)\(\) \{", &read("tests/tests/end_to_end/local_cloud.rs"));
    let listed = captures(r"`(\w+)`", &read(LOCAL_CLOUD));
    let missing: Vec<&String> = tests.difference(&listed).collect();
    assert!(missing.is_empty(), "{LOCAL_CLOUD} has no row with these tests: {missing:?}");
}

/// A comment after each promise names the tests that verify it: `<!-- tests: one, two -->`.
#[test]
fn every_promise_of_the_documents_names_tests_that_exist() {
    let mut tests = BTreeSet::new();
    for file in rust_files(&["crates", "functions", "tests/tests"]) {
        tests.extend(captures(r"(?m)^\s*(?:async )?fn (\w+)\(", &file.text));
    }
    let mut missing = BTreeSet::new();
    for document in documents() {
        for named in captures(r"<!-- tests:([^>]*)-->", &read(&document)) {
            let named = named.split(',').map(str::trim).filter(|test| !tests.contains(*test));
            missing.extend(named.map(|test| format!("{document}: {test}")));
        }
    }
    let differences = captures(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`", &read(LOCAL_CLOUD));
    assert!(!differences.is_empty());
    missing.extend(differences.difference(&tests).map(|test| format!("{LOCAL_CLOUD}: {test}")));
    assert!(
        missing.is_empty(),
        "these documents name tests that do not exist; name the tests that verify the promise now: {missing:#?}"
    );
    for (level, title, section) in headings(&read(GUIDE)) {
        assert!(
            level < 3 || section.contains("<!-- tests:"),
            "{GUIDE}, {title}: name the tests that verify what the section promises"
        );
    }
}

/// The command parses every command line that the documents show.
#[tokio::test]
async fn every_command_line_of_the_readme_and_the_guide_parses() {
    let mut count = 0;
    for document in ["README.md", GUIDE] {
        for line in command_lines(&read(document)) {
            // The stack file does not exist, so a command line that parses fails when the command reads the file.
            let arguments = line.split_whitespace().filter(|argument| *argument != "--local");
            let arguments = arguments.chain(["--stack-file", "/dev/null/none"]);
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let exit =
                Box::pin(lectern_cli::run(arguments, &mut Console::new(&mut out, &mut err, false))).await;
            let said = String::from_utf8_lossy(&err).into_owned();
            assert_eq!(exit, Exit::Failed, "{document}: the command does not parse `{line}`:\n{said}");
            count += 1;
        }
    }
    assert!(count >= 20, "only {count} command lines were found; correct the test");
}

#[test]
fn every_parameter_and_output_that_the_documents_name_is_in_the_template() {
    let template = Template::load();
    let has = |part: &str, name: &str| template.0[part].get(name).is_some();
    for document in ["README.md", "docs/deploying.md", LIMITS, GUIDE] {
        let text = read(document);
        for name in captures(r"\b([A-Z][a-z]+(?:[A-Z][a-z]+)+)=", &code_of(&text)) {
            assert!(has("Parameters", &name), "{document} sets {name}, which is not a parameter");
        }
        // In the guide every such word is a parameter, output or resource. Other docs also name actions and states.
        let word = if document == GUIDE { "[A-Z][a-z]+(?:[A-Z][a-z]+)+" } else { r"(?:ThirdParty|Lease)\w+" };
        for name in captures(&format!("`({word})`"), &text) {
            assert!(
                ["Parameters", "Outputs", "Resources"].iter().any(|part| has(part, &name)),
                "{document} names {name}, which template.yaml lacks"
            );
        }
    }
    let tuning = headings(&read(LIMITS)).find(|(_, title, _)| title == "The third party's limits").unwrap().2;
    for name in captures(r"(?m)^\| `(\w+)` \|", &tuning) {
        assert!(has("Parameters", &name), "{LIMITS} explains {name}, which is not a parameter");
    }
}

/// SAM CLI refuses a parameter without a value, and `CloudFormation` one that its pattern does not allow.
#[test]
fn every_value_that_the_documents_give_to_a_parameter_is_one_that_it_may_have() {
    let template = Template::load();
    let mut count = 0;
    for document in documents() {
        for given in captures(r#"PARAMETERS="([^"…]+)""#, &code_of(&read(&document))) {
            for pair in given.split_whitespace().filter(|word| *word != "\\") {
                let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{document}: {given}"));
                assert!(!value.is_empty(), "{document}: give {name} a value");
                let pattern = template.0["Parameters"][name]["AllowedPattern"].as_str().unwrap_or(".*");
                let allowed = regex(&format!("^(?:{pattern})$"));
                assert!(allowed.is_match(value), "{document}: the pattern {pattern} does not allow {pair}");
                count += 1;
            }
        }
    }
    assert!(count >= 2, "only {count} values were found; correct the test");
}

#[test]
fn every_widget_that_the_guide_names_is_on_the_dashboard() {
    let titles = captures(r#""title": "([^"]+)""#, &read("template.yaml"));
    let named = captures(r"widget\s+\*([^*]+)\*", &read(GUIDE));
    assert!(!named.is_empty());
    for title in named {
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(titles.contains(&title), "{GUIDE} names the widget {title:?}, which the dashboard lacks");
    }
}

#[test]
fn architecture_names_every_function_and_the_error_page_every_error() {
    let text = read("ARCHITECTURE.md");
    for function in folders("functions") {
        assert!(text.contains(&function), "ARCHITECTURE.md does not mention {function}");
    }
    let text = read("docs/errors.md");
    for name in lectern::error::Error::NAMES {
        assert!(text.contains(name), "docs/errors.md lacks {name}");
    }
}

/// The walkthrough's table of the states names each state once, and its picture names only states.
#[test]
fn walkthrough_names_every_state_of_the_state_machine() {
    let machine = Machine::load();
    let top_level: Vec<&String> =
        machine.states.keys().filter(|state| !machine.maps.contains_key(*state)).collect();
    let section =
        headings(&read(WALKTHROUGH)).find(|(_, title, _)| title == "The states of the state machine");
    let (_, _, section) = section.unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let mut named: Vec<&str> = cells.flat_map(|cell| cell.split(", ")).collect();
    named.sort_unstable();
    assert_eq!(named, top_level, "left: the table in {WALKTHROUGH}; right: the state machine");
    let drawn = captures(r"(?:^|\s)([A-Z]\w{3,})(?: -->|\n)", section.split("```").nth(1).unwrap());
    let unknown: Vec<&String> = drawn.iter().filter(|state| !machine.states.contains_key(*state)).collect();
    assert!(unknown.is_empty(), "the picture in {WALKTHROUGH} names {unknown:?}");
    assert!(drawn.len() > 10, "{drawn:?}; correct the test");
}

#[test]
fn every_decision_is_in_the_index_under_a_number_of_its_own() {
    let index = read("docs/decisions/README.md");
    let records = files(&["docs/decisions"], "md").into_iter();
    let records = records.filter(|record| !record.path.ends_with("README.md"));
    let mut numbers = BTreeSet::new();
    for record in records {
        let name = record.path.rsplit('/').next().unwrap();
        let number = name.split('-').next().unwrap();
        assert!(number.len() == 4 && number.parse::<u32>().is_ok(), "{name}: begin with four digits");
        assert!(numbers.insert(number.to_owned()), "{name}: another decision has this number");
        assert!(record.text.starts_with(&format!("# {number} ")), "{name}: begin with its number");
        assert!(index.contains(&format!("]({name})")), "docs/decisions/README.md does not list {name}");
    }
}

/// All docs, by path.
fn documents() -> Vec<String> {
    let root = AT_THE_ROOT.map(str::to_owned).into_iter();
    root.chain(files(&["docs"], "md").into_iter().map(|file| file.path)).collect()
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

/// The headings of a Markdown text: each one's level, title, and the text up to the next heading.
fn headings(markdown: &str) -> impl Iterator<Item = (usize, String, String)> + use<> {
    let mut found: Vec<(usize, String, String)> = Vec::new();
    let mut is_code = false;
    for line in markdown.lines() {
        is_code ^= line.starts_with("```");
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if !is_code && level > 0 {
            found.push((level, line[level..].trim().to_owned(), String::new()));
        } else if let Some((_, _, section)) = found.last_mut() {
            section.push_str(line);
            section.push('\n');
        }
    }
    found.into_iter()
}

/// The anchor of a heading.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().replace(' ', "-");
    kept.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
}

/// The command lines in shell blocks, after prompts and in inline code. Each `<placeholder>` becomes `x`.
fn command_lines(markdown: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (index, part) in markdown.split("```").enumerate() {
        if index % 2 == 0 {
            lines.extend(captures(r"`(lectern [^`]+)`", part));
        } else if let Some(shell) = part.strip_prefix("sh\n") {
            lines.extend(captures(r"(?m)^(lectern [^#\n]+)", shell));
        } else {
            lines.extend(captures(r"(?m)^\$ (lectern [^#\n]+)", part));
        }
    }
    let blank = regex("<[^>]*>");
    lines.into_iter().map(|line| blank.replace_all(&line, "x").trim().to_owned()).collect()
}
