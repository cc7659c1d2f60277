//! The workflow on a stack that is changed for a while: settings, secrets and notifications change, and functions are
//! killed.

use lectern::document::DocumentState;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use third_party::{FaultRule, SubmissionFault};
use uuid::Uuid;

use crate::{
    alone::then,
    aws_json::{call, sha256_hex},
    callbacks::Delivery,
    case::{Case, Upload},
    content::{text, text_of, video},
    queues::{event, event_record},
    stack::Stack,
    wait::{SOON, eventually},
};

#[tokio::test]
async fn a_pulled_document_becomes_ready_with_one_job_that_fetched_its_bytes() {
    let stack = Stack::open();
    let function = stack.function("TransferDocumentFunction").await;
    let before = stack.set_variable(&function, "PUSH_MAX_BYTES", "0").await;
    let body = async {
        let case = Case::begin();
        let pulled = case.stack.pulled().await;
        let files = [("lesson.mp4", video()), ("long.txt", text_of(600_000)), ("a+b c%.txt", text())];
        let mut uploads = Vec::new();
        for (name, bytes) in files {
            uploads.push((sha256_hex(&bytes), case.upload(name, bytes).await));
        }
        for (sha256, upload) in uploads {
            case.stack.ready(&upload).await;
            assert_eq!(case.stack.only_job(&upload).await.sha256, Some(sha256));
        }
        assert_eq!(case.stack.pulled().await, pulled + 3);
    };
    then(body, stack.set_variable(&function, "PUSH_MAX_BYTES", &before)).await;
}

#[tokio::test]
async fn s01_token_that_has_expired_is_refused() {
    let stack = Stack::open();
    let client_id = stack.is.user_pool_client_id.clone();
    // Cognito takes five minutes or more. The local cloud also takes one second, so that the test need not wait so long.
    let lifetime = async |number: u32, unit: &str| {
        let stack = Stack::open();
        let units = json!({ "AccessToken": unit, "RefreshToken": "hours" });
        let changed = json!({
            "ClientId": stack.is.user_pool_client_id, "AccessTokenValidity": number, "TokenValidityUnits": units,
        });
        stack.cognito("UpdateUserPoolClient", &stack.is.user_pool_id, changed).await;
    };
    lifetime(1, "seconds").await;
    let body = async move {
        let token = stack.sign_in(&client_id, &stack.is.people.teacher).await.access;
        eventually("the token has expired", SOON, async || {
            let answer = stack.send_as(Some(&token), Method::GET, "/v1/submissions", &Value::Null).await;
            if answer.status() == StatusCode::UNAUTHORIZED { Ok(()) } else { Err(answer.status()) }
        })
        .await;
    };
    then(body, lifetime(60, "minutes")).await;
}

#[tokio::test]
async fn case_02_of_events_out_of_order_the_newer_version_wins() {
    let stack = Stack::open();
    let bucket = stack.is.uploads_bucket.clone();
    let notified = stack.s3.get_bucket_notification_configuration().bucket(&bucket).send().await.unwrap();
    let queues = notified.queue_configurations.unwrap_or_default();
    let notify = async |queues| {
        let configuration = aws_sdk_s3::types::NotificationConfiguration::builder()
            .set_queue_configurations(Some(queues))
            .build();
        let request = stack.s3.put_bucket_notification_configuration().bucket(&bucket);
        request.notification_configuration(configuration).send().await.unwrap();
    };
    assert!(!queues.is_empty());
    // S3 itself would send the events in order, so the test sends them.
    notify(Vec::new()).await;
    let body = async {
        let case = Case::begin();
        let older = case.upload("plan.txt", text()).await;
        let newer = case.upload("plan.txt", text()).await;
        let send = async |upload: &Upload, sequencer: &str| {
            let record = event_record(&case.stack, &upload.key, &upload.version, sequencer);
            case.stack.send(&case.stack.is.queue_urls.receive_upload, &event(&[record])).await;
        };
        send(&newer, "00B2").await;
        case.stack.ready(&newer).await;
        send(&older, "00A1").await;
        let superseded = case.stack.ended(&older).await;
        assert_eq!(superseded.state, DocumentState::Rejected);
        assert_eq!(superseded.superseded_by, Some(newer.id()));
        assert!(case.stack.jobs(older.id()).await.is_empty());
        let (submission, _) = case.settled(2).await;
        assert_eq!(
            (submission.counts.ready, submission.counts.rejected),
            (1, 0),
            "only the newer version counts"
        );
        assert_eq!(submission.state.as_str(), "Ready");
    };
    then(body, notify(queues)).await;
}

