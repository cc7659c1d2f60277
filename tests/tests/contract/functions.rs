//! Each function's folder, resource, log group, module, state and sample events share one name.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    sources::{captures, folders, pascal_case, read, root},
    template::Template,
};

const FUNCTION: &str = "AWS::Serverless::Function";

#[test]
fn every_function_is_found_by_one_name() {
    let template = Template::load();
    let resources: BTreeSet<&str> = template.resources(FUNCTION).into_keys().collect();
    let names: Vec<String> =
        folders("functions").iter().map(|name| format!("{}Function", pascal_case(name))).collect();
    assert_eq!(
        resources,
        names.iter().map(String::as_str).collect(),
        "left: template.yaml; right: functions/"
    );
    let library = read("crates/lectern/src/steps.rs");
    for name in folders("functions") {
        let resource = template.resource(FUNCTION, &format!("{}Function", pascal_case(&name)));
        assert_eq!(resource["CodeUri"], format!("functions/{name}"));
        let module = name.replace('-', "_");
        let is_step = name != "serve-api";
        assert!(
            !is_step || library.contains(&format!("pub mod {module};")),
            "add the module lectern::steps::{module}"
        );
        let main = read(&format!("functions/{name}/src/main.rs"));
        assert!(
            main.contains(&format!("functions::{module}()")) || main.contains("mod routes;"),
            "{name}: main.rs calls lectern_aws::functions::{module}"
        );
        assert!(root().join("events").join(&name).is_dir(), "add events/{name}/<case>.json");
        let cargo = read(&format!("functions/{name}/Cargo.toml"));
        assert!(
            cargo.contains(&format!("name = \"{name}\"")),
            "functions/{name}/Cargo.toml names another package"
        );
    }
}

#[test]
fn every_function_is_built_from_its_own_package_with_the_custom_runtime() {
    let template = Template::load();
    let globals = &template.0["Globals"]["Function"];
    assert_eq!((&globals["Runtime"], &globals["Handler"]), (&json!("provided.al2023"), &json!("bootstrap")));
    for (resource, function) in template.resources(FUNCTION) {
        let metadata = &template.0["Resources"][resource]["Metadata"];
        assert_eq!(metadata["BuildMethod"], "rust-cargolambda", "{resource}");
        let binary = &metadata["BuildProperties"]["Binary"];
        let folder = function["CodeUri"].as_str().unwrap().trim_start_matches("functions/");
        assert!(binary.is_null() || binary == folder, "{resource} builds {binary}");
    }
}

#[test]
fn every_function_has_its_own_log_group_with_retention() {
    let template = Template::load();
    let mut groups = BTreeSet::new();
    for (name, function) in template.resources(FUNCTION) {
        let group = format!("{}LogGroup", name.trim_end_matches("Function"));
        assert_eq!(function["LoggingConfig"]["LogGroup"], json!({"Ref": group}), "{name}: give it {group}");
        groups.insert(group);
    }
    for (name, group) in template.resources("AWS::Logs::LogGroup") {
        assert!(template.number(&group["RetentionInDays"]) > 0, "{name}: give it RetentionInDays");
        groups.remove(name);
    }
    assert!(groups.is_empty(), "add the log groups {groups:?}");
}

#[test]
fn everything_is_traced() {
    let template = Template::load();
    assert_eq!(template.0["Globals"]["Function"]["Tracing"], "Active");
    for (name, function) in template.resources(FUNCTION) {
        assert!(function.get("Tracing").is_none(), "{name}: leave tracing to Globals");
    }
    let machine = template.resource("AWS::Serverless::StateMachine", "DocumentStateMachine");
    assert_eq!(machine["Tracing"]["Enabled"], true);
    assert_eq!(
        machine["Type"], "STANDARD",
        "Express workflows have no task tokens and last five minutes at most"
    );
    assert_eq!(machine["Logging"]["IncludeExecutionData"], false, "execution data must not reach the logs");
    assert_eq!(machine.get("Definition"), None::<&Value>, "the definition belongs in statemachines/");
}

