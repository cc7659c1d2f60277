//! The alarms on a stall of all documents and on messages of newer code.

use aws_sdk_sqs::types::QueueAttributeName;
use lectern::{
    admission::AdmissionState, document::DocumentState, message::SCHEMA_VERSION, ports::AdmissionStore as _,
    steps::admit_document::QueueChanges,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    alarms::now_ms,
    alone::then,
    case::Case,
    content::text,
    stack::Stack,
    wait::{SOON, eventually},
};

/// The largest value of `ThirdPartyMaxInFlight`, so enough to take all leases of any stack.
const LEASES: u32 = 250;
/// Above the number of any test's attempt.
const FIRST_ATTEMPT: u32 = 4_000_000_000;
const HOUR_US: i128 = 3_600_000_000;

/// Attempts that are never released hold all leases, and the stall began an hour ago.
#[tokio::test]
async fn stall_sets_its_alarm_off_and_ends_when_leases_are_released() {
    let (stack, case) = (Stack::open(), Case::begin());
    let now_us = now_ms() * 1000;
    let lease = move |number: u32| json!({ "attempt": FIRST_ATTEMPT + number, "startsAt": now_us, "endsAt": now_us + HOUR_US });
    stack
        .change_admission_state(move |state| {
            state["stalledSince"] = json!(now_us - HOUR_US);
            state["leases"].as_array_mut().unwrap().extend((0..LEASES).map(lease));
        })
        .await;
    let submission = case.submission.to_string();
    let body = async move {
        let began = now_ms();
        let upload = case.upload("waits.txt", text()).await;
        // The local cloud may hold back a function's last log line until the next invocation.
        eventually("the upload is registered", SOON, async || case.stack.load(&upload).await.ok_or("no"))
            .await;
        case.upload("waits-too.txt", text()).await;
        case.stack.goes_off("AdmissionStalledAlarm", "AdmitDocument", began).await;
        let document = case.stack.load(&upload).await.unwrap();
        assert_eq!(document.state, DocumentState::Received, "the document has no permit yet");
    };
    let release = stack.change_admission_state(move |state| {
        let leases = state["leases"].as_array_mut().unwrap();
        leases.retain(|lease| lease["attempt"].as_u64().unwrap() < FIRST_ATTEMPT.into());
    });
    then(body, release).await;
    // The next order makes admit-document grant permits to all of them.
    let case = Case::begin_as(&submission);
    case.upload("moves.txt", text()).await;
    assert_eq!(case.settled(3).await.0.counts.ready, 3);
}

/// As after a rollback: newer code has sent a message to normalize-document and an order to admit-document.
#[tokio::test]
async fn a07_newer_messages_wait_and_set_their_alarm_off() {
    let (stack, case) = (Stack::open(), Case::begin());
    let began = now_ms();
    let id = Uuid::new_v4();
    let newer = json!({ "schemaVersion": SCHEMA_VERSION + 1, "submissionId": "s1", "documentId": id, "taskToken": "t" });
    let queues = &stack.is.queue_urls;
    stack.send(&queues.normalize_document, &newer.to_string()).await;
    let order = stack.sqs.send_message().queue_url(&queues.admit_document).message_body(newer.to_string());
    order.message_group_id("admission").send().await.unwrap();
    stack.goes_off("NewerInputsAlarm", "AdmitDocument", began).await;
    let upload = case.upload("not-held-up.txt", text()).await;
    case.stack.ready(&upload).await;
    for (function, waits) in [("AdmitDocument", true), ("NormalizeDocument", false)] {
        eventually(&format!("{function} has met the newer message"), SOON, async || {
            let lines = stack.metric_lines(function, began).await;
            let met = lines.iter().any(|line| line["NewerInputs"] == 1);
            if met { Ok(()) } else { Err(format!("{} lines", lines.len())) }
        })
        .await;
        let url = if waits { &queues.admit_document } else { &queues.normalize_document };
        eventually(&format!("{function}: {waits}"), SOON, async || {
            let hidden = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
            let asked = stack.sqs.get_queue_attributes().queue_url(url).attribute_names(hidden.clone());
            let answer = asked.send().await.map_err(|error| format!("{error:?}"))?;
            let hidden = answer.attributes.unwrap_or_default().remove(&hidden).unwrap_or_default();
            if (hidden == "1") == waits { Ok(()) } else { Err(hidden) }
        })
        .await;
    }
    // The order would wait for four days.
    stack.sqs.purge_queue().queue_url(&queues.admit_document).send().await.unwrap();
}

impl Stack {
    /// Changes the stored admission state, and repeats that if another writer changed it meanwhile.
    async fn change_admission_state(&self, change: impl Fn(&mut Value)) {
        eventually("the admission state is changed", SOON, async || {
            let (state, revision) = self.store.admission_state().await.map_err(|error| error.to_string())?;
            let mut state = serde_json::to_value(state).unwrap();
            change(&mut state);
            let state: AdmissionState = serde_json::from_value(state).unwrap();
            let written = self.store.commit(&state, revision, QueueChanges::default()).await;
            written.map_err(|error| error.to_string())
        })
        .await;
    }
}
