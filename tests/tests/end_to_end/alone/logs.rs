//! Case 53: the log lines that the functions wrote during all other tests: their content, number and traces.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use lectern::{
    document::{Document, DocumentState, JobResult, SubmissionId},
    ports::Browse as _,
};
use serde_json::{Value, json};

use crate::{
    aws_json::call,
    stack::{People, Stack},
};

/// The messages of lines that need not name a document. All other lines must name one.
const OF_NO_DOCUMENT: [&str; 9] = [
    "A callback could not be kept; it will be sent again.",
    "A batch stays on its queue.",
    "A message goes to the dead-letter queue.",
    "A message could not be sent to the dead-letter queue and stays on its queue.",
    "An event that announces no upload was ignored.",
    "A message stays on its queue.",
    "A request without a valid signature came to no document's callback URL.",
    "A well-signed callback belongs to no document; it was kept.",
    "A request could not be answered.",
];

/// The outcomes in metric lines of callbacks that need not name a document.
const OUTCOMES_OF_NO_DOCUMENT: [&str; 4] = ["badSignature", "unsolicited", "unknown", "notKept"];

#[tokio::test]
async fn case_53_logs_hold_no_token_secret_url_or_name_and_every_line_has_its_ids() {
    let stack = Stack::open();
    let forbidden = stack.forbidden().await;
    assert!(forbidden.len() > 50, "there are texts to search for: {}", forbidden.len());
    let lines = stack.log_lines().await;
    let ours: Vec<(&String, Value)> = lines.iter().filter_map(|line| Some((line, object(line)?))).collect();
    assert!(ours.len() > 100, "{} of {} lines are ours", ours.len(), lines.len());
    let mut wrong = Vec::new();
    for line in &lines {
        wrong.extend(
            forbidden
                .iter()
                .filter(|text| line.contains(text.as_str()))
                .map(|text| format!("{text} in {line}")),
        );
    }
    for (line, value) in ours {
        let has = |name: &str| value[name].as_str().is_some_and(|text| !text.is_empty());
        // A metric line has no message, and the limiter's metric lines concern all documents.
        if value["_aws"].is_object() && has("function") {
            continue;
        }
        let message = value["message"].as_str().unwrap_or_default();
        let is_metric = value["_aws"].is_object();
        let outcome = value["Outcome"].as_str().unwrap_or_default();
        let of_none = OF_NO_DOCUMENT.contains(&message) || OUTCOMES_OF_NO_DOCUMENT.contains(&outcome);
        let is_erasure =
            value["function"].as_str().is_some_and(|function| function.contains("EraseSubmission"));
        // A request may contain events of several documents, and a batch of changes is of several documents.
        let is_of_events = value["function"].as_str().is_some_and(|function| {
            function.contains("DeliverEvents") && has("subscriberId") || function.contains("RouteEvents")
        });
        let of_none = of_none || is_of_events || (is_erasure && has("submissionId"));
        let says_when = is_metric || has("timestamp") && has("level") && has("message");
        let complete = has("function") && has("traceId") && says_when;
        if !complete || !(of_none || has("submissionId") && has("documentId")) {
            wrong.push(format!("ids are missing: {line}"));
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(
        wrong.is_empty(),
        "{} findings, such as:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(12)].join("\n")
    );
}

/// The lines of a document without errors, in addition to one for each returned file; see `logging/tests/volume.rs`.
const LINES_BESIDE_FILES: usize = 12;

const WITHDRAWN: &str = "The file was deleted; its document was withdrawn.";

#[tokio::test]
async fn lines_of_a_document_are_of_one_trace_which_the_third_party_knows_too() {
    let stack = Stack::open();
    let mut lines = stack.lines_by_document().await;
    let mut complete = 0;
    for document in stack.all_documents().await {
        let Some(lines) = lines.remove(&document.reference.document_id.to_string()) else { continue };
        let trace = document.traceparent.expect("every document has a trace");
        // The deletion of a file is an event of its own, with its own trace.
        let of_the_upload = lines.iter().filter(|line| line["message"] != WITHDRAWN);
        let found: BTreeSet<&str> = of_the_upload.filter_map(|line| line["traceId"].as_str()).collect();
        assert_eq!(found, [trace.trace_id().as_str()].into(), "{lines:#?}");
        for span in stack.job_traces(document.reference.document_id).await {
            assert!(span.is_some_and(|span| span.is_of_the_trace_of(trace)), "{span:?} is not of {trace}");
        }
        let functions: BTreeSet<&str> = lines.iter().filter_map(|line| line["function"].as_str()).collect();
        let has = |stem: &str| functions.iter().any(|name| name.to_lowercase().contains(stem));
        complete += usize::from(["upload", "transfer", "callback", "normalize"].iter().all(|stem| has(stem)));
    }
    assert!(complete > 20, "{complete} documents were followed from the upload to the record");
}

#[tokio::test]
async fn lines_of_a_document_are_bounded_and_grow_by_one_with_each_retry() {
    let stack = Stack::open();
    let mut lines = stack.lines_by_document().await;
    let mut without_errors = 0;
    for document in stack.all_documents().await {
        let Some(lines) = lines.remove(&document.reference.document_id.to_string()) else { continue };
        // An invocation that handled several messages of the document writes a line for each.
        let handled: BTreeSet<String> = lines.iter().map(step_of).collect();
        assert!(
            lines.len() <= handled.len() + LINES_BESIDE_FILES,
            "{} lines of {} steps: {lines:#?}",
            lines.len(),
            handled.len()
        );
        let files = match &document.result {
            Some(JobResult::Succeeded(job)) => job.files.len(),
            Some(JobResult::Failed(_)) | None => 0,
        };
        let quiet = lines.iter().all(|line| line["level"] == "INFO");
        let attempts: BTreeSet<u64> = lines.iter().filter_map(|line| line["attempt"].as_u64()).collect();
        let uploads = lines.iter().filter(|line| line["message"] == "The upload had been registered before.");
        let callbacks = lines.iter().filter(|line| line["callback"] == "duplicate");
        if document.state == DocumentState::Ready
            && quiet
            && attempts.len() == 1
            && uploads.count() + callbacks.count() == 0
        {
            without_errors += 1;
            assert!(lines.len() <= LINES_BESIDE_FILES + files, "{} lines: {lines:#?}", lines.len());
        }
    }
    assert!(without_errors > 10, "{without_errors} documents met no error");
}

/// Identifies the step that a line belongs to: one message or one file of an invocation.
fn step_of(line: &Value) -> String {
    ["function", "requestId", "attempt", "index"].map(|name| line[name].to_string()).join(" ")
}

/// Whether serve-api wrote the line.
fn is_a_readers(line: &Value) -> bool {
    line["function"].as_str().is_some_and(|name| name.to_lowercase().contains("records"))
}

/// A line of a function as JSON; `None` for a line of the platform, which is not JSON.
fn object(line: &str) -> Option<Value> {
    serde_json::from_str::<Value>(line).ok().filter(Value::is_object)
}

impl Stack {
    /// The lines that name a document, without those of serve-api, whose requests have traces of their own.
    pub(super) async fn lines_by_document(&self) -> BTreeMap<String, Vec<Value>> {
        let mut found = BTreeMap::<String, Vec<Value>>::new();
        let lines = self.log_lines().await;
        let ours = lines.iter().filter_map(|line| object(line)).filter(|line| line["message"].is_string());
        for line in ours.filter(|line| !is_a_readers(line)) {
            if let Some(document) = line["documentId"].as_str() {
                found.entry(document.to_owned()).or_default().push(line);
            }
        }
        found
    }

    async fn all_documents(&self) -> Vec<Document> {
        let mut found = Vec::new();
        for submission in self.all_submissions().await {
            let stored = self.store.submission(&submission.try_into().unwrap()).await.unwrap();
            found.extend(stored.map(|(_, documents)| documents).unwrap_or_default());
        }
        found
    }

    /// Every token, callback id, file name and URL in the store, every secret, and the marks of presigned URLs.
    async fn forbidden(&self) -> BTreeSet<String> {
        let secrets = self.shared_secrets();
        let mut found: BTreeSet<String> =
            ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "/v1/files/"]
                .map(str::to_owned)
                .into_iter()
                .collect();
        let People { teacher, second_teacher, evaluator, operator } = self.is.people.clone();
        found.extend([secrets.api_key, secrets.signing_secret]);
        found.extend([teacher, second_teacher, evaluator, operator].map(|person| person.password));
        found.extend([self.is.third_party_admin_key.clone(), "Bearer ".to_owned()]);
        for submission in self.all_submissions().await {
            for item in self.items(&submission).await {
                let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
                found.extend([text("taskToken"), text("callbackId")].into_iter().flatten());
                let name = text("key").map(|key| key.rsplit('/').next().unwrap_or_default().to_owned());
                // A file name that is also a common word would match by chance.
                found.extend(name.filter(|name| name.len() > 6 && name.contains('.')));
            }
        }
        found.remove("");
        found
    }

    async fn all_submissions(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::from([SubmissionId::unassigned().to_string()]);
        let mut path = "/v1/submissions?limit=100".to_owned();
        loop {
            let page = self.read(&path).await;
            let ids = page["submissions"].as_array().unwrap().iter();
            found.extend(ids.filter_map(|submission| submission["submissionId"].as_str().map(str::to_owned)));
            let Some(cursor) = page["cursor"].as_str() else { return found };
            path = format!("/v1/submissions?limit=100&cursor={cursor}");
        }
    }

    async fn items(&self, submission: &str) -> Vec<std::collections::HashMap<String, AttributeValue>> {
        let request = self.dynamodb.query().table_name(&self.is.table).key_condition_expression("pk = :pk");
        let pk = AttributeValue::S(format!("SUBMISSION#{submission}"));
        let pages = request.expression_attribute_values(":pk", pk).into_paginator().items().send();
        pages.collect::<Result<Vec<_>, _>>().await.unwrap()
    }

    async fn log_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let groups = call(self, "logs", "Logs_20140328.DescribeLogGroups", &json!({})).await;
        let names =
            groups["logGroups"].as_array().unwrap().iter().filter_map(|group| group["logGroupName"].as_str());
        for name in names {
            let mut start = 0;
            loop {
                let body = json!({ "logGroupName": name, "startTime": start, "limit": 10_000 });
                let page = call(self, "logs", "Logs_20140328.FilterLogEvents", &body).await;
                let events = page["events"].as_array().unwrap();
                let texts = events.iter().filter_map(|event| event["message"].as_str());
                lines.extend(texts.flat_map(str::lines).map(str::to_owned));
                // The local cloud returns no next token, so the next page starts at the last timestamp.
                match events.last().and_then(|event| event["timestamp"].as_u64()) {
                    Some(last) if events.len() == 10_000 => start = last,
                    _ => break,
                }
            }
        }
        lines
    }
}
