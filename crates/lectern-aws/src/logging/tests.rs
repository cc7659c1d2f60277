//! Tests the log lines.

mod silence;
mod volume;

use serde_json::json;
use tracing::Instrument as _;

use super::*;
use crate::test_support::Captured;

/// The log of `work` with this filter.
fn logged(filter: &str, work: impl FnOnce()) -> Captured {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing::subscriber::with_default(
        subscriber(Wanted::new(filter.parse().unwrap(), None), "test", move || writer.clone()),
        work,
    );
    captured
}

#[test]
fn line_is_one_flat_object_with_the_fields_of_all_spans() {
    let captured = logged("info", || {
        let runtime = tracing::info_span!(
            target: "lambda_runtime", "Lambda runtime invoke",
            requestId = "r1", xrayTraceId = "Root=1-a;Parent=b"
        );
        let _runtime = runtime.enter();
        let _invocation = invocation_span("transfer-document", Some("Root=1-a;Parent=b")).entered();
        let _task =
            tracing::info_span!("task", submissionId = "s1", documentId = %"d1", attempt = 1000u32).entered();
        tracing::info!(index = 2, ok = true, "The file is \"fine\".\nReally.");
    });
    let lines = captured.lines();
    assert_eq!((lines.len(), captured.text().lines().count()), (1, 1));
    let mut line = lines[0].clone();
    let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert_eq!(timestamp.as_str().unwrap().len(), "2026-11-20T12:00:00.000Z".len());
    assert_eq!(
        line,
        json!({
            "level": "INFO", "message": "The file is \"fine\".\nReally.", "index": 2, "ok": true,
            "requestId": "r1", "function": "transfer-document", "traceId": "none", "xrayTraceId": "1-a",
            "submissionId": "s1", "documentId": "d1", "attempt": 1000
        })
    );
    assert_eq!(captured.text().matches("1-a").count(), 1, "the trace is there once");
}

#[test]
fn field_of_two_spans_and_the_event_is_written_once() {
    let captured = logged("info", || {
        let _outer = tracing::info_span!("outer", documentId = "old", level = "x").entered();
        let _inner = tracing::info_span!("inner", documentId = "newer").entered();
        tracing::warn!(documentId = "newest", "Hm.");
    });
    assert_eq!(captured.text().matches("documentId").count(), 1);
    assert_eq!(captured.lines()[0]["documentId"], "newest");
    assert_eq!(captured.lines()[0]["level"], "WARN");
}

#[test]
fn field_that_is_recorded_later_is_written_and_an_absent_one_is_not() {
    let captured = logged("info", || {
        let span = tracing::info_span!("task", attempt = None::<u32>, jobId = tracing::field::Empty);
        let _entered = span.enter();
        tracing::info!("Before.");
        span.record("jobId", "j1");
        tracing::info!(late = 1.5, many = u64::MAX, few = -1, "After.");
    });
    let [before, after] = captured.lines().try_into().unwrap();
    assert!(before.get("attempt").is_none() && before.get("jobId").is_none());
    assert_eq!(after["jobId"], "j1");
    assert_eq!((&after["late"], &after["many"], &after["few"]), (&json!(1.5), &json!(u64::MAX), &json!(-1)));
}

#[test]
fn trace_is_the_invocations_until_the_documents_is_known_and_x_ray_has_a_field_of_its_own() {
    let xray = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let captured = logged("info", || {
        invocation_span("f", None).in_scope(|| tracing::info!("None."));
        let _invocation = invocation_span("f", Some(xray)).entered();
        tracing::info!("Before.");
        tracing::info_span!("task", traceId = None::<String>).in_scope(|| tracing::info!("Without."));
        tracing::info_span!("task", traceId = "document's").in_scope(|| tracing::info!("After."));
    });
    let traces =
        captured.lines().into_iter().map(|line| (line["traceId"].clone(), line["xrayTraceId"].clone()));
    let (own, root) =
        (json!("5759e988bd862e3fe1be46a994272793"), json!("1-5759e988-bd862e3fe1be46a994272793"));
    let expected = [
        (json!("none"), json!(null)),
        (own.clone(), root.clone()),
        (own, root.clone()),
        (json!("document's"), root),
    ];
    assert_eq!(traces.collect::<Vec<_>>(), expected);
}

#[test]
fn case_53_libraries_are_never_heard_below_info() {
    let captured = logged("trace", || {
        tracing::debug!(target: "aws_smithy_runtime::client", "the whole request");
        tracing::trace!(target: "lambda_runtime", "the whole event");
        tracing::debug!(target: "lectern_aws::sfn", "ours");
        tracing::info!(target: "lambda_runtime", "theirs");
    });
    let messages: Vec<_> = captured.lines().iter().map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["ours", "theirs"]);
}

#[test]
fn every_line_of_an_asynchronous_task_has_its_span() {
    let captured = logged("info", || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let task = |id: &'static str| {
            async {
                tokio::task::yield_now().await;
                tracing::info!("Done.");
            }
            .instrument(tracing::info_span!("task", documentId = id))
        };
        runtime.block_on(async { tokio::join!(task("d1"), task("d2")) });
    });
    let mut ids: Vec<String> = captured.lines().iter().map(|line| line["documentId"].to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["\"d1\"", "\"d2\""]);
}

#[test]
fn ids_are_on_a_line_even_if_only_warnings_are_asked_for() {
    let captured = logged("warn", || {
        let runtime =
            tracing::info_span!(target: "lambda_runtime", "Lambda runtime invoke", requestId = "r1");
        let _runtime = runtime.entered();
        let _task = tracing::info_span!("task", documentId = "d1").entered();
        tracing::info!("Too quiet.");
        tracing::warn!("Hm.");
    });
    let lines = captured.lines();
    assert_eq!(lines.len(), 1, "{}", captured.text());
    assert_eq!((&lines[0]["documentId"], &lines[0]["requestId"]), (&json!("d1"), &json!("r1")));
}

/// The logged messages of two submissions while one of them is debugged.
fn debugged(filter: &str) -> Vec<Value> {
    let captured = Captured::default();
    let writer = captured.clone();
    let wanted = Wanted::new(filter.parse().unwrap(), Some("s1".parse().unwrap()));
    tracing::subscriber::with_default(subscriber(wanted, "test", move || writer.clone()), || {
        tracing::debug!("Of none.");
        let late = tracing::info_span!("invocation", submissionId = tracing::field::Empty);
        let _late = late.enter();
        tracing::debug!("Not known yet.");
        tracing::info!("Ordinary.");
        late.record("submissionId", "s1");
        tracing::debug!("Known.");
        tracing::trace!("Too much.");
        tracing::debug!(target: "aws_smithy_runtime::client", "the whole request");
        tracing::debug_span!("inner").in_scope(|| tracing::debug!(target: "lectern_aws::sfn", "Inside."));
        tracing::info_span!("other", submissionId = "s2").in_scope(|| {
            tracing::debug!("Of another.");
            tracing::warn!("Another's ordinary.");
        });
    });
    captured.lines().iter().map(|line| line["message"].clone()).collect()
}

#[test]
fn debug_lines_of_one_submission_are_written_from_when_it_is_known_and_no_others() {
    let expected = ["Ordinary.", "Known.", "Inside.", "Another's ordinary."];
    assert_eq!(debugged("info"), expected);
    assert_eq!(debugged("warn"), expected[1..], "whatever the filter says");
    assert_eq!(debugged("lectern_aws=error"), ["Known.", "Inside."], "targets are no obstacle");
}