#[test]
fn requests_to_the_third_party_end_before_their_function_does() {
    let template = Template::load();
    let mut checked = 0;
    for (name, function) in template.resources(FUNCTION) {
        let Some(request) = function["Environment"]["Variables"].get("REQUEST_TIMEOUT_SECONDS") else {
            continue;
        };
        let (request_s, function_s) = (template.number(request), template.timeout_s(function));
        assert!(
            request_s < function_s,
            "{name}: a request may take {request_s} s, the function {function_s} s"
        );
        checked += 1;
    }
    assert!(checked > 0, "no function has REQUEST_TIMEOUT_SECONDS any more; correct this test");
}

/// The last round of a run begins before `LONGEST_RUN` is over and waits for the slowest answer. The API waits for the
/// answer to a challenge, and API Gateway waits 30 seconds for the API.
#[test]
fn requests_to_subscribers_end_before_their_function_does() {
    let template = Template::load();
    let settings = read("crates/lectern/src/api/subscribers/add.rs");
    let longest = captures(r"const TIMEOUT_SECONDS: .*\(\d+\.\.=(\d+),", &settings);
    let longest_s: u64 = longest.first().expect("the limit of a subscriber's timeout").parse().unwrap();
    let timeout_s = |name: &str| template.timeout_s(template.resource(FUNCTION, name));
    // The writes before and after the requests take less than ten seconds, also if the SDK repeats them.
    let run_s = lectern::steps::deliver_events::LONGEST_RUN.as_secs() + longest_s + 10;
    assert!(timeout_s("DeliverEventsFunction") >= run_s, "a run may take {run_s} s");
    let api_s = timeout_s("ServeApiFunction");
    assert!(
        (longest_s + 5..30).contains(&api_s),
        "the API gives an endpoint {longest_s} s, and ends after {api_s} s"
    );
}

/// Otherwise the state machine would time out while the function still runs, and invoke it a second time.
#[test]
fn states_outlast_the_functions_that_they_invoke() {
    let template = Template::load();
    let machine = super::asl::Machine::load();
    for (state, task) in machine.of_type("Task") {
        let Some(arn) = task["Arguments"]["FunctionName"].as_str() else { continue };
        let function = template.resource(FUNCTION, arn.trim_end_matches(".Alias"));
        assert_eq!(arn.trim_end_matches("Function.Alias"), state, "name the state after its function");
        let (function_s, state_s) = (template.timeout_s(function), task["TimeoutSeconds"].as_u64().unwrap());
        assert!(
            state_s > function_s,
            "{state} waits {state_s} s for a function that may take {function_s} s"
        );
    }
}

/// Step Functions invokes verify-returned-file for up to four files of each job in flight. A new account of AWS allows so
/// few concurrent executions that it cannot reserve any, so the default reserves none.
#[test]
fn a03_functions_that_others_wait_for_keep_room_to_run() {
    let template = Template::load();
    let reserved = |name: &str| {
        let function = template.resource("AWS::Serverless::Function", &format!("{name}Function"));
        let choice = &function["ReservedConcurrentExecutions"]["Fn::If"];
        assert_eq!(
            (&choice[0], &choice[2]),
            (&json!("ReservesConcurrency"), &json!({ "Ref": "AWS::NoValue" }))
        );
        choice[1].as_u64().unwrap()
    };
    let (decides, answers, verifies) =
        (reserved("AdmitDocument"), reserved("ReceiveCallback"), reserved("VerifyReturnedFile"));
    // SQS hands the only message group of the FIFO queue to one execution at a time.
    assert!(decides >= 2 && answers >= 50);
    // AWS keeps 100 executions of a quota unreserved.
    assert!(decides + answers + verifies + 100 <= 500, "the parameter's description promises this quota");
}

#[test]
fn a04_transfers_have_pollers_of_their_own_by_parameter() {
    let template = Template::load();
    let source = template.resource("AWS::Lambda::EventSourceMapping", "TransferDocumentEventSource");
    let none = json!({ "Ref": "AWS::NoValue" });
    // AWS allows only one of the two.
    let provisioned = &source["ProvisionedPollerConfig"]["Fn::If"];
    let standard = &source["ScalingConfig"]["Fn::If"];
    assert_eq!((&provisioned[0], &standard[0]), (&json!("HasTransferPollers"), &json!("HasTransferPollers")));
    assert_eq!((&provisioned[2], &standard[1]), (&none, &none));
    assert_eq!(provisioned[1]["MinimumPollers"], json!({ "Ref": "TransferPollers" }));
    assert_eq!(template.0["Parameters"]["TransferPollers"]["Default"], 0);
}
