//! Tests of a redrive, by the document's state and its newest execution.

use aws_sdk_sfn::Client;
use aws_smithy_mocks::{MockResponse, Rule, mock};
use lectern::{
    document::{Attempt, Document, DocumentId, DocumentRef, DocumentState},
    ports::{Resume, StartExecution},
    redrive::{self, Done, Plan, plan},
};
use lectern_aws::{DynamoDbStore, SystemClock};
use rstest::rstest;
use serde_json::{Value, json};

use super::run;
use crate::{
    args::Redrive,
    cloud::Cloud,
    console::{Console, Exit},
    executions::Status,
    testing::{answer, client, cloud, document, failed_job, item, json_error, succeeded},
};

const RUNNING: Option<Status> = Some(Status::Running);
const BROKEN: Option<Status> = Some(Status::Broken("timed out"));

#[rstest]
#[case::failed(DocumentState::Failed, None, "reopen")]
#[case::in_progress(DocumentState::Processing, RUNNING, "nothing")]
#[case::broken_off(DocumentState::Processing, BROKEN, "stop and reopen")]
#[case::forgotten(DocumentState::Processing, None, "stop and reopen")]
#[case::never_started(DocumentState::Received, None, "start")]
#[case::contradictory(DocumentState::Verifying, Some(Status::Succeeded), "stop and reopen")]
#[case::ready(DocumentState::Ready, None, "nothing")]
#[case::rejected(DocumentState::Rejected, None, "refused")]
fn every_state_has_its_plan(
    #[case] state: DocumentState,
    #[case] execution: Option<Status>,
    #[case] expected: &str,
) {
    let found = match plan(&document(state), execution, false) {
        Plan::Reopen { after: 0, resume: Resume::Probe, may_run: false, .. } => "reopen",
        Plan::Reopen { after: 0, resume: Resume::Probe, may_run: true, .. } => "stop and reopen",
        Plan::Start(StartExecution { redrives: 0, .. }) => "start",
        Plan::Nothing(_) => "nothing",
        Plan::Refused(_) => "refused",
        Plan::Reopen { .. } => "reopen otherwise",
        Plan::Start(_) => "start otherwise",
    };
    assert_eq!(found, expected);
}

fn options(DocumentRef { submission_id, document_id }: &DocumentRef, discard_result: bool) -> Redrive {
    Redrive {
        document: Some(format!("{submission_id}/{document_id}")),
        failed: false,
        reason: None,
        limit: None,
        discard_result,
        yes: false,
        dry_run: false,
        rate: 5.0,
    }
}

/// A table with this document.
struct Table {
    cloud: Cloud,
    stop: Rule,
    writes: Rule,
    start: Rule,
}

