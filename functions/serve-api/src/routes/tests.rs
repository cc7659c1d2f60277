//! Tests the API in process with the in-memory ports. Every answer is compared with the API's description.

mod contract;
mod roles;
mod world;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use lectern::testing::Cut;
use rstest::rstest;
use serde_json::{Value, json};
use world::{EVALUATOR, OPERATOR, TEACHER, World, request};

#[tokio::test]
async fn s01_token_in_the_request_itself_counts_for_nothing() {
    let world = World::new().await;
    let request = Request::get("/v1/submissions")
        .header("authorization", "Bearer e30.eyJjb2duaXRvOmdyb3VwcyI6WyJldmFsdWF0b3JzIl19.")
        .header("x-amzn-request-context", world::context(EVALUATOR).to_string())
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(request).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn teacher_hands_in_and_sees_the_submission_become_ready() {
    let world = World::new().await;
    let files = json!([{"name": "plan.docx", "sizeBytes": 5}, {"name": "film.mp4", "sizeBytes": 30_000_000}]);
    let created = world.post("/v1/submissions", TEACHER, &json!({"title": "Rivers", "files": files})).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.body["submission"]["state"], "Draft");
    let id = created.body["submission"]["submissionId"].as_str().unwrap().to_owned();
    let path = format!("/v1/submissions/{id}");
    let pending = created.body["pending"].as_array().unwrap();
    let file =
        |name: &str| pending.iter().find(|file| file["name"] == name).unwrap()["fileId"].as_str().unwrap();

    let begun = world.post(&format!("{path}/files/{}/upload", file("plan.docx")), TEACHER, &json!({})).await;
    assert_eq!(begun.body["method"], "post");
    let begun = world.post(&format!("{path}/files/{}/upload", file("film.mp4")), TEACHER, &json!({})).await;
    assert_eq!((&begun.body["method"], &begun.body["partCount"]), (&"parts".into(), &4.into()));

    let backend = &world.app.backend;
    let submission = id.parse().unwrap();
    let document = backend.arrive(&submission, file("plan.docx").parse().unwrap(), None).await.unwrap();
    let content: &[u8] = b"%PDF-1.7";
    let report = lectern::testing::world::returned_file(
        "report.pdf",
        lectern::contract::wire::FileRole::Attachment,
        "application/pdf",
        content,
    );
    backend.make_ready(&document, &[(report, content.into())]).await.unwrap();
    let read = world.get(&path, Some(TEACHER)).await.body;
    assert_eq!((&read["submission"]["state"], &read["submission"]["ready"]), (&"Ready".into(), &1.into()));
    assert_eq!(read["pending"].as_array().unwrap().len(), 1, "the film has not arrived");
    assert_eq!(read["mayChange"], true);
    let read = world.get(&path, Some(EVALUATOR)).await.body;
    assert_eq!((&read["mayChange"], &read["pending"]), (&false.into(), &json!([])));
}

#[tokio::test]
async fn complete_names_the_parts_that_are_missing() {
    let world = World::new().await;
    let path = format!("/v1/submissions/{}/files/{}/complete", world.own.id, world.own.in_parts);
    let answer = world.post(&path, TEACHER, &Value::Null).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.body["type"], "urn:problem-type:lectern:incomplete-upload");
    assert_eq!(answer.body["missing"], json!([1, 2, 3]));
}

#[tokio::test]
async fn watching_costs_one_304_while_nothing_changes() {
    let world = World::new().await;
    let path = format!("/v1/submissions/{}", world.own.id);
    let first = world.get(&path, Some(TEACHER)).await;
    let tag = first.header("etag").unwrap().to_owned();
    let again = async |known: &str| {
        let mut request = request(Method::GET, &path, Some(TEACHER), None);
        request.headers_mut().insert("if-none-match", known.parse().unwrap());
        world.send(request).await
    };
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
        let unchanged = again(&known).await;
        assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(unchanged.header("etag"), Some(&*tag));
        assert_eq!(unchanged.body, Value::Null);
    }
    assert_eq!(again("\"other\"").await.status, StatusCode::OK);
    world.app.backend.arrive(&world.own.id, world.own.in_one_request, None).await.unwrap();
    let changed = again(&tag).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(changed.header("etag"), Some(&*tag));
}

#[rstest]
#[case("limit=0")]
#[case("limit=101")]
#[case("limit=ten")]
#[case("limit=%2B5")]
#[case("limit=5&limit=6")]
#[case("state=ready")]
#[case("state=Draft")]
#[case("type=program")]
#[case("from=yesterday")]
#[case("to=2026-02-30")]
#[case("mine=yes")]
#[case("cursor=")]
#[case("cursor=e30")]
#[case("cursor=%00")]
#[case("cursor=eyJjcmVhdGVkQXQiOiJ4Iiwic3VibWlzc2lvbklkIjoieCJ9")]
#[case("page=2")]
#[tokio::test]
async fn bad_query_is_a_400_with_a_sentence(#[case] query: &str) {
    let world = World::new().await;
    let answer = world.get(&format!("/v1/submissions?{query}"), Some(EVALUATOR)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["type"], "urn:problem-type:lectern:invalid-query");
    assert!(answer.body["detail"].as_str().unwrap().ends_with('.'));
}

