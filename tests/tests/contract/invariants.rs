//! The invariants of ARCHITECTURE.md that can be checked in the source code.

use super::sources::{captures, folders, is_test_file, product_code, read, regex, rust_files};

#[test]
fn domain_depends_on_nothing_of_aws() {
    let manifest = read("crates/lectern/Cargo.toml");
    let dependencies = captures(r"(?m)^([\w-]+)(?:\.workspace)? = ", &manifest);
    let aws =
        |name: &&String| name.starts_with("aws") || name.starts_with("lambda") || *name == "serde_dynamo";
    assert_eq!(
        dependencies.iter().find(aws),
        None,
        "crates/lectern must not depend on AWS; use crates/lectern-aws"
    );
    for file in rust_files(&["crates/lectern/src"]) {
        let used = captures(
            r"\b(aws_(?:sdk|config|smithy)\w*|lambda_(?:runtime|http)|lectern_aws)\b",
            &product_code(&file.text),
        );
        assert!(used.is_empty(), "{} uses {used:?}", file.path);
    }
}

#[test]
fn parsers_depend_on_no_other_crate_of_lectern() {
    let manifest = read("crates/lectern-content/Cargo.toml");
    let (dependencies, _) = manifest.split_once("[features]").unwrap();
    let ours = captures(r"(?m)^(lectern[\w-]*|third-party|aws[\w-]*|lambda[\w-]*)\b.* = ", dependencies);
    assert!(ours.is_empty(), "crates/lectern-content must not depend on {ours:?}");
}

#[test]
fn environment_is_read_in_one_file() {
    let reads = regex(r"\benv::(?:var|vars|var_os)\b");
    let product = ["crates/lectern/src", "crates/lectern-aws/src", "crates/lectern-content/src", "functions"];
    let readers: Vec<String> = rust_files(&product)
        .into_iter()
        .filter(|file| !is_test_file(&file.path) && reads.is_match(&product_code(&file.text)))
        .map(|file| file.path)
        .collect();
    assert_eq!(readers, ["crates/lectern-aws/src/config.rs"], "read settings through Config");
}

#[test]
fn nothing_sleeps_polls_or_retries() {
    let pattern = regex(
        r"\bsleep(?:_until)?\(|\binterval\(|\bloop \{|\b\w*(?:[Bb]ackoff|BACKOFF|retry_|RETRY_|retries|RETRIES|max_attempts|MAX_ATTEMPTS)\w*\b",
    );
    // The headers and fields in which others request a pause, and which are passed on to the state machine.
    let allowed = [
        "retry_at",
        "retry_us",
        "retry_after",
        "retry_in",
        "retry_after_s",
        "MAX_RATE_LIMIT_WAIT",
        "RETRY_AFTER",
    ];
    // The deliveries to subscribers are no work of the state machine. A pure function computes the time of the next
    // attempt, and a message that SQS delays starts the run that makes it, so no function waits or repeats a request.
    let of_deliveries = ["FIRST_BACKOFF", "MAX_BACKOFF", "backoff"];
    let is_of_deliveries = |path: &str| path == "crates/lectern/src/events/delivery.rs";
    for file in rust_files(&["crates/lectern/src", "functions"]) {
        // The in-memory ports are test code.
        if is_test_file(&file.path) || file.path.contains("/testing") {
            continue;
        }
        let code = product_code(&file.text);
        let found = pattern.find_iter(&code).find(|found| {
            let is_computed = is_of_deliveries(&file.path) && of_deliveries.contains(&found.as_str());
            !is_computed && !allowed.contains(&found.as_str())
        });
        assert_eq!(
            found.map(|found| found.as_str()),
            None,
            "{}: the state machine owns time and retries",
            file.path
        );
    }
}

#[test]
fn main_files_are_wiring_only() {
    for function in folders("functions") {
        let main = read(&format!("functions/{function}/src/main.rs"));
        let decides = captures(r"\b(if|match|while|for|loop) ", &product_code(&main));
        assert!(
            decides.is_empty(),
            "functions/{function}/src/main.rs contains decisions ({decides:?}); move them into crates/lectern"
        );
        assert!(main.lines().count() <= 20, "functions/{function}/src/main.rs only names its step");
    }
}

#[test]
fn clients_are_built_once_for_each_process() {
    let functions = read("crates/lectern-aws/src/functions.rs");
    let mut codes: Vec<&str> = functions.split("pub async fn ").skip(1).collect();
    let api = read("functions/serve-api/src/main.rs");
    codes.push(api.split_once("async fn ").unwrap().1);
    assert_eq!(codes.len(), folders("functions").len(), "each function has its code in functions.rs");
    for code in codes {
        let name = code.split('(').next().unwrap();
        assert_eq!(code.matches("Environment::load()").count(), 1, "{name}: load the environment once");
        let (_, run) = code.split_once("::run").unwrap_or_else(|| panic!("{name} runs nothing"));
        assert!(
            !run.contains("env.") || name == "main",
            "{name}: build the ports before the first invocation, not for each one"
        );
    }
}

#[test]
fn no_placeholders_are_left() {
    let pattern = regex(
        r"\btodo!|\bunimplemented!|\bFIXME\b|\bTODO\b|\bXXX\b|path/to/|example\.invalid|CHANGEME|/placeholder",
    );
    let mut files = rust_files(&["crates", "functions", "tests"]);
    files.extend(super::sources::files(&["template.yaml"], "yaml"));
    files.extend(super::sources::files(&["statemachines", "events"], "json"));
    for file in files.iter().filter(|file| !file.path.ends_with("contract/invariants.rs")) {
        let found = pattern.find(&file.text).map(|found| found.as_str());
        let sample = is_test_file(&file.path) || file.path.starts_with("tests/");
        assert!(found.is_none() || sample, "{}: remove the placeholder {found:?}", file.path);
    }
}

#[test]
fn every_rust_file_says_what_it_owns() {
    for file in rust_files(&["crates", "functions", "tests"]) {
        assert!(
            file.text.starts_with("//! "),
            "{}: begin the file with a //! line that says what it contains",
            file.path
        );
    }
}

#[test]
fn lints_of_the_workspace_hold_everywhere() {
    let crates = folders("crates").into_iter().map(|name| format!("crates/{name}"));
    let functions = folders("functions").into_iter().map(|name| format!("functions/{name}"));
    for folder in crates.chain(functions).chain(["tests".to_owned()]) {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{folder}/Cargo.toml: inherit the workspace's lints"
        );
    }
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
}

#[test]
fn panics_are_reported_instead_of_aborting() {
    assert!(
        !regex(r#"panic\s*=\s*"abort""#).is_match(&read("Cargo.toml")),
        "lambda_runtime has to catch panics"
    );
}
