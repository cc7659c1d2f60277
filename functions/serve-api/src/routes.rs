//! The API's routes: they map HTTP requests to the functions of [`lectern::api`], and the results to HTTP answers. The
//! routes contain no knowledge of submissions. Their annotations are the source of `docs/api.openapi.json`.

pub(crate) mod subscribers;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::{Next, from_fn, map_response},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use lambda_http::{Context, request::RequestContext};
use lectern::{
    api::{
        self, AddFile, ApiError, Backend, BeginUpload, Caller, CreateSubmission, DocumentsPage, FailuresPage,
        Files, ListQuery, Me, Overview, PageQuery, PendingFileView, Problem, RedriveAnswer, RedriveRequest,
        SignParts, SignedParts, SubmissionDetail, SubmissionsPage, UploadPlan,
    },
    document::{DocumentId, SubmissionId},
    record::Record,
};
use lectern_aws::logging;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

/// What the routes share.
pub(crate) struct App<B> {
    pub(crate) backend: B,
    /// The claim with the caller's groups.
    pub(crate) groups_claim: String,
}

/// The routes that need a token.
pub(crate) fn router<B: Backend>(app: Arc<App<B>>) -> Router {
    Router::new()
        .route("/v1/me", get(me::<B>))
        .route("/v1/submissions", get(list_submissions::<B>).post(create_submission::<B>))
        .route("/v1/submissions/{submissionId}", get(read_submission::<B>).delete(withdraw_submission::<B>))
        .route("/v1/submissions/{submissionId}/files", post(add_file::<B>))
        .route("/v1/submissions/{submissionId}/files/{fileId}", delete(remove_file::<B>))
        .route("/v1/submissions/{submissionId}/files/{fileId}/upload", post(begin_upload::<B>))
        .route("/v1/submissions/{submissionId}/files/{fileId}/parts", post(sign_parts::<B>))
        .route("/v1/submissions/{submissionId}/files/{fileId}/complete", post(complete_upload::<B>))
        .route("/v1/submissions/{submissionId}/documents", get(list_documents::<B>))
        .route("/v1/submissions/{submissionId}/documents/{documentId}", delete(remove_document::<B>))
        .route("/v1/submissions/{submissionId}/documents/{documentId}/replace", post(replace_document::<B>))
        .route("/v1/submissions/{submissionId}/documents/{documentId}/record", get(read_record::<B>))
        .route("/v1/submissions/{submissionId}/documents/{documentId}/files", get(file_urls::<B>))
        .route("/v1/submissions/{submissionId}/documents/{documentId}/redrive", post(redrive_document::<B>))
        .route("/v1/operations", get(overview::<B>))
        .route("/v1/operations/failures", get(failures::<B>))
        .merge(subscribers::router())
        .with_state(app)
        .fallback(|| async { Refusal(ApiError::NotFound) })
        .method_not_allowed_fallback(|| async { Refusal(ApiError::MethodNotAllowed) })
        .layer(map_response(with_security_headers))
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
    let mut parts = path.strip_prefix("/v1").unwrap_or(path).split('/').skip(1);
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

type Shared<B> = State<Arc<App<B>>>;
type Answer<T> = Result<T, Refusal>;

/// Who you are, and what one teacher may have open at once.
#[utoipa::path(
    get, path = "/v1/me", operation_id = "me", tag = "everybody",
    responses((status = 200, body = Me, description = "The caller."), Refused)
)]
pub(crate) async fn me<B: Backend>(State(app): Shared<B>, SignedIn(caller): SignedIn) -> Json<Me> {
    Json(api::me(&app.backend, &caller))
}

