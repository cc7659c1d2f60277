//! Who may do what: every route for every role, with the caller's own submission, another teacher's, and one that does not
//! exist.

use axum::http::{Method, StatusCode};
use lectern::{document::DocumentId, testing::MemoryBackend};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{HandedIn, World, request};

/// Whose submission a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Own,
    Foreign,
    Unknown,
}

/// What a request does with a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Reads,
    Changes,
    Redrives,
}

/// Every route that names a submission, with a body and the answer to a person who may do it.
fn requests(of: &HandedIn) -> Vec<(Method, String, Value, Does, StatusCode)> {
    let submission = format!("/v1/submissions/{}", of.id);
    let [ready, rejected] =
        [&of.ready, &of.rejected].map(|document| format!("{submission}/documents/{}", document.document_id));
    let [small, large] = [of.in_one_request, of.in_parts].map(|file| format!("{submission}/files/{file}"));
    let pdf = json!({"name": "more.pdf", "sizeBytes": 5});
    let docx = json!({"name": "newer.docx", "sizeBytes": 5});
    let part = json!({"parts": [{"partNumber": 1, "checksumSha256": "A".repeat(43) + "="}]});
    let none = Value::Null;
    vec![
        (Method::GET, submission.clone(), none.clone(), Does::Reads, StatusCode::OK),
        (Method::GET, format!("{submission}/documents"), none.clone(), Does::Reads, StatusCode::OK),
        (Method::GET, format!("{ready}/record"), none.clone(), Does::Reads, StatusCode::OK),
        (Method::GET, format!("{ready}/files"), none.clone(), Does::Reads, StatusCode::OK),
        (Method::POST, format!("{submission}/files"), pdf, Does::Changes, StatusCode::CREATED),
        (Method::DELETE, small.clone(), none.clone(), Does::Changes, StatusCode::NO_CONTENT),
        (Method::POST, format!("{small}/upload"), json!({}), Does::Changes, StatusCode::OK),
        (Method::POST, format!("{large}/parts"), part, Does::Changes, StatusCode::OK),
        // No part was sent yet.
        (Method::POST, format!("{large}/complete"), none.clone(), Does::Changes, StatusCode::CONFLICT),
        (Method::POST, format!("{ready}/replace"), docx, Does::Changes, StatusCode::CREATED),
        (Method::DELETE, rejected, none.clone(), Does::Changes, StatusCode::NO_CONTENT),
        (Method::DELETE, submission, none, Does::Changes, StatusCode::ACCEPTED),
        // Only a document that has failed is redriven.
        (Method::POST, format!("{ready}/redrive"), json!({}), Does::Redrives, StatusCode::CONFLICT),
    ]
}

/// Ids that nothing has.
fn unknown() -> HandedIn {
    let id = "never-handed-in".parse().unwrap();
    let document = |key: &[u8]| DocumentId::of("uploads", key, "v1");
    let reference = |key: &[u8]| lectern::document::DocumentRef {
        submission_id: "never-handed-in".parse().unwrap(),
        document_id: document(key),
    };
    let [in_one_request, in_parts] = [1, 2].map(lectern::document::UploadId::new);
    HandedIn { id, ready: reference(b"a"), rejected: reference(b"b"), in_one_request, in_parts }
}

fn claims(groups: &str) -> String {
    json!({"sub": "teacher", "cognito:groups": groups, "token_use": "access"}).to_string()
}

