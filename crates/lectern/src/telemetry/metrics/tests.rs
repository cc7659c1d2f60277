//! Runs the steps with the in-memory ports and checks their metrics: they report every metric of the catalogue and no
//! others.

mod races;
mod recorder;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::recorder::recorded;
use super::*;
use crate::{
    contract::callback::VerifiedCallback,
    contract::webhook::{SigningSecrets, VerifyError},
    contract::wire::{CallbackEvent, FileRole, JobStatus},
    document::keys,
    document::{Attempt, DocumentRef, ObjectVersion, Round, TaskToken},
    error::StoreError,
    message::Envelope,
    ports::{Clock as _, Finishing as _, JobRequest, ThirdParty, Transfers as _},
    steps::fail_document,
    steps::normalize_document,
    steps::probe_job,
    steps::transfer_document::{self, idempotency_key},
    testing::{
        Cut,
        world::{
            MemoryWorld, SECRET, callback_body, failed, failed_for, object, of_job, returned_file, s3_event,
            signed, succeeded,
        },
    },
};

const FOREIGN: &str = "whsec_cm90YXRlZC1zZWNyZXQtb2YtMzItYnl0ZXMtbG9uZyE=";
const TEXT: &[u8] = b"A lesson.";

/// A world with one registered document.
async fn registered_document(file_name: &str, bytes: &'static [u8]) -> (MemoryWorld, DocumentRef) {
    let world = MemoryWorld::default();
    let object: ObjectVersion = object(file_name, "v1");
    world.objects.upload(&object, None, bytes);
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let document = world.document(&object).unwrap().reference;
    (world, document)
}

fn pass(world: &MemoryWorld, seconds: u64) {
    world.clock.advance(std::time::Duration::from_secs(seconds));
}

/// A document that the third party has had for some seconds; its execution waits with the token `token`.
async fn awaited_document() -> (MemoryWorld, DocumentRef) {
    let (world, document) = registered_document("lesson.txt", TEXT).await;
    pass(&world, 2);
    world.store.begin_transfer(&document, Attempt(1000), Round(1), world.clock.now()).await.unwrap();
    pass(&world, 3);
    assert!(world.store.await_callback(&document, TaskToken::new("token"), world.clock.now()));
    pass(&world, 40);
    (world, document)
}

fn good() -> CallbackEvent {
    succeeded(&[returned_file("text.txt", FileRole::Text, "text/plain", TEXT)])
}

async fn normalized_document() -> (MemoryWorld, DocumentRef) {
    let (world, document) = awaited_document().await;
    world.call_back(&document, good()).await;
    world.store.begin_verify(&document, world.clock.now()).unwrap();
    pass(&world, 5);
    world.objects.put_returned(&keys::returned_file(&document, 0), TEXT);
    let input = normalize_document::Input {
        envelope: Envelope::new(document.clone(), Attempt(1000)),
        task_token: TaskToken::new("normalize"),
    };
    let outcome = world.normalize(input.clone(), false).await.unwrap();
    assert_eq!(outcome, normalize_document::Outcome::Ready);
    world.normalize(input, true).await.unwrap();
    (world, document)
}

async fn failed_document(code: &str) {
    let (world, document) = awaited_document().await;
    world.call_back(&document, failed(code)).await;
    let input = fail_document::Input {
        envelope: Envelope::new(document, Attempt(1000)),
        error: "ThirdParty.Rejected".to_owned(),
        cause: String::new(),
        redrives: 0,
    };
    world.fail(input.clone()).await.unwrap();
    world.fail(input).await.unwrap();
}

async fn probe(status: Option<JobStatus>, refuse: Option<Error>) {
    let (world, document) = awaited_document().await;
    world.states.expire(&TaskToken::new("token"));
    let round = Round(1);
    if let Some(status) = status {
        world.third_party.set_status(&idempotency_key(document.document_id, round), status);
    }
    if let Some(error) = refuse {
        world.third_party.refuse_next(error);
    }
    let input = probe_job::Input { envelope: Envelope::new(document, Attempt(1000)), round };
    let _ = world.probe(input.clone()).await;
}