/// Submissions, newest first, a page at a time.
///
/// A teacher sees their own; evaluators and operators see all submissions of which a file has arrived. Submissions that are
/// created while the pages are read come before the first page. If states are filtered, a submission whose state changes
/// meanwhile may be missed or seen twice. With a filter by type, a page may have fewer submissions than were asked for, or
/// none, and not be the last one: the last page is the one without a cursor.
#[utoipa::path(
    get, path = "/v1/submissions", operation_id = "listSubmissions", tag = "everybody",
    params(
        ("state" = Option<String>, Query, description = "Draft (of your own), InProgress, Ready or NeedsAttention."),
        ("type" = Option<String>, Query, description = "Only submissions with a file of this kind: video, audio, document or picture."),
        ("from" = Option<String>, Query, description = "Created at this time or later: RFC 3339, or a date in UTC."),
        ("to" = Option<String>, Query, description = "Created before this time: RFC 3339, or a date in UTC."),
        ("mine" = Option<String>, Query, description = "true: only your own."),
        ("limit" = Option<String>, Query, description = "How many at most, 1 to 100; 25 if absent."),
        ("cursor" = Option<String>, Query, description = "The cursor of the page before, unchanged."),
    ),
    responses((status = 200, body = SubmissionsPage, description = "A page."), Refused, InvalidQuery)
)]
pub(crate) async fn list_submissions<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Answer<Json<SubmissionsPage>> {
    let Query(query) =
        query.map_err(|_| unknown_parameter("state, type, from, to, mine, limit and cursor"))?;
    Ok(Json(api::list_submissions(&app.backend, &caller, &query).await?))
}

/// Creates a submission, with the files that will be uploaded.
#[utoipa::path(
    post, path = "/v1/submissions", operation_id = "createSubmission", tag = "teachers", request_body = CreateSubmission,
    responses((status = 201, body = SubmissionDetail, description = "The submission."), Refused, InvalidRequest, FileRefused)
)]
pub(crate) async fn create_submission<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    Body(request): Body<CreateSubmission>,
) -> Answer<(StatusCode, Json<SubmissionDetail>)> {
    Ok((StatusCode::CREATED, Json(api::create_submission(&app.backend, &caller, &request).await?)))
}

/// A submission, its pending files, and the first page of its documents.
///
/// To watch a submission, send `If-None-Match` with the `ETag` of the answer before. Ask again after 2 s, then after a time that
/// grows to 30 s while nothing changes.
#[utoipa::path(
    get, path = "/v1/submissions/{submissionId}", operation_id = "readSubmission", tag = "everybody",
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an answer before."),
    ),
    responses(
        (status = 200, body = SubmissionDetail, description = "The submission.", headers(("ETag" = String, description = "Changes with the answer."))),
        (status = 304, description = "Nothing has changed since the answer with this ETag."),
        Refused, Missing
    )
)]
pub(crate) async fn read_submission<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Answer<Response> {
    let Path(submission) = path.map_err(|_| ApiError::NotFound)?;
    let is_known =
        |detail: &SubmissionDetail| Tagged::new(detail).is_ok_and(|tagged| tagged.is_known(&headers));
    let detail = api::read_submission(&app.backend, &caller, &submission, is_known).await?;
    Ok(Tagged::new(&detail)?.unless_known(&headers))
}

/// The documents of a submission, a page at a time.
#[utoipa::path(
    get, path = "/v1/submissions/{submissionId}/documents", operation_id = "listDocuments", tag = "everybody",
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("limit" = Option<String>, Query, description = "How many at most, 1 to 100; 50 if absent."),
        ("cursor" = Option<String>, Query, description = "The cursor of the page before, unchanged."),
    ),
    responses((status = 200, body = DocumentsPage, description = "A page."), Refused, Missing, InvalidQuery)
)]
pub(crate) async fn list_documents<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Answer<Json<DocumentsPage>> {
    let Path(submission) = path.map_err(|_| ApiError::NotFound)?;
    let Query(query) = query.map_err(|_| unknown_parameter("limit and cursor"))?;
    Ok(Json(api::list_documents(&app.backend, &caller, &submission, &query).await?))
}

/// Withdraws a submission: from now on it does not exist for anybody, and everything that belongs to it is erased.
#[utoipa::path(
    delete, path = "/v1/submissions/{submissionId}", operation_id = "withdrawSubmission", tag = "teachers",
    params(("submissionId" = String, Path, description = "The submission's id.")),
    responses((status = 202, description = "The erasure has begun."), Refused, Missing)
)]
pub(crate) async fn withdraw_submission<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
) -> Answer<StatusCode> {
    let Path(submission) = path.map_err(|_| ApiError::NotFound)?;
    api::withdraw_submission(&app.backend, &caller, &submission).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Declares another file, at any time.
#[utoipa::path(
    post, path = "/v1/submissions/{submissionId}/files", operation_id = "addFile", tag = "teachers", request_body = AddFile,
    params(("submissionId" = String, Path, description = "The submission's id.")),
    responses((status = 201, body = PendingFileView, description = "The file, which can be uploaded now."), Refused, Missing, InvalidRequest, FileRefused)
)]
pub(crate) async fn add_file<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<String>, PathRejection>,
    Body(request): Body<AddFile>,
) -> Answer<(StatusCode, Json<PendingFileView>)> {
    let Path(submission) = path.map_err(|_| ApiError::NotFound)?;
    let file = api::add_file(&app.backend, &caller, &submission, &request).await?;
    Ok((StatusCode::CREATED, Json(file)))
}

