//! Tests of what the commands ask the API for, and of what they print.

use clap::Parser as _;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::testing::{FakeStack, problem as refusal},
    args::{Cli, Command},
    console::Report,
};

fn options(arguments: &str) -> SubscribersCommand {
    let all = format!("lectern subscribers {arguments}");
    let command = Cli::try_parse_from(all.split_whitespace()).unwrap().command;
    let Command::Subscribers(options) = command else { panic!("{command:?}") };
    options.command
}

macro_rules! options {
    ($variant:ident, $arguments:expr) => {{
        let SubscribersCommand::$variant(options) = options($arguments) else { panic!() };
        options
    }};
}

/// Why a command fails; `None` if it succeeds.
async fn failure(client: &Client, arguments: &str) -> Option<Problem> {
    match options(arguments) {
        SubscribersCommand::Add(options) => add(client, &options).await.err(),
        SubscribersCommand::List => list(client).await.err(),
        SubscribersCommand::Show(options) => show(client, &options).await.err(),
        SubscribersCommand::Pause(options) => pause(client, &options).await.err(),
        SubscribersCommand::Resume(options) => resume(client, &options).await.err(),
        SubscribersCommand::Remove(options) => remove(client, &options).await.err(),
        SubscribersCommand::Test(options) => test(client, &options).await.err(),
        SubscribersCommand::Rotate(options) => rotate(client, &options).await.err(),
        SubscribersCommand::Replay(options) => replay(client, &options, |_| ()).await.err(),
    }
}

fn portal() -> Value {
    json!({
        "subscriberId": "portal", "url": "https://portal.example/events", "eventTypes": [], "kinds": [],
        "format": "full", "signature": "hmac", "ordered": true, "maxBatch": 1, "maxBatchWaitSeconds": 0,
        "gzip": false, "requestsPerSecond": 10.0, "maxInFlight": 4, "timeoutSeconds": 10,
        "status": "active", "createdAt": "2026-11-30T08:00:00.000Z", "addedByANewerApi": true,
        "deliveries": {
            "waiting": 0, "retrying": [], "retryingCount": 0, "blocked": 0, "deadLetters": 0, "inFlight": 0,
            "breakerOpen": false,
        },
    })
}

fn with(changes: &Value) -> Value {
    let mut portal = portal();
    for (pointer, value) in changes.as_object().unwrap() {
        let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        let parent = if parent.is_empty() { &mut portal } else { &mut portal[parent] };
        parent[name] = value.clone();
    }
    portal
}

