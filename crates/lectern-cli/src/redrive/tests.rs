//! What is to be done with a document, by how it stands.

use std::time::Duration;

use aws_sdk_sfn::Client;
use aws_smithy_mocks::{MockResponse, mock};
use lectern::{
    admission::{Gate, Limits},
    document::{Attempt, Document, DocumentId, DocumentRef, DocumentState, Round},
    ports::{Clock as _, Resume, StartExecution},
};
use lectern_aws::{DynamoDbStore, ReturnedBucket, SystemClock};
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    run,
    step::{Done, Plan, plan},
};
use crate::{
    args::Redrive,
    cloud::Cloud,
    console::{Console, Exit},
    executions::Status,
    test_support::{answer, client, cloud, document, gate_item, given_up, item, json_error, succeeded},
};

const RUNNING: Option<Status> = Some(Status::Running);
const BROKEN: Option<Status> = Some(Status::Broken("timed out"));

#[rstest]
#[case::failed(DocumentState::Failed, None, "reopen")]
#[case::on_its_way(DocumentState::Processing, RUNNING, "nothing")]
#[case::broken_off(DocumentState::Processing, BROKEN, "goOn")]
#[case::forgotten(DocumentState::Processing, None, "reopen")]
#[case::never_started(DocumentState::Received, None, "start")]
#[case::contradictory(DocumentState::Verifying, Some(Status::Succeeded), "reopen")]
#[case::ready(DocumentState::Ready, None, "nothing")]
#[case::rejected(DocumentState::Rejected, None, "refused")]
fn every_state_has_its_plan(
    #[case] state: DocumentState,
    #[case] execution: Option<Status>,
    #[case] expected: &str,
) {
    let found = match plan(&document(state), execution, false) {
        Plan::Reopen { after: 0, resume: Resume::Transfer, .. } => "reopen",
        Plan::Start(StartExecution { redrives: 0, .. }) => "start",
        Plan::GoOn { after: 0, .. } => "goOn",
        Plan::Nothing(_) => "nothing",
        Plan::Refused(_) => "refused",
        Plan::Reopen { .. } => "reopen otherwise",
        Plan::Start(_) => "start otherwise",
        Plan::GoOn { .. } => "goOn otherwise",
    };
    assert_eq!(found, expected);
}

fn options(DocumentRef { submission_id, document_id }: &DocumentRef, anew: bool) -> Redrive {
    Redrive {
        document: Some(format!("{submission_id}/{document_id}")),
        failed: false,
        reason: None,
        limit: None,
        anew,
        yes: false,
        dry_run: false,
        rate: 5.0,
    }
}

