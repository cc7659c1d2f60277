//! Tests of the Map state's returned files in the timeline.

use lectern::document::DocumentState;

use super::{super::tests::run, *};
use crate::testing::document;

/// The steps of these events. Each event is given by its id, the id of the previous event, and its type.
fn of_files(events: &[(i64, i64, &str)]) -> Vec<Step> {
    use aws_sdk_sfn::{primitives::DateTime, types};
    let read = |(id, before, kind): &(i64, i64, &str)| {
        let (kind, name) = kind.split_once(' ').unwrap_or((kind, ""));
        let event = types::HistoryEvent::builder()
            .id(*id)
            .previous_event_id(*before)
            .timestamp(DateTime::from_secs(1_795_176_000 + id))
            .r#type(types::HistoryEventType::from(kind));
        let event = match kind {
            kind if kind.ends_with("Entered") => event.state_entered_event_details(
                types::StateEnteredEventDetails::builder().name(name).build().unwrap(),
            ),
            kind if kind.ends_with("Exited") => event.state_exited_event_details(
                types::StateExitedEventDetails::builder().name(name).build().unwrap(),
            ),
            "TaskFailed" => event.task_failed_event_details(
                types::TaskFailedEventDetails::builder()
                    .resource_type("lambda")
                    .resource("invoke")
                    .error("Returned.Mismatch")
                    .build()
                    .unwrap(),
            ),
            _ => event,
        };
        Step::of(&event.build().unwrap())
    };
    events.iter().filter_map(read).collect()
}

fn lines_of_files(events: &[(i64, i64, &str)]) -> (Vec<String>, Option<Pending>) {
    let (timeline, pending) = build(&document(DocumentState::Verifying), &[run(0, of_files(events))], &[]);
    let verify = timeline.into_iter().filter(|entry| entry.phase == Phase::Verify);
    (verify.map(|entry| entry.text).collect(), pending)
}

/// The history of three files that are checked in parallel. Each iteration has its own chain of events.
const IN_PARALLEL: [(i64, i64, &str); 17] = [
    (1, 0, "MapStateEntered VerifyReturned"),
    (2, 1, "MapStateStarted"),
    (3, 2, "MapIterationStarted"),
    (4, 3, "TaskStateEntered VerifyReturnedFile"),
    (5, 4, "TaskScheduled"),
    (6, 2, "MapIterationStarted"),
    (7, 6, "TaskStateEntered VerifyReturnedFile"),
    (8, 7, "TaskScheduled"),
    (9, 2, "MapIterationStarted"),
    (10, 9, "TaskStateEntered VerifyReturnedFile"),
    (11, 5, "TaskStarted"),
    (12, 8, "TaskStarted"),
    (13, 10, "TaskScheduled"),
    (14, 12, "TaskSucceeded"),
    (15, 14, "TaskStateExited VerifyReturnedFile"),
    (16, 11, "TaskSucceeded"),
    (17, 16, "TaskStateExited VerifyReturnedFile"),
];

#[test]
fn files_that_are_checked_in_parallel_are_one_line_and_no_retries() {
    let last = [(18, 13, "TaskSucceeded"), (19, 18, "MapStateSucceeded")];
    let exited = [(20, 19, "MapStateExited VerifyReturned")];
    let (shown, _) = lines_of_files(&[&IN_PARALLEL[..], &last, &exited].concat());
    assert_eq!(shown, ["VerifyReturned: 3 files checked."]);
    // The local cloud's histories contain neither iterations nor previous events.
    let mut flat = vec![(1, 0, "MapStateEntered VerifyReturned")];
    flat.extend((2..5).map(|id| (id, 0, "TaskScheduled")));
    flat.extend((5..8).map(|id| (id, 0, "TaskSucceeded")));
    flat.push((8, 0, "MapStateExited VerifyReturned"));
    assert_eq!(lines_of_files(&flat).0, ["VerifyReturned: 3 files checked."]);
}

#[test]
fn retry_of_one_file_is_its_own_and_files_that_are_not_accepted_were_not_checked() {
    let (_, pending) = lines_of_files(&IN_PARALLEL);
    let pending = pending.unwrap();
    assert_eq!((pending.state.as_str(), pending.tries, pending.failure), ("VerifyReturned", 0, None));

    let failed = [&IN_PARALLEL[..], &[(18, 13, "TaskFailed"), (19, 18, "TaskScheduled")]].concat();
    let not_accepted = "A returned file was not accepted: Returned.Mismatch.";
    let (shown, pending) = lines_of_files(&failed);
    assert_eq!(
        (shown.as_slice(), pending.unwrap().failure.is_some()),
        ([not_accepted.to_owned()].as_slice(), true)
    );

    let exited = (22, 21, "MapStateExited VerifyReturned");
    let mended = [(20, 19, "TaskSucceeded"), (21, 20, "MapStateSucceeded"), exited];
    let (shown, _) = lines_of_files(&[&failed[..], &mended].concat());
    assert_eq!(shown, [not_accepted, "VerifyReturned: 3 files checked, with 1 retry."]);

    let last = [
        (20, 19, "TaskFailed"),
        (21, 20, "MapStateFailed"),
        exited,
        (23, 22, "TaskStateEntered FailDocument"),
    ];
    let (shown, _) = lines_of_files(&[&failed[..], &last].concat());
    assert_eq!(shown, [not_accepted, not_accepted]);

    // On the local cloud, another file is checked after the one that fails the Map state.
    let flat = [
        (1, 0, "MapStateEntered VerifyReturned"),
        (2, 0, "TaskScheduled"),
        (3, 0, "TaskScheduled"),
        (4, 0, "TaskFailed"),
        (5, 0, "TaskSucceeded"),
        (6, 0, "MapStateExited VerifyReturned"),
        (7, 0, "TaskStateEntered FailDocument"),
    ];
    assert_eq!(lines_of_files(&flat).0, [not_accepted]);
}
