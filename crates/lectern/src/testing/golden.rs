//! The golden sets in `tests/golden/<version>/`: what each release writes, one JSON file for each message, output, item and
//! document. docs/changing.md says when a set changes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Values by the names of their files, without `.json`.
pub type Set = BTreeMap<String, Value>;

/// The name of the field that [`with_unknown_fields`] adds.
pub const UNKNOWN: &str = "addedByNewerCode";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// Compares what the current code writes with this part of the current version's set. With `update`, which a test sets if
/// `UPDATE_GOLDEN` is in its environment, it replaces the part.
///
/// # Errors
/// What is different, or why the set cannot be read or written.
pub fn compare(part: &str, written: &Set, update: bool) -> Result<(), String> {
    let folder = directory().join(env!("CARGO_PKG_VERSION")).join(part);
    if update {
        replace(&folder, written).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let golden = read(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let names = golden.keys().chain(written.keys());
    let different: BTreeMap<&String, [Option<&Value>; 2]> = names
        .filter(|name| golden.get(*name) != written.get(*name))
        .map(|name| (name, [golden.get(name), written.get(name)]))
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the code no longer writes what {} holds; read docs/changing.md, then set UPDATE_GOLDEN=1. \
         Left: the set, right: the code: {different:#?}",
        folder.display()
    ))
}

/// This part of each version's set.
///
/// # Errors
/// If a set cannot be read.
pub fn every_version(part: &str) -> io::Result<BTreeMap<String, Set>> {
    let mut sets = BTreeMap::new();
    for entry in fs::read_dir(directory())? {
        let entry = entry?;
        sets.insert(entry.file_name().to_string_lossy().into_owned(), read(&entry.path().join(part))?);
    }
    Ok(sets)
}

/// The value as newer code may write it: each object in it has another field.
#[must_use]
pub fn with_unknown_fields(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.clone(), with_unknown_fields(field)));
            fields.chain([(UNKNOWN.to_owned(), "x".into())]).collect()
        }
        Value::Array(items) => items.iter().map(with_unknown_fields).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn read(folder: &Path) -> io::Result<Set> {
    let mut set = Set::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        set.insert(name, serde_json::from_slice(&fs::read(&path)?)?);
    }
    Ok(set)
}

fn replace(folder: &Path, written: &Set) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for (name, value) in written {
        fs::write(folder.join(format!("{name}.json")), format!("{value:#}\n"))?;
    }
    Ok(())
}