fn text(report: &impl Report) -> String {
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn sent(stack: &FakeStack) -> (String, Value) {
    let shared = stack.shared();
    (shared.requests.last().unwrap().clone(), shared.bodies.last().unwrap().clone())
}

#[tokio::test]
async fn add_shows_the_secret_once_and_what_to_do_next() {
    let stack = FakeStack::start().await;
    stack.answer("POST /v1/subscribers", 201, json!({ "subscriber": portal(), "secret": "whsec_AAAA" }));
    let added = add(&stack.client, &options!(Add, "add portal https://portal.example/events")).await.unwrap();
    assert_eq!(
        text(&added),
        "Subscriber portal is added. From now on, its events are sent to https://portal.example/events\n\
         Secret      whsec_AAAA\n\
         It is shown only now. The endpoint verifies signatures with it.\n\
         Do     lectern subscribers test portal    send a signed event, and see the answer\n"
    );
    let json = serde_json::to_value(&added).unwrap();
    assert_eq!(
        (&json["secret"], &json["subscriber"]["subscriberId"]),
        (&"whsec_AAAA".into(), &"portal".into())
    );
    let (request, body) = sent(&stack);
    assert_eq!(request, "POST /v1/subscribers");
    let expected = json!({
        "subscriberId": "portal", "url": "https://portal.example/events", "eventTypes": [], "kinds": [],
        "format": "full", "signature": "hmac", "ordered": true, "gzip": false,
    });
    assert_eq!(body, expected, "the API knows the defaults");
}

#[tokio::test]
async fn every_option_of_add_is_a_setting_of_the_api() {
    let stack = FakeStack::start().await;
    stack.answer("POST /v1/subscribers", 201, json!({ "subscriber": portal(), "publicKey": "whpk_AAAA" }));
    let arguments = "add archive https://archive.example/ --event document.ready --event submission.erased \
                     --kind video --kind audio --thin --ed25519 --unordered --batch 50 --batch-wait 30 --gzip \
                     --requests-per-second 0.5 --max-in-flight 2 --timeout 15";
    let added = add(&stack.client, &options!(Add, arguments)).await.unwrap();
    assert!(text(&added).contains("\nPublic key  whpk_AAAA\n"));
    let expected = json!({
        "subscriberId": "archive", "url": "https://archive.example/",
        "eventTypes": ["document.ready", "submission.erased"], "kinds": ["video", "audio"], "format": "thin",
        "signature": "ed25519", "ordered": false, "gzip": true, "maxBatch": 50, "maxBatchWaitSeconds": 30,
        "requestsPerSecond": 0.5, "maxInFlight": 2, "timeoutSeconds": 15,
    });
    assert_eq!(sent(&stack).1, expected);
}

#[rstest]
#[case::challenge(422, "challenge-failed", "The endpoint answered 302.", Exit::Attention)]
#[case::taken(409, "subscriber-exists", "Choose another id.", Exit::Attention)]
#[case::setting(400, "invalid-request", "maxBatch must be a number from 1 to 100.", Exit::Failed)]
#[case::role(403, "forbidden", "Ask an administrator.", Exit::Failed)]
#[tokio::test]
async fn refusal_says_what_to_do(
    #[case] status: u16,
    #[case] kind: &str,
    #[case] detail: &str,
    #[case] exit: Exit,
) {
    let stack = FakeStack::start().await;
    stack.answer("POST /v1/subscribers", status, refusal(kind, status, detail));
    let refused = add(&stack.client, &options!(Add, "add portal https://portal.example/")).await;
    let refused = refused.err().unwrap();
    assert_eq!((refused.todo.as_str(), refused.exit), (detail, exit));
}

#[rstest]
#[case::add("add portal https://portal.example/", "POST /v1/subscribers")]
#[case::rotate("rotate portal", "POST /v1/subscribers/portal/rotate")]
#[case::resume_from_now("resume portal --from now", "POST /v1/subscribers/portal/resume")]
#[tokio::test]
async fn request_whose_repetition_would_do_harm_is_not_repeated(#[case] arguments: &str, #[case] on: &str) {
    let stack = FakeStack::start().await;
    stack.fail(on, 503, 1);
    assert!(failure(&stack.client, arguments).await.is_some());
    assert_eq!(stack.number_of(on), 1);
}

#[tokio::test]
async fn list_is_aligned_and_names_the_subscribers_in_trouble() {
    let stack = FakeStack::start().await;
    let disabled = with(&json!({
        "subscriberId": "analytics-of-the-school", "status": "disabled", "disabledReason": "gone",
        "disabledAt": "2026-11-30T09:00:00.000Z", "deliveries/waiting": 1200, "deliveries/retryingCount": 3,
        "deliveries/deadLetters": 2, "deliveries/breakerOpen": true,
    }));
    let list_of = json!({ "subscribers": [disabled, portal()] });
    stack.shared().answers.insert("subscribers".to_owned(), list_of);
    let report = list(&stack.client).await.unwrap();
    assert_eq!(
        text(&report),
        "SUBSCRIBER               STATUS    WAITING  RETRYING  DEAD LETTERS  BREAKER  ENDPOINT\n\
         analytics-of-the-school  disabled     1200         3             2  open     https://portal.example/events\n\
         portal                   active          0         0             0  closed   https://portal.example/events\n\
         Do     lectern subscribers show analytics-of-the-school\n"
    );
    assert_eq!(serde_json::to_value(&report).unwrap()["subscribers"][1]["status"], "active");
    stack.shared().answers.insert("subscribers".to_owned(), json!({ "subscribers": [] }));
    let none = text(&list(&stack.client).await.unwrap());
    assert_eq!(none, "There are no subscribers. To add one: lectern subscribers add <ID> <ENDPOINT>\n");
}

async fn shown(subscriber: Value) -> String {
    let stack = FakeStack::start().await;
    stack.shared().answers.insert("subscribers/portal".to_owned(), subscriber);
    text(&show(&stack.client, &options!(Show, "show portal")).await.unwrap())
}

#[tokio::test]
async fn show_lists_settings_and_deliveries() {
    assert_eq!(
        shown(portal()).await,
        "Subscriber    portal\n\
         Endpoint      https://portal.example/events\n\
         Status        active\n\
         Created       2026-11-30T08:00:00.000Z\n\
         Events        all types\n\
         Requests      full events, one event each, signed with hmac\n\
         Order         kept within each submission\n\
         Limits        10 requests/s, 4 in flight, 10 s each\n\
         Waiting       0 events\n\
         In flight     0\n\
         Breaker       closed\n\
         Do     Nothing.\n"
    );
    let retrying = json!([{
        "eventId": "5d4e9c3f-0a1b-5c3d-8e5f-6f1c4c1e6a5e", "type": "document.ready", "subject": "s1/d1", "attempts": 7,
        "nextAt": "2026-11-30T10:00:00.000Z", "status": 500,
    }, {
        "eventId": "0a1b9c3f-0a1b-5c3d-8e5f-6f1c4c1e6a5e", "type": "submission.erased", "subject": "s2", "attempts": 1,
        "nextAt": "2026-11-30T09:30:00.000Z",
    }]);
    let failing = with(&json!({
        "eventTypes": ["document.ready"], "kinds": ["video", "audio"], "format": "thin", "ordered": false,
        "maxBatch": 50, "maxBatchWaitSeconds": 30, "gzip": true, "requestsPerSecond": 0.5,
        "deliveries/waiting": 12, "deliveries/oldestAt": "2026-11-30T08:30:00.000Z", "deliveries/retrying": retrying,
        "deliveries/retryingCount": 2, "deliveries/blocked": 4, "deliveries/deadLetters": 1, "deliveries/breakerOpen": true,
        "deliveries/failingSince": "2026-11-30T08:31:00.000Z",
    }));
    let text = shown(failing).await;
    let (_, after) = text.split_once("Events        ").unwrap();
    assert_eq!(
        after,
        "document.ready; files: video, audio\n\
         Requests      thin events, at most 50 events each, which wait at most 30 s, signed with hmac, gzip\n\
         Order         not kept\n\
         Limits        0.5 requests/s, 4 in flight, 10 s each\n\
         Waiting       12 events, the oldest since 2026-11-30T08:30:00.000Z\n\
         In flight     0\n\
         Breaker       open; every request has failed since 2026-11-30T08:31:00.000Z\n\
         Blocked       4 events, behind an event of the same submission\n\
         Dead letters  1 event, given up after three days\n\
         Retrying      2 events\n  \
           5d4e9c3f-0a1b-5c3d-8e5f-6f1c4c1e6a5e  document.ready of s1/d1: 7 attempts, last 500, next at 2026-11-30T10:00:00.000Z\n  \
           0a1b9c3f-0a1b-5c3d-8e5f-6f1c4c1e6a5e  submission.erased of s2: 1 attempt, last no answer, next at 2026-11-30T09:30:00.000Z\n\
         Do     lectern subscribers test portal    see what its endpoint answers\n       \
                lectern subscribers resume portal    retry at once when it works again\n"
    );
}

#[rstest]
#[case::gone(
    "gone",
    "its endpoint answered 410",
    "lectern subscribers remove portal --yes    if it does not"
)]
#[case::unreachable(
    "unreachable",
    "no delivery has succeeded for three days",
    "lectern subscribers resume portal    when its endpoint works again"
)]
#[tokio::test]
async fn disabled_subscriber_says_why_and_how_to_resume(
    #[case] reason: &str,
    #[case] why: &str,
    #[case] todo: &str,
) {
    let at = "2026-11-30T09:00:00.000Z";
    let disabled = json!({ "status": "disabled", "disabledReason": reason, "disabledAt": at });
    let text = shown(with(&disabled)).await;
    assert!(text.contains(&format!("Status        disabled since {at}; {why}\n")), "{text}");
    assert!(text.contains(todo), "{text}");
}

