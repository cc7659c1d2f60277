//! Callbacks that a test itself sends, with valid and invalid signatures.

use lectern::{
    contract::webhook::{SigningSecret, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign},
    document::{Document, DocumentState},
    ports::Clock as _,
};
use lectern_aws::SystemClock;
use reqwest::StatusCode;
use third_party::{JobFault, ReportedStatus};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    case::{Case, Upload},
    content::text,
    stack::Stack,
};

/// One delivery of a callback.
pub(crate) struct Delivery {
    pub(crate) event_id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    /// Signed now with this secret.
    pub(crate) fn signed(secret: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::signed_at(SystemClock.now(), secret, body)
    }

    pub(crate) fn signed_at(at: OffsetDateTime, secret: &str, body: impl Into<Vec<u8>>) -> Self {
        let (event_id, body) = (format!("evt_{}", Uuid::new_v4().simple()), body.into());
        let signature = sign(&SigningSecret::parse(secret).unwrap(), &event_id, at, &body);
        Self { event_id, timestamp: at.unix_timestamp().to_string(), signature, body }
    }
}

impl Stack {
    pub(crate) async fn call_back(&self, callback_id: &str, delivery: &Delivery) -> StatusCode {
        let Delivery { event_id, timestamp, signature, body } = delivery;
        let headers =
            [(WEBHOOK_ID, event_id), (WEBHOOK_TIMESTAMP, timestamp), (WEBHOOK_SIGNATURE, signature)];
        self.post_callback(callback_id, &headers.map(|(name, value)| (name, value.as_str())), body).await
    }

    pub(crate) async fn post_callback(
        &self,
        callback_id: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> StatusCode {
        let url = format!("{}/callbacks/{callback_id}", self.is.api_url_local);
        // API Gateway passes a body of this type on as base64, and JSON (which the third party sends) as text.
        let request =
            self.http.post(url).header("content-type", "application/octet-stream").body(body.to_vec());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap().status()
    }
}

impl Case {
    /// Uploads a document that waits for its callback; the third party never sends one.
    pub(crate) async fn upload_that_waits(&self, name: &str) -> (Upload, Document) {
        let silent = JobFault::NoCallback { status: ReportedStatus::Working };
        let upload = self.upload_with_lasting(name, text(), silent).await;
        let waits = |document: &Document| document.state == DocumentState::Processing;
        let document = self.stack.until(&upload, "waits for its callback", waits).await;
        (upload, document)
    }
}