/// Every outcome that a callback can have, in the order of [`OUTCOMES`].
async fn callbacks() {
    let (world, document) = awaited_document().await;
    world.faults.cut_next("record_result", Cut::Before);
    for event in [good(), good(), good(), failed("x"), of_job("another", failed("x"))] {
        world.call_back(&document, event).await;
    }
    let (world, document) = registered_document("lesson.txt", TEXT).await;
    world.call_back(&document, good()).await;
    let (world, document) = awaited_document().await;
    world.states.expire(&TaskToken::new("token"));
    world.call_back(&document, good()).await;
    let (world, _) = awaited_document().await;
    let now = world.clock.now();
    let body = callback_body(good());
    let send = async |callback_id: &str, secret: &str, body: &[u8]| {
        world.callback(callback_id, &signed(secret, "event", now, body), body).await;
    };
    send("callback-0", FOREIGN, &body).await;
    send("nobody", FOREIGN, &body).await;
    send("nobody", SECRET, &body).await;
    send("callback-0", SECRET, br#"{"type":"job.paused"}"#).await;
    send("callback-0", SECRET, b"no json").await;
    erase(&world).await;
    send("callback-0", SECRET, &body).await;
}

async fn erase(world: &MemoryWorld) {
    let MemoryWorld { store, objects, third_party, states: executions, clock, .. } = world;
    let functions_end_within = std::time::Duration::ZERO;
    let ports =
        crate::erasure::Ports { store, objects, third_party, executions, clock, functions_end_within };
    ports.handle(&"s1".parse().unwrap(), "arn:operator").await.unwrap();
}

async fn upload_to_an_erased_submission() {
    let (world, _) = registered_document("lesson.txt", TEXT).await;
    erase(&world).await;
    let object = object("new.txt", "v1");
    for _ in 0..2 {
        // The first event is that of an object that no longer exists.
        world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
        world.objects.upload(&object, None, TEXT);
    }
}

#[test]
fn a08_upload_to_an_erased_submission_is_counted_only_if_there_is_one() {
    let found = recorded(upload_to_an_erased_submission());
    assert_eq!(found.values("UploadsToErased"), [1]);
}

const OUTCOMES: [&str; 13] = [
    "notKept",
    "accepted",
    "duplicate",
    "contradictory",
    "otherJob",
    "early",
    "late",
    "badSignature",
    "unsolicited",
    "unknown",
    "unknownType",
    "contractBroken",
    "gone",
];

/// Runs of route-events and deliver-events.
fn events() {
    let portal = "portal".parse().unwrap();
    delivered(&portal, [1, 2].map(std::time::Duration::from_secs).into_iter());
    delivery_failed(&portal);
    events_given_up(&portal, 1);
    subscriber(&portal, 3, std::time::Duration::from_secs(4));
    subscriber_disabled(&portal);
    unreadable_change();
}

/// Runs of admit-document and transfer-document.
fn limits_and_transfers() {
    limiter(&Limiter {
        granted_after: [1, 2].map(Duration::seconds).to_vec(),
        documents_waiting: 3,
        leases_held: 4,
        breaker_open: true,
        rate_slowdown: 1.5,
        stalled: std::time::Duration::from_secs(6),
    });
    transferred(5, Duration::milliseconds(2500));
    permit_missed();
}

#[test]
fn every_metric_of_the_catalogue_is_told_and_nothing_else() {
    let found = recorded(async {
        normalized_document().await;
        failed_document("x").await;
        callbacks().await;
        upload_to_an_erased_submission().await;
        probe(None, Some(Error::Unauthorized)).await;
        probe(None, None).await;
        limits_and_transfers();
        events();
        newer_input();
    });
    let known: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(known.len(), ALL.len(), "a name is there twice");
    let dimensions: BTreeSet<&str> = ALL.iter().flat_map(|metric| metric.dimensions.concat()).collect();
    let fields: BTreeSet<String> = found.all().into_iter().flatten().map(|(name, _)| name).collect();
    let expected: BTreeSet<String> = known.union(&dimensions).map(|name| (*name).to_owned()).collect();
    assert_eq!(fields, expected, "left: found; right: in the catalogue");
    for event in found.all() {
        for (name, value) in &event {
            assert_eq!(value.is_number(), known.contains(name.as_str()), "{name} {value}");
        }
        for metric in ALL.iter().filter(|metric| event.contains_key(metric.name)) {
            let complete =
                metric.dimensions.iter().any(|set| set.iter().all(|name| event.contains_key(*name)));
            assert!(complete, "{} is reported without any of its dimension sets: {event:?}", metric.name);
        }
    }
}

#[test]
fn ready_document_is_counted_once_with_the_time_in_each_state() {
    let found = recorded(async {
        normalized_document().await;
    });
    let documents = found.of("Documents");
    assert_eq!(documents[0], *json!({"Documents": 1, "State": "Received"}).as_object().unwrap());
    let expected = json!({
        "Documents": 1, "State": "Ready", "Normalizations": 1, "MediaType": "text/plain",
        "ReceivedSeconds": 2.0, "TransferringSeconds": 3.0, "ProcessingSeconds": 40.0,
        "VerifyingSeconds": 5.0, "NormalizingSeconds": 0.0, "TotalSeconds": 50.0
    });
    assert_eq!(documents[1..], [expected.as_object().unwrap().clone()], "the second message counts nothing");
}

#[test]
fn failed_and_rejected_documents_are_counted_by_reasons_of_our_own() {
    let found = recorded(async {
        failed_document("contractBroken").await;
        failed_document("aWordOfTheThirdParty").await;
        registered_document("empty.txt", b"").await;
    });
    let ends: Vec<(Value, Value)> = found
        .of("Reason")
        .into_iter()
        .map(|event| (event["State"].clone(), event["Reason"].clone()))
        .collect();
    let expected = [("Failed", "contractBroken"), ("Failed", OTHER), ("Rejected", "empty")];
    assert_eq!(ends, expected.map(|(state, reason)| (json!(state), json!(reason))));
    assert_eq!(found.values("Normalizations"), Vec::<Value>::new());
    assert_eq!(found.values("ProcessingSeconds"), [40.0, 40.0]);
    assert_eq!(
        found.values("VerifyingSeconds"),
        Vec::<Value>::new(),
        "a state that was not reached took no time"
    );
}

#[test]
fn every_callback_is_counted_once_by_its_outcome() {
    let found = recorded(callbacks());
    assert_eq!(found.values("Outcome"), OUTCOMES);
    let all: BTreeSet<&str> = CallbackOutcome::ALL.map(CallbackOutcome::as_str).into();
    assert_eq!(all, OUTCOMES.into(), "every outcome there is");
    let arrived: Vec<Value> =
        found.of("CallbackMissed").into_iter().map(|event| event["Outcome"].clone()).collect();
    let missed = ["notKept", "badSignature", "unsolicited", "unknown"];
    let expected: Vec<&str> = OUTCOMES.into_iter().filter(|outcome| !missed.contains(outcome)).collect();
    assert_eq!(arrived, expected);
    assert!(found.values("CallbackMissed").iter().all(|value| *value == 0));
    // The accepted, the late and the broken callback brought results of jobs that were submitted 40 s before.
    let brought: Vec<(Value, Value)> = found
        .of("ThirdPartySeconds")
        .into_iter()
        .map(|event| (event["Outcome"].clone(), event["ThirdPartySeconds"].clone()))
        .collect();
    let expected = ["accepted", "late", "contractBroken"].map(|outcome| (json!(outcome), json!(40.0)));
    assert_eq!(brought, expected);
}

#[test]
fn callback_to_a_document_that_was_failed_for_is_late_with_and_without_a_token() {
    let found = recorded(async {
        for (world, document) in [awaited_document().await, registered_document("a.txt", TEXT).await] {
            let failed_for = failed_for(Reason::new("overdue", "."));
            world.store.finish(&document, failed_for, world.clock.now()).await.unwrap();
            world.states.expire(&TaskToken::new("token"));
            world.call_back(&document, good()).await;
        }
    });
    assert_eq!(found.values("Outcome"), ["late", "late"]);
}

/// A delivery that died between storing the result and resuming the execution is counted as not kept, and the delivery
/// that resumes the execution as accepted.
#[test]
fn callback_that_wakes_on_its_second_delivery_is_accepted() {
    let found = recorded(async {
        let (world, document) = awaited_document().await;
        world.faults.cut_next("succeed", Cut::Before);
        world.call_back(&document, good()).await;
        world.call_back(&document, good()).await;
    });
    assert_eq!(found.values("Outcome"), ["notKept", "accepted"]);
}

#[test]
fn probes_are_counted_by_what_they_found_and_only_callbacks_that_are_really_missing() {
    let found = recorded(async {
        probe(Some(JobStatus::Working { job_id: "job".to_owned() }), None).await;
        probe(None, None).await;
        let CallbackEvent::Failed(job) = failed("x") else { unreachable!("it failed") };
        probe(Some(JobStatus::Failed(job)), None).await;
        probe(None, Some(Error::Unavailable("503".to_owned()))).await;
        probe(None, Some(StoreError::Conflict.into())).await;
    });
    assert_eq!(found.values("Status"), ["working", "unknown", "resultStored"]);
    let missed: Vec<Value> =
        found.of("CallbackMissed").into_iter().map(|event| event["Status"].clone()).collect();
    assert_eq!(missed, ["unknown", "resultStored"], "a job that is still at work has nothing to say yet");
    assert_eq!(found.values("CallbackMissed"), [1; 2]);
    assert_eq!(found.values("ThirdPartySeconds"), [40.0]);
    assert_eq!(found.values("Error"), ["ThirdParty.Unavailable"], "what is ours is not the third party's");
}

#[test]
fn callback_that_came_before_it_was_asked_for_is_not_missed() {
    let found = recorded(async {
        let (world, document) = awaited_document().await;
        world.states.expire(&TaskToken::new("token"));
        world.call_back(&document, good()).await;
        let (attempt, round) = (Attempt(1000), Round(1));
        let input = probe_job::Input { envelope: Envelope::new(document, attempt), round };
        world.probe(input).await.unwrap();
    });
    assert_eq!((found.values("CallbackMissed"), found.values("Status").len()), (vec![json!(0)], 0));
}

#[test]
fn permits_that_are_not_used_are_counted_whether_late_or_used_before() {
    let found = recorded(async {
        let (world, document) = registered_document("lesson.txt", TEXT).await;
        let transfer = async |attempt: u32, expires_at: OffsetDateTime, token: &str| {
            let input = transfer_document::Input {
                envelope: Envelope::new(document.clone(), Attempt(attempt)),
                permit_expires_at: expires_at,
                report_success: false,
                round: Round(1),
                task_token: TaskToken::new(token),
            };
            world.transfer(input).await
        };
        let now = world.clock.now();
        let later = now + Duration::hours(1);
        transfer(1, now, "late").await.unwrap();
        world.faults.cut_next("succeed", Cut::Before);
        transfer(2, later, "used").await.unwrap_err();
        transfer(2, later, "used").await.unwrap();
        transfer(3, later, "in time").await.unwrap();
    });
    assert_eq!(found.values("PermitsMissed"), [1, 1]);
    assert!(found.values("Error").is_empty(), "it is no fault of the third party");
}

#[test]
fn limiter_tells_each_granted_turn_and_its_gauges_once() {
    let found = recorded(async { limits_and_transfers() });
    let expected = [
        json!({
            "PermitsGranted": 2, "PermitWaitSeconds": 1.0, "DocumentsWaiting": 3, "LeasesHeld": 4,
            "BreakerOpen": 1, "RateSlowdown": 1.5, "AdmissionStalledSeconds": 6.0
        }),
        json!({"PermitWaitSeconds": 2.0}),
        json!({"TransferBytes": 5, "TransferSeconds": 2.5}),
        json!({"PermitsMissed": 1}),
    ];
    assert_eq!(found.all(), expected.map(|event| event.as_object().unwrap().clone()));
    let quiet = crate::telemetry::metrics::tests::recorded(async { limiter(&Limiter::default()) });
    assert_eq!(
        (quiet.values("PermitWaitSeconds").len(), quiet.values("PermitsGranted")),
        (0, vec![json!(0)])
    );
}

#[test]
fn clocks_that_disagree_and_times_that_are_no_times_give_no_negative_seconds() {
    let now = crate::testing::world::START;
    let times =
        BTreeMap::from([("Processing".to_owned(), crate::error::rfc3339(now + Duration::seconds(1)))]);
    assert_eq!(third_party_time(&times, now), Some(Duration::ZERO));
    assert_eq!(since(&times, DocumentState::Processing, now), Some(0.0));
    assert_eq!(third_party_time(&BTreeMap::new(), now), None);
    assert_eq!(third_party_time(&[("Processing".to_owned(), "soon".to_owned())].into(), now), None);
}

#[test]
fn media_types_are_dimension_values_that_cloudwatch_takes() {
    for value in MediaType::ALL.map(MediaType::as_str).into_iter().chain(REASONS) {
        assert!(value.is_ascii() && (1..=255).contains(&value.len()) && !value.starts_with(':'), "{value}");
    }
    assert!(REASONS.is_sorted() && !REASONS.contains(&OTHER));
}

#[test]
fn s05_unsigned_request_to_no_documents_url_is_counted_apart_from_those_that_raise_the_alarm() {
    let found = recorded(async {
        let (world, document) = awaited_document().await;
        let body = callback_body(good());
        let headers = signed(FOREIGN, "event", world.clock.now(), &body);
        let callback_id = world.store.get(&document).unwrap().callback_id;
        for callback_id in ["nobody", "", callback_id.expose()] {
            let answer = world.callback(callback_id, &headers, &body).await;
            assert_eq!(answer.status(), 401, "the answer does not say whether the URL exists");
        }
        world.faults.cut_next("resolve", Cut::Before);
        assert_eq!(world.callback("nobody", &headers, &body).await.status(), 401);
    });
    assert_eq!(found.values("Outcome"), ["unsolicited", "unsolicited", "badSignature", "unsolicited"]);
}