#[rstest]
#[case::teacher("[teachers]", true, false)]
#[case::evaluator("[evaluators]", false, true)]
#[case::operator("[operators]", false, true)]
#[case::teacher_who_evaluates("[evaluators teachers]", true, true)]
#[case::everything("[operators evaluators teachers]", true, true)]
#[tokio::test]
async fn s01_only_the_owner_changes_a_submission_and_a_foreign_one_does_not_exist_for_a_teacher(
    #[case] groups: &str,
    #[case] hands_in: bool,
    #[case] reads_all: bool,
    #[values(Whose::Own, Whose::Foreign, Whose::Unknown)] whose: Whose,
) {
    let count = requests(&unknown()).len();
    for number in 0..count {
        // A request may change what the next one needs, so each has its own world.
        let world = World::new().await;
        let named = match whose {
            Whose::Own => world.own.clone(),
            Whose::Foreign => world.foreign.clone(),
            Whose::Unknown => unknown(),
        };
        let (method, path, body, does, done) = requests(&named).swap_remove(number);
        let is_owner = hands_in && whose == Whose::Own;
        let may_read = is_owner || (reads_all && whose != Whose::Unknown);
        let expected = match does {
            Does::Reads if may_read => done,
            Does::Changes if is_owner => done,
            Does::Redrives if may_read && groups.contains("operators") => done,
            Does::Changes | Does::Redrives if may_read => StatusCode::FORBIDDEN,
            Does::Reads | Does::Changes | Does::Redrives => StatusCode::NOT_FOUND,
        };
        let before = audited(&world.app.backend, &named);
        let answer = world.send(request(method.clone(), &path, Some(&claims(groups)), Some(&body))).await;
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.body);
        let is_refused = [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&expected);
        if is_refused {
            assert_eq!(audited(&world.app.backend, &named), before, "{method} {path}: nothing was done");
        }
    }
}

fn audited(backend: &MemoryBackend, of: &HandedIn) -> usize {
    backend.store.audited(&of.id).len()
}

/// The requests that name no submission.
#[rstest]
#[case::teacher("[teachers]", true)]
#[case::evaluator("[evaluators]", false)]
#[case::operator("[operators]", false)]
#[case::everything("[operators evaluators teachers]", true)]
#[tokio::test]
async fn s01_only_teachers_hand_in_and_only_operators_see_the_flow(
    #[case] groups: &str,
    #[case] hands_in: bool,
) {
    let world = World::new().await;
    let claims = claims(groups);
    let created = if hands_in { StatusCode::CREATED } else { StatusCode::FORBIDDEN };
    let listed = if hands_in { StatusCode::OK } else { StatusCode::FORBIDDEN };
    assert_eq!(world.get("/v1/me", Some(&claims)).await.status, StatusCode::OK);
    assert_eq!(world.get("/v1/submissions", Some(&claims)).await.status, StatusCode::OK);
    assert_eq!(world.get("/v1/submissions?mine=true", Some(&claims)).await.status, listed);
    assert_eq!(world.post("/v1/submissions", &claims, &json!({"title": "Rivers"})).await.status, created);
    let watched = if groups.contains("operators") { StatusCode::OK } else { StatusCode::FORBIDDEN };
    assert_eq!(world.get("/v1/operations", Some(&claims)).await.status, watched);
    assert_eq!(world.get("/v1/operations/failures", Some(&claims)).await.status, watched);
}

/// Every route of subscribers, with a body and the answer to an operator if `subscriber` exists.
fn requests_of_subscribers(subscriber: &str) -> Vec<(Method, String, Value, StatusCode)> {
    let one = format!("/v1/subscribers/{subscriber}");
    let new = json!({"subscriberId": "another", "url": "https://another.example/events"});
    let none = Value::Null;
    vec![
        (Method::GET, "/v1/subscribers".to_owned(), none.clone(), StatusCode::OK),
        (Method::POST, "/v1/subscribers".to_owned(), new, StatusCode::CREATED),
        (Method::GET, one.clone(), none.clone(), StatusCode::OK),
        (Method::POST, format!("{one}/pause"), none.clone(), StatusCode::OK),
        (Method::POST, format!("{one}/resume"), json!({}), StatusCode::OK),
        (Method::POST, format!("{one}/test"), none.clone(), StatusCode::OK),
        (Method::POST, format!("{one}/rotate"), none.clone(), StatusCode::OK),
        (Method::POST, format!("{one}/replay"), json!({"from": "2026-01-01"}), StatusCode::OK),
        (Method::DELETE, one, none, StatusCode::NO_CONTENT),
    ]
}

