//! The alarm on a stall of all documents.

use lectern::{
    admission::AdmissionState, document::DocumentState, ports::AdmissionStore as _,
    steps::admit_document::QueueChanges,
};
use serde_json::{Value, json};

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
