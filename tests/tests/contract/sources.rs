//! Reads the files of the repository for the contract tests.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use regex::Regex;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the repository.
#[track_caller]
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path} cannot be read: {error}"))
}

/// The names of the folders below `path`.
#[track_caller]
pub(crate) fn folders(path: &str) -> BTreeSet<String> {
    entries(path).into_iter().filter(|entry| entry.is_dir()).map(|entry| name(&entry)).collect()
}

/// A file and its text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every Rust file below `paths`, including tests.
pub(crate) fn rust_files(paths: &[&str]) -> Vec<Source> {
    files(paths, "rs")
}

/// Every file below `paths` whose name ends in `.{extension}`.
pub(crate) fn files(paths: &[&str], extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = paths.iter().map(|path| root().join(path)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|found| found == extension) {
            let relative = path.strip_prefix(root()).unwrap().display().to_string();
            found.push(Source { path: relative, text: std::fs::read_to_string(path).unwrap() });
        }
    }
    assert!(!found.is_empty(), "there is no .{extension} file below {paths:?}; correct the test's paths");
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// A Rust file without its test module and its comments.
pub(crate) fn product_code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a Rust file contains only tests.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.ends_with("test_support.rs") || path.contains("/tests/")
}

/// A regular expression.
pub(crate) fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// The matches of the first group of `pattern` in `text`.
pub(crate) fn captures(pattern: &str, text: &str) -> BTreeSet<String> {
    regex(pattern).captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// Converts `receive-upload` to `ReceiveUpload`.
pub(crate) fn pascal_case(kebab: &str) -> String {
    kebab.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

#[track_caller]
fn entries(path: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(path));
    let entries = entries.unwrap_or_else(|error| panic!("the folder {path} cannot be listed: {error}"));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
