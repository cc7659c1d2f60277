//! Signed HTTP for the few AWS calls without an SDK crate in the workspace: Cognito, `CloudWatch` and its logs, IAM,
//! Lambda, Secrets Manager and SNS.

use hmac::{Hmac, KeyInit as _, Mac as _};
use lectern::ports::Clock as _;
use lectern_aws::SystemClock;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    stack::Stack,
    wait::{SOON, eventually},
};

const JSON: &str = "application/x-amz-json-1.1";
const FORM: &str = "application/x-www-form-urlencoded";

/// Sends `POST /` with `X-Amz-Target`, the protocol of most of these services.
pub(crate) async fn call(stack: &Stack, service: &str, target: &str, body: &Value) -> Value {
    json(&send(stack, service, &Method::POST, "/", &[("x-amz-target", target)], JSON, body.to_string()).await)
}

/// Sends a request of Lambda's REST protocol.
pub(crate) async fn lambda(stack: &Stack, method: &Method, path: &str, body: &Value) -> Value {
    let body = if *method == Method::GET { String::new() } else { body.to_string() };
    json(&send(stack, "lambda", method, path, &[], JSON, body).await)
}

/// Sends a form, the protocol of SNS and IAM, and returns the answer, which is XML.
pub(crate) async fn form(stack: &Stack, service: &str, fields: &[(&str, &str)]) -> String {
    let encoded =
        fields.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    let body = encoded.collect::<Vec<_>>().join("&");
    send(stack, service, &Method::POST, "/", &[], FORM, body).await
}

fn json(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap() }
}

async fn send(
    stack: &Stack,
    service: &str,
    method: &Method,
    path: &str,
    target: &[(&str, &str)],
    content_type: &str,
    body: String,
) -> String {
    let what = format!("{service} {method} {path} {target:?}");
    eventually(&what, SOON, async || {
        let request = signed(stack, service, method, path, target, content_type, &body).body(body.clone());
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        // Under load, threads of the local cloud may interfere, which gives a 5xx. The SDKs also retry a 5xx.
        if status.is_server_error() {
            return Err(format!("{status} {text}"));
        }
        assert!(status.is_success(), "{what}: {status} {text}");
        Ok(text)
    })
    .await
}

/// Signature Version 4, <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
fn signed(
    stack: &Stack,
    service: &str,
    method: &Method,
    path: &str,
    target: &[(&str, &str)],
    content_type: &str,
    body: &str,
) -> RequestBuilder {
    let now = SystemClock.now();
    let day = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
    let at = format!("{day}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second());
    let host = stack.is.endpoint.trim_start_matches("http://");
    let mut headers = vec![("content-type", content_type), ("host", host), ("x-amz-date", &at)];
    headers.extend(target);
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    let lines = lines.join("\n");
    let canonical = format!("{method}\n{path}\n\n{lines}\n\n{names}\n{}", sha256_hex(body.as_bytes()));
    let scope = format!("{day}/{}/{service}/aws4_request", stack.is.region);
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let secret = format!("AWS4{}", stack.is.secret_access_key);
    let key = [day.as_str(), &stack.is.region, service, "aws4_request"]
        .into_iter()
        .fold(secret.into_bytes(), |key, part| mac(&key, part));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        stack.is.access_key_id,
        hex(&mac(&key, &to_sign))
    );
    let request = stack.http.request(method.clone(), format!("{}{path}", stack.is.endpoint));
    headers
        .into_iter()
        .fold(request, |request, (name, value)| request.header(name, value))
        .header("authorization", authorization)
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// SHA-256 as lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
