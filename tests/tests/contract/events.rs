//! `events/<function>/<case>.json`: each sample has the shape of a real AWS event, and its function's types parse it.

use aws_lambda_events::{
    apigw::ApiGatewayV2httpRequest,
    s3::S3Event,
    sqs::{SqsEvent, SqsMessage},
};
use lambda_http::request::RequestContext;
use lectern::{
    api::Caller,
    contract::callback::{self, verify_callback_body},
    contract::webhook::SigningSecrets,
    events::{EventItem, EventType, of_change},
    message,
    steps::admit_document,
    steps::deliver_events::{self, Order},
    steps::erase_submission,
    steps::fail_document,
    steps::normalize_document,
    steps::probe_job,
    steps::receive_upload::parse_event,
    steps::route_events::Change,
    steps::transfer_document,
    steps::verify_returned_file,
    telemetry::trace::TRACEPARENT,
};
use lectern_aws::{
    http_api::HttpRequest,
    stream::{self, StreamEvent},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use super::sources::{Source, files, folders};

/// The secret that the sample callbacks are signed with.
const SAMPLE_SECRET: &str = "whsec_bGVjdGVybi1zYW1wbGUtZXZlbnRzLW9ubHktMDEyMzQ1";

fn events(function: &str) -> Vec<Source> {
    files(&[&format!("events/{function}")], "json")
}

fn parsed<T: DeserializeOwned>(event: &Source) -> T {
    let problem =
        |error| panic!("{} does not parse into the types that its function reads: {error}", event.path);
    serde_json::from_str(&event.text).unwrap_or_else(problem)
}

#[test]
fn every_function_has_events_and_every_folder_of_events_a_function() {
    assert_eq!(
        folders("events"),
        folders("functions"),
        "add events/<function>/<case>.json, or remove the folder that has no function"
    );
    for function in folders("functions") {
        assert!(!events(&function).is_empty());
    }
}

fn body(message: &SqsMessage) -> &str {
    message.body.as_deref().unwrap()
}

/// Checks that the batch has the shape of an AWS event and that every body can be read, except one in a poisoned batch.
#[track_caller]
fn assert_batches(function: &str, readable: impl Fn(&str) -> Result<(), String>) {
    for event in events(function) {
        let SqsEvent { records, .. } = parsed(&event);
        let bodies: Vec<&str> = records.iter().map(body).collect();
        assert!(records.iter().all(|record| record.message_id.is_some() && record.receipt_handle.is_some()));
        let receive_count = |record: &SqsMessage| record.attributes["ApproximateReceiveCount"].parse::<u32>();
        assert!(records.iter().all(|record| receive_count(record).is_ok()));
        let unreadable: Vec<String> = bodies.iter().filter_map(|body| readable(body).err()).collect();
        let expected = usize::from(event.path.contains("poisonous"));
        assert_eq!(unreadable.len(), expected, "{}: correct the messages: {unreadable:?}", event.path);
        assert!(
            expected == 0 || records.len() > 2,
            "{}: add readable messages beside the poisonous one",
            event.path
        );
    }
}

fn task_message<T: DeserializeOwned>(body: &str) -> Result<(), String> {
    message::parse::<T>(body).map(drop).map_err(|error| error.to_string())
}

#[test]
fn events_of_receive_upload_parse() {
    assert_batches("receive-upload", |body| {
        let records = parse_event(body).map_err(|error| error.to_string())?;
        if !body.contains("s3:TestEvent") {
            let oracle: S3Event = serde_json::from_str(body).unwrap();
            assert_eq!(oracle.records.len(), records.len());
        }
        Ok(())
    });
}

#[test]
fn events_of_receive_upload_show_each_kind_that_s3_sends() {
    let messages = |case: &str| -> Vec<usize> {
        let event = events("receive-upload").into_iter().find(|event| event.path.ends_with(case));
        let event = event.unwrap_or_else(|| panic!("add events/receive-upload/{case}"));
        let SqsEvent { records, .. } = parsed(&event);
        records.iter().map(|record| parse_event(body(record)).map_or(0, |found| found.len())).collect()
    };
    assert_eq!(messages("object-created.json"), [1]);
    assert_eq!(messages("test-event.json"), [0]);
    assert_eq!(messages("folder-marker.json"), [1]);
    assert_eq!(messages("object-removed.json"), [1, 1]);
    assert_eq!(messages("several-records.json"), [2, 1]);
    assert_eq!(messages("poisonous-message.json"), [1, 0, 1]);
}

#[test]
fn events_of_admit_document_parse_and_show_every_kind_of_order() {
    assert_batches("admit-document", task_message::<admit_document::Input>);
    let every = events("admit-document").into_iter().find(|event| event.path.ends_with("every-order.json"));
    let SqsEvent { records, .. } = parsed(&every.unwrap());
    let kinds: std::collections::BTreeSet<String> = records
        .iter()
        .map(|record| serde_json::from_str::<serde_json::Value>(body(record)).unwrap()["kind"].to_string())
        .collect();
    assert_eq!(kinds, ["\"request\"", "\"report\"", "\"renew\"", "\"release\""].map(str::to_owned).into());
}

#[test]
fn events_of_transfer_document_parse() {
    assert_batches("transfer-document", task_message::<transfer_document::Input>);
}

#[test]
fn events_of_normalize_document_parse() {
    assert_batches("normalize-document", task_message::<normalize_document::Input>);
}

#[test]
fn events_of_receive_callback_parse_and_their_signatures_fit_the_sample_secret() {
    let secrets = SigningSecrets::parse(SAMPLE_SECRET).unwrap();
    let mut encodings = std::collections::BTreeSet::new();
    for event in events("receive-callback") {
        let request: HttpRequest = parsed(&event);
        let oracle: ApiGatewayV2httpRequest = parsed(&event);
        assert_eq!(oracle.path_parameters.get("callbackId").map(String::as_str), Some(request.path_id()));
        encodings.insert(oracle.is_base64_encoded);
        let sent: i64 = request.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(sent).unwrap();
        let verified = verify_callback_body(&request.headers, &request.body, &secrets, now);
        let verified = verified.unwrap_or_else(|error| panic!("{}: sign it again: {error}", event.path));
        assert_eq!(verified.result, callback::parse(&request.body));
        assert!(verified.result.is_ok(), "{}: {:?}", event.path, verified.result);
    }
    assert_eq!(encodings.len(), 2, "events/receive-callback: show a plain body and one in base64");
}

#[test]
fn events_of_the_state_machines_functions_parse() {
    for event in events("probe-job") {
        assert_eq!(parsed::<probe_job::Input>(&event).envelope.schema_version, message::SCHEMA_VERSION);
    }
    for event in events("verify-returned-file") {
        assert_eq!(
            parsed::<verify_returned_file::Input>(&event).envelope.schema_version,
            message::SCHEMA_VERSION
        );
    }
    for event in events("erase-submission") {
        assert_eq!(parsed::<erase_submission::Input>(&event).schema_version, message::SCHEMA_VERSION);
    }
    for event in events("fail-document") {
        assert_eq!(parsed::<fail_document::Input>(&event).envelope.schema_version, message::SCHEMA_VERSION);
    }
}

#[test]
fn case_50_events_pin_the_current_version_with_its_trace() {
    for function in [
        "admit-document",
        "transfer-document",
        "normalize-document",
        "probe-job",
        "verify-returned-file",
        "fail-document",
    ] {
        for event in events(function) {
            let text = event.text.replace("\\\"", "\"").replace("\": ", "\":");
            let version = format!("\"schemaVersion\":{}", message::SCHEMA_VERSION);
            assert!(text.contains(&version), "{}", event.path);
            assert!(text.contains(&format!("\"{TRACEPARENT}\":\"00-")), "{}", event.path);
        }
    }
}

#[test]
fn events_of_deliver_events_parse_and_show_every_kind_of_order() {
    assert_batches("deliver-events", task_message::<deliver_events::Message>);
    let mut orders = std::collections::BTreeSet::new();
    for event in events("deliver-events") {
        let SqsEvent { records, .. } = parsed(&event);
        let of_timers = |record: &SqsMessage| {
            record.event_source_arn.as_deref().is_some_and(|arn| arn.contains("-EventTimersQueue-"))
        };
        assert!(
            records.len() == 1 || records.iter().all(of_timers),
            "{}: the FIFO queue delivers one message at a time",
            event.path
        );
        for record in &records {
            let Ok(message) = message::parse::<deliver_events::Message>(body(record)) else { continue };
            assert_eq!(of_timers(record), matches!(message.order, Order::Wake { .. }), "{}", event.path);
            let group = record.attributes.get("MessageGroupId").map(String::as_str);
            assert!(of_timers(record) || group == Some(message.subscriber_id.as_str()), "{}", event.path);
            orders.insert(match message.order {
                Order::Deliver { .. } => "deliver",
                Order::Continue { .. } => "continue",
                Order::Wake { .. } => "wake",
            });
        }
    }
    assert_eq!(orders.len(), 3, "{orders:?}");
}

/// The changes in a sample of the stream, and the types of their events.
fn routed(case: &str) -> (Vec<Change>, Vec<EventType>) {
    let sample = events("route-events").into_iter().find(|event| event.path.ends_with(case));
    let sample = sample.unwrap_or_else(|| panic!("add events/route-events/{case}"));
    let changes = stream::changes(parsed::<StreamEvent>(&sample));
    let events = changes.iter().flat_map(|change| of_change(change.old.as_ref(), &change.new));
    let types = events.map(|event| event.event_type).collect();
    (changes, types)
}

#[test]
fn events_of_route_events_parse_and_show_what_becomes_an_event() {
    let received = [EventType::DocumentReceived];
    let (changes, types) = routed("document-received.json");
    assert_eq!(types, received);
    assert!(changes[0].old.is_none() && changes[1].old.is_some(), "a new item, and a change of another one");
    assert!(matches!((&changes[0].new, &changes[1].new), (EventItem::Document(_), EventItem::Submission(_))));
    let (_, types) = routed("document-ready-and-submission-completed.json");
    assert_eq!(types, [EventType::DocumentReady, EventType::SubmissionCompleted]);
    assert_eq!(routed("submission-erased.json").1, [EventType::SubmissionErased]);
    assert_eq!(routed("subscriber-disabled.json").1, [EventType::SubscriberDisabled]);
    let (changes, types) = routed("newer-item-beside-others.json");
    assert_eq!(
        (changes.len(), types),
        (1, vec![EventType::SubmissionCompleted]),
        "it blocks no other change"
    );
}

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html>, and what Lambda adds.
#[test]
fn events_of_route_events_have_the_shape_of_records_of_a_stream() {
    for sample in events("route-events") {
        let event: Value = parsed(&sample);
        for record in event["Records"].as_array().unwrap() {
            let of = &record["dynamodb"];
            for field in ["eventID", "eventVersion", "awsRegion"] {
                assert!(record[field].is_string(), "{}: {field}", sample.path);
            }
            assert_eq!(record["eventSource"], "aws:dynamodb", "{}", sample.path);
            assert!(record["eventSourceARN"].as_str().unwrap().contains(":table/"), "{}", sample.path);
            assert_eq!(of["StreamViewType"], "NEW_AND_OLD_IMAGES", "{}", sample.path);
            assert!(of["SequenceNumber"].as_str().is_some_and(|number| number.parse::<u128>().is_ok()));
            assert_eq!(record["eventName"] == "INSERT", of["OldImage"].is_null(), "{}", sample.path);
            for key in ["pk", "sk"] {
                assert_eq!(of["Keys"][key], of["NewImage"][key], "{}: {key}", sample.path);
            }
        }
    }
}

#[test]
fn events_of_serve_api_parse_and_carry_the_claims_that_decide() {
    for event in events("serve-api") {
        let request = lambda_http::request::from_str(&event.text)
            .unwrap_or_else(|error| panic!("{} is no HTTP API request: {error}", event.path));
        let oracle: ApiGatewayV2httpRequest = parsed(&event);
        assert_eq!(oracle.raw_path.as_deref(), Some(request.uri().path()), "{}", event.path);
        let Some(RequestContext::ApiGatewayV2(context)) = request.extensions().get() else {
            panic!("{}: give it the request context of payload format 2.0", event.path);
        };
        let jwt = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref()).unwrap();
        let refused = Caller::from_claims(&jwt.claims, "cognito:groups").is_err();
        assert_eq!(refused, event.path.contains("refused"), "{}", event.path);
    }
}