#[rstest]
#[case::teacher("[teachers]", false)]
#[case::evaluator("[evaluators]", false)]
#[case::teacher_who_evaluates("[evaluators teachers]", false)]
#[case::operator("[operators]", true)]
#[case::everything("[operators evaluators teachers]", true)]
#[tokio::test]
async fn s01_only_operators_see_or_change_subscribers(#[case] groups: &str, #[case] is_operator: bool) {
    let world = World::new().await;
    let portal = json!({"subscriberId": "portal", "url": "https://portal.example/events"});
    world.post("/v1/subscribers", super::world::OPERATOR, &portal).await;
    let claims = claims(groups);
    for subscriber in ["portal", "unknown", "Malformed_ID"] {
        for (method, path, body, done) in requests_of_subscribers(subscriber) {
            let expected = match (is_operator, subscriber) {
                (false, _) => StatusCode::FORBIDDEN,
                (true, "portal") => done,
                (true, _) if path.contains(subscriber) => StatusCode::NOT_FOUND,
                (true, _) if method == Method::POST => StatusCode::CONFLICT,
                (true, _) => done,
            };
            let before = world.app.backend.faults.calls().len();
            let answer = world.send(request(method.clone(), &path, Some(&claims), Some(&body))).await;
            assert_eq!(answer.status, expected, "{method} {path}: {}", answer.body);
            if !is_operator {
                let calls = world.app.backend.faults.calls();
                assert_eq!(calls.len(), before, "{method} {path}: nothing was done");
            }
        }
    }
}

#[rstest]
#[case::no_group(Some(r#"{"sub":"teacher","token_use":"access"}"#), StatusCode::FORBIDDEN)]
#[case::another_group(Some(r#"{"sub":"teacher","cognito:groups":"[pupils]"}"#), StatusCode::FORBIDDEN)]
#[case::group_in_another_claim(Some(r#"{"sub":"teachers","groups":"[teachers]"}"#), StatusCode::FORBIDDEN)]
#[case::id_token(
    Some(r#"{"sub":"teacher","cognito:groups":"[teachers]","token_use":"id"}"#),
    StatusCode::UNAUTHORIZED
)]
#[case::no_subject(Some(r#"{"cognito:groups":"[teachers]"}"#), StatusCode::UNAUTHORIZED)]
#[case::no_token(None, StatusCode::UNAUTHORIZED)]
#[tokio::test]
async fn s01_person_without_a_role_or_a_token_gets_the_same_answer_from_every_route(
    #[case] claims: Option<&str>,
    #[case] expected: StatusCode,
) {
    let world = World::new().await;
    let mut all = vec![
        (Method::GET, "/v1/me".to_owned(), Value::Null),
        (Method::GET, "/v1/submissions".to_owned(), Value::Null),
        (Method::POST, "/v1/submissions".to_owned(), json!({"title": "Rivers"})),
        (Method::GET, "/v1/operations".to_owned(), Value::Null),
        (Method::GET, "/v1/operations/failures".to_owned(), Value::Null),
    ];
    let of_subscribers = requests_of_subscribers("portal").into_iter();
    all.extend(of_subscribers.map(|(method, path, body, _)| (method, path, body)));
    for named in [world.own.clone(), world.foreign.clone(), unknown()] {
        all.extend(requests(&named).into_iter().map(|(method, path, body, ..)| (method, path, body)));
    }
    for (method, path, body) in all {
        let answer = world.send(request(method.clone(), &path, claims, Some(&body))).await;
        assert_eq!(answer.status, expected, "{method} {path}");
        let mut fields: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
        fields.sort();
        assert_eq!(fields, ["detail", "status", "title", "type"], "{method} {path}");
    }
}

#[tokio::test]
async fn s01_draft_of_a_teacher_is_seen_by_nobody_else() {
    let world = World::new().await;
    let draft = world.post("/v1/submissions", super::world::TEACHER, &json!({"title": "Not yet"})).await;
    let path = format!("/v1/submissions/{}", draft.body["submission"]["submissionId"].as_str().unwrap());
    assert_eq!(world.get(&path, Some(super::world::TEACHER)).await.status, StatusCode::OK);
    for claims in [super::world::EVALUATOR, super::world::OPERATOR] {
        assert_eq!(world.get(&path, Some(claims)).await.status, StatusCode::NOT_FOUND);
        let list = world.get("/v1/submissions?limit=100", Some(claims)).await.body;
        assert!(!list.to_string().contains("Not yet"), "{list}");
    }
}