#[tokio::test]
async fn pause_says_that_events_wait() {
    let stack = FakeStack::start().await;
    stack.answer("POST /v1/subscribers/portal/pause", 200, with(&json!({ "status": "paused" })));
    let paused = pause(&stack.client, &options!(Pause, "pause portal")).await.unwrap();
    let expected = "Subscriber portal: paused\nIts events wait for 30 days at most.\n\
                    Do     lectern subscribers resume portal\n";
    assert_eq!(text(&paused), expected);
}

#[rstest]
#[case::position("resume portal", "position", 3, "is active: 3 events wait to be sent.")]
#[case::one("resume portal --from position", "position", 1, "is active: 1 event waits to be sent.")]
#[case::now("resume portal --from now", "now", 3, "is active: 3 events were skipped.")]
#[tokio::test]
async fn resume_says_how_many_events_are_sent_or_skipped(
    #[case] arguments: &str,
    #[case] from: &str,
    #[case] events: u64,
    #[case] expected: &str,
) {
    let stack = FakeStack::start().await;
    let answer = json!({ "events": events, "subscriber": portal() });
    stack.answer("POST /v1/subscribers/portal/resume", 200, answer);
    let resumed = resume(&stack.client, &options!(Resume, arguments)).await.unwrap();
    assert!(text(&resumed).starts_with(&format!("Subscriber portal {expected}\n")), "{}", text(&resumed));
    assert_eq!(sent(&stack).1, json!({ "from": from }));
    assert_eq!(serde_json::to_value(&resumed).unwrap()["events"], events);
}

