//! One trace through the whole workflow. The simulation itself asserts that every message and payload carries it.

use lectern::{
    message,
    steps::admit_document,
    testing::world::{START, object},
};
use serde_json::json;

use super::{
    conditions::Roughness,
    machine::{Execution, Machine, Work},
    simulation::Simulation,
    third_party::{CallBack, Outcome, Plan},
};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn third_party_is_given_a_span_of_the_documents_trace_with_each_round() {
    let plan = Plan { outcome: Outcome::Good, callback: CallBack::Forgotten };
    let mut simulation = Simulation::new(1, Some(plan), Roughness::default());
    let objects = ["lesson.pdf", "plan.pdf"].map(|name| object(name, "v1"));
    for object in &objects {
        simulation.world.objects.upload(object, None, b"%PDF-1.7\n1 0 obj".as_slice());
    }
    simulation.announce(&[(&objects[0], "01"), (&objects[1], "01")]);
    block_on(simulation.run());
    let submissions = simulation.world.third_party.traces();
    assert!(submissions.len() > objects.len(), "some documents have several rounds: {submissions:?}");
    let traces = objects.map(|object| simulation.document(&object).traceparent.unwrap());
    assert!(!traces[0].is_of_the_trace_of(traces[1]));
    for (key, spans) in submissions {
        let of = |trace: &lectern::telemetry::trace::TraceParent| {
            spans
                .iter()
                .all(|span| span.is_some_and(|span| span.is_of_the_trace_of(*trace) && span != *trace))
        };
        assert_eq!(traces.iter().filter(|trace| of(trace)).count(), 1, "{key}: {spans:?}");
    }
}

#[test]
fn case_50_execution_without_a_trace_goes_on() {
    let machine = Machine::load();
    let id = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";
    let input = json!({ "submissionId": "s1", "documentId": id, "redrives": 0, "round": 1, "attempt": 0 });
    let mut execution = Execution::start(&machine, input, START);
    let sent = (0..10).find_map(|_| match execution.step(&machine, "token") {
        Work::Send(sending) => Some(sending.body),
        Work::Moved
        | Work::AwaitCallback
        | Work::BeginVerify
        | Work::Invoke(..)
        | Work::Map(_)
        | Work::Sleep(_)
        | Work::Over => None,
    });
    let sent = sent.expect("the first message is sent").to_string();
    assert_eq!(message::parse::<admit_document::Input>(&sent).unwrap().envelope.traceparent, None);
}
