//! Failed invocations: the first one is waited for, and what was invoked is not invoked again.

use std::sync::{Arc, Mutex};

use aws_sdk_lambda::{operation::invoke::InvokeOutput, types::InvocationType};
use aws_sdk_sqs::{
    Client, operation::delete_message_batch::DeleteMessageBatchOutput, types::DeleteMessageBatchResultEntry,
};
use aws_smithy_mocks::{MockResponse, mock};
use serde_json::json;

use super::{
    outcome::{Outcome, Stop},
    redrive::redrive,
    tests::{options, received_once},
};
use crate::{
    cloud::Cloud,
    console::Console,
    stack::{DeadLetters, Source},
    test_support::{answer, client, cloud, json_error},
};

/// What was done with three letters.
#[derive(Debug, Default)]
struct Seen {
    /// Payloads, and whether the answer was waited for.
    invoked: Vec<(String, bool)>,
    deleted: Vec<String>,
    released: Vec<String>,
    /// How many were counted as made again.
    counted: usize,
}

/// How Lambda answers an invocation of this payload: well, with the function's error, or with an error of its own.
type Answers = fn(&str) -> Result<(), &'static str>;

async fn redriven(answers: Answers, arguments: &[&str]) -> (Result<Outcome, String>, Arc<Mutex<Seen>>) {
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let [invoked, deleted, released, counted] = [(); 4].map(|()| seen.clone());
    let messages: Vec<_> = (0..3)
        .map(|id| {
            let record = json!({
                "requestContext": {
                    "functionArn": "arn:aws:lambda:r:a:function:receive-upload-1:$LATEST",
                    "condition": "RetriesExhausted",
                },
                "requestPayload": { "p": id },
            });
            json!({ "MessageId": format!("m{id}"), "ReceiptHandle": format!("h{id}"), "Body": record.to_string() })
        })
        .collect();
    let receive = received_once(&messages);
    let depth =
        mock!(Client::get_queue_attributes).then_http_response(|| answer(200, r#"{"Attributes":{}}"#));
    let delete = mock!(Client::delete_message_batch).then_compute_output(move |request| {
        let mut output = DeleteMessageBatchOutput::builder().set_failed(Some(Vec::new()));
        for entry in request.entries() {
            deleted.lock().unwrap().deleted.push(entry.receipt_handle().to_owned());
            output =
                output.successful(DeleteMessageBatchResultEntry::builder().id(entry.id()).build().unwrap());
        }
        output.build().unwrap()
    });
    let release = mock!(Client::change_message_visibility).then_compute_response(move |request| {
        released.lock().unwrap().released.push(request.receipt_handle().unwrap().to_owned());
        MockResponse::Http(answer(200, "{}"))
    });
    let no_marker = mock!(aws_sdk_s3::Client::get_object)
        .then_http_response(|| answer(404, "<Error><Code>NoSuchKey</Code></Error>"));
    let marker = mock!(aws_sdk_s3::Client::put_object).then_compute_response(move |_| {
        counted.lock().unwrap().counted += 1;
        MockResponse::Http(answer(200, ""))
    });
    let invoke = mock!(aws_sdk_lambda::Client::invoke).then_compute_response(move |request| {
        let payload = String::from_utf8(request.payload().unwrap().as_ref().to_vec()).unwrap();
        let waits = request.invocation_type() == Some(&InvocationType::RequestResponse);
        invoked.lock().unwrap().invoked.push((payload.clone(), waits));
        match answers(&payload) {
            Ok(()) => MockResponse::Output(InvokeOutput::builder().status_code(200).build()),
            Err("Unhandled") => MockResponse::Output(
                InvokeOutput::builder().status_code(200).function_error("Unhandled").build(),
            ),
            Err(code) => MockResponse::Http(json_error(code)),
        }
    });
    let cloud = cloud(
        &[],
        client!(aws_sdk_sqs, receive, depth, delete, release),
        client!(aws_sdk_s3, no_marker, marker),
        client!(aws_sdk_sfn),
    );
    let cloud = Cloud { lambda: client!(aws_sdk_lambda, invoke), ..cloud };
    let queue = DeadLetters {
        name: "FailedInvocation".to_owned(),
        url: "http://q/failed".to_owned(),
        source: Source::Invocations,
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let console = Console::new(&mut out, &mut err, false);
    let outcome = redrive(&cloud, &queue, &options(arguments), &console).await;
    (outcome.map_err(|problem| problem.what), seen)
}

#[tokio::test(start_paused = true)]
async fn first_invocation_is_waited_for_and_the_others_follow() {
    let (outcome, seen) = redriven(|_| Ok(()), &[]).await;
    let outcome = outcome.unwrap();
    assert_eq!((outcome.sent, &outcome.stopped), (3, &None));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.invoked.iter().map(|(_, waits)| *waits).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(seen.deleted, ["h0", "h1", "h2"]);
    assert_eq!(seen.counted, 2, "one that ended well is no failure");
}

#[tokio::test(start_paused = true)]
async fn first_invocation_that_fails_again_stays_and_stops_the_others() {
    let (outcome, seen) = redriven(|_| Err("Unhandled"), &[]).await;
    assert_eq!(outcome.unwrap().stopped, Some(Stop::StraightBack { messages: 1 }));
    let seen = seen.lock().unwrap();
    assert_eq!((seen.invoked.len(), seen.counted, seen.deleted.len()), (1, 1, 0), "{seen:?}");
    assert_eq!(seen.released.len(), 3, "all can be seen at once");
}

#[tokio::test(start_paused = true)]
async fn failing_call_stops_and_keeps_what_was_invoked_before_it_from_being_invoked_again() {
    let denied: Answers = |payload| if payload.contains('1') { Err("AccessDeniedException") } else { Ok(()) };
    let (outcome, seen) = redriven(denied, &["--watch", "0"]).await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.sent, 1);
    assert!(matches!(&outcome.stopped, Some(Stop::Failed { what, .. }) if what.contains("AccessDenied")));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.deleted, ["h0"], "what was taken is gone");
    assert_eq!(seen.released, ["h1", "h2"], "the others can be seen at once");
    assert_eq!(seen.counted, 1, "what was not invoked has not come back: {seen:?}");
}