/// Forgets a pending file and ends its upload.
#[utoipa::path(
    delete, path = "/v1/submissions/{submissionId}/files/{fileId}", operation_id = "removeFile", tag = "teachers",
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("fileId" = String, Path, description = "The pending file's id."),
    ),
    responses((status = 204, description = "The file is forgotten."), Refused, Missing)
)]
pub(crate) async fn remove_file<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer<StatusCode> {
    let Path((submission, file)) = path.map_err(|_| ApiError::NotFound)?;
    api::remove_file(&app.backend, &caller, &submission, &file).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins the upload of a pending file, or continues it from anywhere.
#[utoipa::path(
    post, path = "/v1/submissions/{submissionId}/files/{fileId}/upload", operation_id = "beginUpload", tag = "teachers",
    request_body = BeginUpload,
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("fileId" = String, Path, description = "The pending file's id."),
    ),
    responses((status = 200, body = UploadPlan, description = "How to send the file."), Refused, Missing, InvalidRequest)
)]
pub(crate) async fn begin_upload<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
    Body(request): Body<BeginUpload>,
) -> Answer<Json<UploadPlan>> {
    let Path((submission, file)) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::begin_upload(&app.backend, &caller, &submission, &file, &request).await?))
}

/// Signs parts that are about to be sent. Sign a part again when S3 answers 403.
#[utoipa::path(
    post, path = "/v1/submissions/{submissionId}/files/{fileId}/parts", operation_id = "signParts", tag = "teachers",
    request_body = SignParts,
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("fileId" = String, Path, description = "The pending file's id."),
    ),
    responses((status = 200, body = SignedParts, description = "Requests that upload the parts."), Refused, Missing, InvalidRequest)
)]
pub(crate) async fn sign_parts<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
    Body(request): Body<SignParts>,
) -> Answer<Json<SignedParts>> {
    let Path((submission, file)) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::sign_parts(&app.backend, &caller, &submission, &file, &request).await?))
}

/// Makes the object of its parts.
///
/// If the answer is lost, ask again: 404 then means that the upload has been registered meanwhile, so the submission has a
/// document of it.
#[utoipa::path(
    post, path = "/v1/submissions/{submissionId}/files/{fileId}/complete", operation_id = "completeUpload", tag = "teachers",
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("fileId" = String, Path, description = "The pending file's id."),
    ),
    responses((status = 204, description = "The upload is complete."), Refused, Missing, Conflict)
)]
pub(crate) async fn complete_upload<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer<StatusCode> {
    let Path((submission, file)) = path.map_err(|_| ApiError::NotFound)?;
    api::complete_upload(&app.backend, &caller, &submission, &file).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Declares a newer version of an uploaded file. It replaces the document when its upload is registered.
#[utoipa::path(
    post, path = "/v1/submissions/{submissionId}/documents/{documentId}/replace", operation_id = "replaceDocument", tag = "teachers",
    request_body = AddFile,
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("documentId" = String, Path, description = "The document's id."),
    ),
    responses((status = 201, body = PendingFileView, description = "The file, which can be uploaded now."), Refused, Missing, InvalidRequest, FileRefused, Conflict)
)]
pub(crate) async fn replace_document<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
    Body(request): Body<AddFile>,
) -> Answer<(StatusCode, Json<PendingFileView>)> {
    let Path((submission, document)) = path.map_err(|_| ApiError::NotFound)?;
    let file = api::replace_document(&app.backend, &caller, &submission, &document, &request).await?;
    Ok((StatusCode::CREATED, Json(file)))
}

