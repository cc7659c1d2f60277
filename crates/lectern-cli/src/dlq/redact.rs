//! A message's body without secrets: only fields that are known to be harmless are shown.

use serde_json::Value;

/// Fields whose values are ids, times, or fixed words of Lectern or AWS.
const SHOWN: [&str; 22] = [
    "schemaVersion",
    "submissionId",
    "documentId",
    "subscriberId",
    "order",
    "type",
    "attempt",
    "round",
    "kind",
    "resume",
    "traceparent",
    "at",
    "until",
    "eventName",
    "eventTime",
    "eventSource",
    "versionId",
    "sequencer",
    "timestamp",
    "requestId",
    "awsRegion",
    "Event",
];

/// The body without secrets; `None` if the body is not JSON.
pub(super) fn redact(body: &str) -> Option<Value> {
    let mut value = serde_json::from_str(body).ok()?;
    walk(&mut value, false);
    Some(value)
}

fn walk(value: &mut Value, shown: bool) {
    match value {
        Value::String(text) if !shown => *text = format!("({} bytes)", text.len()),
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, shown)),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                walk(field, SHOWN.contains(&name.as_str()));
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
