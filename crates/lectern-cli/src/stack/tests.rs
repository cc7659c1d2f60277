//! Tests of reading a stack's resources.

use super::*;
use crate::testing::resources;

#[test]
fn every_dead_letter_queue_is_found_with_its_source() {
    let stack = Stack::of("s", &resources()).unwrap();
    let found: Vec<(&str, bool, &str)> = stack
        .dead_letter_queues
        .iter()
        .map(|queue| (queue.name.as_str(), queue.is_fifo(), queue.source_url.as_str()))
        .collect();
    assert_eq!(
        found,
        [("AdmitDocument", true, "http://q/admit.fifo"), ("ReceiveUpload", false, "http://q/receive"),]
    );
    assert_eq!(
        stack.log_groups.keys().collect::<Vec<_>>(),
        ["ReceiveUpload"],
        "only log groups of functions"
    );
}

#[test]
fn queue_is_named_as_people_write_it() {
    let stack = Stack::of("s", &resources()).unwrap();
    for name in ["ReceiveUpload", "receive-upload", "receiveupload"] {
        assert_eq!(stack.dead_letter_queues(Some(name)).unwrap()[0].name, "ReceiveUpload");
    }
    let problem = stack.dead_letter_queues(Some("x")).unwrap_err();
    assert!(problem.todo.contains("AdmitDocument"), "{}", problem.todo);
}

#[test]
fn stack_that_is_not_lecterns_is_refused() {
    let problem = Stack::of("other", &resources()[1..]).unwrap_err();
    assert_eq!(problem.what, "the stack other has no AWS::DynamoDB::Table Table");
}
