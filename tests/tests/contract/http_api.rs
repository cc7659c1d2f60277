//! The HTTP API: the template, the code and the API descriptions have the same routes, and only the webhook is public.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{sources::read, template::Template};

const CALLBACK: &str = "POST /callbacks/{callbackId}";
const API: &str = "ANY /v1/{proxy+}";
const PAGES: [&str; 2] = ["GET /", "GET /web/{proxy+}"];

fn routes(template: &Template) -> BTreeMap<&str, &Value> {
    let routes = template.resources("AWS::ApiGatewayV2::Route");
    routes.into_values().map(|route| (route["RouteKey"].as_str().unwrap(), route)).collect()
}

#[test]
fn routes_are_those_of_the_webhook_the_api_and_the_pages() {
    let template = Template::load();
    let expected = BTreeSet::from([CALLBACK, API, PAGES[0], PAGES[1]]);
    assert_eq!(routes(&template).into_keys().collect::<BTreeSet<_>>(), expected);
}

/// The tests of serve-api compare the description with the code.
#[test]
fn s01_every_described_path_is_behind_the_authorizer() {
    let description: Value = serde_json::from_str(&read("docs/api.openapi.json")).unwrap();
    let paths = description["paths"].as_object().unwrap();
    assert!(!paths.is_empty());
    for path in paths.keys() {
        assert!(path.starts_with("/v1/"), "{path}: only paths below /v1 need a token");
    }
}

#[test]
fn s01_every_route_but_the_webhook_and_the_pages_asks_for_a_token() {
    let template = Template::load();
    for (key, route) in routes(&template) {
        let integration = if key == CALLBACK { "ReceiveCallbackIntegration" } else { "ServeApiIntegration" };
        assert_eq!(route["Target"], json!({"Fn::Sub": format!("integrations/${{{integration}}}")}), "{key}");
        if key == CALLBACK {
            assert_eq!(route["AuthorizationType"], "NONE", "its signature is checked by receive-callback");
        } else if PAGES.contains(&key) {
            assert_eq!(route["AuthorizationType"], "NONE", "the pages sign people in");
        } else {
            assert_eq!(route["AuthorizationType"], "JWT", "{key}");
            assert_eq!(route["AuthorizerId"], json!({"Ref": "Authorizer"}), "{key}");
        }
    }
    let authorizer = template.resource("AWS::ApiGatewayV2::Authorizer", "Authorizer");
    assert_eq!(authorizer["AuthorizerType"], "JWT");
    let audience = json!([{"Fn::If": ["HasIssuer", {"Ref": "IssuerAudience"}, {"Ref": "UserPoolClient"}]}]);
    assert_eq!(authorizer["JwtConfiguration"]["Audience"], audience);
}

#[test]
fn integrations_are_of_payload_format_2_and_the_gateway_may_invoke_their_functions() {
    let template = Template::load();
    let permissions = template.resources("AWS::Lambda::Permission");
    for (name, integration) in template.resources("AWS::ApiGatewayV2::Integration") {
        assert_eq!(integration["PayloadFormatVersion"], "2.0", "{name}: the functions read this format");
        let function = format!("{}Function", name.trim_end_matches("Integration"));
        assert_eq!(integration["IntegrationUri"], json!({"Ref": format!("{function}.Alias")}), "{name}");
        let permission = permissions
            .values()
            .find(|permission| permission["FunctionName"] == integration["IntegrationUri"]);
        let permission =
            permission.unwrap_or_else(|| panic!("add a permission for API Gateway to invoke {function}"));
        assert_eq!(permission["Principal"], "apigateway.amazonaws.com");
        let source = permission["SourceArn"].to_string();
        assert!(
            source.contains("${HttpApi}/*/"),
            "{function}: only this stack's API may invoke it, not {source}"
        );
    }
}

#[test]
fn s10_prod_asks_for_a_second_factor_and_protects_the_user_pool() {
    let template = Template::load();
    let pool = template.resource("AWS::Cognito::UserPool", "UserPool");
    assert_eq!(pool["MfaConfiguration"], json!({"Fn::If": ["IsProd", "ON", "OPTIONAL"]}));
    assert_eq!(pool["EnabledMfas"], json!(["SOFTWARE_TOKEN_MFA"]), "not by text messages");
    assert_eq!(pool["DeletionProtection"], json!({"Fn::If": ["IsProd", "ACTIVE", "INACTIVE"]}));
    assert_eq!(
        pool["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"], true,
        "nobody registers themselves"
    );
}

#[test]
fn requests_are_throttled_and_logged_without_their_path() {
    let template = Template::load();
    let stage = template.resource("AWS::ApiGatewayV2::Stage", "HttpApiStage");
    for limit in ["ThrottlingBurstLimit", "ThrottlingRateLimit"] {
        assert!(template.number(&stage["DefaultRouteSettings"][limit]) > 0, "set {limit}");
    }
    let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    let logged: Value = serde_json::from_str(format).expect("the access log's format is JSON");
    assert!(logged.is_object());
    for secret in ["$context.path", "$context.httpMethod", "rawPath", "authorizer", "queryString"] {
        assert!(
            !format.contains(secret),
            "the access log would contain {secret}, and a path contains a callback id"
        );
    }
}

#[test]
fn s05_webhook_has_a_limit_of_its_own_and_the_log_names_the_caller() {
    let template = Template::load();
    let stage = template.resource("AWS::ApiGatewayV2::Stage", "HttpApiStage");
    let route = template.resource("AWS::ApiGatewayV2::Route", "ReceiveCallbackRoute");
    let settings = &stage["RouteSettings"][route["RouteKey"].as_str().unwrap()];
    for limit in ["ThrottlingBurstLimit", "ThrottlingRateLimit"] {
        let own = template.number(&settings[limit]);
        assert!(own > 0 && own < template.number(&stage["DefaultRouteSettings"][limit]), "set {limit}");
    }
    let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    assert!(format.contains("$context.identity.sourceIp"));
}

#[test]
fn d15_table_deletes_items_by_the_attribute_that_the_store_writes() {
    let template = Template::load();
    let table = template.resource("AWS::DynamoDB::Table", "Table");
    let setting = &table["TimeToLiveSpecification"];
    assert_eq!(setting["Enabled"], true);
    let attribute = setting["AttributeName"].as_str().unwrap();
    let written = format!("const EXPIRES_AT: &str = \"{attribute}\"");
    let path = "crates/lectern-aws/src/dynamodb/items.rs";
    assert!(super::sources::read(path).contains(&written), "{path} lacks {written}");
}

#[test]
fn groups_are_those_that_the_code_asks_for() {
    let template = Template::load();
    let groups = template.resources("AWS::Cognito::UserPoolGroup");
    let names: BTreeSet<&str> = groups.values().filter_map(|group| group["GroupName"].as_str()).collect();
    assert_eq!(names, lectern::api::Role::ALL.map(lectern::api::Role::group).into());
}
