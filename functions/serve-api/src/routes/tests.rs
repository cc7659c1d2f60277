//! Tests the API in process with the in-memory ports, and compares it with its description.

mod contract;
mod world;

use axum::http::{Method, StatusCode};
use lectern::testing::Cut;
use rstest::rstest;
use serde_json::{Value, json};
use world::{Answer, EVALUATOR, World};

/// One real path for each route.
fn paths(world: &World) -> [String; 4] {
    let document = format!("/submissions/s1/documents/{}", world.ready.document_id);
    [
        "/submissions".to_owned(),
        "/submissions/s1".to_owned(),
        format!("{document}/record"),
        format!("{document}/files"),
    ]
}

#[tokio::test]
async fn evaluator_reads_everything() {
    let world = World::new().await;
    for path in paths(&world) {
        let Answer { status, body, .. } = world.get(&path, Some(EVALUATOR)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
}

#[rstest]
#[case::teacher(Some(r#"{"sub":"1","cognito:groups":"[teachers]"}"#), StatusCode::FORBIDDEN)]
#[case::no_group(Some(r#"{"sub":"1"}"#), StatusCode::FORBIDDEN)]
#[case::group_by_another_name(Some(r#"{"sub":"evaluators","groups":"[evaluators]"}"#), StatusCode::FORBIDDEN)]
#[case::nobody(None, StatusCode::UNAUTHORIZED)]
#[tokio::test]
async fn anyone_else_gets_nothing(#[case] claims: Option<&str>, #[case] expected: StatusCode) {
    let world = World::new().await;
    for path in paths(&world) {
        let answer = world.get(&path, claims).await;
        assert_eq!(answer.status, expected, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.body["status"], json!(expected.as_u16()));
        let mut keys: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["detail", "status", "title", "type"]);
    }
}

#[tokio::test]
async fn token_in_the_request_itself_counts_for_nothing() {
    let world = World::new().await;
    let request = axum::http::Request::get("/submissions")
        .header("authorization", "Bearer e30.eyJjb2duaXRvOmdyb3VwcyI6WyJldmFsdWF0b3JzIl19.")
        .header("x-amzn-request-context", world::context(EVALUATOR).to_string())
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(world.send(request).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn pages_are_complete_and_in_order_through_http() {
    let world = World::new().await;
    for number in 0..30 {
        world.register(&format!("more-{number:02}"), "a.docx", 60 + number, false).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/submissions?limit=7".to_owned());
    loop {
        let page = world.get(&path, Some(EVALUATOR)).await.body;
        let submissions = page["submissions"].as_array().unwrap();
        assert!(submissions.len() <= 7);
        seen.extend(submissions.iter().map(|s| s["submissionId"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["cursor"].as_str() else { break };
        path = format!("/submissions?limit=7&cursor={cursor}");
    }
    let expected = (0..30).rev().map(|number| format!("more-{number:02}")).chain(["s1".to_owned()]);
    assert_eq!(seen, expected.collect::<Vec<_>>());
    let attention = world.get("/submissions?state=NeedsAttention", Some(EVALUATOR)).await.body;
    assert_eq!(attention["submissions"].as_array().unwrap().len(), 1);
    assert_eq!(attention.get("cursor"), None);
}

#[tokio::test]
async fn page_has_25_submissions_unless_asked() {
    let world = World::new().await;
    for number in 0..30 {
        world.register(&format!("more-{number:02}"), "a.docx", number, false).await;
    }
    let page = world.get("/submissions", Some(EVALUATOR)).await.body;
    assert_eq!(page["submissions"].as_array().unwrap().len(), 25);
}

#[rstest]
#[case("limit=0")]
#[case("limit=101")]
#[case("limit=ten")]
#[case("limit=%2B5")]
#[case("limit=5&limit=6")]
#[case("state=ready")]
#[case("cursor=")]
#[case("cursor=e30")]
#[case("cursor=%00")]
#[case("cursor=eyJjcmVhdGVkQXQiOiJ4Iiwic3VibWlzc2lvbklkIjoieCJ9")]
#[case("page=2")]
#[tokio::test]
async fn bad_query_is_a_400_with_a_sentence(#[case] query: &str) {
    let world = World::new().await;
    let answer = world.get(&format!("/submissions?{query}"), Some(EVALUATOR)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["type"], "urn:problem-type:lectern:invalid-query");
    assert!(answer.body["detail"].as_str().unwrap().ends_with('.'));
}

#[tokio::test]
async fn changed_cursor_is_a_400() {
    let world = World::new().await;
    world.register("s2", "a.docx", 1, false).await;
    let page = world.get("/submissions?limit=1", Some(EVALUATOR)).await.body;
    let cursor = page["cursor"].as_str().unwrap();
    for changed in [&cursor[1..], &cursor[..cursor.len() - 1], &format!("{cursor}A"), &format!("{cursor}%3D")]
    {
        let answer = world.get(&format!("/submissions?cursor={changed}"), Some(EVALUATOR)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{changed}");
    }
}

#[rstest]
#[case("/")]
#[case("/submissions/")]
#[case("/submissions/unknown")]
#[case("/submissions/%FF")]
#[case("/submissions/..")]
#[case("/submissions/s1/documents/x/record")]
#[case("/submissions/s1/documents/6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f/record")]
#[case("/submissions/s1/documents/6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f/files")]
#[case("/submissions/s1/documents")]
#[tokio::test]
async fn unknown_thing_or_path_is_a_404(#[case] path: &str) {
    let answer = World::new().await.get(path, Some(EVALUATOR)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.body["type"], "urn:problem-type:lectern:not-found");
}

#[tokio::test]
async fn document_is_found_in_its_own_submission_only() {
    let world = World::new().await;
    world.register("s2", "a.docx", 1, false).await;
    let path = format!("/submissions/s2/documents/{}/record", world.ready.document_id);
    assert_eq!(world.get(&path, Some(EVALUATOR)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn api_only_reads() {
    let world = World::new().await;
    for path in paths(&world) {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let request = world::request(method, &path, Some(EVALUATOR));
            let answer = world.send(request).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        }
    }
}

#[tokio::test]
async fn every_answer_forbids_to_keep_sniff_or_frame_it() {
    let world = World::new().await;
    let unknown = ["/nowhere".to_owned()];
    for path in paths(&world).iter().chain(&unknown) {
        for claims in [Some(EVALUATOR), None] {
            let answer = world.get(path, claims).await;
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
            assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
        }
    }
}

#[rstest]
#[case(0, "submissions")]
#[case(1, "submission")]
#[case(2, "load")]
#[case(2, "get_record")]
#[case(3, "load")]
#[case(3, "upload_url")]
#[tokio::test]
async fn failing_store_is_a_503_that_tells_nothing(#[case] path: usize, #[case] call: &'static str) {
    let world = World::new().await;
    let path = paths(&world)[path].clone();
    world.faults.cut_next(call, Cut::Before);
    let answer = world.get(&path, Some(EVALUATOR)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.body.to_string().contains(call));
}

#[tokio::test]
async fn case_51_markup_and_formulas_come_out_as_json_text_only() {
    let world = World::new().await;
    let evil = "=1+1<img src=x onerror=alert(1)>.docx";
    world.register("evil", evil, 5, false).await;
    let answer = world.get("/submissions/evil", Some(EVALUATOR)).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.body["documents"][0]["fileName"], Value::from(evil));
}
