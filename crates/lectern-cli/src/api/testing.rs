//! An API, an issuer of tokens and a storage in one server on this machine, with faults that a test chooses. What the real
//! ones do is tested end to end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use lectern::ports::Clock as _;
use lectern_aws::SystemClock;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use url::Url;

use super::{
    Client, Pace,
    sign_ins::{SignIn, SignIns},
};

pub(crate) const SUBMISSION: &str = "0af7651916cd43dd8448eb211c80319c";
pub(crate) const DOCUMENT: &str = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";
pub(crate) const PART_BYTES: usize = 5 * 512 * 1024;
const FORM_BYTES: usize = 8 * 1024 * 1024;
const QUICK: Pace = Pace { first: Duration::from_millis(1), longest: Duration::from_millis(4), retries: 4 };

/// The server, with a client that has signed in.
pub(crate) struct FakeStack {
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
    shared: Arc<Mutex<Shared>>,
    pages: Url,
}

/// What the server remembers.
#[derive(Default)]
pub(crate) struct Shared {
    origin: String,
    /// The token that the API accepts, and the refresh token that the issuer accepts.
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    faults: Vec<Fault>,
    /// `METHOD path` of each request, in their order.
    pub(crate) requests: Vec<String>,
    /// The JSON bodies of these requests; `Null` for a request without one.
    pub(crate) bodies: Vec<Value>,
    pub(crate) pending: Vec<Value>,
    pub(crate) documents: Vec<Value>,
    /// The parts of files that are not complete, by the file's id and the part's number.
    pub(crate) parts: BTreeMap<(String, usize), Bytes>,
    /// The content of complete files, by their names.
    pub(crate) arrived: BTreeMap<String, Vec<u8>>,
    /// The answers to `GET /v1/submissions/{id}/documents/{id}/record` and to lists.
    pub(crate) answers: BTreeMap<String, Value>,
}

/// An answer instead of the right one, to requests whose `METHOD path` begins with a text.
struct Fault {
    on: String,
    status: u16,
    body: Value,
    /// Whether the request has its effect nevertheless.
    has_effect: bool,
    times: usize,
}

impl FakeStack {
    pub(crate) async fn start() -> Self {
        let shared = Arc::<Mutex<Shared>>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        {
            let mut shared = shared.lock().unwrap();
            shared.origin.clone_from(&origin);
            (shared.access_token, shared.refresh_token) = ("access-0".to_owned(), "refresh-0".to_owned());
        }
        let router =
            Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(&shared));
        tokio::spawn(axum::serve(listener, router).into_future());
        let folder = tempfile::tempdir().unwrap();
        let pages: Url = format!("{origin}/pages/").parse().unwrap();
        let sign_in = SignIn {
            pages: pages.clone(),
            client_id: "command".to_owned(),
            token_url: format!("{origin}/token").parse().unwrap(),
            access_token: "access-0".to_owned(),
            expires_at: SystemClock.now() + Duration::from_hours(1),
            refresh_token: Some("refresh-0".to_owned()),
        };
        let sign_ins = SignIns::in_folder(Some(&folder.path().join("sign-ins"))).unwrap();
        sign_ins.write(&sign_in).unwrap();
        Self { client: Client::new(sign_ins, sign_in, QUICK).unwrap(), folder, shared, pages }
    }

    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// The sign-in as it is kept.
    pub(crate) fn kept(&self) -> SignIn {
        let sign_ins = SignIns::in_folder(Some(&self.folder.path().join("sign-ins"))).unwrap();
        sign_ins.read(&self.pages).unwrap().unwrap()
    }

    pub(crate) fn fail(&self, on: &str, status: u16, times: usize) {
        self.refuse(on, status, Value::Null, times);
    }

    pub(crate) fn refuse(&self, on: &str, status: u16, body: Value, times: usize) {
        self.shared().faults.push(Fault { on: on.to_owned(), status, body, has_effect: false, times });
    }

    /// Answers the next request whose `METHOD path` begins with `on`.
    pub(crate) fn answer(&self, on: &str, status: u16, body: Value) {
        self.refuse(on, status, body, 1);
    }

    /// Requests have their effect, but their answer is lost.
    pub(crate) fn lose_answer(&self, on: &str, times: usize) {
        let fault = Fault { on: on.to_owned(), status: 502, body: Value::Null, has_effect: true, times };
        self.shared().faults.push(fault);
    }

    pub(crate) fn number_of(&self, request: &str) -> usize {
        self.shared().requests.iter().filter(|made| made.starts_with(request)).count()
    }
}

