//! The pages of `web/`, which are part of the function, and what they need to know of the stack. They need no token.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::map_response_with_state,
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
    pub(crate) fn new(
        config: &PagesConfig,
        origins: &[String],
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
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
        .route("/", get(|headers: HeaderMap| async move { serve("index.html", &headers) }))
        .route("/web/config.json", get(config))
        .route("/web/openapi.json", get(description))
        .route(
            "/web/{*file}",
            get(|Path(file): Path<String>, headers: HeaderMap| async move { serve(&file, &headers) }),
        )
        .method_not_allowed_fallback(|| async { Refusal::from(ApiError::MethodNotAllowed) })
        .layer(map_response_with_state(pages.clone(), with_headers))
        .with_state(pages)
}

async fn config(State(pages): State<Arc<Pages>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], pages.config.clone()).into_response()
}

async fn description() -> Response {
    let json = include_bytes!("../../../docs/api.openapi.json");
    ([(header::CONTENT_TYPE, "application/json")], json.as_slice()).into_response()
}

fn serve(file: &str, headers: &HeaderMap) -> Response {
    let Some((file, content_type)) = Web::get(file).zip(content_type(file)) else {
        return Refusal::from(ApiError::NotFound).into_response();
    };
    let hash = file.metadata.sha256_hash();
    let tag = format!("\"{}\"", hex::encode(&hash[..16]));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let headers = [(header::ETAG, tag), (header::CONTENT_TYPE, content_type.to_owned())];
    (headers, Bytes::from_owner(file.data)).into_response()
}

async fn with_headers(State(pages): State<Arc<Pages>>, mut answer: Response) -> Response {
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
