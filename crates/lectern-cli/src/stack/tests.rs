//! Tests of reading a stack's resources.

use super::*;
use crate::testing::resources;

#[test]
fn every_dead_letter_queue_is_found_with_its_source() {
    let stack = Stack::of("s", &resources()).unwrap();
    let found: Vec<(&str, bool, &Source)> = stack
        .dead_letter_queues
        .iter()
        .map(|queue| (queue.name.as_str(), queue.is_fifo(), &queue.source))
        .collect();
    let queue = |url: &str| Source::Queue(url.to_owned());
    assert_eq!(
        found,
        [
            ("AdmitDocument", true, &queue("http://q/admit.fifo")),
            ("FailedInvocation", false, &Source::Invocations),
            ("ReceiveUpload", false, &queue("http://q/receive")),
        ]
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