pub(crate) fn problem(kind: &str, status: u16, detail: &str) -> Value {
    json!({ "type": format!("urn:problem-type:lectern:{kind}"), "title": kind, "status": status, "detail": detail })
}

pub(crate) fn document(name: &str, size_bytes: usize, state: &str) -> Value {
    let times = json!({ state: "2026-11-30T08:00:00.000Z" });
    json!({ "documentId": DOCUMENT, "fileName": name, "sizeBytes": size_bytes, "state": state, "times": times })
}

pub(crate) fn submission(state: &str) -> Value {
    json!({
        "submissionId": SUBMISSION, "title": "Fractions", "state": state, "open": 0, "ready": 0, "rejected": 0,
        "failed": 0, "kinds": [], "createdAt": "2026-11-30T07:59:00.000Z",
    })
}

async fn answer(
    State(shared): State<Arc<Mutex<Shared>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut shared = shared.lock().unwrap();
    let path = uri.path().strip_prefix("/pages").unwrap_or(uri.path()).to_owned();
    let request = format!("{method} {path}");
    shared.requests.push(request.clone());
    shared.bodies.push(serde_json::from_slice(&body).unwrap_or_default());
    let fault = shared.faults.iter_mut().find(|fault| fault.times > 0 && request.starts_with(&fault.on));
    if let Some(fault) = fault {
        fault.times -= 1;
        let answer = (StatusCode::from_u16(fault.status).unwrap(), fault.body.to_string()).into_response();
        if fault.has_effect {
            shared.act(&method, &path, &headers, &body);
        }
        return answer;
    }
    shared.act(&method, &path, &headers, &body)
}

fn json_answer(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
}

fn not_found() -> Response {
    json_answer(404, &problem("not-found", 404, "This does not exist."))
}