#[tokio::test]
async fn case_19_case_20_function_that_is_killed_in_mid_upload_or_before_its_ack_makes_no_second_job() {
    let case = Case::begin();
    let function = case.stack.function("TransferDocumentFunction").await;
    let trickle = SubmissionFault::SlowUpload { bytes_per_second: Some(80_000), pause_ms: None };
    let slow = |id: String| FaultRule::for_key(id, trickle.clone()).times(1);
    let midway = case.upload_held("midway.txt", text_of(400_000), &slow).await;
    let pause = SubmissionFault::SlowUpload { bytes_per_second: None, pause_ms: Some(4_000) };
    let unanswered = case.upload_with("unanswered.txt", text(), [pause.into()]).await;
    eventually("one upload is in progress, the other is accepted and not answered", SOON, async || {
        let striking = case.stack.faults().await;
        let accepted = case.stack.jobs(unanswered.id()).await.len();
        let begun = !striking.iter().any(|fault| fault.rule == slow(midway.id().to_string()));
        if begun && accepted == 1 { Ok(()) } else { Err(format!("begun {begun}, accepted {accepted}")) }
    })
    .await;
    assert!(case.stack.jobs(midway.id()).await.is_empty(), "its upload is in progress");
    assert!(case.stack.kill(&function) > 0);
    for upload in [&midway, &unanswered] {
        case.stack.ready(upload).await;
        case.stack.only_job(upload).await;
    }
    let (submission, _) = case.settled(2).await;
    assert_eq!(submission.counts.ready, 2);
}

#[tokio::test]
async fn case_37_old_and_new_secret_are_accepted_while_one_is_rotated() {
    let stack = Stack::open();
    let old = stack.shared_secrets().signing_secret;
    let new = format!("whsec_{}", "bmV3LXNlY3JldC1mb3ItdGhlLXJvdGF0aW9uLXRlc3Q=");
    let both = format!("{new} {old}");
    stack.rotate(&both).await;
    let body = async move {
        let case = Case::begin();
        let unknown = Uuid::new_v4().to_string();
        for secret in [&old, &new] {
            let answer = case.stack.call_back(&unknown, &Delivery::signed(secret, "{}")).await;
            assert!(answer.is_success(), "{answer}");
        }
        let upload = case.upload("rotated.txt", text()).await;
        case.stack.ready(&upload).await;
        case.stack.rotate(&new).await;
        let answer = case.stack.call_back(&unknown, &Delivery::signed(&old, "{}")).await;
        assert_eq!(answer, StatusCode::UNAUTHORIZED, "the old secret has expired");
        let answer = case.stack.call_back(&unknown, &Delivery::signed(&new, "{}")).await;
        assert!(answer.is_success(), "{answer}");
    };
    let original = stack.shared_secrets().signing_secret;
    then(body, stack.rotate(&original)).await;
}

#[tokio::test]
async fn debug_is_on_for_the_one_submission_that_the_setting_names() {
    let (debugged, ordinary) = (Case::begin(), Case::begin());
    let stack = &debugged.stack;
    let function = stack.function("NormalizeDocumentFunction").await;
    let before = stack.set_variable(&function, "DEBUG_SUBMISSION", debugged.submission.as_str()).await;
    assert_eq!(before, "-");
    let uploads = [debugged.upload("plan.txt", text()).await, ordinary.upload("plan.txt", text()).await];
    let mut ends = Vec::new();
    for upload in &uploads {
        ends.push(stack.ended(upload).await.state);
    }
    let found = eventually("the debug lines are there", SOON, async || {
        let mut lines = stack.lines_by_document().await;
        let mut debug = |id: String| {
            let lines = lines.remove(&id).unwrap_or_default();
            lines.into_iter().filter(|line| line["level"] == "DEBUG").count()
        };
        let found = uploads.each_ref().map(|upload| debug(upload.id().to_string()));
        if found[0] > 0 { Ok(found) } else { Err("there are none".to_owned()) }
    })
    .await;
    stack.set_variable(&function, "DEBUG_SUBMISSION", &before).await;
    assert_eq!(ends, [DocumentState::Ready; 2]);
    assert_eq!(found[1], 0, "the other submission has no debug lines");
}

impl Stack {
    /// The number of documents that the third party has fetched by URL so far.
    async fn pulled(&self) -> u64 {
        let counts = self.request_counts().await.into_iter();
        counts
            .filter(|one| one.route == lectern::contract::wire::PULL_PATH && one.status == Some(201))
            .map(|one| one.count)
            .sum()
    }

    /// Stores these signing secrets and restarts the function, so that it reads them before its cache expires.
    async fn rotate(&self, secrets: &str) {
        let listed = call(self, "secretsmanager", "secretsmanager.ListSecrets", &json!({})).await;
        let all = listed["SecretList"].as_array().unwrap().iter();
        let found = all
            .filter_map(|secret| secret["Name"].as_str())
            .find(|name| name.contains("WebhookSigningSecret"));
        let put = json!({ "SecretId": found.expect("the secret"), "SecretString": secrets });
        call(self, "secretsmanager", "secretsmanager.PutSecretValue", &put).await;
        let function = self.function("ReceiveCallbackFunction").await;
        self.set_variable(&function, "ROTATED", &Uuid::new_v4().to_string()).await;
    }
}
