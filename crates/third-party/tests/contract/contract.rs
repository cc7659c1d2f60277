//! The written contract, `docs/third-party.openapi.yaml`, agrees with the server, the wire types and the limits.

mod schemas;

use std::{collections::BTreeSet, path::PathBuf};

use jsonschema::Validator;
use lectern::{
    contract::webhook::{SigningSecret, sign},
    contract::wire::{self, *},
    limits,
};
use lectern_content::MediaType;
use serde_json::{Value, json};
use third_party::{Limits, Route};

use crate::support::{Harness, NOTES, hex_sha256};

fn contract() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/third-party.openapi.yaml");
    serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A validator of `schema`, whose references point into the contract.
fn validator(contract: &Value, schema: &Value) -> Validator {
    let root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [schema],
        "components": contract["components"],
    });
    jsonschema::draft202012::options().should_validate_formats(true).build(&root).unwrap()
}

fn component(contract: &Value, name: &str) -> Validator {
    assert!(contract["components"]["schemas"][name].is_object(), "{name}");
    validator(contract, &json!({ "$ref": format!("#/components/schemas/{name}") }))
}

#[track_caller]
fn accepts(validator: &Validator, value: &Value) {
    if let Err(error) = validator.validate(value) {
        panic!("{error}\nin {value:#}");
    }
}

fn operations(contract: &Value) -> BTreeSet<(String, String)> {
    let methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    let paths = contract["paths"].as_object().unwrap();
    let pairs = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    pairs.filter(|(method, _)| methods.contains(&method.to_lowercase().as_str())).collect()
}

#[test]
fn the_contract_is_openapi_3_1_with_a_webhook() {
    let contract = contract();
    assert_eq!(contract["openapi"], "3.1.0");
    assert!(contract["webhooks"]["jobEnded"]["post"]["requestBody"].is_object());
}

#[test]
fn the_server_and_the_contract_have_the_same_routes() {
    let routes: BTreeSet<_> =
        Route::ALL.iter().map(|route| (route.method().to_string(), route.path().to_owned())).collect();
    assert_eq!(routes, operations(&contract()));
    assert_eq!(Route::Job.path(), format!("{JOBS_PATH}/{{jobId}}"));
}

#[tokio::test]
async fn the_server_answers_every_operation_with_a_status_of_the_contract() {
    let harness = Harness::start().await;
    let contract = contract();
    for (method, path) in operations(&contract) {
        let url = format!("{}{}", harness.server.url(), path.replace(['{', '}'], ""));
        let response = harness.client.request(method.parse().unwrap(), url).send().await.unwrap();
        let status = response.status().as_u16().to_string();
        let responses = &contract["paths"][&path][method.to_lowercase()]["responses"];
        assert!(responses.get(&status).is_some(), "{method} {path}: {status}");
        let body: Value = response.json().await.unwrap();
        accepts(&component(&contract, "Problem"), &body);
        assert_ne!(body["message"], "There is no such path.", "{method} {path}");
    }
}

#[test]
fn every_example_fits_its_schema() {
    let contract = contract();
    let mut checked = 0;
    check_examples(&contract, &contract, &mut checked);
    assert!(checked > 30, "only {checked} examples were found");
}