#[rstest]
#[case::no_body("")]
#[case::no_json("title")]
#[case::open("{")]
#[case::list("[]")]
#[case::no_title("{}")]
#[case::title_of_another_type(r#"{"title":5}"#)]
#[case::empty_title(r#"{"title":" \n "}"#)]
#[case::invisible_title(r#"{"title":"\u200b\u202e"}"#)]
#[case::unknown_field(r#"{"title":"a","owner":"somebody"}"#)]
#[case::size_of_another_type(r#"{"title":"a","files":[{"name":"a.pdf","sizeBytes":"5"}]}"#)]
#[case::negative_size(r#"{"title":"a","files":[{"name":"a.pdf","sizeBytes":-5}]}"#)]
#[case::file_without_a_name(r#"{"title":"a","files":[{"name":"","sizeBytes":5}]}"#)]
#[tokio::test]
async fn bad_body_is_a_400_with_a_sentence(#[case] body: &'static str) {
    let world = World::new().await;
    let mut request = request(Method::POST, "/v1/submissions", Some(TEACHER), None);
    *request.body_mut() = Body::from(body);
    let answer = world.send(request).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    assert_eq!(answer.body["type"], "urn:problem-type:lectern:invalid-request");
    assert!(answer.body["detail"].as_str().unwrap().ends_with('.'));
}

#[tokio::test]
async fn body_that_does_not_say_that_it_is_json_is_a_400() {
    let world = World::new().await;
    let mut request = request(Method::POST, "/v1/submissions", Some(TEACHER), Some(&json!({"title": "a"})));
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(world.send(request).await.status, StatusCode::BAD_REQUEST);
}

#[rstest]
#[case("/v1")]
#[case("/v1/")]
#[case("/submissions")]
#[case("/v1/submissions/")]
#[case("/v1/submissions/unknown")]
#[case("/v1/submissions/%FF")]
#[case("/v1/submissions/..")]
#[case("/v1/submissions/{own}/documents/x/record")]
#[case("/v1/submissions/{own}/documents/{READY}/record")]
#[case("/v1/submissions/{own}/documents/{rejected}/record")]
#[case("/v1/submissions/{own}/documents/{rejected}/files")]
#[case("/v1/submissions/{foreign}/documents/{ready}/record")]
#[case("/v1/submissions/{own}/documents/6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f/files")]
#[tokio::test]
async fn unknown_thing_or_path_is_a_404(#[case] path: &str) {
    let world = World::new().await;
    let ready = world.own.ready.document_id.to_string();
    let path = path
        .replace("{own}", world.own.id.as_str())
        .replace("{foreign}", world.foreign.id.as_str())
        .replace("{READY}", &ready.to_uppercase())
        .replace("{ready}", &ready)
        .replace("{rejected}", &world.own.rejected.document_id.to_string());
    let answer = world.get(&path, Some(EVALUATOR)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    assert_eq!(answer.body["type"], "urn:problem-type:lectern:not-found");
}

#[tokio::test]
async fn every_answer_forbids_to_keep_sniff_or_frame_it() {
    let world = World::new().await;
    let own = format!("/v1/submissions/{}", world.own.id);
    for path in ["/v1/me", "/v1/submissions", &own, "/nowhere"] {
        for claims in [Some(TEACHER), Some(OPERATOR), None] {
            for method in [Method::GET, Method::PUT] {
                let answer = world.send(request(method, path, claims, None)).await;
                assert_eq!(answer.header("cache-control"), Some("no-store"));
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
                assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
                assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
            }
        }
    }
}

#[rstest]
#[case(Method::GET, "/v1/submissions", "submissions")]
#[case(Method::GET, "{own}", "summary")]
#[case(Method::GET, "{own}", "documents")]
#[case(Method::GET, "{own}", "record")]
#[case(Method::GET, "{own}/documents", "documents")]
#[case(Method::GET, "{ready}/record", "load")]
#[case(Method::GET, "{ready}/record", "get_record")]
#[case(Method::GET, "{ready}/files", "upload_url")]
#[case(Method::POST, "/v1/submissions", "create")]
#[case(Method::POST, "{own}/files", "declare")]
#[case(Method::POST, "{small}/upload", "form")]
#[case(Method::DELETE, "{small}", "forget")]
#[case(Method::DELETE, "{own}", "start_erasure")]
#[case(Method::DELETE, "{own}", "begin_erasure")]
#[tokio::test]
async fn failing_port_is_a_503_that_tells_nothing(
    #[case] method: Method,
    #[case] path: &str,
    #[case] call: &'static str,
    #[values(Cut::Before, Cut::Conflict)] cut: Cut,
) {
    let world = World::new().await;
    let own = format!("/v1/submissions/{}", world.own.id);
    let path = path
        .replace("{ready}", &format!("{own}/documents/{}", world.own.ready.document_id))
        .replace("{small}", &format!("{own}/files/{}", world.own.in_one_request))
        .replace("{own}", &own);
    let body = match path.rsplit('/').next().unwrap() {
        "submissions" => json!({"title": "a"}),
        "files" => json!({"name": "a.pdf", "sizeBytes": 5}),
        _ => json!({}),
    };
    world.app.backend.faults.cut_next(call, cut);
    let answer = world.send(request(method, &path, Some(TEACHER), Some(&body))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.body.to_string().contains(call), "{}", answer.body);
}

#[rstest]
#[case::taken_id("", json!({"subscriberId": "portal"}), StatusCode::CONFLICT, "subscriber-exists")]
// The endpoints of these tests do not decompress the challenge, and answer 204.
#[case::no_challenge("", json!({"gzip": true}), StatusCode::UNPROCESSABLE_ENTITY, "challenge-failed")]
#[case::plain_http("", json!({"url": "http://portal.example"}), StatusCode::BAD_REQUEST, "invalid-request")]
#[case::large_batch("", json!({"maxBatch": 101}), StatusCode::BAD_REQUEST, "invalid-request")]
#[case::unknown_setting("", json!({"timeout": 5}), StatusCode::BAD_REQUEST, "invalid-request")]
#[case::unknown_position("/portal/resume", json!({"from": "then"}), StatusCode::BAD_REQUEST, "invalid-request")]
#[case::no_time("/portal/replay", json!({}), StatusCode::BAD_REQUEST, "invalid-request")]
#[case::made_up_cursor("/portal/replay", json!({"from": "2026-01-01", "cursor": "e30"}), StatusCode::BAD_REQUEST, "invalid-request")]
#[case::unknown_subscriber("/unknown/pause", json!({}), StatusCode::NOT_FOUND, "not-found")]
#[tokio::test]
async fn refused_request_about_subscribers_is_a_problem_with_a_sentence(
    #[case] path: &str,
    #[case] body: Value,
    #[case] status: StatusCode,
    #[case] kind: &str,
) {
    let world = World::new().await;
    let portal = json!({"subscriberId": "portal", "url": "https://portal.example/events"});
    assert_eq!(world.post("/v1/subscribers", OPERATOR, &portal).await.status, StatusCode::CREATED);
    let mut request = if path.is_empty() {
        json!({"subscriberId": "another", "url": "https://another.example/events"})
    } else {
        json!({})
    };
    request.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let answer = world.post(&format!("/v1/subscribers{path}"), OPERATOR, &request).await;
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.body["type"], format!("urn:problem-type:lectern:{kind}"));
    assert!(answer.body["detail"].as_str().unwrap().ends_with('.'));
}

