//! The ports in memory against the contract of each port. The end-to-end test `ports` holds the adapters to the same.

use std::sync::Arc;

use lectern::{
    admission::AdmissionState,
    document::submission::SubmissionState,
    document::{Attempt, CallbackId, DocumentId, DocumentRef, Reason, Round, TaskToken},
    ports::{
        AdmissionStore as _, FinalOutcome, Finishing as _, NewDocument, Register as _, Reopening as _,
        Sequencer, Transfers as _,
    },
    steps::admit_document::QueueChanges,
    telemetry::trace::TraceParent,
    testing::{
        Cut, Faults, MemoryDesk, MemoryObjects, MemoryStates, MemoryStore, MemoryThirdParty,
        SequentialRandom,
        port_contract::{
            admission, audit, documents, erasure, events,
            faults::{self, write_that_meets_another_writer_can_be_repeated as repeated},
            hand_in, machine,
            objects::{self, UploadsSetup as _},
        },
        world::{START, failed_for, object},
    },
};

fn store() -> MemoryStore {
    MemoryStore::new(Arc::new(Faults::default()))
}

fn keeps(outcome: Result<(), String>) {
    if let Err(broken) = outcome {
        panic!("these cases are broken:\n{broken}");
    }
}

#[tokio::test]
async fn register_keeps_its_contract() {
    keeps(documents::register(&store()).await);
}

#[tokio::test]
async fn load_keeps_its_contract() {
    keeps(documents::load(&store()).await);
}

#[tokio::test]
async fn transfers_keeps_its_contract() {
    keeps(documents::transfers(&store()).await);
}

#[tokio::test]
async fn results_keeps_its_contract() {
    keeps(documents::results(&store()).await);
}

#[tokio::test]
async fn finishing_keeps_its_contract() {
    keeps(documents::finishing(&store()).await);
}

#[tokio::test]
async fn reopening_keeps_its_contract() {
    keeps(documents::reopening(&store()).await);
}

#[tokio::test]
async fn withdrawing_keeps_its_contract() {
    keeps(documents::withdrawing(&store()).await);
}

#[tokio::test]
async fn browse_keeps_its_contract() {
    keeps(documents::browse(&store()).await);
}

#[tokio::test]
async fn operations_keeps_its_contract() {
    keeps(documents::operations(&store()).await);
}

#[tokio::test]
async fn hand_in_keeps_its_contract() {
    keeps(hand_in::hand_in(&store()).await);
}

#[tokio::test]
async fn lists_keep_their_contract() {
    keeps(hand_in::lists(&store()).await);
}

#[tokio::test]
async fn sign_uploads_keeps_its_contract() {
    let desk = MemoryDesk::default();
    keeps(hand_in::sign_uploads(&desk, &desk).await);
}

#[tokio::test]
async fn retention_keeps_its_contract() {
    keeps(erasure::retention(&store().with_retention(erasure::RETENTION)).await);
}

#[tokio::test]
async fn erasures_keeps_its_contract() {
    keeps(erasure::erasures(&store()).await);
}

#[tokio::test]
async fn audit_keeps_its_contract() {
    keeps(audit::audit(&store()).await);
}

#[tokio::test]
async fn subscribers_keeps_its_contract() {
    keeps(events::subscribers(&store()).await);
}

#[tokio::test]
async fn deliveries_keeps_its_contract() {
    keeps(events::deliveries(&store()).await);
}

#[tokio::test]
async fn submission_objects_keeps_its_contract() {
    let objects = MemoryObjects::default();
    keeps(erasure::submission_objects(&objects, &objects).await);
}

#[tokio::test]
async fn admission_store_keeps_its_contract() {
    keeps(admission::admission_store(&store()).await);
}

#[tokio::test]
async fn orders_keeps_its_contract() {
    let states = MemoryStates::default();
    keeps(admission::orders(&states, &states).await);
}

#[tokio::test]
async fn executions_keeps_its_contract() {
    let states = MemoryStates::default();
    keeps(machine::executions(&states, &states).await);
}

