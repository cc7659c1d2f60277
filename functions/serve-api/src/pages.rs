//! The pages of `web/`, which are part of the function, and what they need to know of the stack. They need no token.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use lectern::api::{ApiError, Quota};
use lectern_aws::SignIn;
use lectern_content::FileType;
use rust_embed::RustEmbed;
use serde::Serialize;

use crate::routes::Refusal;

/// The files that browsers load.
#[derive(RustEmbed)]
#[folder = "../../web"]
#[include = "*.html"]
#[include = "*.css"]
#[include = "*.js"]
#[include = "*.svg"]
#[include = "*.txt"]
struct Web;

/// What the pages need to know of the stack; `web/config.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PagesConfig {
    /// How people sign in.
    pub(crate) sign_in: SignIn,
    /// The types of files, accepted and refused.
    pub(crate) types: Vec<FileType>,
    /// What one teacher may have open at once.
    pub(crate) limits: Quota,
}

/// What the pages are served with.
pub(crate) struct Pages {
    config: Bytes,
    policy: HeaderValue,
}

impl Pages {
    /// `origins` are those that the pages exchange files with and sign in at.
    pub(crate) fn new(config: &PagesConfig, origins: &[String]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let origins = origins.join(" ");
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' {origins}; media-src blob: {origins}; \
             connect-src 'self' {origins}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types lit-html"
        );
        Ok(Self { config: serde_json::to_vec(config)?.into(), policy: policy.try_into()? })
    }
}

/// The routes that need no token.
pub(crate) fn router(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/web/config.json", get(config))
        .route("/web/openapi.json", get(description))
        .route("/web/{*file}", get(file))
        .with_state(pages)
}

async fn index(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    serve("index.html", &pages, &headers)
}

async fn file(State(pages): State<Arc<Pages>>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    serve(&file, &pages, &headers)
}

async fn config(State(pages): State<Arc<Pages>>) -> Response {
    with_headers([(header::CONTENT_TYPE, "application/json")].into_response(), &pages, pages.config.clone())
}

async fn description(State(pages): State<Arc<Pages>>) -> Response {
    let json = Bytes::from_static(include_bytes!("../../../docs/api.openapi.json"));
    with_headers([(header::CONTENT_TYPE, "application/json")].into_response(), &pages, json)
}

fn serve(file: &str, pages: &Pages, headers: &HeaderMap) -> Response {
    let Some((file, content_type)) = Web::get(file).zip(content_type(file)) else {
        return Refusal::from(ApiError::NotFound).into_response();
    };
    let hash = file.metadata.sha256_hash();
    let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return with_headers((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response(), pages, Bytes::new());
    }
    let answer = [(header::ETAG, tag), (header::CONTENT_TYPE, content_type.to_owned())].into_response();
    with_headers(answer, pages, file.data.into_owned().into())
}

fn with_headers(answer: Response, pages: &Pages, body: Bytes) -> Response {
    let mut answer = answer.map(|_| body.into());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, pages.policy.clone());
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    // A new version of the function has new pages, so browsers ask each time, and mostly hear that nothing has changed.
    set(header::CACHE_CONTROL, "no-cache");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    answer
}

fn content_type(file: &str) -> Option<&'static str> {
    Some(match file.rsplit('.').next()? {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}
