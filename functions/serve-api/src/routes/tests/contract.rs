//! Compares the router with the description of the API: the same routes, and answers of the described form.

use std::{collections::BTreeSet, path::Path, sync::LazyLock};

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Answer, World, request};
use crate::openapi;

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| openapi::description().unwrap());

/// The described methods of a path, in upper case.
fn methods(path: &str) -> BTreeSet<String> {
    let item = DESCRIPTION["paths"][path].as_object().unwrap();
    item.keys().filter(|key| *key != "parameters").map(|method| method.to_uppercase()).collect()
}

fn paths() -> impl Iterator<Item = &'static String> {
    DESCRIPTION["paths"].as_object().unwrap().keys()
}

/// Whether a real path is one of a described path. No id is as the text of a path.
fn is_of(described: &str, path: &str) -> bool {
    let (described, path) = (described.split('/'), path.split('/'));
    described.clone().count() == path.clone().count()
        && described.zip(path).all(|(described, part)| described == part || described.starts_with('{'))
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => DESCRIPTION.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// Fails unless the description has this answer. Requests that no route is described for are left out.
#[track_caller]
pub(super) fn assert_described(method: &Method, path: &str, answer: &Answer) {
    let Some(described) = paths().find(|described| is_of(described, path)) else { return };
    let operation = &DESCRIPTION["paths"][described][method.as_str().to_lowercase()];
    if operation.is_null() {
        return;
    }
    let response = resolved(&operation["responses"][answer.status.as_str()]);
    let status = answer.status;
    assert!(!response.is_null(), "{method} {path}: {status} is not described: {}", answer.body);
    let Some(content) = response["content"].as_object() else {
        assert_eq!(answer.body, Value::Null, "{method} {path}: {status} has a body that is not described");
        return;
    };
    let media_type = answer.header("content-type").unwrap_or_default();
    let media = content.get(media_type);
    let media = media.unwrap_or_else(|| panic!("{method} {path}: {status}: {media_type} is not described"));
    let root = json!({"allOf": [media["schema"]], "components": DESCRIPTION["components"]});
    let validator = jsonschema::options().should_validate_formats(true).build(&root).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&answer.body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:#?}\n{:#}", answer.body);
}

#[test]
fn description_in_docs_is_that_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&file, format!("{:#}\n", *DESCRIPTION)).unwrap();
    }
    let stored: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(
        stored == *DESCRIPTION,
        "docs/api.openapi.json is not what the code describes; run `UPDATE_OPENAPI=1 cargo test -p serve-api` and commit it"
    );
}

#[test]
fn description_is_openapi_3_1_and_all_its_references_lead_somewhere() {
    assert!(DESCRIPTION["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut open = vec![&*DESCRIPTION];
    let mut references = 0;
    while let Some(value) = open.pop() {
        if let Some(reference) = value["$ref"].as_str() {
            references += 1;
            assert!(DESCRIPTION.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
        }
        match value {
            Value::Object(fields) => open.extend(fields.values()),
            Value::Array(items) => open.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    assert!(references > 0);
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_what_it_does() {
    let mut names = BTreeSet::new();
    for path in paths() {
        for method in methods(path) {
            let operation = &DESCRIPTION["paths"][path][method.to_lowercase()];
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{method} {path}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(
                    parameter["description"].as_str().unwrap().ends_with('.'),
                    "{method} {path}: {parameter}"
                );
            }
        }
    }
}

#[test]
fn every_route_in_the_code_is_described() {
    let code = concat!(include_str!("../../routes.rs"), include_str!("../subscribers.rs"));
    let calls = code.split(".route(").skip(1);
    let routed: BTreeSet<&str> = calls.filter_map(|rest| rest.split('"').nth(1)).collect();
    assert_eq!(routed, paths().map(String::as_str).collect());
}

#[tokio::test]
async fn described_methods_are_the_routers() {
    let world = World::new().await;
    for described in paths() {
        let path = described.replace(['{', '}'], "");
        let described = methods(described);
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = world.send(request(method.clone(), &path, None, None)).await;
            let expected = if described.contains(method.as_str()) {
                StatusCode::UNAUTHORIZED
            } else {
                StatusCode::METHOD_NOT_ALLOWED
            };
            assert_eq!(answer.status, expected, "{method} {path}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
        }
    }
}
