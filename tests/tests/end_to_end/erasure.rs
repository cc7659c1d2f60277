//! `lectern erase` and the erasure of a withdrawn submission on the deployed stack: nothing of the submission is left, and
//! nothing comes back.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sfn::types::ExecutionStatus;
use lectern::{
    document::{DocumentState, SubmissionId},
    erasure,
    ports::{
        Audit as _, AuditAction, AuditEntry, Clock as _, Erasure, ErasureState, Erasures as _,
        SubmissionObjects as _,
    },
};
use lectern_aws::{
    AuditTrail, ObjectsOfSubmissions, SystemClock,
    sfn::{ErasureStateMachine, execution_arn},
};
use lectern_cli::Exit;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    alarms::now_ms,
    callbacks::Delivery,
    case::Case,
    content::text,
    stack::Stack,
    wait::{LATER, SOON, eventually},
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

    /// Does what the API does when a teacher withdraws a submission.
    async fn withdraw(&self, id: &SubmissionId) {
        let arn = self.is.erase_submission_state_machine_arn.clone();
        let state_machine = &ErasureStateMachine::new(self.sfn.clone(), arn);
        let begin = erasure::Begin { store: &self.store, state_machine, clock: &SystemClock };
        begin.handle(id).await.unwrap();
    }

    /// Waits until a withdrawn submission is erased and its execution has succeeded.
    async fn erased(&self, id: &SubmissionId) -> Erasure {
        let arn = execution_arn(&self.is.erase_submission_state_machine_arn, id.as_str());
        eventually("the submission is erased", LATER, async || {
            let execution = self.sfn.describe_execution().execution_arn(&arn).send().await.unwrap();
            let erasure = self.store.erasure(id).await.unwrap();
            match erasure {
                Some(erasure)
                    if erasure.state == ErasureState::Erased
                        && execution.status == ExecutionStatus::Succeeded =>
                {
                    Ok(erasure)
                }
                other => Err(format!("{} {:?} {other:?}", execution.status, execution.cause)),
            }
        })
        .await
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
    case.stack.execution_ends(&upload, &ExecutionStatus::Aborted).await;
    let document = case.stack.load(&upload).await.unwrap();
    assert_eq!(document.state, DocumentState::Failed);
    assert_eq!(document.reason.unwrap().code, "erased");
}

#[tokio::test]
async fn a08_withdrawn_submission_is_erased_by_the_state_machine_and_leaves_a_tombstone_without_a_person() {
    let case = Case::begin();
    let (stack, id) = (&case.stack, &case.submission);
    let ready = case.upload("a very secret name.txt", text()).await;
    stack.ready(&ready).await;
    let (open, _) = case.upload_that_waits("another secret name.txt").await;
    // What the API stores besides.
    let attributes =
        [("owner", "teacher-7"), ("title", "A secret title"), ("ownerState", "teacher-7#InProgress")];
    let mut update = stack.dynamodb.update_item().table_name(&stack.is.table);
    update = update.key("pk", AttributeValue::S(format!("SUBMISSION#{id}")));
    update = update.key("sk", AttributeValue::S("SUBMISSION".to_owned()));
    update = update.update_expression("SET #0 = :0, #1 = :1, #2 = :2");
    for (number, (name, value)) in attributes.into_iter().enumerate() {
        update = update.expression_attribute_names(format!("#{number}"), name);
        update =
            update.expression_attribute_values(format!(":{number}"), AttributeValue::S(value.to_owned()));
    }
    update.send().await.unwrap();
    let declared = stack.dynamodb.put_item().table_name(&stack.is.table);
    let declared = declared.item("pk", AttributeValue::S(format!("SUBMISSION#{id}")));
    let declared =
        declared.item("sk", AttributeValue::S("UPLOAD#0af7651916cd43dd8448eb211c80319c".to_owned()));
    declared.item("name", AttributeValue::S("secret name.mp4".to_owned())).send().await.unwrap();
    let audit = AuditTrail::new(stack.dynamodb.clone(), stack.is.table.clone());
    let (at, subject, action) = (SystemClock.now(), "teacher-7".parse().unwrap(), AuditAction::Withdraw);
    let entry = AuditEntry { at, subject, action, document_id: None, file: None };
    audit.record(id, &entry).await.unwrap();

    for _ in 0..2 {
        stack.withdraw(id).await;
    }
    let erasure = stack.erased(id).await;
    assert_eq!((erasure.by.as_str(), erasure.documents), ("owner", 2));
    stack.execution_ends(&open, &ExecutionStatus::Aborted).await;
    assert_eq!(stack.objects().count_versions(id).await.unwrap(), 0);
    assert_eq!(stack.items_of(id.as_str()).await, ["SUBMISSION"]);
    for upload in [&ready, &open] {
        assert!(stack.jobs(upload.id()).await.is_empty(), "the third party has no job");
    }
    let tombstone = stack.item(format!("SUBMISSION#{id}"), "SUBMISSION").await.unwrap();
    let kept: BTreeSet<&str> = tombstone.keys().map(String::as_str).collect();
    let expected = [
        "pk",
        "sk",
        "submissionId",
        "erasureState",
        "erasedBy",
        "erasureBeganAt",
        "erasureEndedAt",
        "erasedDocuments",
        "erasedObjectVersions",
    ];
    assert_eq!(kept, BTreeSet::from(expected));
    let said = stack.lectern(&["audit", id.as_str()]).await;
    assert!(said.out.contains("withdraw") && said.out.contains("teacher-7"), "the entry stays: {}", said.out);
}

/// A crash is an error of the task, which the state machine repeats.
#[tokio::test]
async fn a08_function_that_is_killed_while_it_erases_is_run_again() {
    let case = Case::begin();
    let (stack, id) = (&case.stack, &case.submission);
    let mut uploads = Vec::new();
    for number in 0..10 {
        uploads.push(case.upload(&format!("{number}.txt"), text()).await);
    }
    for upload in &uploads {
        stack.ready(upload).await;
    }
    let function = stack.function("EraseSubmissionFunction").await;
    stack.withdraw(id).await;
    eventually("the function runs and is killed", SOON, async || {
        if stack.kill(&function) > 0 { Ok(()) } else { Err("it does not run") }
    })
    .await;
    assert_eq!(stack.erased(id).await.documents, 10);
    assert_eq!(stack.items_of(id.as_str()).await, ["SUBMISSION"]);
    assert_eq!(stack.objects().count_versions(id).await.unwrap(), 0);
}
