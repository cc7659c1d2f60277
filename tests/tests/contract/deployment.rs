//! Versions, aliases and gradual deployment (A07): everything invokes the alias `live`, and an alarm moves it back.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    queues::is_of_a_stream,
    sources::{captures, read},
    template::{Template, walk},
};

const FUNCTION: &str = "AWS::Serverless::Function";
const MACHINE: &str = "AWS::Serverless::StateMachine";

#[test]
fn a07_every_function_and_the_state_machine_publish_a_version_in_each_deployment() {
    let template = Template::load();
    assert_eq!(template.0["Globals"]["Function"]["AutoPublishAlias"], "live");
    for (name, function) in template.resources(FUNCTION) {
        assert!(function.get("AutoPublishAlias").is_none(), "{name}: leave the alias to Globals");
        assert_eq!(
            function["AutoPublishCodeSha256"],
            json!({"Ref": "Release"}),
            "{name}: without it, a changed parameter publishes no version and has no effect"
        );
    }
    assert_eq!(template.resource(MACHINE, "DocumentStateMachine")["AutoPublishAlias"], "live");
    let makefile = read("Makefile");
    assert!(makefile.contains("Release=$$(date +%s)"), "make deploy gives each deployment another Release");
    let release = &template.0["Parameters"]["Release"]["AllowedPattern"];
    assert_eq!(release, "[0-9A-Za-z]{10}", "SAM takes ten characters of it, as many as the seconds have");
}

/// A reference to a function is allowed for its name (alarms, dashboard) and in what is attached to the function itself.
#[test]
fn a07_nothing_invokes_a_function_or_starts_an_execution_but_by_the_alias() {
    let template = Template::load();
    let functions: BTreeSet<&str> = template.resources(FUNCTION).into_keys().collect();
    for (name, resource) in template.0["Resources"].as_object().unwrap() {
        let by_name = ["AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard"];
        if by_name.iter().any(|kind| resource["Type"] == *kind) {
            continue;
        }
        walk(resource, name, &mut |path, value| {
            let names = [value["Ref"].as_str(), value["Fn::GetAtt"].as_str()].into_iter().flatten();
            for named in names {
                let unqualified = named.trim_end_matches(".Arn");
                assert!(!functions.contains(unqualified), "{path}: refer to !Ref {unqualified}.Alias");
            }
        });
    }
    let starts = &template.resource(FUNCTION, "ReceiveUploadFunction")["Environment"]["Variables"];
    assert_eq!(starts["STATE_MACHINE_ARN"], json!({"Ref": "DocumentStateMachineAliaslive"}));
    let stack = read("crates/lectern-cli/src/stack.rs");
    assert!(stack.contains("\"DocumentStateMachineAliaslive\""), "lectern redrive starts executions, too");
}

/// The alarms of a function's deployment must not refer to the state machine, which refers to the functions' aliases.
#[test]
fn a07_alarms_roll_back_a_gradual_deployment() {
    let template = Template::load();
    let mappings = template.resources("AWS::Lambda::EventSourceMapping");
    for (name, function) in template.resources(FUNCTION) {
        let stem = name.trim_end_matches("Function");
        let mut expected = vec![format!("{stem}ErrorsAlarm"), format!("{stem}ThrottlesAlarm")];
        let alias = json!({ "Ref": format!("{name}.Alias") });
        for (mapping, properties) in mappings.iter().filter(|(_, mapping)| mapping["FunctionName"] == alias) {
            expected.push(if is_of_a_stream(properties) {
                // A change that the function cannot read is skipped, and becomes no dead letter.
                "UnreadableChangesAlarm".to_owned()
            } else {
                format!("{}DeadLetterAlarm", mapping.trim_end_matches("EventSource"))
            });
        }
        if ["ReceiveCallback", "ServeApi"].contains(&stem) {
            expected.push("ApiErrorsAlarm".to_owned());
        }
        let expected: Vec<Value> = expected.into_iter().map(|alarm| json!({ "Ref": alarm })).collect();
        let preference = json!({
            "Enabled": { "Ref": "GradualDeployment" },
            "Type": "Canary10Percent30Minutes",
            "Alarms": expected,
        });
        assert_eq!(function["DeploymentPreference"], preference, "{name}");
        let errors = template.resource("AWS::CloudWatch::Alarm", &format!("{stem}ErrorsAlarm"));
        let needs_s = template.number(&errors["Period"]) * template.number(&errors["EvaluationPeriods"]);
        assert!(needs_s * 2 <= 30 * 60, "{name}: its canary ends before its alarm can fire");
    }
    let machine = template.resource(MACHINE, "DocumentStateMachine");
    let preference = &machine["DeploymentPreference"];
    assert_eq!(preference["Type"], json!({"Fn::If": ["IsGradual", "CANARY", "ALL_AT_ONCE"]}));
    // SAM adds a field to this object, so it must not be an Fn::If itself.
    assert!(preference.get("Fn::If").is_none());
    let ended =
        ["Failed", "TimedOut", "Aborted"].map(|end| json!({ "Ref": format!("Executions{end}Alarm") }));
    assert_eq!(preference["Alarms"]["Fn::If"][1], json!(ended));
}

/// The definition sends messages that these functions read, so they are deployed first.
#[test]
fn a07_readers_are_deployed_before_the_state_machine() {
    let template = Template::load();
    let machine = &template.0["Resources"]["DocumentStateMachine"];
    let queues = template.resources("AWS::SQS::Queue");
    let sent = queues.keys().filter_map(|queue| queue.strip_suffix("Queue")).filter(|stem| {
        let url = format!("{stem}QueueUrl");
        machine["Properties"]["DefinitionSubstitutions"].get(&url).is_some()
    });
    let mut aliases: Vec<String> = sent.map(|stem| format!("{stem}FunctionAliaslive")).collect();
    let mut depends: Vec<String> =
        machine["DependsOn"].as_array().unwrap().iter().map(|on| on.as_str().unwrap().to_owned()).collect();
    aliases.sort();
    depends.sort();
    assert_eq!(depends, aliases);
}

#[test]
fn a07_prod_is_deployed_gradually_unless_somebody_says_otherwise() {
    let makefile = read("Makefile");
    let gradual =
        captures(r"GradualDeployment=\$\(if \$\(filter (\w+),\$\(STAGE\)\),true,false\)", &makefile);
    assert_eq!(gradual.into_iter().collect::<Vec<_>>(), ["prod"]);
    let deploy = makefile.split("deploy: build").nth(1).unwrap();
    let (ours, theirs) = (deploy.find("GradualDeployment=").unwrap(), deploy.find("$(PARAMETERS)").unwrap());
    assert!(ours < theirs, "the last value of a parameter counts, so PARAMETERS may say otherwise");
}
