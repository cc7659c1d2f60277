//! The command `lectern` against the deployed stack: its output is true and contains no secret, and each of its actions
//! takes effect once.

use aws_sdk_s3::types::{NotificationConfiguration, QueueConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;
use lectern::{contract::wire::FileRole, document::DocumentState};
use lectern_cli::{Console, Exit};
use serde_json::{Value, json};
use third_party::{FaultRule, FileFault, JobFault, ReportedStatus, SubmissionFault};

use crate::{
    callbacks::Delivery,
    case::{Case, Upload},
    content::text,
    stack::Stack,
    third_party_admin::for_content,
    wait::{SOON, eventually},
};

/// The first fetch of a returned file plus its retries (`Mappings: Workflow: Mismatch`).
pub(crate) const FETCHES: u32 = 7;

/// The command's outputs and exit status.
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}:\n{}\n{}", self.out, self.err))
    }
}

impl Stack {
    /// Runs `lectern` on this stack.
    pub(crate) async fn lectern(&self, arguments: &[&str]) -> Ran {
        let file = self.file().to_str().unwrap();
        let all = [&["lectern", "--stack-file", file], arguments].concat();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = Box::pin(lectern_cli::run(all, &mut Console::new(&mut out, &mut err, false))).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { exit, out: text(out), err: text(err) }
    }

    /// The JSON of `lectern status`.
    pub(crate) async fn status(&self) -> Value {
        self.lectern(&["status", "--json"]).await.json()
    }

    pub(crate) async fn notified(&self) -> Vec<QueueConfiguration> {
        let request = self.s3.get_bucket_notification_configuration().bucket(&self.is.uploads_bucket);
        request.send().await.unwrap().queue_configurations.unwrap_or_default()
    }

    pub(crate) async fn notify(&self, queues: Vec<QueueConfiguration>) {
        let configuration =
            NotificationConfiguration::builder().set_queue_configurations(Some(queues)).build();
        let request = self.s3.put_bucket_notification_configuration().bucket(&self.is.uploads_bucket);
        request.notification_configuration(configuration).send().await.unwrap();
    }

    /// Messages in a queue, visible or in flight.
    pub(crate) async fn depth(&self, url: &str) -> u64 {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.sqs.get_queue_attributes().queue_url(url);
        let answer = request.set_attribute_names(Some(names.to_vec())).send().await.unwrap();
        answer.attributes.unwrap_or_default().values().map(|text| text.parse::<u64>().unwrap()).sum()
    }

    async fn executions_of(&self, upload: &Upload) -> Vec<String> {
        let request = self.sfn.list_executions().state_machine_arn(&self.is.state_machine_arn);
        let all = request.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap();
        let id = upload.id().to_string();
        all.into_iter().map(|execution| execution.name).filter(|name| name.starts_with(&id)).collect()
    }
}

pub(crate) fn name_of(upload: &Upload) -> String {
    format!("{}/{}", upload.document.submission_id, upload.id())
}

#[tokio::test]
async fn explanation_of_a_document_shows_its_whole_workflow_without_a_secret() {
    let case = Case::begin();
    let retry = SubmissionFault::ServerError { status: 503 };
    let upload = case.upload_with("a very secret name.txt", text(), [retry.into()]).await;
    let document = case.stack.ready(&upload).await;
    // Log lines may arrive a little later than the effects that they describe.
    let ran = eventually("the whole workflow is shown", SOON, async || {
        let ran = case.stack.lectern(&["explain", &upload.id().to_string()]).await;
        assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
        let expected = [
            "Registered: text/plain",
            "Its execution started.",
            "ThirdParty.Unavailable",
            "ReceiveCallback logged: The result was stored.",
            "Ready: the record can be read.",
            "Where  Ready.",
        ];
        match expected.iter().find(|expected| !ran.out.contains(**expected)) {
            None => Ok(ran),
            Some(expected) => Err(format!("{expected} is not in\n{}", ran.out)),
        }
    })
    .await;
    let submission = case.stack.lectern(&["explain", case.submission.as_str(), "--json"]).await;
    assert_eq!(submission.json()["documents"][0]["state"], "Ready");
    assert_eq!(submission.json()["attention"], json!([]));
    for secret in ["secret name", document.callback_id.expose(), &case.stack.is.third_party_url] {
        assert!(!ran.out.contains(secret) && !submission.out.contains(secret), "{secret}");
    }
    let named = case.stack.lectern(&["explain", &name_of(&upload), "--show-names"]).await;
    assert!(named.out.contains("a very secret name.txt"), "{}", named.out);
}