/// An execution that was aborted between a turn and its transfer: the document does not know of that turn's number, whose
/// place is that of any job before. And it may run again, by a redrive that cannot be read yet.
#[rstest]
#[case::aborted(200, r#"{"stopDate":1}"#)]
#[case::ended(400, r#"{"__type":"ValidationException","message":"Execution is not running"}"#)]
#[tokio::test]
async fn case_48_redrive_anew_stops_the_execution_first_and_leaves_the_place_of_its_newest_turn_behind(
    #[case] status: u16,
    #[case] stopped: &'static str,
) {
    let open = Document { attempt: Some(Attempt(1_000_001)), ..document(DocumentState::Transferring) };
    let mut gate = Gate::default();
    let limits = Limits {
        interval: Duration::from_secs(1),
        burst: 10,
        max_in_flight: 9,
        lease: Duration::from_hours(1),
    };
    gate.renew(open.reference.document_id, Attempt(1_000_002), &limits, SystemClock.now());
    let (id, items) = (open.reference.document_id.to_string(), (item(&open), gate_item(&gate)));
    let reads = mock!(aws_sdk_dynamodb::Client::get_item).then_compute_response(move |request| {
        let is_document = request.key().unwrap()["sk"].as_s().unwrap().ends_with(&id);
        let item = if is_document { &items.0 } else { &items.1 };
        MockResponse::Http(answer(200, json!({ "Item": item }).to_string()))
    });
    let writes =
        mock!(aws_sdk_dynamodb::Client::transact_write_items).then_http_response(|| answer(200, "{}"));
    let describe = mock!(Client::describe_execution).then_http_response(|| {
        answer(200, r#"{"executionArn":"a","stateMachineArn":"m","status":"ABORTED","startDate":1}"#)
    });
    let stop = mock!(Client::stop_execution).then_http_response(move || answer(status, stopped));
    let start = mock!(Client::start_execution)
        .match_requests(|request| {
            let input: Value = serde_json::from_str(request.input().unwrap()).unwrap();
            input["leaves"] == 1_000_002 && input["redrives"] == 1
        })
        .then_http_response(|| answer(200, r#"{"executionArn":"a","startDate":1}"#));
    let sfn = client!(aws_sdk_sfn, describe, stop, start);
    let cloud = cloud(&[], client!(aws_sdk_sqs), client!(aws_sdk_s3), sfn);
    let returned = ReturnedBucket::new(client!(aws_sdk_s3), "returned".to_owned());
    let store = DynamoDbStore::new(client!(aws_sdk_dynamodb, reads, writes), "table".to_owned(), returned);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let console = &mut Console::new(&mut out, &mut err, false);
    let exit = run(&Cloud { store, ..cloud }, &options(&open.reference, true), console).await.unwrap();
    let calls = (stop.num_calls(), writes.num_calls(), start.num_calls());
    assert_eq!((exit, calls), (Exit::Done, (1, 1, 1)), "{}", String::from_utf8(out).unwrap());
}

/// What the command says of a document whose execution was aborted and cannot be redriven, since it now stands so.
async fn refused(now: Value) -> (String, Exit) {
    let open = document(DocumentState::Processing);
    let aborted = json!({
        "executionArn": "a", "stateMachineArn": "m", "status": "ABORTED", "startDate": 1,
        "redriveCount": 0, "redriveStatus": "REDRIVABLE",
    });
    let mut after = aborted.clone();
    after.as_object_mut().unwrap().extend(now.as_object().unwrap().clone());
    let descriptions = mock!(Client::describe_execution)
        .sequence()
        .http_response(move || answer(200, aborted.to_string()))
        .times(2)
        .http_response(move || answer(200, after.to_string()))
        .build();
    let history = mock!(Client::get_execution_history).then_http_response(|| {
        answer(200, r#"{"events":[{"id":9,"timestamp":1,"type":"ExecutionAborted"}]}"#)
    });
    let refusal =
        mock!(Client::redrive_execution).then_http_response(|| json_error("ExecutionNotRedrivable"));
    let start = mock!(Client::start_execution)
        .then_http_response(|| answer(200, r#"{"executionArn":"a","startDate":1}"#));
    let sfn = client!(aws_sdk_sfn, descriptions, history, refusal, start);
    // Its table takes no writes.
    let cloud = cloud(std::slice::from_ref(&open), client!(aws_sdk_sqs), client!(aws_sdk_s3), sfn);
    let options = options(&open.reference, false);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run(&cloud, &options, &mut Console::new(&mut out, &mut err, false)).await.unwrap();
    assert_eq!((refusal.num_calls(), start.num_calls()), (1, 0));
    (String::from_utf8(out).unwrap(), exit)
}

#[tokio::test]
async fn case_48_redrive_that_meets_another_one_starts_no_second_execution_and_says_that_it_is_running() {
    let (text, exit) = refused(json!({ "status": "RUNNING", "redriveStatus": "NOT_REDRIVABLE" })).await;
    assert!(text.ends_with(" is running already; nothing was changed.\n"), "{text}");
    assert_eq!(exit, Exit::Done);
}

#[tokio::test]
async fn case_48_redrive_that_cannot_tell_whether_the_execution_runs_asks_to_be_run_again() {
    let (text, exit) = refused(json!({})).await;
    assert!(
        text.ends_with("how it stands; nothing was changed. Run the command again in a minute.\n"),
        "{text}"
    );
    assert_eq!(exit, Exit::Attention);
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
    assert!(matches!(plan(&opened, RUNNING, false), Plan::Nothing(_)), "twice changes nothing");
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

/// A job that nobody has heard of may be at work: a second one beside it would be one too many for the third party.
#[test]
fn case_48_document_that_may_have_a_job_asks_for_it_first_unless_it_is_asked_for_anew() {
    let mut failed = document(DocumentState::Failed);
    failed.round = Some(Round(2));
    let resume = |document: &Document, anew| {
        let Plan::Reopen { resume, .. } = plan(document, None, anew) else {
            panic!("it is not opened again")
        };
        resume
    };
    assert_eq!(resume(&failed, false), Resume::Ask(Round(2)));
    assert_eq!(resume(&failed, true), Resume::Transfer);
    let text = plan(&failed, None, false).would().text();
    assert!(text.ends_with("; it first asks the third party how the job stands."), "{text}");
    failed.result = Some(given_up());
    assert_eq!(resume(&failed, false), Resume::Transfer, "that job has ended");
    let mut killed = document(DocumentState::Processing);
    (killed.round, killed.redrives) = (Some(Round(2)), 1);
    let start = plan(&killed, None, false);
    assert!(matches!(start, Plan::Start(StartExecution { resume: Resume::Ask(_), .. })), "{start:?}");
}

#[test]
fn kept_success_is_used_unless_it_is_asked_for_anew() {
    let mut failed = document(DocumentState::Failed);
    failed.result = Some(succeeded());
    let would = |anew| {
        let done = plan(&failed, None, anew).would();
        assert!(matches!(done, Done::Would(_)), "{done:?}");
        done.text()
    };
    let name = format!("execution {}-redrive-1 would be started", failed.reference.document_id);
    assert_eq!(would(false), format!("{name}, with the result that is kept."));
    assert_eq!(would(true), format!("{name}."));
}