#[tokio::test]
async fn remove_shows_first_what_it_would_remove() {
    let stack = FakeStack::start().await;
    stack
        .shared()
        .answers
        .insert("subscribers/portal".to_owned(), with(&json!({ "deliveries/waiting": 12 })));
    let shown = remove(&stack.client, &options!(Remove, "remove portal")).await.unwrap();
    assert_eq!(
        text(&shown),
        "Subscriber portal would be removed. Its endpoint is https://portal.example/events\n\
         12 events wait for it, and would never be sent.\n\
         Do     To remove it: lectern subscribers remove portal --yes\n"
    );
    assert_eq!(stack.number_of("DELETE"), 0);
    stack.answer("DELETE /v1/subscribers/portal", 204, Value::Null);
    let removed = remove(&stack.client, &options!(Remove, "remove portal --yes")).await.unwrap();
    assert!(
        text(&removed).starts_with("Subscriber portal is removed. 12 events that waited are never sent.\n")
    );
    assert_eq!(stack.number_of("DELETE /v1/subscribers/portal"), 1);
}

async fn tried(answer: Value) -> (Exit, String) {
    let stack = FakeStack::start().await;
    let mut trial = json!({ "request": {
        "url": "https://portal.example/events", "headers": { "webhook-id": "1", "webhook-signature": "v1,AAAA" },
        "body": "{\"specversion\":\"1.0\"}",
    } });
    trial.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
    stack.answer("POST /v1/subscribers/portal/test", 200, trial);
    let tried = test(&stack.client, &options!(Test, "test portal")).await.unwrap();
    (tried.exit(), text(&tried))
}

#[tokio::test]
async fn test_shows_the_request_and_the_answer() {
    let body = "thanks\nDo     Nothing.";
    let response = json!({ "status": 200, "headers": { "server": "portal/1" }, "body": body });
    let (exit, text) = tried(json!({ "response": response })).await;
    assert_eq!(
        text,
        "> POST https://portal.example/events\n> webhook-id: 1\n> webhook-signature: v1,AAAA\n>\n\
         > {\"specversion\":\"1.0\"}\n< 200\n< server: portal/1\n<\n< thanks\n< Do     Nothing.\nDo     Nothing.\n"
    );
    assert_eq!(exit, Exit::Done);
}

#[rstest]
#[case::no_answer(json!({ "error": "there was no answer in time" }), "There is no answer: there was no answer in time.\n")]
#[case::redirect(json!({ "response": { "status": 302, "headers": {}, "body": "" } }), "Do     Redirects are not followed")]
#[case::denied(json!({ "response": { "status": 401, "headers": {}, "body": "" } }), "verifies signatures with the secret")]
#[case::gone(json!({ "response": { "status": 410, "headers": {}, "body": "" } }), "disables the subscriber")]
#[case::broken(json!({ "response": { "status": 500, "headers": {}, "body": "" } }), "the endpoint's own logs")]
#[tokio::test]
async fn test_that_fails_needs_attention(#[case] answer: Value, #[case] expected: &str) {
    let (exit, text) = tried(answer).await;
    assert_eq!(exit, Exit::Attention);
    assert!(text.contains(expected), "{text}");
}

