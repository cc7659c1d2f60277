//! `lectern erase` on the deployed stack: nothing of the submission is left, and nothing comes back.

use aws_sdk_dynamodb::types::AttributeValue;
use lectern::{document::DocumentState, ports::SubmissionObjects as _};
use lectern_aws::ObjectsOfSubmissions;
use lectern_cli::Exit;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    alarms::now_ms,
    callbacks::Delivery,
    case::Case,
    content::text,
    stack::Stack,
    wait::{SOON, eventually},
};

impl Stack {
    /// The sort keys of all items of a submission.
    async fn items_of(&self, submission: &str) -> Vec<String> {
        let request = self.dynamodb.query().table_name(&self.is.table).key_condition_expression("pk = :pk");
        let pk = AttributeValue::S(format!("SUBMISSION#{submission}"));
        let answer =
            request.expression_attribute_values(":pk", pk).consistent_read(true).send().await.unwrap();
        answer.items().iter().map(|item| item["sk"].as_s().unwrap().clone()).collect()
    }

    async fn item(&self, pk: String, sk: &str) -> Option<std::collections::HashMap<String, AttributeValue>> {
        let request = self.dynamodb.get_item().table_name(&self.is.table).consistent_read(true);
        let request = request.key("pk", AttributeValue::S(pk)).key("sk", AttributeValue::S(sk.to_owned()));
        request.send().await.unwrap().item
    }

    fn objects(&self) -> ObjectsOfSubmissions {
        ObjectsOfSubmissions::new(
            self.s3.clone(),
            self.is.uploads_bucket.clone(),
            self.is.returned_bucket.clone(),
        )
    }
}

#[tokio::test]
async fn a08_erased_submission_leaves_no_trace_and_nothing_brings_it_back() {
    let case = Case::begin();
    let submission = case.submission.as_str();
    let name = "a very secret name, ü+b.txt";
    let overwritten = case.upload(name, text()).await;
    case.stack.ready(&overwritten).await;
    let upload = case.upload(name, text()).await;
    let document = case.stack.ready(&upload).await;
    let rejected = case.upload("empty.txt", Vec::new()).await;
    case.stack.rejected(&rejected, "empty").await;
    let marker = case.stack.s3.delete_object().bucket(&case.stack.is.uploads_bucket).key(&upload.key);
    marker.send().await.unwrap();
    assert!(case.stack.objects().count_versions(&case.submission).await.unwrap() >= 8);

    let plan = case.stack.lectern(&["erase", submission, "--json"]).await;
    assert_eq!((plan.exit, &plan.json()["outcome"]), (Exit::Done, &json!("would")), "{}", plan.err);
    assert!(case.stack.load(&upload).await.is_some(), "nothing was changed");
    let ran = case.stack.lectern(&["erase", submission, "--yes"]).await;
    assert_eq!(ran.exit, Exit::Done, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("3 documents") && !ran.out.contains("secret name"), "{}", ran.out);

    assert_eq!(case.stack.objects().count_versions(&case.submission).await.unwrap(), 0);
    assert_eq!(case.stack.items_of(submission).await, ["SUBMISSION"]);
    for upload in [&overwritten, &upload] {
        assert!(case.stack.jobs(upload.id()).await.is_empty(), "the third party has no job");
    }
    let shown = case.stack.lectern(&["erase", submission, "--show", "--json"]).await;
    assert_eq!(shown.exit, Exit::Done, "{}", shown.out);
    let erasure: &Value = &shown.json()["erasure"];
    assert_eq!((&erasure["erasureState"], &erasure["erasedDocuments"]), (&json!("Erased"), &json!(3)));
    assert!(erasure["erasedBy"].as_str().is_some_and(|by| by.starts_with("arn:")), "{erasure}");
    let tombstone = case.stack.item(format!("SUBMISSION#{submission}"), "SUBMISSION").await.unwrap();
    assert!(!format!("{tombstone:?}").contains("secret name"), "{tombstone:?}");

    let callback_id = document.callback_id.expose();
    let error = json!({ "code": "unreadable", "message": "It cannot be read." });
    let data = json!({ "jobId": document.job_id, "error": error });
    let late = json!({ "type": "job.failed", "timestamp": "2026-11-20T16:04:05.006Z", "data": data });
    let late = Delivery::signed(&case.stack.shared_secrets().signing_secret, late.to_string());
    assert_eq!(case.stack.call_back(callback_id, &late).await, StatusCode::OK);
    assert_eq!(case.stack.items_of(submission).await, ["SUBMISSION"], "the callback stored nothing");
    let kept = case.stack.item(format!("UNKNOWN_CALLBACK#{}", late.event_id), "UNKNOWN_CALLBACK").await;
    assert_eq!(kept, None);

    let began = now_ms();
    let new = case.upload("new.txt", text()).await;
    eventually("the upload is counted", SOON, async || {
        let lines = case.stack.metric_lines("ReceiveUpload", began).await;
        let is_counted = |line: &Value| line["UploadsToErased"] == 1 && line["submissionId"] == submission;
        if lines.iter().any(is_counted) { Ok(()) } else { Err(format!("{} lines", lines.len())) }
    })
    .await;
    assert_eq!(case.stack.load(&new).await, None);
    let shown = case.stack.lectern(&["erase", submission, "--show"]).await;
    assert_eq!(shown.exit, Exit::Attention, "the new file is left: {}", shown.out);
    let again = case.stack.lectern(&["erase", submission, "--yes"]).await;
    assert_eq!(again.exit, Exit::Done, "{}{}", again.out, again.err);
    assert_eq!(case.stack.objects().count_versions(&case.submission).await.unwrap(), 0);
}

#[tokio::test]
async fn a08_submission_with_a_document_in_progress_is_not_erased_and_a_stopped_one_has_to_wait() {
    let case = Case::begin();
    let (upload, _) = case.upload_that_waits("waits.txt").await;
    let submission = case.submission.as_str();
    let refused = case.stack.lectern(&["erase", submission, "--yes", "--json"]).await;
    assert_eq!((refused.exit, &refused.json()["outcome"]), (Exit::Attention, &json!("refused")));
    let stopped = case.stack.lectern(&["erase", submission, "--yes", "--stop", "--json"]).await;
    assert_eq!(
        (stopped.exit, &stopped.json()["outcome"]),
        (Exit::Attention, &json!("waiting")),
        "{}",
        stopped.err
    );
    case.stack.execution_ends(&upload, &aws_sdk_sfn::types::ExecutionStatus::Aborted).await;
    let document = case.stack.load(&upload).await.unwrap();
    assert_eq!(document.state, DocumentState::Failed);
    assert_eq!(document.reason.unwrap().code, "erased");
}
