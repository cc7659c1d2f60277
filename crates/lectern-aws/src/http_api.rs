//! An HTTP API request, payload format 2.0, with its raw body.
//!
//! `aws_lambda_events` refuses the whole event if one header is not a valid header value, so anyone could make
//! invocations fail. This type omits such a header, and the signature is then not valid. The events in
//! `events/receive-callback/` test this.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

/// A request to a route with one path parameter.
#[derive(Debug, Deserialize)]
#[serde(from = "Payload")]
pub struct HttpRequest {
    /// All headers. The gateway joins a header that was sent twice with a comma, which makes the signature invalid.
    pub headers: HeaderMap,
    /// The raw bytes.
    pub body: Vec<u8>,
    path_parameters: BTreeMap<String, String>,
}

impl HttpRequest {
    /// The path parameter, empty if there is none.
    pub fn path_id(&self) -> &str {
        self.path_parameters.values().next().map(String::as_str).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    #[serde(default)]
    path_parameters: Option<BTreeMap<String, String>>,
}

impl From<Payload> for HttpRequest {
    fn from(payload: Payload) -> Self {
        let text = payload.body.unwrap_or_default();
        // A body that is declared as base64 and is not becomes empty, so its signature is not valid.
        let body = if payload.is_base64_encoded {
            STANDARD.decode(&text).unwrap_or_default()
        } else {
            text.into_bytes()
        };
        let headers = payload
            .headers
            .into_iter()
            .filter_map(|(name, value)| {
                Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(&value).ok()?))
            })
            .collect();
        Self { headers, body, path_parameters: payload.path_parameters.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_38_base64_body_and_invalid_utf8_arrive_as_the_raw_bytes() {
        let event = serde_json::json!({
            "version": "2.0", "headers": {"webhook-id": "e1"}, "isBase64Encoded": true,
            "body": STANDARD.encode([0xFF, 0x00, 0xFE]), "pathParameters": {"callbackId": "c1"}
        });
        let request: HttpRequest = serde_json::from_value(event).unwrap();
        assert_eq!((request.body.as_slice(), request.path_id()), ([0xFF, 0x00, 0xFE].as_slice(), "c1"));
        assert_eq!(request.headers["webhook-id"], "e1");
    }

    #[test]
    fn request_without_body_headers_or_parameters_is_read() {
        let request: HttpRequest = serde_json::from_value(serde_json::json!({"version": "2.0"})).unwrap();
        assert_eq!((request.body.len(), request.path_id(), request.headers.len()), (0, "", 0));
    }
}
