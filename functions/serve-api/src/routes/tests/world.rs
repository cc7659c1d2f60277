//! The router with in-memory ports that contain one submission.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use lambda_http::request::RequestContext;
use lectern::{
    contract::wire::{FileRole, JobSucceeded, ReturnedFile},
    document::{CallbackId, DocumentId, DocumentRef, JobResult, ObjectVersion, Reason},
    error::rfc3339,
    ports::{
        FinalOutcome, Finishing as _, NewDocument, Records as _, Register as _, Results as _, Sequencer,
    },
    record::Draft,
    telemetry::trace::TraceParent,
    testing::{Faults, MemoryObjects, MemoryStore, SequentialRandom},
};
use lectern_content::MediaType;
use serde_json::{Value, json};
use time::macros::datetime;
use tower::ServiceExt as _;

/// The claims of an evaluator's token, as the HTTP API's authorizer passes them on.
pub(super) const EVALUATOR: &str = r#"{"sub":"1","cognito:groups":"[evaluators teachers]"}"#;

/// A submission `s1` with a document that is ready and one that was rejected.
pub(super) struct World {
    pub(super) faults: Arc<Faults>,
    pub(super) ready: DocumentRef,
    pub(super) rejected: DocumentRef,
    store: Arc<MemoryStore>,
    objects: Arc<MemoryObjects>,
    router: Router,
}

impl World {
    pub(super) async fn new() -> Self {
        let faults = Arc::new(Faults::default());
        let store = Arc::new(MemoryStore::new(faults.clone()));
        let objects = Arc::new(MemoryObjects::new(faults.clone()));
        let router = super::super::router(store.clone(), objects.clone());
        let reference = |file: &str| reference(&object("s1", file));
        let (ready, rejected) = (reference("lesson.docx"), reference("empty.pdf"));
        let world = Self { faults, ready, rejected, store, objects, router };
        world.register("s1", "lesson.docx", 0, false).await;
        world.register("s1", "empty.pdf", 1, true).await;
        world.finish().await;
        world
    }

    pub(super) async fn register(&self, submission: &str, file: &str, at_s: u64, rejected: bool) {
        let object = object(submission, file);
        let new = NewDocument {
            reference: reference(&object),
            callback_id: CallbackId::new(&object.key),
            traceparent: TraceParent::new(&SequentialRandom::default()),
            object,
            sequencer: Sequencer::new("1"),
            owner: None,
            name: None,
            size_bytes: 10,
            media_type: (!rejected).then_some(MediaType::Docx),
            rejected: rejected.then(|| Reason::new("empty", "The file is empty.")),
            now: datetime!(2026-11-20 16:00 UTC) + Duration::from_secs(at_s),
        };
        self.objects.upload(&new.object, None, &b"bytes"[..]);
        self.store.register(new).await.unwrap();
    }

    async fn finish(&self) {
        let text = "the the lesson";
        let findings = json!({"findings": [{"start": 0, "end": 7, "rule": "doubledWord", "message": "Twice.",
                                            "suggestion": "the", "severity": "warning"}]})
        .to_string();
        let files = [
            returned("text.txt", FileRole::Text, "text/plain", text),
            returned("findings.json", FileRole::Findings, "application/json", &findings),
        ];
        let contents = [text.to_owned(), findings].map(Bytes::from);
        let job = JobSucceeded { job_id: "job".to_owned(), files: files.to_vec() };
        let now = datetime!(2026-11-20 17:00 UTC);
        self.store.record_result(&self.ready, &JobResult::Succeeded(job), now).await.unwrap();
        let mut draft = Draft::new(&self.store.get(&self.ready).unwrap(), "house").unwrap();
        for (index, (file, content)) in files.iter().zip(&contents).enumerate() {
            self.objects
                .put_returned(&lectern::document::keys::returned_file(&self.ready, index), content.clone());
            draft.add(file, Some(content)).unwrap();
        }
        let record = draft.finish(rfc3339(now)).unwrap();
        let (record_key, json) = record.to_object(&self.ready).unwrap();
        self.objects.put_record(&record_key, json).await.unwrap();
        self.store.finish(&self.ready, FinalOutcome::Ready { record_key }, now).await.unwrap();
    }

    pub(super) async fn get(&self, path: &str, claims: Option<&str>) -> Answer {
        self.send(request(Method::GET, path, claims)).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: serde_json::from_slice(&bytes).unwrap() }
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

/// A request as `lambda_http` passes it to the router. `claims` is JSON; `None` if the request did not pass the
/// authorizer.
pub(super) fn request(method: Method, path: &str, claims: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
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

fn object(submission: &str, file: &str) -> ObjectVersion {
    ObjectVersion {
        bucket: "uploads".to_owned(),
        key: format!("submissions/{submission}/{file}"),
        version_id: "v1".to_owned(),
    }
}

fn reference(object: &ObjectVersion) -> DocumentRef {
    DocumentRef {
        submission_id: object.key.split('/').nth(1).unwrap().parse().unwrap(),
        document_id: DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id),
    }
}

fn returned(name: &str, role: FileRole, media_type: &str, content: &str) -> ReturnedFile {
    ReturnedFile {
        name: name.into(),
        role,
        url: "https://third-party.example/file".to_owned(),
        size_bytes: content.len() as u64,
        sha256: "0".repeat(64),
        media_type: media_type.to_owned(),
    }
}