/// Deletes an uploaded file that was rejected or has failed.
#[utoipa::path(
    delete, path = "/v1/submissions/{submissionId}/documents/{documentId}", operation_id = "removeDocument", tag = "teachers",
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("documentId" = String, Path, description = "The document's id."),
    ),
    responses((status = 204, description = "The file is deleted. The document stops counting a moment later."), Refused, Missing, Conflict)
)]
pub(crate) async fn remove_document<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer<StatusCode> {
    let Path((submission, document)) = path.map_err(|_| ApiError::NotFound)?;
    api::remove_document(&app.backend, &caller, &submission, &document).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The record of a document, once the document is `Ready`.
#[utoipa::path(
    get, path = "/v1/submissions/{submissionId}/documents/{documentId}/record", operation_id = "readRecord", tag = "everybody",
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("documentId" = String, Path, description = "The document's id."),
    ),
    responses((status = 200, body = RecordSchema, description = "The record."), Refused, Missing, Gone)
)]
pub(crate) async fn read_record<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer<Json<Record>> {
    let Path((submission, document)) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::read_record(&app.backend, &caller, &submission, &document).await?))
}

/// Short-lived URLs of a document's files: of the upload, unless it was rejected, and of the returned files, once the document
/// is `Ready`.
#[utoipa::path(
    get, path = "/v1/submissions/{submissionId}/documents/{documentId}/files", operation_id = "fileUrls", tag = "everybody",
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("documentId" = String, Path, description = "The document's id."),
    ),
    responses((status = 200, body = Files, description = "The URLs."), Refused, Missing, Gone)
)]
pub(crate) async fn file_urls<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer<Json<Files>> {
    let Path((submission, document)) = path.map_err(|_| ApiError::NotFound)?;
    Ok(Json(api::file_urls(&app.backend, &caller, &submission, &document).await?))
}

/// Redrives a document that failed.
#[utoipa::path(
    post, path = "/v1/submissions/{submissionId}/documents/{documentId}/redrive", operation_id = "redriveDocument",
    tag = "operators", request_body = RedriveRequest,
    params(
        ("submissionId" = String, Path, description = "The submission's id."),
        ("documentId" = String, Path, description = "The document's id."),
    ),
    responses((status = 202, body = RedriveAnswer, description = "The document is open again."), Refused, Missing, InvalidRequest, Conflict)
)]
pub(crate) async fn redrive_document<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
    Body(request): Body<RedriveRequest>,
) -> Answer<(StatusCode, Json<RedriveAnswer>)> {
    let Path((submission, document)) = path.map_err(|_| ApiError::NotFound)?;
    let answer = api::redrive_document(&app.backend, &caller, &submission, &document, request).await?;
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// How much waits where, and whether the third party's limits hold it up.
#[utoipa::path(
    get, path = "/v1/operations", operation_id = "overview", tag = "operators",
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of an answer before.")),
    responses(
        (status = 200, body = Overview, description = "The flow at a glance.", headers(("ETag" = String, description = "Changes with the answer."))),
        (status = 304, description = "Nothing has changed since the answer with this ETag."),
        Refused,
    )
)]
pub(crate) async fn overview<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    headers: HeaderMap,
) -> Answer<Response> {
    Ok(Tagged::new(&api::overview(&app.backend, &caller).await?)?.unless_known(&headers))
}

/// Documents that failed, and what to do about them, a page at a time.
#[utoipa::path(
    get, path = "/v1/operations/failures", operation_id = "failures", tag = "operators",
    params(("cursor" = Option<String>, Query, description = "The cursor of the page before, unchanged.")),
    responses((status = 200, body = FailuresPage, description = "A page."), Refused, InvalidQuery)
)]
pub(crate) async fn failures<B: Backend>(
    State(app): Shared<B>,
    SignedIn(caller): SignedIn,
    query: Result<Query<CursorQuery>, QueryRejection>,
) -> Answer<Json<FailuresPage>> {
    let Query(query) = query.map_err(|_| unknown_parameter("cursor"))?;
    Ok(Json(api::failures(&app.backend, &caller, query.cursor.as_deref()).await?))
}

/// A query that may have only a cursor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CursorQuery {
    cursor: Option<String>,
}

