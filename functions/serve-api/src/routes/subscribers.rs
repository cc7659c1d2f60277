//! The routes of the subscribers of events, for operators.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    routing::{get, post},
};
use lectern::{
    api::{
        self, AddSubscriber, AddedSubscriber, ApiError, Backend, Problem, Replay, ReplayedPage,
        ResumeSubscriber, ResumedSubscriber, SubscriberTrial, SubscriberView, SubscribersView,
    },
    events::NewSecret,
};

use super::{Answer, App, Body, InvalidRequest, Missing, Refused, Shared, SignedIn};

/// The routes below `/v1/subscribers`.
pub(super) fn router<B: Backend>() -> Router<Arc<App<B>>> {
    Router::new()
        .route("/v1/subscribers", get(list_subscribers::<B>).post(add_subscriber::<B>))
        .route("/v1/subscribers/{subscriberId}", get(read_subscriber::<B>).delete(remove_subscriber::<B>))
        .route("/v1/subscribers/{subscriberId}/pause", post(pause_subscriber::<B>))
        .route("/v1/subscribers/{subscriberId}/resume", post(resume_subscriber::<B>))
        .route("/v1/subscribers/{subscriberId}/test", post(test_subscriber::<B>))
        .route("/v1/subscribers/{subscriberId}/rotate", post(rotate_secret::<B>))
        .route("/v1/subscribers/{subscriberId}/replay", post(replay_events::<B>))
}

/// The subscribers of events, each with the state of its deliveries.
#[utoipa::path(
    get, path = "/v1/subscribers", operation_id = "listSubscribers", tag = "operators",
    responses((status = 200, body = SubscribersView, description = "All subscribers, by id."), Refused)
)]
pub(crate) async fn list_subscribers<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
) -> Answer<Json<SubscribersView>> {
    Ok(Json(api::list_subscribers(&app.backend, &caller).await?))
}

/// Adds a subscriber, after its endpoint has answered a challenge.
///
/// The endpoint gets one request with an event of the type `subscriber.challenge`, signed like all later ones. It has to answer
/// 2xx with a JSON object whose member `challenge` repeats `data.challenge` of the event. The answer to this request is the only
/// one that shows the secret; `rotate` makes another one. If the answer is lost, the subscriber exists nevertheless.
#[utoipa::path(
    post, path = "/v1/subscribers", operation_id = "addSubscriber", tag = "operators", request_body = AddSubscriber,
    responses(
        (status = 201, body = AddedSubscriber, description = "The subscriber and its secret."),
        Refused, InvalidRequest, Taken, ChallengeFailed
    )
)]
pub(crate) async fn add_subscriber<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    Body(request): Body<AddSubscriber>,
) -> Answer<(StatusCode, Json<AddedSubscriber>)> {
    Ok((StatusCode::CREATED, Json(api::add_subscriber(&app.backend, &caller, &request).await?)))
}

/// A subscriber with the state of its deliveries.
#[utoipa::path(
    get, path = "/v1/subscribers/{subscriberId}", operation_id = "readSubscriber", tag = "operators",
    params(("subscriberId" = String, Path, description = "The subscriber's id.")),
    responses((status = 200, body = SubscriberView, description = "The subscriber."), Refused, Missing)
)]
pub(crate) async fn read_subscriber<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Answer<Json<SubscriberView>> {
    let Path(subscriber) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::read_subscriber(&app.backend, &caller, &subscriber).await?))
}

/// Removes a subscriber with its position and secrets. The events that wait for it are never sent.
#[utoipa::path(
    delete, path = "/v1/subscribers/{subscriberId}", operation_id = "removeSubscriber", tag = "operators",
    params(("subscriberId" = String, Path, description = "The subscriber's id.")),
    responses((status = 204, description = "The subscriber is removed."), Refused, Missing)
)]
pub(crate) async fn remove_subscriber<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Answer<StatusCode> {
    let Path(subscriber) = path.map_err(|_| ApiError::NotFound)?;
    api::remove_subscriber(&app.backend, &caller, &subscriber).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pauses the deliveries to a subscriber. Meanwhile its events wait.
///
/// A subscriber that is paused or disabled stays as it is.
#[utoipa::path(
    post, path = "/v1/subscribers/{subscriberId}/pause", operation_id = "pauseSubscriber", tag = "operators",
    params(("subscriberId" = String, Path, description = "The subscriber's id.")),
    responses((status = 200, body = SubscriberView, description = "The subscriber."), Refused, Missing)
)]
pub(crate) async fn pause_subscriber<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Answer<Json<SubscriberView>> {
    let Path(subscriber) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::pause_subscriber(&app.backend, &caller, &subscriber).await?))
}

