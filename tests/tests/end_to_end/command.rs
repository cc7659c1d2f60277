//! The command `lectern` against the deployed stack: its output is true and contains no secret, and each of its actions
//! takes effect once.

use aws_sdk_s3::types::{NotificationConfiguration, QueueConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;
use lectern::{contract::wire::FileRole, document::DocumentState, message::SCHEMA_VERSION};
use lectern_cli::{Console, Exit};
use serde_json::{Value, json};
use third_party::{FaultRule, FileFault, JobFault, ReportedStatus, SubmissionFault};
use uuid::Uuid;

use crate::{
    afterwards::then,
    callbacks::Delivery,
    case::{Case, Upload},
    content::text,
    queues::{event, event_record},
    stack::Stack,
    third_party_admin::for_content,
    wait::{SOON, eventually},
};

/// The first fetch of a returned file plus its retries (`Mappings: Workflow: Mismatch`).
const FETCHES: u32 = 7;

/// The command's outputs and exit status.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}:\n{}\n{}", self.out, self.err))
    }
}

impl Stack {
    /// Runs `lectern` on this stack.
    async fn lectern(&self, arguments: &[&str]) -> Ran {
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

    async fn notified(&self) -> Vec<QueueConfiguration> {
        let request = self.s3.get_bucket_notification_configuration().bucket(&self.is.uploads_bucket);
        request.send().await.unwrap().queue_configurations.unwrap_or_default()
    }

    async fn notify(&self, queues: Vec<QueueConfiguration>) {
        let configuration =
            NotificationConfiguration::builder().set_queue_configurations(Some(queues)).build();
        let request = self.s3.put_bucket_notification_configuration().bucket(&self.is.uploads_bucket);
        request.notification_configuration(configuration).send().await.unwrap();
    }

    /// Messages in a queue, visible or in flight.
    async fn depth(&self, url: &str) -> u64 {
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

fn name_of(upload: &Upload) -> String {
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
            "ReceiveCallback logged: The result was kept.",
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
    let all = ["AdmitDocument", "FailedInvocation", "NormalizeDocument", "ReceiveUpload", "TransferDocument"];
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
    let data = json!({ "jobId": "job_1", "error": error });
    let result = json!({ "type": "job.failed", "timestamp": "2026-11-20T16:04:05.006Z", "data": data });
    let delivery = Delivery::signed(&case.stack.shared_secrets().signing_secret, result.to_string());
    case.stack.call_back(document.callback_id.expose(), &delivery).await;
    case.stack.until(&upload, "has failed", |now| now.state == DocumentState::Failed).await;
}

#[tokio::test]
#[ignore = "runs alone, after the others: make e2e"]
async fn dead_letters_of_admit_document_are_sent_back_and_change_nothing_of_a_document_that_has_ended() {
    let case = Case::begin();
    let upload = case.upload("orders.txt", text()).await;
    let ready = case.stack.ready(&upload).await;
    let dead = &case.stack.is.dead_letter_queue_urls.admit_document;
    for (kind, attempt) in [("request", 1), ("report", 2), ("renew", 3), ("release", 4)] {
        let order = json!({
            "schemaVersion": SCHEMA_VERSION, "submissionId": case.submission, "documentId": upload.id(),
            "kind": kind, "attempt": attempt, "count": 1, "failedTransfers": 0, "repeats": 0, "error": "", "taskToken": "a-token-that-is-a-secret",
        });
        let request = case.stack.sqs.send_message().queue_url(dead).message_body(order.to_string());
        request.message_group_id("admission").send().await.unwrap();
    }
    let listed = case.stack.lectern(&["dlq", "list", "admit-document", "--json"]).await;
    let queue = listed.json()["queues"][0].clone();
    assert_eq!(queue["classes"], json!({ "readable": 4 }), "{queue}");
    let done = case.stack.lectern(&["dlq", "redrive", "admit-document", "--yes", "--json"]).await;
    let queue = done.json()["queues"][0].clone();
    assert_eq!((done.exit, &queue["sent"]), (Exit::Done, &json!(4)), "{queue}");
    let source = &case.stack.is.queue_urls.admit_document;
    eventually("all messages are handled", SOON, async || {
        let depth = case.stack.depth(source).await;
        if depth == 0 { Ok(()) } else { Err(depth) }
    })
    .await;
    let empty = case.stack.lectern(&["dlq", "list", "admit-document", "--json"]).await.json();
    assert_eq!(empty["queues"][0]["messages"], json!([]), "no message came back");
    assert_eq!(case.stack.load(&upload).await.unwrap(), ready);
    case.stack.only_job(&upload).await;
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
    assert_eq!(case.stack.failed(&upload, "notToday").await, "ThirdParty.Rejected");
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
    let truncated = FileFault::FileTruncated { keep_bytes: Some(1) };
    let rule: FaultRule = for_content(&bytes, truncated).times(FETCHES).role(FileRole::Text);
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

#[tokio::test]
#[ignore = "runs alone, after the others: make e2e"]
async fn case_08_lost_event_is_found_by_reconcile_and_the_upload_becomes_ready() {
    let stack = Stack::open();
    let queues = stack.notified().await;
    assert!(!queues.is_empty());
    stack.notify(Vec::new()).await;
    let body = async {
        let case = Case::begin();
        let older = case.upload("lost +%教案.txt", text()).await;
        let upload = case.upload("lost +%教案.txt", text()).await;
        let arguments = ["reconcile", "--submission", case.submission.as_str(), "--json"];
        let young = case.stack.lectern(&arguments).await.json();
        assert_eq!(
            (&young["young"], &young["findings"]),
            (&json!(1), &json!([])),
            "its event may still come"
        );
        let now = [&arguments[..], &["--min-age", "0"]].concat();
        let dry = case.stack.lectern(&now).await.json();
        for (finding, found) in [&upload, &older].into_iter().enumerate() {
            assert_eq!(dry["findings"][finding]["document"], name_of(found));
            assert!(case.stack.load(found).await.is_none(), "a dry run changes nothing");
        }
        let done = case.stack.lectern(&[&now[..], &["--yes"]].concat()).await;
        assert_eq!((done.exit, &done.json()["announced"]), (Exit::Done, &json!(2)));
        case.stack.ready(&upload).await;
        case.stack.until(&older, "is superseded", |old| old.superseded_by == Some(upload.id())).await;
        let again = case.stack.lectern(&[&now[..], &["--yes"]].concat()).await.json();
        assert_eq!((&again["announced"], &again["findings"]), (&json!(0), &json!([])), "nothing differs");
        // The older version's late event changes nothing; the event of the newer upload supersedes the one before.
        let newer = case.upload("lost +%教案.txt", text()).await;
        let records = [(&older, "EE"), (&newer, "FF")]
            .map(|(upload, sequencer)| event_record(&case.stack, &upload.key, &upload.version, sequencer));
        case.stack.send(&case.stack.is.queue_urls.receive_upload, &event(&records)).await;
        case.stack.ready(&newer).await;
        case.stack.until(&upload, "is superseded", |old| old.superseded_by == Some(newer.id())).await;
        let document = case.stack.load(&older).await.unwrap();
        assert_eq!(document.superseded_by, Some(upload.id()), "its late event superseded no version");
    };
    then(body, stack.notify(queues)).await;
}

#[tokio::test]
#[ignore = "runs alone, after the others: make e2e"]
async fn case_08_dead_event_is_redriven_and_the_upload_becomes_ready_once() {
    let stack = Stack::open();
    let queues = stack.notified().await;
    stack.notify(Vec::new()).await;
    let body = async {
        let case = Case::begin();
        let upload = case.upload("dead.txt", text()).await;
        let body = event(&[event_record(&case.stack, &upload.key, &upload.version, "0001")]);
        let dead = &case.stack.is.dead_letter_queue_urls.receive_upload;
        case.stack.send_batch(dead, &[body.clone(), body]).await;
        let redrive = ["dlq", "redrive", "receive-upload", "--json"];
        let dry = case.stack.lectern(&redrive).await.json();
        assert_eq!(dry["queues"][0]["classes"], json!({ "readable": 2 }), "{dry}");
        assert!(case.stack.load(&upload).await.is_none(), "a dry run changes nothing");
        let done = case.stack.lectern(&[&redrive[..], &["--yes"]].concat()).await.json();
        assert_eq!(done["queues"][0]["sent"], 2, "{done}");
        case.stack.ready(&upload).await;
        case.stack.only_job(&upload).await;
    };
    then(body, stack.notify(queues)).await;
}

#[tokio::test]
#[ignore = "runs alone, after the others: make e2e"]
async fn unreadable_message_is_quarantined_whole_and_one_that_nobody_waits_for_has_no_effect() {
    let case = Case::begin();
    let upload = case.upload("ended.txt", text()).await;
    let ready = case.stack.ready(&upload).await;
    let poison = format!("no json at all: {} \u{1F480}", Uuid::new_v4());
    let late = json!({
        "schemaVersion": SCHEMA_VERSION, "submissionId": case.submission, "documentId": upload.id(),
        "attempt": 1, "round": 1, "permitExpiresAt": "2026-11-20T20:00:00.000Z", "taskToken": "a-token-that-is-a-secret",
        "traceparent": ready.traceparent.expect("every document has a trace").to_string(),
    });
    let dead = &case.stack.is.dead_letter_queue_urls.transfer_document;
    case.stack.send_batch(dead, &[poison.clone(), late.to_string()]).await;
    let listed = case.stack.lectern(&["dlq", "list", "transfer-document", "--json"]).await;
    assert_eq!(listed.json()["queues"][0]["classes"], json!({ "readable": 1, "unreadable": 1 }));
    let shown = case.stack.lectern(&["dlq", "list", "transfer-document", "--bodies"]).await;
    assert!(shown.out.contains(&format!("lectern explain {}", name_of(&upload))), "{}", shown.out);
    for ran in [&listed, &shown] {
        assert!(!ran.out.contains("a-token-that-is-a-secret") && !ran.out.contains("no json at all"));
    }
    let redrive = ["dlq", "redrive", "transfer-document", "--yes", "--json"];
    let done = case.stack.lectern(&redrive).await;
    let queue = done.json()["queues"][0].clone();
    assert_eq!((done.exit, &queue["sent"]), (Exit::Done, &json!(1)), "{queue}");
    let key = queue["quarantined"][0].as_str().unwrap();
    assert!(key.starts_with("quarantine/dead-letters/TransferDocument/"), "{key}");
    let kept =
        case.stack.s3.get_object().bucket(&case.stack.is.returned_bucket).key(key).send().await.unwrap();
    let kept: Value = serde_json::from_slice(&kept.body.collect().await.unwrap().into_bytes()).unwrap();
    assert_eq!(kept["body"], poison.as_str(), "whole");
    let source = &case.stack.is.queue_urls.transfer_document;
    eventually("the late message is handled", SOON, async || {
        let depth = case.stack.depth(source).await;
        if depth == 0 { Ok(()) } else { Err(depth) }
    })
    .await;
    let again = case.stack.lectern(&redrive).await.json();
    assert_eq!((&again["queues"][0]["sent"], &again["queues"][0]["quarantined"]), (&json!(0), &json!([])));
    assert_eq!(case.stack.load(&upload).await.unwrap(), ready);
    case.stack.only_job(&upload).await;
}
