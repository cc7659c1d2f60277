//! What is to be done with a document, by how it stands.

use lectern::{
    document::{DocumentId, DocumentState},
    ports::StartExecution,
};
use rstest::rstest;

use super::step::{Done, Plan, plan};
use crate::{
    executions::Status,
    test_support::{document, succeeded},
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
        Plan::Reopen { after: 0, keeps_result: false, .. } => "reopen",
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
        matches!(killed, Plan::Start(StartExecution { redrives: 1, keeps_result: false, .. })),
        "{killed:?}"
    );
    opened.state = DocumentState::Verifying;
    opened.result = Some(succeeded());
    let killed = plan(&opened, None, false);
    assert!(
        matches!(killed, Plan::Start(StartExecution { redrives: 1, keeps_result: true, .. })),
        "{killed:?}"
    );
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
