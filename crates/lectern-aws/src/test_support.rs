//! Shared by the tests of several adapters: clients with prepared answers, a document, captured logs.

use std::{
    io,
    sync::{Arc, Mutex},
};

use aws_sdk_s3::{config::http::HttpResponse, primitives::SdkBody};
use lectern::{
    document::{Attempt, CallbackId, Document, DocumentId, DocumentRef, DocumentState, ObjectVersion, Round},
    telemetry::trace::TraceParent,
};
use lectern_content::MediaType;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use time::{OffsetDateTime, macros::datetime};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-20 12:00:00 UTC);

/// A client of an SDK crate that answers by these rules in their order and does not retry.
macro_rules! client {
    ($aws:ident $(, $rule:expr)* $(,)?) => {
        aws_smithy_mocks::mock_client!(
            $aws,
            aws_smithy_mocks::RuleMode::MatchAny,
            [$(&$rule),*] as [&aws_smithy_mocks::Rule; _],
            |config| config.retry_config($aws::config::retry::RetryConfig::disabled())
        )
    };
}
pub(crate) use client;

/// An answer as it comes over the wire.
pub(crate) fn answer(status: u16, body: impl Into<SdkBody>) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), body.into())
}

/// An error as the services with a JSON protocol send it.
pub(crate) fn json_error(code: &str) -> HttpResponse {
    answer(400, format!(r#"{{"__type":"com.amazonaws.x#{code}","message":"secret detail"}}"#))
}

/// An error as S3 sends it; an empty code stands for an answer to `HEAD`, which has no body.
pub(crate) fn xml_error(status: u16, code: &str) -> HttpResponse {
    let body = format!("<Error><Code>{code}</Code><Key>secret detail</Key></Error>");
    answer(status, if code.is_empty() { String::new() } else { body })
}

/// Requests that a rule has seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Seen<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    /// Records a request. Returns how many requests came before it.
    pub(crate) fn note(&self, request: &T) -> usize {
        let mut seen = self.0.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn only(&self) -> T {
        let all = self.all();
        assert_eq!(all.len(), 1, "one request");
        all.into_iter().next().unwrap()
    }
}

pub(crate) fn object() -> ObjectVersion {
    ObjectVersion {
        bucket: "uploads".to_owned(),
        key: "submissions/s1/plan.txt".to_owned(),
        version_id: "v1".to_owned(),
    }
}

pub(crate) fn reference() -> DocumentRef {
    let object = object();
    let document_id = DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id);
    DocumentRef { submission_id: "s1".parse().unwrap(), document_id }
}

/// A document that the third party is processing.
pub(crate) fn document() -> Document {
    Document {
        reference: reference(),
        object: object(),
        owner: None,
        name: None,
        size_bytes: 12,
        media_type: Some(MediaType::Text),
        state: DocumentState::Processing,
        reason: None,
        times: [("Received".to_owned(), "2026-11-20T11:00:00.000Z".to_owned())].into(),
        superseded_by: None,
        is_withdrawn: false,
        callback_id: CallbackId::new("callback-one"),
        traceparent: Some(traceparent()),
        attempt: Some(Attempt(1000)),
        round: Round::FIRST,
        job_id: None,
        earlier_jobs: std::collections::BTreeSet::new(),
        result: None,
        redrives: 0,
        record_key: None,
        abandoned_jobs: std::collections::BTreeSet::new(),
        expires_at: None,
    }
}

/// The trace of [`document`].
pub(crate) fn traceparent() -> TraceParent {
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap()
}

/// Lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The captured log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