#[rstest]
#[case(Method::GET, "", "subscribers")]
#[case(Method::POST, "", "add_subscriber")]
#[case(Method::GET, "/portal", "subscriber")]
#[case(Method::GET, "/portal", "delivery_state")]
#[case(Method::DELETE, "/portal", "remove_subscriber")]
#[case(Method::POST, "/portal/pause", "set_status")]
#[case(Method::POST, "/portal/resume", "commit_deliveries")]
#[case(Method::POST, "/portal/resume", "send_events")]
#[case(Method::POST, "/portal/rotate", "set_secrets")]
#[tokio::test]
async fn failing_port_of_subscribers_is_a_503_that_tells_nothing(
    #[case] method: Method,
    #[case] path: &str,
    #[case] call: &'static str,
) {
    let world = World::new().await;
    let settings = |id: &str| json!({"subscriberId": id, "url": "https://portal.example/events"});
    world.post("/v1/subscribers", OPERATOR, &settings("portal")).await;
    let body = if path.is_empty() { settings("another") } else { json!({}) };
    world.app.backend.faults.cut_next(call, Cut::Before);
    let path = format!("/v1/subscribers{path}");
    let answer = world.send(request(method, &path, Some(OPERATOR), Some(&body))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.body.to_string().contains(call), "{}", answer.body);
}

#[tokio::test]
async fn case_51_markup_and_formulas_come_out_as_json_text_only() {
    let world = World::new().await;
    let evil = "=1+1<img src=x onerror=alert(1)>";
    let file = json!([{"name": format!("{evil}.docx"), "sizeBytes": 5}]);
    let created = world.post("/v1/submissions", TEACHER, &json!({"title": evil, "files": file})).await;
    let id = created.body["submission"]["submissionId"].as_str().unwrap();
    let answer = world.get(&format!("/v1/submissions/{id}"), Some(TEACHER)).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.body["submission"]["title"], evil);
    assert_eq!(answer.body["pending"][0]["name"], format!("{evil}.docx"));
}