#[tokio::test]
async fn rotate_shows_the_new_secret_and_for_how_long_both_are_valid() {
    let stack = FakeStack::start().await;
    stack.answer("POST /v1/subscribers/portal/rotate", 200, json!({ "secret": "whsec_BBBB" }));
    let rotated = rotate(&stack.client, &options!(Rotate, "rotate portal")).await.unwrap();
    let text = text(&rotated);
    assert!(text.starts_with("Secret      whsec_BBBB\nIt is shown only now."), "{text}");
    assert!(text.contains("within 24 hours"), "{text}");
}

#[tokio::test]
async fn replay_reads_all_pages_and_prints_the_sum() {
    let stack = FakeStack::start().await;
    let on = "POST /v1/subscribers/portal/replay";
    stack.answer(on, 200, json!({ "events": 30, "cursor": "second" }));
    stack.answer(on, 200, json!({ "events": 0, "cursor": "third" }));
    stack.answer(on, 200, json!({ "events": 6 }));
    let progress = std::cell::RefCell::new(Vec::new());
    let options = options!(Replay, "replay portal --from 2026-11-01 --to 2026-12-01");
    let replayed =
        replay(&stack.client, &options, |events| progress.borrow_mut().push(events)).await.unwrap();
    assert!(
        text(&replayed).starts_with("Subscriber portal: 36 events were queued again, with the same ids.\n")
    );
    assert_eq!(serde_json::to_value(&replayed).unwrap(), json!({ "subscriberId": "portal", "events": 36 }));
    assert_eq!(progress.into_inner(), [30, 30, 36]);
    let bodies = stack.shared().bodies.clone();
    let time = json!({ "from": "2026-11-01", "to": "2026-12-01" });
    let mut expected = [time.clone(), time.clone(), time];
    expected[1]["cursor"] = "second".into();
    expected[2]["cursor"] = "third".into();
    assert_eq!(bodies, expected);
}

#[tokio::test]
async fn replay_that_broke_off_says_what_was_sent() {
    let stack = FakeStack::start().await;
    let on = "POST /v1/subscribers/portal/replay";
    stack.answer(on, 200, json!({ "events": 30, "cursor": "second" }));
    stack.answer(on, 403, refusal("forbidden", 403, "Ask an administrator."));
    let failed = replay(&stack.client, &options!(Replay, "replay portal --from 2026-11-01"), |_| ()).await;
    let todo = failed.unwrap_err().todo;
    assert!(
        todo.starts_with("Ask an administrator. 30 events of the newest submissions are sent."),
        "{todo}"
    );
    stack.fail(on, 503, 1);
    stack.answer(on, 200, json!({ "events": 5 }));
    let replayed = replay(&stack.client, &options!(Replay, "replay portal --from 2026-11-01"), |_| ()).await;
    assert_eq!(replayed.unwrap().events, 5, "a page is repeated after a temporary failure");
}

#[rstest]
#[case("show portal")]
#[case("pause portal")]
#[case("resume portal")]
#[case("remove portal --yes")]
#[case("test portal")]
#[case("rotate portal")]
#[case("replay portal --from 2026-11-01")]
#[tokio::test]
async fn unknown_subscriber_is_named(#[case] arguments: &str) {
    let stack = FakeStack::start().await;
    let problem = failure(&stack.client, arguments).await.unwrap();
    assert_eq!((problem.what.as_str(), problem.exit), ("there is no subscriber portal", Exit::NotFound));
    assert_eq!(problem.todo, "`lectern subscribers list` shows all subscribers.");
    let requests = stack.shared().requests.len();
    let problem = failure(&stack.client, &arguments.replace("portal", "Portal/..")).await.unwrap();
    assert_eq!(problem.what, "this is not the id of a subscriber");
    assert_eq!(stack.shared().requests.len(), requests, "no request is made");
}
