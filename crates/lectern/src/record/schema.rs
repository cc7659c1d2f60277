//! The record's JSON Schema, as published in `docs/record.schema.json`, and the versions that a reader accepts.

use serde::{Deserialize as _, Deserializer, de};

use super::{Record, SCHEMA_VERSION};

/// The schema's `$id`.
const SCHEMA_ID: &str = "urn:lectern:record:1";

/// JSON Schema (2020-12) of the record that this code writes.
pub fn json_schema() -> serde_json::Value {
    let generator = schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Record>();
    schema.insert("$id".to_owned(), SCHEMA_ID.into());
    schema.to_value()
}

/// The oldest version that was ever released.
const OLDEST_READABLE: u32 = 1;

/// Parses `schemaVersion`. A record of a newer version, or of one that was never released, is an error.
pub(super) fn readable_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let version = u32::deserialize(deserializer)?;
    if (OLDEST_READABLE..=SCHEMA_VERSION).contains(&version) {
        Ok(version)
    } else {
        Err(de::Error::custom(format_args!(
            "record schema version {version} cannot be read: this reader knows {OLDEST_READABLE} to {SCHEMA_VERSION}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn published_schema_equals_the_types() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/record.schema.json");
        let generated = json_schema();
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, serde_json::to_string_pretty(&generated).unwrap() + "\n").unwrap();
        }
        // Compared as JSON values: the order of keys depends on the features of serde_json that other crates enable in
        // the same build.
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        let published: Option<serde_json::Value> = serde_json::from_str(&published).ok();
        assert!(
            published == Some(generated),
            "run `UPDATE_SCHEMA=1 cargo test -p lectern schema` and commit docs/"
        );
    }

    #[test]
    fn published_schema_is_a_valid_schema() {
        jsonschema::meta::validate(&json_schema()).unwrap();
    }

    #[test]
    fn a07_newer_versions_and_those_that_were_never_released_are_refused_by_name() {
        let mut record = serde_json::to_value(super::super::tests::minimal()).unwrap();
        assert!(serde_json::from_value::<Record>(record.clone()).is_ok());
        for version in [json!(0), json!(SCHEMA_VERSION + 1)] {
            record["schemaVersion"] = version.clone();
            let error = serde_json::from_value::<Record>(record.clone()).unwrap_err().to_string();
            assert!(error.contains(&format!("record schema version {version} cannot be read")), "{error}");
        }
    }

    #[test]
    fn field_of_a_later_minor_change_is_ignored() {
        let mut record = serde_json::to_value(super::super::tests::minimal()).unwrap();
        record["addedLater"] = json!(true);
        assert_eq!(serde_json::from_value::<Record>(record).unwrap(), super::super::tests::minimal());
    }
}
