//! The API's routes: they map HTTP requests to the functions of [`lectern::api`], and the results to HTTP answers. The
//! routes contain no knowledge of submissions.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{
        FromRequestParts, Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, header, request::Parts},
    middleware::{Next, from_fn, map_response},
    response::{IntoResponse, Response},
    routing::get,
};
use lambda_http::{Context, request::RequestContext};
use lectern::{
    api::{self, ApiError, Evaluator, ListQuery},
    document::{DocumentId, SubmissionId},
    ports::{Browse, Load, ReadUrls, Records},
};
use lectern_aws::logging;
use serde::Serialize;
use tracing::Instrument as _;

/// `GET`: the list of submissions.
pub(crate) const SUBMISSIONS: &str = "/submissions";
/// `GET`: one submission.
pub(crate) const SUBMISSION: &str = "/submissions/{submissionId}";
/// `GET`: one record.
pub(crate) const RECORD: &str = "/submissions/{submissionId}/documents/{documentId}/record";
/// `GET`: URLs of one document's files.
pub(crate) const FILES: &str = "/submissions/{submissionId}/documents/{documentId}/files";

/// The whole API over its ports.
pub(crate) fn router<S, U>(store: Arc<S>, urls: Arc<U>) -> Router
where
    S: Browse + Load + 'static,
    U: ReadUrls + Records + 'static,
{
    Router::new()
        .route(SUBMISSIONS, get(list_submissions::<S, U>))
        .route(SUBMISSION, get(read_submission::<S, U>))
        .route(RECORD, get(read_record::<S, U>))
        .route(FILES, get(file_urls::<S, U>))
        .fallback(|| async { Refusal(ApiError::NotFound) })
        .method_not_allowed_fallback(|| async { Refusal(ApiError::MethodNotAllowed) })
        .layer(map_response(with_security_headers))
        .with_state(Ports { store, urls })
}

/// Runs every request in the span from which log lines take their ids.
pub(crate) fn with_spans(router: Router, function: String) -> Router {
    let function: Arc<str> = function.into();
    router.layer(from_fn(move |request: Request, next: Next| {
        let request_path = request.uri().path().to_owned();
        let context = request.extensions().get::<Context>();
        let span =
            logging::invocation_span(&function, context.and_then(|context| context.xray_trace_id.as_deref()));
        next.run(request).instrument(ids_span(&span, &request_path))
    }))
}

/// A span with the valid ids in a path. Other parts of a path are never logged.
fn ids_span(parent: &tracing::Span, path: &str) -> tracing::Span {
    let mut parts = path.split('/').skip(1);
    let mut named = |collection: &str| {
        (parts.next() == Some(collection)).then(|| parts.next()).flatten().unwrap_or_default().to_owned()
    };
    let submission = SubmissionId::try_from(named("submissions")).ok();
    let document = named("documents").parse::<DocumentId>().ok();
    tracing::info_span!(
        parent: parent,
        "request",
        submissionId = submission.map(String::from),
        documentId = document.map(|id| id.to_string())
    )
}

struct Ports<S, U> {
    store: Arc<S>,
    urls: Arc<U>,
}

impl<S, U> Clone for Ports<S, U> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), urls: self.urls.clone() }
    }
}

async fn list_submissions<S: Browse, U>(
    Caller(reader): Caller,
    State(ports): State<Ports<S, U>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<impl Serialize>, Refusal> {
    let Query(query) = query.map_err(|_| {
        ApiError::InvalidQuery("The query may hold state, limit and cursor, each once.".to_owned())
    })?;
    Ok(Json(api::list_submissions(&reader, &*ports.store, &query).await?))
}

async fn read_submission<S: Browse, U>(
    Caller(reader): Caller,
    State(ports): State<Ports<S, U>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<impl Serialize>, Refusal> {
    let Path(submission) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::read_submission(&reader, &*ports.store, &submission).await?))
}

async fn read_record<S: Load, U: Records>(
    Caller(reader): Caller,
    State(ports): State<Ports<S, U>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<impl Serialize>, Refusal> {
    let Path((submission, document)) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::read_record(&reader, &*ports.store, &*ports.urls, &submission, &document).await?))
}

async fn file_urls<S: Load, U: ReadUrls>(
    Caller(reader): Caller,
    State(ports): State<Ports<S, U>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<impl Serialize>, Refusal> {
    let Path((submission, document)) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::file_urls(&reader, &*ports.store, &*ports.urls, &submission, &document).await?))
}

/// The caller, from the claims that the HTTP API's JWT authorizer passes on. The request's own content is not used.
struct Caller(Evaluator);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let Some(RequestContext::ApiGatewayV2(context)) = parts.extensions.get::<RequestContext>() else {
            return Err(Refusal(ApiError::Unauthenticated));
        };
        let jwt = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref());
        let jwt = jwt.ok_or(Refusal(ApiError::Unauthenticated))?;
        Ok(Self(Evaluator::from_claims(&jwt.claims)?))
    }
}

/// An error as problem details.
struct Refusal(ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let ApiError::Internal(error) = &self.0 {
            tracing::error!(error = error.name(), detail = %error, "A request could not be answered.");
        }
        let problem = self.0.problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(problem)).into_response()
    }
}

/// Answers contain personal data and bearer URLs, so browsers must not cache them, frame them or guess their type.
async fn with_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    response
}
