//! The description of the API, `OpenAPI` 3.1: `docs/api.openapi.json`. It is generated from the annotations of the routes.

use lectern::{api::Problem, record};
use serde_json::{Value, json};
use utoipa::{Modify, OpenApi, openapi::security};

use crate::routes::{self, subscribers};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lectern API",
        description = "Teachers hand in submissions, evaluators read them, operators watch the flow.\n\n\
            Every request carries `Authorization: Bearer <access token>`. The groups of the token are the person's roles: \
            `teachers`, `evaluators` and `operators`. What another person handed in does not exist for a teacher: the answer is 404.\n\n\
            Field names are camelCase, sizes are bytes, times are RFC 3339 in UTC with milliseconds. Readers ignore fields that they \
            do not know, so that fields can be added. Errors are problem details (RFC 9457) whose `type` is stable. API Gateway itself \
            answers 401, 429 and 503 with a JSON object that has only a `message`. The URLs of files \
            and uploads are bearer secrets, and answers are not to be stored (`Cache-Control: no-store`).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "The output ApiUrl of the stack.")),
    paths(
        routes::me, routes::list_submissions, routes::create_submission, routes::read_submission, routes::withdraw_submission,
        routes::add_file, routes::remove_file, routes::begin_upload, routes::sign_parts, routes::complete_upload,
        routes::list_documents, routes::remove_document, routes::replace_document, routes::read_record, routes::file_urls,
        routes::overview, routes::failures, routes::redrive_document,
        subscribers::list_subscribers, subscribers::add_subscriber, subscribers::read_subscriber, subscribers::remove_subscriber,
        subscribers::pause_subscriber, subscribers::resume_subscriber, subscribers::test_subscriber, subscribers::rotate_secret,
        subscribers::replay_events,
    ),
    // utoipa finds the schemas of bodies by itself, but not those of `IntoResponses`.
    components(schemas(Problem, GatewayMessage)),
    modifiers(&AccessToken),
    security(("accessToken" = []))
)]
struct Api;

/// An answer of API Gateway, which the function never saw.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only the description of the API uses it")]
struct GatewayMessage {
    /// A few words for a developer.
    message: String,
}

/// The statuses with which API Gateway refuses a request without a token, throttles one, and reports a function that failed.
const GATEWAY_STATUSES: [&str; 3] = ["401", "429", "503"];

struct AccessToken;

impl Modify for AccessToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let token = security::HttpBuilder::new()
            .scheme(security::HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("accessToken", security::SecurityScheme::Http(token));
    }
}

/// The description as JSON.
pub(crate) fn description() -> serde_json::Result<Value> {
    let mut api = serde_json::to_value(Api::openapi())?;
    let mut schema = record::json_schema();
    let definitions = schema.as_object_mut().and_then(|schema| schema.remove("$defs")).unwrap_or_default();
    let text = schema.to_string().replace("#/$defs/", "#/components/schemas/");
    api["components"]["schemas"]["Record"] = serde_json::from_str(&text)?;
    for (name, definition) in definitions.as_object().into_iter().flatten() {
        let text = definition.to_string().replace("#/$defs/", "#/components/schemas/");
        let known = &mut api["components"]["schemas"][name];
        if known.is_null() {
            *known = serde_json::from_str(&text)?;
        }
    }
    let operations = api["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in operations.filter_map(Value::as_object_mut).flat_map(|methods| methods.values_mut()) {
        for status in GATEWAY_STATUSES {
            operation["responses"][status]["content"]["application/json"] =
                json!({ "schema": { "$ref": "#/components/schemas/GatewayMessage" } });
        }
    }
    Ok(api)
}
