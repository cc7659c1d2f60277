//! Tests of listing by pages.

use serde_json::json;

use super::*;
use crate::api::testing::{FakeStack, SUBMISSION, submission};

fn options(limit: u32) -> Submissions {
    Submissions { mine: true, state: None, kind: Some("video".to_owned()), from: None, to: None, limit }
}

#[tokio::test]
async fn pages_are_read_until_there_are_enough() {
    let stack = FakeStack::start().await;
    let one = submission("Ready");
    let page = json!({ "submissions": [one, one], "cursor": "next" });
    stack.shared().answers.insert("submissions".to_owned(), page);
    let report = list(&stack.client, &options(5)).await.unwrap();
    assert_eq!((report.submissions.len(), report.has_more), (5, true));
    assert_eq!(stack.number_of("GET /v1/submissions"), 3);
}

#[tokio::test]
async fn list_shows_the_files_of_each_submission() {
    let stack = FakeStack::start().await;
    let mut one = submission("NeedsAttention");
    (one["ready"], one["failed"]) = (json!(2), json!(1));
    stack.shared().answers.insert("submissions".to_owned(), json!({ "submissions": [one] }));
    let report = list(&stack.client, &options(5)).await.unwrap();
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let expected =
        format!("{SUBMISSION}  2026-11-30T07:59:00.000Z  NeedsAttention  2 ready, 1 failed     Fractions");
    assert_eq!(text.lines().nth(1), Some(expected.as_str()), "{text}");
}