#[test]
fn files_of_the_examples_have_the_size_and_hash_of_the_contents_that_are_shown() {
    let contract = contract();
    let examples = &contract["components"]["examples"];
    let media: MediaFile = serde_json::from_value(examples["Media"]["value"].clone()).unwrap();
    let captions = examples["Captions"]["value"].as_str().unwrap();
    let contents = [
        ("text.txt", "hello".to_owned()),
        ("findings.json", r#"{"findings":[]}"#.to_owned()),
        ("media.json", serde_json::to_string(&media).unwrap()),
        ("captions.vtt", captions.to_owned()),
    ];
    for example in ["JobSucceeded", "VideoSucceeded"] {
        for file in examples[example]["value"]["data"]["files"].as_array().unwrap() {
            let (_, content) = contents.iter().find(|(name, _)| file["name"] == *name).unwrap();
            assert_eq!(file["sizeBytes"], content.len(), "{file}");
            assert_eq!(file["sha256"], hex_sha256(content.as_bytes()), "{file}");
        }
    }
}

/// Checks every `example` and `examples` beside a `schema` against that schema.
fn check_examples(contract: &Value, value: &Value, checked: &mut usize) {
    match value {
        Value::Object(fields) => {
            if let Some(schema) = fields.get("schema") {
                let validator = validator(contract, schema);
                let one = fields.get("example").cloned();
                let many = fields.get("examples").and_then(Value::as_object).into_iter().flatten();
                let many = many.map(|(_, example)| resolve(contract, example)["value"].clone());
                for example in one.into_iter().chain(many) {
                    accepts(&validator, &example);
                    *checked += 1;
                }
            }
            fields.values().for_each(|value| check_examples(contract, value, checked));
        }
        Value::Array(items) => items.iter().for_each(|value| check_examples(contract, value, checked)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn resolve<'c>(contract: &'c Value, value: &'c Value) -> &'c Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => contract.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

#[test]
fn every_reference_of_the_contract_resolves() {
    let contract = contract();
    let mut open = vec![&contract];
    while let Some(value) = open.pop() {
        if let Value::Object(fields) = value {
            resolve(&contract, value);
            if let Some(mapping) = fields.get("mapping").and_then(Value::as_object) {
                for target in mapping.values() {
                    assert!(contract.pointer(target.as_str().unwrap().trim_start_matches('#')).is_some());
                }
            }
        }
        open.extend(value.as_object().into_iter().flat_map(|fields| fields.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
}

#[test]
fn the_limits_in_the_contract_are_the_limits_in_force() {
    let contract = contract();
    let schemas = &contract["components"]["schemas"];
    assert_eq!(schemas["JobSucceeded"]["properties"]["files"]["maxItems"], limits::MAX_RETURNED_FILES);
    assert_eq!(schemas["WebUrl"]["maxLength"], limits::MAX_URL_BYTES);
    assert_eq!(schemas["FileName"]["maxLength"], limits::MAX_FILE_NAME_BYTES);
    assert_eq!(
        schemas["ReturnedFile"]["properties"]["sizeBytes"]["maximum"],
        limits::MAX_RETURNED_FILE_BYTES
    );
    let media_types: Vec<&str> = MediaType::ALL.iter().map(|media_type| media_type.as_str()).collect();
    assert_eq!(schemas["MediaType"]["enum"], json!(media_types));
    let bodies = contract["paths"][wire::PUSH_PATH]["post"]["requestBody"]["content"].as_object().unwrap();
    assert_eq!(bodies.keys().map(String::as_str).collect::<BTreeSet<_>>(), media_types.into_iter().collect());
    let prose = contract["info"]["description"].as_str().unwrap();
    assert!(prose.contains("196,608 bytes") && limits::MAX_CALLBACK_BYTES == 196_608);
    assert!(prose.contains("2,048 bytes") && limits::MAX_URL_BYTES == 2_048);
    assert!(prose.contains("at most 15 minutes") && limits::MAX_RATE_LIMIT_WAIT.as_secs() == 15 * 60);
    assert!(prose.contains("more than 5 minutes") && limits::WEBHOOK_TOLERANCE.as_secs() == 5 * 60);
    assert!(prose.contains("32 MiB") && limits::MAX_PARSED_FILE_BYTES == 32 * 1024 * 1024);
    assert!(prose.contains("5 GiB") && limits::MAX_RETURNED_FILE_BYTES == 5 * 1024 * 1024 * 1024);
    assert_eq!(limits::PULL_URL_LIFETIME.as_secs(), 6 * 60 * 60);
}

#[test]
fn the_example_signature_of_the_contract_is_right() {
    let contract = contract();
    let prose = contract["info"]["description"].as_str().unwrap();
    let between = |start: &str, end: &str| {
        let (_, rest) = prose.split_once(start).unwrap();
        rest.split_once(end).unwrap().0.to_owned()
    };
    let secret = SigningSecret::parse(&between("b64decode(\"", "\"")).unwrap();
    let body = between("body = b'", "'\n");
    let signed = between("hmac.new(key, b\"", ".\"");
    let (id, timestamp) = signed.split_once('.').unwrap();
    let timestamp = time::OffsetDateTime::from_unix_timestamp(timestamp.parse().unwrap()).unwrap();
    assert_eq!(sign(&secret, id, timestamp, body.as_bytes()), between("\n# ", "\n"));
    accepts(&component(&contract, "Callback"), &serde_json::from_str(&body).unwrap());
}

#[tokio::test]
async fn messages_of_the_server_match_the_contract() {
    let harness = Harness::start().await;
    let contract = contract();
    let accepted: Value = harness.push("text/plain", NOTES).send().await.unwrap().json().await.unwrap();
    accepts(&component(&contract, "JobAccepted"), &accepted);
    let delivery = harness.receiver.wait_for(1).await.remove(0);
    accepts(&component(&contract, "Callback"), &serde_json::from_slice(&delivery.body).unwrap());
    let path = format!("/v1/jobs/{}", accepted["jobId"].as_str().unwrap());
    accepts(&component(&contract, "JobStatus"), &harness.get(&path).await.json().await.unwrap());
    let parameters = contract["webhooks"]["jobEnded"]["post"]["parameters"].as_array().unwrap();
    let signature = parameters.iter().find(|parameter| parameter["name"] == "webhook-signature").unwrap();
    let sent = delivery.headers["webhook-signature"].to_str().unwrap();
    accepts(&validator(&contract, &signature["schema"]), &json!(sent));
}

#[tokio::test]
async fn both_limits_answer_as_the_contract_says() {
    let harness = Harness::start_with(|config| config.delay = std::time::Duration::from_hours(1)).await;
    let contract = contract();
    let described =
        &contract["components"]["responses"]["RateLimited"]["content"]["application/problem+json"];
    let none = Limits::default();
    for (code, limits) in [
        ("tooManyJobs", Limits { max_in_flight: Some(1), ..none }),
        ("rateLimited", Limits { requests_per_second: Some(0.001), ..none }),
    ] {
        harness.server.set_limits(limits).unwrap();
        harness.push_notes().await;
        let refused = harness.push_notes_as("another-1").await;
        assert_eq!(refused.status(), 429);
        assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
        let body: Value = refused.json().await.unwrap();
        accepts(&component(&contract, "Problem"), &body);
        assert_eq!(described["examples"][code]["value"], body);
        assert!(contract["info"]["description"].as_str().unwrap().contains(&format!("`{code}`")));
    }
}

#[tokio::test]
async fn the_trace_is_the_same_header_in_a_submission_and_in_a_callback() {
    let harness = Harness::start().await;
    let contract = contract();
    let reference = "#/components/parameters/Traceparent";
    for parameters in [
        &contract["paths"][wire::PUSH_PATH]["post"]["parameters"],
        &contract["paths"][wire::PULL_PATH]["post"]["parameters"],
        &contract["webhooks"]["jobEnded"]["post"]["parameters"],
    ] {
        let named = parameters.as_array().unwrap().iter().any(|parameter| parameter["$ref"] == reference);
        assert!(named, "{parameters}");
    }
    let traceparent = &contract["components"]["parameters"]["Traceparent"];
    let name = traceparent["name"].as_str().unwrap();
    let example = traceparent["example"].as_str().unwrap();
    let validator = component(&contract, "Traceparent");
    // The server ignores a header that the schema refuses.
    for (index, (text, good)) in [
        (example.to_owned(), true),
        (example.to_uppercase(), false),
        (example.replacen("00", "01", 1), false),
        (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), false),
        (format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16)), false),
        (format!("{example}-00"), false),
        (example[1..].to_owned(), false),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(validator.is_valid(&json!(text)), good, "{text}");
        let key = format!("trace-{index}");
        harness.push_as(&key, "text/plain", NOTES).header(name, &text).send().await.unwrap();
        let deliveries = harness.receiver.wait_for(index + 1).await;
        let sent = deliveries[index].headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(sent, good.then_some(text.as_str()));
    }
}
