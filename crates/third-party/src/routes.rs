//! The list of the contract's routes, and the router built from it.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{
        ConnectInfo, Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post},
};
use http::{HeaderMap, Method, StatusCode};
use lectern::contract::wire::{self, JobStatus};
use serde::Deserialize;

use crate::{
    admin,
    admission::admit_status_request,
    app::App,
    connection::Cutter,
    files,
    problem::Problem,
    refusal::{Cut, Refusal},
    submit,
};

/// A route of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// Submit a document as the request's body.
    PushJob,
    /// Submit a document by URL.
    PullJob,
    /// Get a job's status by job id.
    Job,
    /// Get a job's status by idempotency key.
    JobByKey,
    /// Erase a job by idempotency key.
    EraseJob,
    /// Download a result file.
    File,
}

impl Route {
    /// All routes.
    pub const ALL: [Self; 6] =
        [Self::PushJob, Self::PullJob, Self::Job, Self::JobByKey, Self::EraseJob, Self::File];

    /// The HTTP method.
    pub fn method(self) -> Method {
        match self {
            Self::PushJob | Self::PullJob => Method::POST,
            Self::Job | Self::JobByKey | Self::File => Method::GET,
            Self::EraseJob => Method::DELETE,
        }
    }

    /// The path with parameters as `{name}`.
    pub fn path(self) -> &'static str {
        match self {
            Self::PushJob => wire::PUSH_PATH,
            Self::PullJob => wire::PULL_PATH,
            Self::Job => "/v1/jobs/{jobId}",
            Self::JobByKey | Self::EraseJob => wire::JOBS_PATH,
            Self::File => "/v1/files/{token}/{name}",
        }
    }

    fn handler(self) -> MethodRouter<Arc<App>> {
        match self {
            Self::PushJob => post(submit::push),
            Self::PullJob => post(submit::pull),
            Self::Job => get(job),
            Self::JobByKey => get(job_by_key),
            Self::EraseJob => delete(erase_job),
            Self::File => get(files::get),
        }
    }
}

/// The router of the server: the contract, the admin endpoints, and a problem for all other requests.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in Route::ALL {
        let counter = Arc::clone(&app);
        let count = from_fn(move |request: Request, next: Next| {
            let app = Arc::clone(&counter);
            async move {
                let response = next.run(request).await;
                let cut = response.extensions().get::<Cut>().is_some();
                app.requests.count(route, (!cut).then(|| response.status().as_u16()));
                response
            }
        });
        router = router.route(route.path(), route.handler().layer(count));
    }
    router
        .nest("/admin", admin::router().layer(from_fn_with_state(Arc::clone(&app), require_admin)))
        .fallback(async || Problem::not_found("path"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "methodNotAllowed",
                "This path does not allow this method.",
            )
        })
        .with_state(app)
}

async fn require_admin(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    match app.authorize_admin(&headers) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// `GET /v1/jobs/{jobId}`.
async fn job(
    State(app): State<Arc<App>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    headers: HeaderMap,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    let job_id = path.map(|Path(job_id)| job_id).unwrap_or_default();
    let key = app.jobs.key(&job_id).unwrap_or_default();
    let admitted = admit_status_request(&app, &headers, &key);
    answer(&cutter, admitted.and_then(|()| app.jobs.status(&job_id).ok_or_else(no_such_job)))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByKey {
    idempotency_key: String,
}

/// `GET /v1/jobs?idempotencyKey=…`.
async fn job_by_key(
    State(app): State<Arc<App>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    headers: HeaderMap,
    query: Result<Query<ByKey>, QueryRejection>,
) -> Response {
    let found =
        key_of(&app, &headers, query).and_then(|key| app.jobs.status_by_key(&key).ok_or_else(no_such_job));
    answer(&cutter, found)
}

/// `DELETE /v1/jobs?idempotencyKey=…`: erases the job with its document and its result files. A running job stops at its
/// next step and sends no callback.
async fn erase_job(
    State(app): State<Arc<App>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    headers: HeaderMap,
    query: Result<Query<ByKey>, QueryRejection>,
) -> Response {
    let key = match key_of(&app, &headers, query) {
        Ok(key) => key,
        Err(refusal) => return refusal.into_response(&cutter),
    };
    if !app.jobs.erase(&key) {
        return no_such_job().into_response(&cutter);
    }
    match app.files.erase(&key).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            tracing::error!(%error, "a result file could not be deleted");
            Problem::internal().into_response()
        }
    }
}

/// The idempotency key of a request that is admitted.
fn key_of(
    app: &App,
    headers: &HeaderMap,
    query: Result<Query<ByKey>, QueryRejection>,
) -> Result<String, Refusal> {
    let key = query.ok().map(|Query(query)| query.idempotency_key);
    admit_status_request(app, headers, key.as_deref().unwrap_or_default())?;
    let message = "The query parameter idempotencyKey is missing.";
    Ok(key.ok_or_else(|| Problem::bad_request("idempotencyKeyMissing", message))?)
}

fn no_such_job() -> Refusal {
    Problem::not_found("job").into()
}

fn answer(cutter: &Cutter, found: Result<JobStatus, Refusal>) -> Response {
    match found {
        Ok(status) => Json(status).into_response(),
        Err(refusal) => refusal.into_response(cutter),
    }
}
