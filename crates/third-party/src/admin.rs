//! The admin endpoints, with which a test sets faults and reads what happened. They are not part of the contract.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    routing::{delete, get},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{
    app::App, faults::FaultRule, jobs::JobView, limits::Limits, problem::Problem, requests::RequestsView,
    usage::UsageView,
};

/// The routes `/admin/faults`, `/admin/jobs`, `/admin/limits`, `/admin/requests` and `/admin/usage`. All need the admin
/// key.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/faults/{id}", delete(remove_fault))
        .route("/jobs", get(list_jobs))
        .route("/limits", get(show_limits).put(set_limits))
        .route("/requests", get(list_requests))
        .route("/usage", get(show_usage).delete(reset_usage))
}

/// A rule with its number; `times` counts how often the rule can still apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEntry {
    /// The rule's number.
    pub id: u64,
    /// The rule.
    #[serde(flatten)]
    pub rule: FaultRule,
}

#[derive(Debug, Serialize)]
struct Added {
    id: u64,
}

async fn add_fault(
    State(app): State<Arc<App>>,
    rule: Result<Json<FaultRule>, JsonRejection>,
) -> Result<(StatusCode, Json<Added>), Problem> {
    let Json(rule) =
        rule.map_err(|rejection| Problem::bad_request("faultInvalid", &rejection.body_text()))?;
    Ok((StatusCode::CREATED, Json(Added { id: app.faults.add(rule) })))
}

async fn list_faults(State(app): State<Arc<App>>) -> Json<Vec<FaultEntry>> {
    Json(app.faults.list())
}

async fn clear_faults(State(app): State<Arc<App>>) -> StatusCode {
    app.faults.clear();
    StatusCode::NO_CONTENT
}

async fn remove_fault(
    State(app): State<Arc<App>>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let removed = id.is_ok_and(|Path(id)| app.faults.remove(id));
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("fault")) }
}

async fn show_limits(State(app): State<Arc<App>>) -> Json<Limits> {
    Json(app.limits.get())
}

async fn set_limits(
    State(app): State<Arc<App>>,
    limits: Result<Json<Limits>, JsonRejection>,
) -> Result<Json<Limits>, Problem> {
    let invalid = |why: &str| Problem::bad_request("limitsInvalid", why);
    let Json(limits) = limits.map_err(|rejection| invalid(&rejection.body_text()))?;
    app.limits.set(limits).map_err(|error| invalid(&error.to_string()))?;
    Ok(Json(limits))
}

async fn show_usage(State(app): State<Arc<App>>) -> Json<UsageView> {
    Json(app.usage.view())
}

async fn reset_usage(State(app): State<Arc<App>>) -> StatusCode {
    app.usage.reset();
    StatusCode::NO_CONTENT
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    idempotency_key_prefix: String,
}

type MaybeFilter = Result<Query<Filter>, QueryRejection>;

fn prefix(filter: MaybeFilter) -> Result<String, Problem> {
    let invalid = |_| Problem::bad_request("queryInvalid", "The query cannot be read.");
    filter.map(|Query(filter)| filter.idempotency_key_prefix).map_err(invalid)
}

async fn list_jobs(State(app): State<Arc<App>>, filter: MaybeFilter) -> Result<Json<Vec<JobView>>, Problem> {
    Ok(Json(app.jobs.list(&prefix(filter)?)))
}

async fn list_requests(
    State(app): State<Arc<App>>,
    filter: MaybeFilter,
) -> Result<Json<RequestsView>, Problem> {
    Ok(Json(app.requests.view(&prefix(filter)?)))
}