impl Table {
    fn of(open: &Document, execution: Option<&'static str>) -> Self {
        let item = item(open);
        let reads = mock!(aws_sdk_dynamodb::Client::get_item).then_compute_response(move |_| {
            MockResponse::Http(answer(200, json!({ "Item": item }).to_string()))
        });
        // The first write conflicts with another writer.
        let writes = mock!(aws_sdk_dynamodb::Client::transact_write_items)
            .sequence()
            .http_response(|| answer(400, CONFLICT))
            .http_response(|| answer(200, "{}"))
            .build();
        let describe = mock!(Client::describe_execution).then_compute_response(move |_| {
            MockResponse::Http(match execution {
                Some(status) => answer(
                    200,
                    json!({ "executionArn": "a", "stateMachineArn": "m", "status": status, "startDate": 1 })
                        .to_string(),
                ),
                None => json_error("ExecutionDoesNotExist"),
            })
        });
        let stop = mock!(Client::stop_execution).then_http_response(|| answer(200, r#"{"stopDate":1}"#));
        let start = mock!(Client::start_execution)
            .match_requests(|request| {
                let input: Value = serde_json::from_str(request.input().unwrap()).unwrap();
                request.name().unwrap().ends_with("-redrive-1") && input["redrives"] == 1
            })
            .then_http_response(|| answer(200, r#"{"executionArn":"a","startDate":1}"#));
        let sfn = client!(aws_sdk_sfn, describe, stop, start);
        let dynamodb = client!(aws_sdk_dynamodb, reads, writes);
        let store = DynamoDbStore::new(dynamodb, "table".to_owned());
        let cloud = Cloud { store, ..cloud(&[], client!(aws_sdk_sqs), client!(aws_sdk_s3), sfn) };
        Self { cloud, stop, writes, start }
    }

    /// Runs the command; returns its output, its exit, and how often it stopped, wrote and started.
    async fn redrive(&self, options: &Redrive) -> (String, Exit, [usize; 3]) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(&self.cloud, options, &mut Console::new(&mut out, &mut err, false)).await.unwrap();
        let calls = [&self.stop, &self.writes, &self.start].map(Rule::num_calls);
        (String::from_utf8(out).unwrap(), exit, calls)
    }
}

/// The error of `DynamoDB` for a transaction that conflicts with another one.
const CONFLICT: &str = r#"{"__type":"TransactionCanceledException","message":"x","CancellationReasons":[{"Code":"TransactionConflict"}]}"#;

#[rstest]
#[tokio::test(start_paused = true)]
async fn case_48_redrive_stops_the_old_execution_reopens_the_document_and_starts_a_new_one(
    #[values(false, true)] discard_result: bool,
) {
    let open = Document { attempt: Some(Attempt(1_000_001)), ..document(DocumentState::Transferring) };
    let table = Table::of(&open, Some("ABORTED"));
    let (text, exit, calls) = table.redrive(&options(&open.reference, discard_result)).await;
    assert_eq!((exit, calls[2]), (Exit::Done, 1), "{text}");
    assert_eq!(calls[..2], [2, 2], "a transaction that conflicts with another writer is retried");
    assert!(text.contains("-redrive-1 was started"), "{text}");
}

#[tokio::test]
async fn case_48_redrive_that_meets_another_one_starts_no_second_execution() {
    let open = document(DocumentState::Processing);
    let table = Table::of(&open, Some("RUNNING"));
    let (text, exit, calls) = table.redrive(&options(&open.reference, false)).await;
    assert!(text.ends_with("it is in progress (Processing); nothing was changed.\n"), "{text}");
    assert_eq!((exit, calls), (Exit::Done, [0, 0, 0]));
    // Another command reopened the document just after this one had read it.
    let seen = document(DocumentState::Processing);
    let reopened = Document { redrives: 1, ..document(DocumentState::Received) };
    let table = Table::of(&reopened, Some("ABORTED"));
    let Cloud { store, state_machine, .. } = &table.cloud;
    let executions = &table.cloud.executions.of_documents();
    let ports = redrive::Ports { store, executions, state_machine, clock: &SystemClock };
    let done = ports.redrive(&plan(&seen, BROKEN, false)).await.unwrap();
    assert_eq!(
        done,
        Done::Nothing("another redrive has already reopened it; nothing was changed.".to_owned())
    );
    assert_eq!([&table.writes, &table.start].map(Rule::num_calls), [0, 0]);
}

#[tokio::test]
async fn case_48_redrive_that_was_killed_before_it_started_the_execution_is_finished_by_the_next_call() {
    let reopened = Document { redrives: 1, ..document(DocumentState::Received) };
    let table = Table::of(&reopened, None);
    let (text, exit, calls) = table.redrive(&options(&reopened.reference, false)).await;
    assert_eq!((exit, calls), (Exit::Done, [0, 0, 1]), "{text}");
}

#[tokio::test]
async fn dry_run_changes_nothing() {
    let open = document(DocumentState::Transferring);
    let table = Table::of(&open, Some("TIMED_OUT"));
    let options = Redrive { dry_run: true, ..options(&open.reference, false) };
    let (text, exit, calls) = table.redrive(&options).await;
    assert!(text.contains("-redrive-1 would be started") && text.contains("Nothing was changed."), "{text}");
    assert_eq!((exit, calls), (Exit::Done, [0, 0, 0]));
}

#[test]
fn f07_withdrawn_document_is_refused_with_a_way_out() {
    let withdrawn = Document { is_withdrawn: true, ..document(DocumentState::Failed) };
    let Plan::Refused(why) = plan(&withdrawn, None, false) else { panic!("not refused") };
    assert!(why.contains("was deleted") && why.contains("upload it again"), "{why}");
}

#[test]
fn superseded_document_is_refused_with_the_newer_ones_id() {
    let newer = DocumentId::of("b", b"k", "v2");
    let mut old = document(DocumentState::Failed);
    old.superseded_by = Some(newer);
    let Plan::Refused(why) = plan(&old, None, false) else { panic!("not refused") };
    assert!(why.contains(&newer.to_string()), "{why}");
}

#[test]
fn case_48_second_redrive_finds_the_first_one_done_or_does_the_rest_of_it() {
    let mut opened = document(DocumentState::Received);
    opened.redrives = 1;
    assert!(matches!(plan(&opened, RUNNING, false), Plan::Nothing(_)), "a second redrive changes nothing");
    let killed = plan(&opened, None, false);
    assert!(
        matches!(killed, Plan::Start(StartExecution { redrives: 1, resume: Resume::Transfer, .. })),
        "{killed:?}"
    );
    opened.state = DocumentState::Verifying;
    opened.result = Some(succeeded());
    let killed = plan(&opened, None, false);
    assert!(
        matches!(killed, Plan::Start(StartExecution { redrives: 1, resume: Resume::Verify, .. })),
        "{killed:?}"
    );
}

/// If a job may exist, a second one would exceed the third party's limit.
#[test]
fn case_48_redrive_probes_a_job_that_may_exist_unless_it_is_discarded() {
    let mut failed = document(DocumentState::Failed);
    failed.attempt = Some(Attempt(7));
    let resume = |document: &Document, discard| {
        let Plan::Reopen { resume, .. } = plan(document, None, discard) else {
            panic!("the document is not reopened")
        };
        resume
    };
    assert_eq!(resume(&failed, false), Resume::Probe);
    assert_eq!(resume(&failed, true), Resume::Transfer);
    let text = plan(&failed, None, false).would().name_and_text().1.to_owned();
    assert!(text.ends_with("; it first probes the job."), "{text}");
    failed.result = Some(failed_job());
    assert_eq!(resume(&failed, false), Resume::Transfer, "the job has ended");
    let mut killed = document(DocumentState::Processing);
    (killed.attempt, killed.redrives) = (Some(Attempt(7)), 1);
    let start = plan(&killed, None, false);
    assert!(matches!(start, Plan::Start(StartExecution { resume: Resume::Probe, .. })), "{start:?}");
}

#[test]
fn stored_success_is_used_unless_it_is_discarded() {
    let mut failed = document(DocumentState::Failed);
    failed.result = Some(succeeded());
    let would = |discard| {
        let done = plan(&failed, None, discard).would();
        let (name, text) = done.name_and_text();
        assert_eq!(name, "would");
        text.to_owned()
    };
    let name = format!("execution {}-redrive-1 would be started", failed.reference.document_id);
    assert_eq!(would(false), format!("{name}, with the stored result."));
    assert_eq!(would(true), format!("{name}."));
}