#[tokio::test]
async fn status_shows_limits_queues_and_submissions_without_a_secret() {
    let case = Case::begin();
    let upload = case.upload("a very secret name.txt", text()).await;
    case.stack.ready(&upload).await;
    let ran = case.stack.lectern(&["status"]).await;
    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    for expected in ["Limits", " leases are held", "QUEUE", "AdmitDocument", "in progress", "Do     "] {
        assert!(ran.out.contains(expected), "{expected} is not in\n{}", ran.out);
    }
    let found = case.stack.status().await;
    assert_eq!(found["unread"], json!([]), "alarms and executions can be read");
    assert!(found["limiter"]["maxLeases"].as_u64().is_some(), "the stack's own limit is shown: {found}");
    assert!(found["limiter"]["waiting"].as_u64().is_some(), "{found}");
    let queues: Vec<&str> =
        found["queues"].as_array().unwrap().iter().filter_map(|queue| queue["queue"].as_str()).collect();
    let all = [
        "AdmitDocument",
        "DeliverEvents",
        "EventTimers",
        "NormalizeDocument",
        "ReceiveUpload",
        "TransferDocument",
    ];
    assert_eq!(queues, all);
    assert!(!format!("{}{found}", ran.out).contains("secret name"));
}

#[tokio::test]
async fn document_whose_execution_was_stopped_is_shown_by_status_and_resumes_by_a_redrive() {
    let case = Case::begin();
    let (upload, document) = case.upload_that_waits("stopped.txt").await;
    let id = upload.id().to_string();
    let execution = case.stack.is.state_machine_arn.replacen(":stateMachine:", ":execution:", 1);
    let request = case.stack.sfn.stop_execution().execution_arn(format!("{execution}:{id}"));
    request.send().await.unwrap();
    let is_named = |found: &Value| {
        let mut all = found["brokenOff"].as_array().unwrap().iter();
        all.any(|one| one["documentId"] == id && one["execution"] == "was aborted")
    };
    let found = case.stack.status().await;
    assert!(is_named(&found), "{found}");
    assert_ne!(found["do"], json!([]));
    let redriven = case.stack.lectern(&["redrive", &name_of(&upload), "--json"]).await;
    assert_eq!(redriven.json()["documents"][0]["done"], "started", "{}{}", redriven.out, redriven.err);
    let mut executions = case.stack.executions_of(&upload).await;
    executions.sort();
    assert_eq!(executions, [id.clone(), format!("{id}-redrive-1")]);
    let found = case.stack.status().await;
    assert!(!is_named(&found), "{found}");
    let error = json!({ "code": "unreadable", "message": "It cannot be read." });
    let data = json!({ "jobId": document.job_id, "error": error });
    let result = json!({ "type": "job.failed", "timestamp": "2026-11-20T16:04:05.006Z", "data": data });
    let delivery = Delivery::signed(&case.stack.shared_secrets().signing_secret, result.to_string());
    case.stack.call_back(document.callback_id.expose(), &delivery).await;
    case.stack.until(&upload, "has failed", |now| now.state == DocumentState::Failed).await;
}

