//! Case 53: what the functions wrote while all the other tests ran.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use lectern::document::SubmissionId;
use serde_json::{Value, json};

use crate::{aws_json::call, stack::Stack};

/// What a line may be about without belonging to a document. Everything else names one.
const OF_NO_DOCUMENT: [&str; 5] = [
    "An event that is none of our business was acknowledged.",
    "A message stays on its queue.",
    "A callback was refused for its signature.",
    "A well-signed callback belongs to no document; it was kept.",
    "A request could not be answered.",
];

/// The same of the lines that are metrics of callbacks.
const OUTCOMES_OF_NO_DOCUMENT: [&str; 4] = ["badSignature", "unknown", "tooLarge", "notKept"];

#[tokio::test]
#[ignore = "runs alone, after the others: make e2e"]
async fn case_53_logs_hold_no_token_secret_url_or_name_and_every_line_has_its_ids() {
    let stack = Stack::open();
    let forbidden = stack.forbidden().await;
    assert!(forbidden.len() > 50, "there is something to look for: {}", forbidden.len());
    let lines = stack.log_lines().await;
    let ours: Vec<(&String, Value)> =
        lines.iter().filter_map(|line| Some((line, serde_json::from_str::<Value>(line).ok()?))).collect();
    let ours: Vec<_> = ours.into_iter().filter(|(_, value)| value.is_object()).collect();
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
        let message = value["message"].as_str().unwrap_or_default();
        let is_metric = value["_aws"].is_object();
        let outcome = value["Outcome"].as_str().unwrap_or_default();
        let of_none = OF_NO_DOCUMENT.contains(&message) || OUTCOMES_OF_NO_DOCUMENT.contains(&outcome);
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

impl Stack {
    /// Every token, callback id, file name and URL that the store knows, every secret, and the marks of presigned URLs.
    async fn forbidden(&self) -> BTreeSet<String> {
        let secrets = self.shared_secrets();
        let mut found: BTreeSet<String> =
            ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "/v1/files/"]
                .map(str::to_owned)
                .into_iter()
                .collect();
        found.extend([secrets.api_key, secrets.signing_secret, self.evaluator().password]);
        found.extend([self.is.third_party_admin_key.clone(), "Bearer ".to_owned()]);
        for submission in self.all_submissions().await {
            for item in self.items(&submission).await {
                let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
                found.extend([text("taskToken"), text("callbackId")].into_iter().flatten());
                let name = text("key").map(|key| key.rsplit('/').next().unwrap_or_default().to_owned());
                // A name that is also a plain word proves nothing.
                found.extend(name.filter(|name| name.len() > 6 && name.contains('.')));
            }
        }
        found.remove("");
        found
    }

    async fn all_submissions(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::from([SubmissionId::unassigned().to_string()]);
        let mut path = "/submissions?limit=100".to_owned();
        loop {
            let page = self.read(&path).await;
            let ids = page["submissions"].as_array().unwrap().iter();
            found.extend(ids.filter_map(|submission| submission["submissionId"].as_str().map(str::to_owned)));
            let Some(cursor) = page["cursor"].as_str() else { return found };
            path = format!("/submissions?limit=100&cursor={cursor}");
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
                // The local cloud has no next token: the last timestamp is where the next page starts.
                match events.last().and_then(|event| event["timestamp"].as_u64()) {
                    Some(last) if events.len() == 10_000 => start = last,
                    _ => break,
                }
            }
        }
        lines
    }
}