/// Stands for the record's schema in the description of the API; `record::json_schema` gives.
#[derive(utoipa::ToSchema)]
#[schema(as = Record)]
#[allow(
    dead_code,
    reason = "only its name is used, by the description of the API, which only the tests build"
)]
struct RecordSchema {}

/// Answers that every route has.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only the description of the API uses it")]
enum Refused {
    /// The request has no valid access token.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// The caller's roles do not allow the request.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// Too many requests, or the teacher's quota is used up.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// Lectern cannot answer at the moment.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// The resource does not exist, or not yet, or is another person's.
#[derive(utoipa::IntoResponses)]
#[response(status = 404, content_type = "application/problem+json")]
#[expect(dead_code, reason = "only the description of the API uses it")]
struct Missing(Problem);

/// It existed, and its retention has ended.
#[derive(utoipa::IntoResponses)]
#[response(status = 410, content_type = "application/problem+json")]
#[expect(dead_code, reason = "only the description of the API uses it")]
struct Gone(Problem);

/// A query parameter is malformed.
#[derive(utoipa::IntoResponses)]
#[response(status = 400, content_type = "application/problem+json")]
#[expect(dead_code, reason = "only the description of the API uses it")]
struct InvalidQuery(Problem);

/// The body is malformed.
#[derive(utoipa::IntoResponses)]
#[response(status = 400, content_type = "application/problem+json")]
#[expect(dead_code, reason = "only the description of the API uses it")]
struct InvalidRequest(Problem);

/// Files of this type, size or name cannot be handed in.
#[derive(utoipa::IntoResponses)]
#[response(status = 422, content_type = "application/problem+json")]
#[expect(dead_code, reason = "only the description of the API uses it")]
struct FileRefused(Problem);

/// The state of the file or of its upload does not allow this.
#[derive(utoipa::IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
#[expect(dead_code, reason = "only the description of the API uses it")]
struct Conflict(Problem);

fn unknown_parameter(known: &str) -> ApiError {
    ApiError::InvalidQuery(format!("The query may have {known}, each once."))
}

/// An answer with the `ETag` that stands for its content.
struct Tagged {
    json: Vec<u8>,
    tag: String,
}

impl Tagged {
    fn new(answer: &impl Serialize) -> Answer<Self> {
        let unwritable = |error| {
            let error = lectern::error::StoreError::defect_of("an answer could not be written", error);
            Refusal(ApiError::Internal(error.into()))
        };
        let json = serde_json::to_vec(answer).map_err(unwritable)?;
        let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&json)[..16]));
        Ok(Self { json, tag })
    }

    /// Whether the caller has this answer already.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let known =
            headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
        known.split(',').any(|known| known.trim().trim_start_matches("W/") == self.tag)
    }

    /// The answer, or 304 if the caller has it already.
    fn unless_known(self, headers: &HeaderMap) -> Response {
        let is_known = self.is_known(headers);
        let tags = [(header::ETAG, self.tag)];
        if is_known {
            return (StatusCode::NOT_MODIFIED, tags).into_response();
        }
        (tags, [(header::CONTENT_TYPE, "application/json")], self.json).into_response()
    }
}

/// The caller, from the claims that the HTTP API's JWT authorizer passes on. The request's own content is not used.
pub(crate) struct SignedIn(Caller);

impl<B: Backend> FromRequestParts<Arc<App<B>>> for SignedIn {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App<B>>) -> Result<Self, Refusal> {
        let Some(RequestContext::ApiGatewayV2(context)) = parts.extensions.get::<RequestContext>() else {
            return Err(Refusal(ApiError::Unauthenticated));
        };
        let jwt = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref());
        let jwt = jwt.ok_or(Refusal(ApiError::Unauthenticated))?;
        Ok(Self(Caller::from_claims(&jwt.claims, &app.groups_claim)?))
    }
}

/// A body of JSON.
pub(crate) struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        // serde's message names the field, and quotes no more than a word of the caller's own text.
        let Json(body) = body.map_err(|error| ApiError::InvalidRequest(format!("{}.", error.body_text())))?;
        Ok(Self(body))
    }
}

/// An error as problem details.
pub(crate) struct Refusal(ApiError);

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

/// Answers contain personal data and bearer URLs, so browsers must not store them, frame them or guess their type.
async fn with_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    response
}