#[tokio::test]
async fn rejected_document_is_explained_by_its_submission_and_id() {
    let case = Case::begin();
    let upload = case.upload("empty.txt", Vec::new()).await;
    case.stack.rejected(&upload, "empty").await;
    let alone = case.stack.lectern(&["explain", &upload.id().to_string()]).await;
    assert_eq!(alone.exit, Exit::NotFound);
    assert!(alone.err.contains("<submission id>/<document id>"), "{}", alone.err);
    let found = case.stack.lectern(&["explain", &name_of(&upload)]).await;
    assert!(found.out.contains("Where  Rejected (empty)."), "{}", found.out);
    let refused = case.stack.lectern(&["redrive", &name_of(&upload), "--json"]).await;
    assert_eq!((refused.exit, &refused.json()["documents"][0]["done"]), (Exit::Attention, &json!("refused")));
}

#[tokio::test]
async fn case_48_redrive_twice_makes_one_execution_and_one_job() {
    let case = Case::begin();
    let rejected = SubmissionFault::Rejected { code: "notToday".to_owned(), message: "No.".to_owned() };
    let upload = case.upload_with("plan.txt", text(), [rejected.into()]).await;
    case.stack.not_accepted(&upload, "notToday").await;
    let id = upload.id().to_string();
    let dry = case.stack.lectern(&["redrive", &id, "--dry-run", "--json"]).await;
    assert_eq!(dry.json()["documents"][0]["done"], "would");
    assert_eq!(case.stack.load(&upload).await.unwrap().redrives, 0, "a dry run changes nothing");
    let redrive = ["redrive", &id, "--json"];
    let (one, two) = tokio::join!(case.stack.lectern(&redrive), case.stack.lectern(&redrive));
    assert!(
        [&one, &two].iter().any(|ran| ran.json()["documents"][0]["done"] == "started"),
        "{}{}",
        one.out,
        two.out
    );
    let third = case.stack.lectern(&redrive).await;
    assert_eq!(third.json()["documents"][0]["done"], "nothing", "{}", third.out);
    let document = case.stack.until(&upload, "is ready", |now| now.state == DocumentState::Ready).await;
    assert_eq!(document.redrives, 1);
    let mut executions = case.stack.executions_of(&upload).await;
    executions.sort();
    assert_eq!(executions, [id.clone(), format!("{id}-redrive-1")]);
    case.stack.only_job(&upload).await;
    let (submission, _) = case.settled(1).await;
    assert_eq!(
        (submission.counts.ready, submission.counts.failed),
        (1, 0),
        "the submission counts the document once, in its present state"
    );
}

#[tokio::test]
async fn case_48_redrive_uses_the_stored_result_and_processes_nothing_again() {
    let case = Case::begin();
    let bytes = text();
    let rule: FaultRule = for_content(&bytes, FileFault::FileAltered).times(FETCHES).role(FileRole::Text);
    case.stack.add_fault(&rule).await;
    let upload = case.upload("kept.txt", bytes).await;
    let failed = case.stack.ended(&upload).await;
    assert_eq!(failed.state, DocumentState::Failed);
    assert!(failed.has_succeeded_result());
    let ran = case.stack.lectern(&["redrive", &upload.id().to_string()]).await;
    assert!(ran.out.contains("with the stored result"), "{}{}", ran.out, ran.err);
    case.stack.until(&upload, "is ready", |now| now.state == DocumentState::Ready).await;
    assert_eq!(case.stack.only_job(&upload).await.submissions, 1, "the document was not submitted again");
}

/// A second job would exceed the third party's limit.
#[tokio::test]
async fn case_48_redrive_of_a_document_that_may_have_a_job_waits_for_that_job() {
    let case = Case::begin();
    // The job ends after the document has failed, while the redriven execution waits.
    let late = JobFault::LateCallback { delay_ms: 90_000, status: ReportedStatus::Working };
    let upload = case.upload_with_lasting("late.txt", text(), late).await;
    case.stack.failed(&upload, "overdue").await;
    let ran = case.stack.lectern(&["redrive", &upload.id().to_string()]).await;
    assert!(ran.out.contains("it first probes the job"), "{}{}", ran.out, ran.err);
    case.stack.until(&upload, "is ready", |now| now.state == DocumentState::Ready).await;
    assert_eq!(case.stack.only_job(&upload).await.submissions, 1);
}
