//! Tests the pages' routes in process.

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request},
};
use lectern_aws::Endpoints;
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

const BUCKET: &str = "https://uploads.example";

fn pages() -> Router {
    let endpoints = Endpoints {
        authorize_url: "https://sign-in.example/oauth2/authorize".to_owned(),
        token_url: "https://sign-in.example/oauth2/token".to_owned(),
        logout_url: "https://sign-in.example/logout".to_owned(),
    };
    let sign_in = SignIn {
        issuer: "https://issuer.example/pool".to_owned(),
        client_id: "pages".to_owned(),
        scope: "openid".to_owned(),
        endpoints: Some(endpoints),
    };
    let limits =
        Quota { max_open_submissions: 3, max_files_per_submission: 4, max_open_bytes: 5, max_file_bytes: 6 };
    let config = PagesConfig { sign_in, types: FileType::all().collect(), limits };
    router(Arc::new(Pages::new(&config, &[BUCKET.to_owned()]).unwrap()))
}

async fn send(request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let (parts, body) = pages().oneshot(request).await.unwrap().into_parts();
    (parts.status, parts.headers, to_bytes(body, usize::MAX).await.unwrap())
}

async fn get(path: &str) -> (StatusCode, HeaderMap, Bytes) {
    send(Request::get(path).body(Body::empty()).unwrap()).await
}

#[rstest]
#[case("/", "index.html", "text/html; charset=utf-8")]
#[case("/web/index.html", "index.html", "text/html; charset=utf-8")]
#[case("/web/app.js", "app.js", "text/javascript; charset=utf-8")]
#[case("/web/style.css", "style.css", "text/css; charset=utf-8")]
#[case("/web/icon.svg", "icon.svg", "image/svg+xml")]
#[case("/web/vendor/lit-html.js", "vendor/lit-html.js", "text/javascript; charset=utf-8")]
#[tokio::test]
async fn file_of_the_pages_is_served_with_its_type_and_not_sent_twice(
    #[case] path: &str,
    #[case] file: &str,
    #[case] content_type: &str,
) {
    let (status, headers, body) = get(path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], content_type);
    assert!(body == Web::get(file).unwrap().data.as_ref());
    assert!(!body.is_empty());
    let request = Request::get(path).header("if-none-match", &headers["etag"]).body(Body::empty()).unwrap();
    let (status, again, body) = send(request).await;
    assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(again["etag"], headers["etag"]);
    let request = Request::get(path).header("if-none-match", "\"older\"").body(Body::empty()).unwrap();
    assert_eq!(send(request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn every_file_that_the_pages_load_is_served() {
    // The pages are imported by a name that is put together.
    let mut seen: Vec<String> =
        Web::iter().filter(|file| file.starts_with("page-")).map(Into::into).collect();
    seen.push("index.html".to_owned());
    let mut next = 0;
    while let Some(file) = seen.get(next).cloned() {
        next += 1;
        let (status, headers, body) = get(&format!("/web/{file}")).await;
        assert_eq!(status, StatusCode::OK, "{file}");
        let text = String::from_utf8(body.to_vec()).unwrap();
        let is_script = headers["content-type"].to_str().unwrap().starts_with("text/javascript");
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let literals = text.split('"').skip(1).step_by(2).filter(|_| is_script);
        for module in literals.filter(|literal| literal.starts_with("./") && literal.ends_with(".js")) {
            let module = format!("{folder}/{}", module.trim_start_matches("./"));
            let module = module.trim_start_matches('/').to_owned();
            if !seen.contains(&module) {
                seen.push(module);
            }
        }
        if file == "index.html" {
            let loaded = text
                .split([' ', '\n', '>'])
                .filter_map(|word| word.strip_prefix("src=\"").or(word.strip_prefix("href=\"")));
            seen.extend(
                loaded.filter_map(|url| url.split('"').next()?.strip_prefix("web/").map(str::to_owned)),
            );
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
}

#[rstest]
#[case("/web/")]
#[case("/web/unknown.js")]
#[case("/web/types.d.ts")]
#[case("/web/../Cargo.toml")]
#[case("/web/%2e%2e/Cargo.toml")]
#[case("/web/..%2f..%2fCargo.toml")]
#[case("/web//app.js")]
#[case("/index.html")]
#[case("/app.js")]
#[tokio::test]
async fn nothing_else_is_served(#[case] path: &str) {
    assert_eq!(get(path).await.0, StatusCode::NOT_FOUND);
}

#[rstest]
#[case("/")]
#[case("/web/app.js")]
#[case("/web/unknown.js")]
#[case("/web/config.json")]
#[case("/web/openapi.json")]
#[tokio::test]
async fn case_51_pages_run_no_foreign_script_and_are_framed_by_nobody(#[case] path: &str) {
    let (_, headers, _) = get(path).await;
    let policy = headers["content-security-policy"].to_str().unwrap();
    let directives: Vec<&str> = policy.split("; ").collect();
    for directive in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        &format!("connect-src 'self' {BUCKET}"),
    ] {
        assert!(directives.contains(&directive), "{directive} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert_eq!(headers["cache-control"], "no-cache");
    assert!(headers.contains_key("strict-transport-security"));
}

#[tokio::test]
async fn config_tells_the_pages_how_to_sign_in_and_what_can_be_handed_in() {
    let (status, headers, body) = get("/web/config.json").await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &HeaderValue::from_static("application/json"))
    );
    let config: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        config["signIn"],
        json!({
            "issuer": "https://issuer.example/pool",
            "clientId": "pages",
            "scope": "openid",
            "authorizeUrl": "https://sign-in.example/oauth2/authorize",
            "tokenUrl": "https://sign-in.example/oauth2/token",
            "logoutUrl": "https://sign-in.example/logout",
        })
    );
    assert_eq!(
        config["limits"],
        json!({"maxOpenSubmissions": 3, "maxFilesPerSubmission": 4, "maxOpenBytes": 5, "maxFileBytes": 6})
    );
    let types = config["types"].as_array().unwrap();
    assert_eq!(types.len(), FileType::all().count());
    let video = types.iter().find(|row| row["mediaType"] == "video/mp4").unwrap();
    assert_eq!((&video["kind"], &video["accepted"]), (&"video".into(), &true.into()));
}

#[tokio::test]
async fn description_of_the_api_is_served() {
    let (status, headers, body) = get("/web/openapi.json").await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &HeaderValue::from_static("application/json"))
    );
    let described: Value = serde_json::from_slice(&body).unwrap();
    assert!(described["paths"]["/v1/submissions"].is_object());
}

#[tokio::test]
async fn pages_are_only_read() {
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let request = Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
        assert_eq!(send(request).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
}
