//! Settings: the template sets exactly the environment variables that each function reads.

use std::collections::{BTreeMap, BTreeSet};

use lectern::document::SubmissionId;
use serde_json::json;

use super::{
    sources::{captures, folders, is_test_file, pascal_case, read, regex, rust_files},
    template::Template,
};

/// Variables that Lambda and the SDK set.
const AMBIENT: [&str; 4] =
    ["AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"];

/// The variables that each accessor of `Config` reads.
fn accessors() -> BTreeMap<String, BTreeSet<String>> {
    let config = read("crates/lectern-aws/src/config.rs");
    let body = config.split("impl Config {").nth(1).unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let functions = body.split("    pub fn ").skip(1).map(|function| {
        let name = function.split('(').next().unwrap().to_owned();
        (name, captures(r#"(?:text|parsed|variable|days|optional)\("([A-Z0-9_]+)"[,)]"#, function))
    });
    functions.filter(|(_, variables)| !variables.is_empty()).collect()
}

/// The bodies of the `pub async fn` or `pub fn` of a file, by name.
fn bodies(path: &str) -> BTreeMap<String, String> {
    let text = read(path).replace("pub async fn ", "pub fn ");
    let functions = text.split("pub fn ").skip(1);
    functions.map(|text| (text.split(['(', '<']).next().unwrap().to_owned(), text.to_owned())).collect()
}

/// The variables that the code of a function reads through `Environment` and `Config`.
fn asked_for(function: &str, accessors: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let environment = bodies("crates/lectern-aws/src/environment.rs");
    let mut glue = bodies("crates/lectern-aws/src/lambda.rs");
    glue.extend(bodies("crates/lectern-aws/src/lambda/batches.rs"));
    glue.extend(bodies("crates/lectern-aws/src/stream.rs"));
    let mut functions = bodies("crates/lectern-aws/src/functions.rs");
    let main: String = rust_files(&[&format!("functions/{function}/src")])
        .into_iter()
        .filter(|file| !is_test_file(&file.path))
        .map(|file| file.text)
        .collect();
    let mut code = functions.remove(&function.replace('-', "_")).unwrap_or(main);
    for name in captures(r"(?:lambda|stream)::(run_\w+)\(", &code) {
        let runs = glue[&name].clone();
        code += &runs;
        // `run_messages` calls `run_sqs`.
        for inner in captures(r"\b(run_sqs)\(env", &runs) {
            code += &glue[&inner];
        }
    }
    let mut settings = captures(r"env\.config\.(\w+)\(\)", &code);
    // `load` reads the settings of the log.
    settings.extend(["log_filter", "debug_submission", "metrics_namespace"].map(str::to_owned));
    let mut ports: Vec<String> = captures(r"env\.(\w+)\(\)", &code).into_iter().collect();
    while let Some(port) = ports.pop() {
        let body = environment.get(&port).unwrap_or_else(|| panic!("Environment has no port {port}"));
        settings.extend(captures(r"self\.config\.(\w+)\(\)", body));
        ports.extend(captures(r"self\.(\w+)\(\)", body));
    }
    let mut variables = BTreeSet::new();
    for setting in settings {
        let read = accessors.get(&setting);
        variables.extend(read.unwrap_or_else(|| panic!("Config has no accessor {setting}")).clone());
    }
    variables.retain(|variable| !AMBIENT.contains(&variable.as_str()));
    variables
}

#[test]
fn every_function_is_given_exactly_the_settings_it_asks_for() {
    let template = Template::load();
    let globals = template.0["Globals"]["Function"]["Environment"]["Variables"].as_object().unwrap();
    let accessors = accessors();
    for function in folders("functions") {
        let resource =
            template.resource("AWS::Serverless::Function", &format!("{}Function", pascal_case(&function)));
        let own = resource["Environment"]["Variables"].as_object().into_iter().flatten();
        let given: BTreeSet<String> = own.map(|(name, _)| name).chain(globals.keys()).cloned().collect();
        assert_eq!(
            given,
            asked_for(&function, &accessors),
            "{function}: left: set in template.yaml; right: read by its code"
        );
    }
}

#[test]
fn every_setting_is_used_by_some_function() {
    let accessors = accessors();
    let asked: BTreeSet<String> =
        folders("functions").iter().flat_map(|function| asked_for(function, &accessors)).collect();
    let known: BTreeSet<String> = accessors.into_values().flatten().collect();
    let known: BTreeSet<String> =
        known.into_iter().filter(|name| !AMBIENT.contains(&name.as_str())).collect();
    assert_eq!(asked, known, "left: read by some function; right: known to config.rs");
    let literals = captures(r#""([A-Z][A-Z0-9_]+)""#, &read("crates/lectern-aws/src/config.rs"));
    let literals: BTreeSet<String> =
        literals.into_iter().filter(|name| !AMBIENT.contains(&name.as_str())).collect();
    assert_eq!(
        literals, known,
        "left: named in config.rs; right: found by this test; widen the test's pattern"
    );
}

#[test]
fn settings_never_fall_back_on_a_default() {
    let config = read("crates/lectern-aws/src/config.rs");
    // Only a local cloud sets the endpoint.
    let code = super::sources::product_code(&config).replace(r#"text("AWS_ENDPOINT_URL").ok()"#, "");
    for fallback in ["unwrap_or", "or_else", "or_default", ".ok()"] {
        assert!(!code.contains(fallback), "config.rs uses {fallback}; a missing setting is an error");
    }
}

#[test]
fn settings_refer_to_the_resources_they_are_named_after() {
    let template = Template::load();
    let expected = BTreeMap::from([
        ("TABLE_NAME", json!({"Ref": "Table"})),
        ("RETURNED_BUCKET", json!({"Ref": "ReturnedBucket"})),
        ("STATE_MACHINE_ARN", json!({"Ref": "DocumentStateMachineAliaslive"})),
        ("API_KEY_SECRET_ARN", json!({"Fn::GetAtt": "ThirdPartyApiKey.Id"})),
        ("EVENTS_QUEUE_URL", json!({"Ref": "DeliverEventsQueue"})),
        ("EVENT_TIMERS_QUEUE_URL", json!({"Ref": "EventTimersQueue"})),
        ("EVENT_SOURCE", json!({"Fn::Sub": "urn:lectern:${AWS::StackName}"})),
        ("API_URL", json!({"Fn::GetAtt": "HttpApi.ApiEndpoint"})),
        ("ALARM_TOPIC_ARN", json!({"Ref": "AlarmTopic"})),
        ("SIGNING_SECRET_ARN", json!({"Fn::GetAtt": "WebhookSigningSecret.Id"})),
        (
            "CALLBACK_BASE_URL",
            json!({"Fn::If": ["HasCallbackBaseUrl", {"Ref": "CallbackBaseUrl"}, {"Fn::GetAtt": "HttpApi.ApiEndpoint"}]}),
        ),
    ]);
    for (name, function) in template.resources("AWS::Serverless::Function") {
        for (variable, value) in function["Environment"]["Variables"].as_object().into_iter().flatten() {
            if let Some(expected) = expected.get(variable.as_str()) {
                assert_eq!(value, expected, "{name}: {variable}");
            }
        }
    }
}

#[test]
fn submission_to_debug_may_be_any_and_none_of_them_is_called_none() {
    let template = Template::load();
    let parameter = &template.0["Parameters"]["DebugSubmission"];
    let allowed = regex(&format!("^(?:{})$", parameter["AllowedPattern"].as_str().unwrap()));
    let is_id = |text: &str| text.parse::<SubmissionId>().is_ok();
    let longest = "a".repeat(64);
    for id in ["spring-term-7", "7", "A_-", &longest] {
        assert!(is_id(id) && allowed.is_match(id), "{id}");
    }
    for no_id in ["-a", "_a", "a b", "a/b", &format!("{longest}a")] {
        assert!(!is_id(no_id) && !allowed.is_match(no_id), "{no_id}");
    }
    let none = parameter["Default"].as_str().unwrap();
    assert!(!none.is_empty() && !is_id(none) && allowed.is_match(none), "{none:?}");
}

/// Two stacks in one account must not share metrics.
#[test]
fn metrics_are_named_by_their_stack() {
    let template = Template::load();
    let globals = &template.0["Globals"]["Function"]["Environment"]["Variables"];
    assert_eq!(globals["METRICS_NAMESPACE"], json!({"Ref": "AWS::StackName"}));
}

#[test]
fn every_parameter_and_mapping_is_used() {
    let text = read("template.yaml");
    let template = Template::load();
    for name in template.0["Parameters"].as_object().unwrap().keys() {
        let uses = regex(&format!(r"(?:!Ref |\$\{{){name}\b|\[{name},")).find_iter(&text).count();
        let conditional = text.contains(&format!("!Equals [!Ref {name}"));
        assert!(uses > 0 || conditional, "remove the unused parameter {name}");
    }
    for (map, tops) in template.0["Mappings"].as_object().unwrap() {
        for (top, values) in tops.as_object().unwrap() {
            for second in values.as_object().unwrap().keys() {
                let used = [format!("[{map}, {top}, {second}]"), format!("[{map}, !Ref Queue, {second}]")];
                let used = used.iter().any(|path| text.contains(&format!("!FindInMap {path}")));
                assert!(used, "remove the unused mapping {map}.{top}.{second}");
            }
        }
    }
}

#[test]
fn a13_s09_urls_of_other_machines_have_to_be_https() {
    let template = Template::load();
    for parameter in ["ThirdPartyUrl", "CallbackBaseUrl"] {
        let pattern = template.0["Parameters"][parameter]["AllowedPattern"].as_str().unwrap();
        let pattern = regex(&format!("^(?:{pattern})$"));
        for accepted in
            ["https://api.example.com", "http://127.0.0.1:8080/v1", "http://localhost", "http://[::1]:80"]
        {
            assert!(pattern.is_match(accepted), "{parameter}: {accepted}");
        }
        for refused in [
            "http://api.example.com",
            "http://127.0.0.1.example.com",
            "http://localhosts",
            "http://localhost:1@example.com",
            "ftp://example.com",
        ] {
            assert!(!pattern.is_match(refused), "{parameter}: {refused}");
        }
    }
}

/// `CloudFormation` checks the rules before it creates or changes anything; `MiniStack` 1.5.33 checks them as well.
#[test]
fn a13_s09_loopback_network_cannot_be_deployed_to_a_stage_on_aws() {
    let template = Template::load();
    let rules = template.0["Rules"].as_object().expect("template.yaml has rules");
    let equals = |parameter: &str, value: &str| json!({ "Fn::Equals": [{ "Ref": parameter }, value] });
    let rule = rules.values().find(|rule| rule["RuleCondition"] == equals("ThirdPartyNetwork", "loopback"));
    let assertion = &rule.expect("a rule for loopback")["Assertions"][0];
    assert_eq!(assertion["Assert"], equals("Stage", "local"));
    assert!(
        assertion["AssertDescription"].as_str().is_some_and(|text| text.contains("ThirdPartyNetwork=public"))
    );
    let stage = template.0["Parameters"]["Stage"]["Default"].as_str();
    assert_ne!(stage, Some("local"), "the stage local is named on purpose");
}

#[test]
fn a09_alarms_of_prod_need_an_address() {
    let template = Template::load();
    let rule = &template.0["Rules"]["AlarmsOfProdReachSomebody"];
    assert_eq!(rule["RuleCondition"], json!({ "Fn::Equals": [{ "Ref": "Stage" }, "prod"] }));
    let is_empty = json!({ "Fn::Equals": [{ "Ref": "AlarmEmail" }, ""] });
    assert_eq!(rule["Assertions"][0]["Assert"], json!({ "Fn::Not": [is_empty] }));
}
