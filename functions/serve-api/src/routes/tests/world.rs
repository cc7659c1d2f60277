//! The router with in-memory ports that contain a submission of each of two teachers.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use lambda_http::request::RequestContext;
use lectern::{
    api::{Caller, CreateSubmission, begin_upload, create_submission},
    contract::wire::FileRole,
    document::{DocumentRef, Reason, SubmissionId, UploadId},
    testing::{MemoryBackend, world::returned_file},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{super::App, contract::assert_described};

/// The claims of access tokens, as the HTTP API's authorizer passes them on.
pub(super) const TEACHER: &str = r#"{"sub":"teacher","cognito:groups":"[teachers]","token_use":"access"}"#;
pub(super) const EVALUATOR: &str =
    r#"{"sub":"evaluator","cognito:groups":"[evaluators]","token_use":"access"}"#;
pub(super) const OPERATOR: &str = r#"{"sub":"operator","cognito:groups":"[operators]","token_use":"access"}"#;

/// What a teacher has handed in: a document that is ready, one that was rejected, and two pending files, of which the
/// second one is uploaded in parts.
#[derive(Clone, Debug)]
pub(super) struct HandedIn {
    pub(super) id: SubmissionId,
    pub(super) ready: DocumentRef,
    pub(super) rejected: DocumentRef,
    pub(super) in_one_request: UploadId,
    pub(super) in_parts: UploadId,
}

/// The submission of [`TEACHER`], that of another teacher, and the router.
pub(super) struct World {
    pub(super) app: Arc<App<MemoryBackend>>,
    pub(super) own: HandedIn,
    pub(super) foreign: HandedIn,
    router: Router,
}

impl World {
    pub(super) async fn new() -> Self {
        let backend = MemoryBackend::default();
        let own = hand_in(&backend, "teacher").await;
        let foreign = hand_in(&backend, "another-teacher").await;
        let app = Arc::new(App { backend, groups_claim: "cognito:groups".to_owned() });
        Self { router: super::super::router(app.clone()), app, own, foreign }
    }

    pub(super) async fn get(&self, path: &str, claims: Option<&str>) -> Answer {
        self.send(request(Method::GET, path, claims, None)).await
    }

    pub(super) async fn post(&self, path: &str, claims: &str, body: &Value) -> Answer {
        self.send(request(Method::POST, path, Some(claims), Some(body))).await
    }

    /// Sends a request. Every answer of a described route has to be as the description says.
    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        assert_described(&method, &path, &answer);
        answer
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    headers: HeaderMap,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A request as `lambda_http` passes it to the router. `claims` is JSON; `None` if the request did not pass the authorizer.
pub(super) fn request(
    method: Method,
    path: &str,
    claims: Option<&str>,
    body: Option<&Value>,
) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let mut request = request.body(body.map_or_else(Body::empty, |body| body.to_string().into())).unwrap();
    let context: RequestContext = serde_json::from_value(context(claims.unwrap_or("null"))).unwrap();
    request.extensions_mut().insert(context);
    request
}

/// `requestContext` of an HTTP API event, payload version 2.0.
pub(super) fn context(claims: &str) -> Value {
    let claims: Value = serde_json::from_str(claims).unwrap();
    let http = json!({"method": "GET", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "t"});
    let mut context = json!({"stage": "$default", "requestId": "1", "timeEpoch": 0, "http": http});
    if !claims.is_null() {
        context["authorizer"] = json!({"jwt": {"claims": claims, "scopes": null}});
    }
    context
}

async fn hand_in(backend: &MemoryBackend, teacher: &str) -> HandedIn {
    let claims = [("sub", teacher), ("cognito:groups", "[teachers]")];
    let claims = claims.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    let caller = Caller::from_claims(&claims, "cognito:groups").unwrap();
    let files = json!([
        {"name": "lesson.docx", "sizeBytes": 5}, {"name": "broken.pdf", "sizeBytes": 5},
        {"name": "later.pdf", "sizeBytes": 5}, {"name": "lesson.mp4", "sizeBytes": 20_000_000},
    ]);
    let request: CreateSubmission =
        serde_json::from_value(json!({"title": "The water cycle", "files": files})).unwrap();
    let created = create_submission(backend, &caller, &request).await.unwrap();
    let file = |name: &str| created.pending.iter().find(|file| file.name == name).unwrap().file_id;
    let id = created.submission.submission_id;
    let ready = backend.arrive(&id, file("lesson.docx"), None).await.unwrap();
    let text = "the the lesson";
    let findings = json!({"findings": [{"start": 0, "end": 7, "rule": "doubledWord", "message": "Twice.",
                                        "suggestion": "the", "severity": "warning"}]})
    .to_string();
    let returned = [
        ("text.txt", FileRole::Text, "text/plain", Bytes::from(text)),
        ("findings.json", FileRole::Findings, "application/json", findings.into()),
    ]
    .map(|(name, role, media_type, content)| (returned_file(name, role, media_type, &content), content));
    backend.make_ready(&ready, &returned).await.unwrap();
    let reason = Reason::new("damaged", "The file is damaged.");
    let rejected = backend.arrive(&id, file("broken.pdf"), Some(reason)).await.unwrap();
    let in_parts = file("lesson.mp4");
    begin_upload(backend, &caller, id.as_str(), &in_parts.to_string(), &lectern::api::BeginUpload::default())
        .await
        .unwrap();
    HandedIn { id, ready, rejected, in_one_request: file("later.pdf"), in_parts }
}