impl Shared {
    fn act(&mut self, method: &Method, path: &str, headers: &HeaderMap, body: &Bytes) -> Response {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method.as_str(), segments.as_slice()) {
            ("POST", ["token"]) => self.issue(body),
            ("PUT", ["s3", file, number]) => self.store_part(file, number.parse().unwrap(), headers, body),
            ("POST", ["s3", file]) => self.store_form(file, body),
            (_, ["v1", rest @ ..]) => {
                let token = headers.get(header::AUTHORIZATION).unwrap().to_str().unwrap();
                if token == format!("Bearer {}", self.access_token) {
                    self.api(method, rest, headers, body)
                } else {
                    json_answer(401, &json!({ "message": "Unauthorized" }))
                }
            }
            _ => not_found(),
        }
    }

    /// Refreshes a sign-in; each refresh token is accepted once.
    fn issue(&mut self, body: &Bytes) -> Response {
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
        if form["client_id"] != "command" || form["refresh_token"] != self.refresh_token {
            return json_answer(400, &json!({ "error": "invalid_grant" }));
        }
        self.access_token = format!("{}+", self.access_token);
        self.refresh_token = format!("{}+", self.refresh_token);
        let tokens = json!({
            "access_token": self.access_token, "refresh_token": self.refresh_token, "expires_in": 3600,
            "token_type": "Bearer",
        });
        json_answer(200, &tokens)
    }

    fn api(&mut self, method: &Method, path: &[&str], headers: &HeaderMap, body: &Bytes) -> Response {
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method.as_str(), path) {
            ("POST", ["submissions"]) => {
                let files = sent["files"].as_array().unwrap();
                for file in files {
                    self.declare(file);
                }
                let detail =
                    json!({ "submission": submission("Draft"), "pending": self.pending, "documents": [] });
                json_answer(201, &detail)
            }
            ("GET", ["submissions", SUBMISSION]) => {
                let detail = json!({
                    "submission": submission("InProgress"), "pending": self.pending, "documents": self.documents,
                });
                let etag = format!("\"{}\"", hex::encode(Sha256::digest(detail.to_string())));
                if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.to_str().unwrap() == etag) {
                    return json_answer(304, &Value::Null);
                }
                ([(header::ETAG, etag)], detail.to_string()).into_response()
            }
            ("POST", ["submissions", SUBMISSION, "files"]) => json_answer(201, &self.declare(&sent)),
            ("POST", ["submissions", SUBMISSION, "files", file, step]) => self.upload(file, step, &sent),
            ("GET", path) => match self.answers.get(&path.join("/")) {
                Some(answer) => json_answer(200, answer),
                None => not_found(),
            },
            _ => not_found(),
        }
    }

    fn declare(&mut self, file: &Value) -> Value {
        let file_id = format!("file-{}", self.pending.len());
        let pending = json!({ "fileId": file_id, "name": file["name"], "sizeBytes": file["sizeBytes"] });
        self.pending.push(pending.clone());
        pending
    }

    fn upload(&mut self, file: &str, step: &str, sent: &Value) -> Response {
        let Some(pending) = self.pending.iter().find(|pending| pending["fileId"] == file).cloned() else {
            return not_found();
        };
        let size = usize::try_from(pending["sizeBytes"].as_u64().unwrap()).unwrap();
        let count = size.div_ceil(PART_BYTES);
        let parts: BTreeMap<usize, Bytes> = self
            .parts
            .iter()
            .filter(|((of, _), _)| of == file)
            .map(|((_, number), bytes)| (*number, bytes.clone()))
            .collect();
        match step {
            "upload" if size <= FORM_BYTES => {
                let fields = json!({ "key": "k", "x-amz-checksum-sha256": sent["checksumSha256"] });
                let url = format!("{}/s3/{file}?signature=secret", self.origin);
                json_answer(200, &json!({ "method": "post", "url": url, "fields": fields, "expiresInS": 60 }))
            }
            "upload" => {
                let uploaded: Vec<Value> = parts
                    .iter()
                    .map(|(number, bytes)| {
                        json!({ "partNumber": number, "sizeBytes": bytes.len(), "checksumSha256": sha256(bytes) })
                    })
                    .collect();
                let plan = json!({
                    "method": "parts", "partSizeBytes": PART_BYTES, "partCount": count, "uploaded": uploaded,
                });
                json_answer(200, &plan)
            }
            "parts" => {
                let part = &sent["parts"][0];
                let url = format!("{}/s3/{file}/{}?signature=secret", self.origin, part["partNumber"]);
                let headers = json!({ "x-amz-checksum-sha256": part["checksumSha256"] });
                json_answer(
                    200,
                    &json!({ "parts": [{ "partNumber": part["partNumber"], "url": url, "headers": headers }] }),
                )
            }
            "complete" => {
                let missing: Vec<usize> = (1..=count).filter(|number| !parts.contains_key(number)).collect();
                if !missing.is_empty() {
                    let mut body = problem("incomplete-upload", 409, "Send the missing parts.");
                    body["missing"] = json!(missing);
                    return json_answer(409, &body);
                }
                let parts: Vec<Bytes> = parts.into_values().collect();
                self.arrive(file, parts.concat());
                json_answer(204, &Value::Null)
            }
            _ => not_found(),
        }
    }

    fn store_part(&mut self, file: &str, number: usize, headers: &HeaderMap, body: &Bytes) -> Response {
        if headers["x-amz-checksum-sha256"] != sha256(body) || !headers.contains_key(header::CONTENT_LENGTH) {
            return json_answer(400, &Value::Null);
        }
        self.parts.insert((file.to_owned(), number), body.clone());
        json_answer(200, &Value::Null)
    }

    /// The file is the last part of the form.
    fn store_form(&mut self, file: &str, body: &Bytes) -> Response {
        let text = String::from_utf8_lossy(body);
        let boundary = text.lines().next().unwrap().to_owned();
        let (fields, content) = text.rsplit_once("\r\n\r\n").unwrap();
        let content = content.strip_suffix(&format!("\r\n{boundary}--\r\n")).unwrap();
        if !fields.contains(&sha256(content.as_bytes())) || !fields.contains("name=\"file\"; filename=") {
            return json_answer(400, &Value::Null);
        }
        self.arrive(file, content.as_bytes().to_vec());
        json_answer(204, &Value::Null)
    }

    fn arrive(&mut self, file: &str, content: Vec<u8>) {
        let index = self.pending.iter().position(|pending| pending["fileId"] == file).unwrap();
        let name = self.pending.remove(index)["name"].as_str().unwrap().to_owned();
        self.documents.push(document(&name, content.len(), "Received"));
        self.arrived.insert(name, content);
    }
}

fn sha256(bytes: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}