/// Resumes the deliveries to a subscriber that is paused or disabled, or retries those to an active one at once.
///
/// From the position, everything that waits is sent. From now, everything that waits is skipped for good. If a request with
/// `now` is repeated after its answer was lost, the new answer does not count the events that were skipped before.
#[utoipa::path(
    post, path = "/v1/subscribers/{subscriberId}/resume", operation_id = "resumeSubscriber", tag = "operators",
    request_body = ResumeSubscriber,
    params(("subscriberId" = String, Path, description = "The subscriber's id.")),
    responses(
        (status = 200, body = ResumedSubscriber, description = "How many events are sent or skipped, and the subscriber."),
        Refused, Missing, InvalidRequest
    )
)]
pub(crate) async fn resume_subscriber<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
    Body(request): Body<ResumeSubscriber>,
) -> Answer<Json<ResumedSubscriber>> {
    let Path(subscriber) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::resume_subscriber(&app.backend, &caller, &subscriber, request).await?))
}

/// Sends an event of the type `subscriber.test` in one request, and shows the request and its answer.
///
/// The subscriber's status and limits do not matter, and the answer changes nothing. If the subscriber wants gzip, the body is
/// shown as the JSON before its compression.
#[utoipa::path(
    post, path = "/v1/subscribers/{subscriberId}/test", operation_id = "testSubscriber", tag = "operators",
    params(("subscriberId" = String, Path, description = "The subscriber's id.")),
    responses(
        (status = 200, body = SubscriberTrial, description = "The request, with the answer or why there is none."),
        Refused, Missing
    )
)]
pub(crate) async fn test_subscriber<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Answer<Json<SubscriberTrial>> {
    let Path(subscriber) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::test_subscriber(&app.backend, &caller, &subscriber).await?))
}

/// Makes a new secret. For 24 hours, requests carry a signature of the secret before, too.
///
/// A second rotation within this time ends the older secret at once. So do not repeat a request whose answer was lost before
/// the endpoint can do without the secret that it has.
#[utoipa::path(
    post, path = "/v1/subscribers/{subscriberId}/rotate", operation_id = "rotateSecret", tag = "operators",
    params(("subscriberId" = String, Path, description = "The subscriber's id.")),
    responses((status = 200, body = NewSecret, description = "The new secret, which no other answer shows."), Refused, Missing)
)]
pub(crate) async fn rotate_secret<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Answer<Json<NewSecret>> {
    let Path(subscriber) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::rotate_secret(&app.backend, &caller, &subscriber).await?))
}

/// Sends the events of submissions that were created in a time to a subscriber again, a part at a time.
///
/// The events have the ids that they had before, and are delivered after those that wait; if the subscriber is paused or
/// disabled, they wait. A replay sends only what the submissions and documents still say: of a document that was redriven, the
/// failure before the redrive is not sent again. Erased submissions are not listed, so nothing of them is sent. Ask again with
/// the cursor of each answer until an answer has none.
#[utoipa::path(
    post, path = "/v1/subscribers/{subscriberId}/replay", operation_id = "replayEvents", tag = "operators",
    request_body = Replay,
    params(("subscriberId" = String, Path, description = "The subscriber's id.")),
    responses((status = 200, body = ReplayedPage, description = "How many events this part has sent."), Refused, Missing, InvalidRequest)
)]
pub(crate) async fn replay_events<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
    Body(request): Body<Replay>,
) -> Answer<Json<ReplayedPage>> {
    let Path(subscriber) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::replay_events(&app.backend, &caller, &subscriber, &request).await?))
}

/// The subscriber's id is taken, or there are as many subscribers as there may be.
#[derive(utoipa::IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
#[expect(dead_code, reason = "only the description of the API uses it")]
struct Taken(Problem);

/// The endpoint has not answered the challenge. The detail says what it answered, and what it has to answer.
#[derive(utoipa::IntoResponses)]
#[response(status = 422, content_type = "application/problem+json")]
#[expect(dead_code, reason = "only the description of the API uses it")]
struct ChallengeFailed(Problem);