#[tokio::test]
async fn start_erasure_keeps_its_contract() {
    let states = MemoryStates::default();
    keeps(machine::start_erasure(&states, &states).await);
}

#[tokio::test]
async fn tasks_keeps_its_contract() {
    let states = MemoryStates::default();
    keeps(machine::tasks(&states, &states).await);
}

#[tokio::test]
async fn uploads_keeps_its_contract() {
    let bucket = MemoryObjects::default();
    keeps(objects::uploads(&bucket, &bucket).await);
}

#[tokio::test]
async fn upload_reader_keeps_its_contract() {
    let bucket = MemoryObjects::default();
    keeps(objects::upload_reader(&bucket, &bucket).await);
}

#[tokio::test]
async fn returned_files_keeps_its_contract() {
    keeps(objects::returned_files(&MemoryObjects::default()).await);
}

#[tokio::test]
async fn records_keeps_its_contract() {
    keeps(objects::records(&MemoryObjects::default()).await);
}

#[tokio::test]
async fn d02_v01_upload_that_breaks_off_is_no_fault_of_the_third_party() {
    let (bucket, third_party) = (MemoryObjects::default(), MemoryThirdParty::default());
    let object = bucket.add_version("submissions/s1/notes.txt", None, "A poem.".into()).await;
    bucket.break_off_next_read();
    let case = faults::upload_that_breaks_off_is_no_fault_of_the_third_party;
    case(&bucket, &third_party, &object, 7).await.unwrap();
    assert!(third_party.jobs().is_empty(), "no half job");
}

#[expect(clippy::unwrap_used, reason = "a helper of tests, which the lint takes for product code")]
fn new_document() -> NewDocument {
    let object = object("plan.pdf", "v1");
    let document_id = DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id);
    NewDocument {
        reference: DocumentRef { submission_id: "s1".parse().unwrap(), document_id },
        object,
        sequencer: Sequencer::new("1"),
        owner: None,
        name: None,
        upload: None,
        size_bytes: 7,
        media_type: None,
        rejected: None,
        callback_id: CallbackId::new("callback"),
        traceparent: TraceParent::new(&SequentialRandom::default()),
        now: START,
    }
}

fn failure() -> FinalOutcome {
    failed_for(Reason::new("internal", "It failed."))
}

#[tokio::test]
async fn case_45_write_that_meets_another_writer_can_be_repeated() {
    let planned = Arc::new(Faults::default());
    let (store, new) = (MemoryStore::new(planned.clone()), new_document());
    let reference = &new.reference;
    for call in ["register", "begin_transfer", "finish", "reopen", "commit"] {
        planned.cut_next(call, Cut::Conflict);
    }
    repeated(async || store.register(new.clone()).await).await.unwrap();
    repeated(async || store.begin_transfer(reference, Attempt(1000), Round::FIRST, START).await)
        .await
        .unwrap();
    repeated(async || store.finish(reference, failure(), START).await).await.unwrap();
    repeated(async || store.reopen(reference, 0, false, START).await).await.unwrap();
    let state = AdmissionState::default();
    repeated(async || store.commit(&state, 0, QueueChanges::default()).await).await.unwrap();
}

#[tokio::test]
async fn submission_that_the_index_lists_under_its_old_state_is_left_in() {
    let (store, new) = (store(), new_document());
    store.register(new.clone()).await.unwrap();
    store.stop_index();
    store.finish(&new.reference, failure(), START).await.unwrap();
    let states = [SubmissionState::InProgress, SubmissionState::NeedsAttention];
    let case = faults::submission_that_the_index_lists_under_its_old_state_is_left_in;
    keeps(case(&store, &new.reference.submission_id, states).await);
}

#[tokio::test]
async fn case_34_token_that_nobody_waits_for_is_not_awaited() {
    let (states, token) = (MemoryStates::default(), TaskToken::new("token"));
    states.expire(&token);
    keeps(faults::token_that_nobody_waits_for_is_not_awaited(&states, &token).await);
}
