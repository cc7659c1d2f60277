//! Compares the router with `docs/records.openapi.yaml`: the same paths, and answers of the described form.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::{FILES, RECORD, SUBMISSION, SUBMISSIONS},
    world::{Answer, EVALUATOR, World},
};

const TEACHER: &str = r#"{"cognito:groups":"[teachers]"}"#;

/// The API description, with the reference to the record's schema file replaced by the schema.
fn openapi() -> Value {
    let text = include_str!("../../../../../docs/records.openapi.yaml");
    let mut openapi: Value = serde_norway::from_str(text).unwrap();
    let mut record: Value =
        serde_json::from_str(include_str!("../../../../../docs/record.schema.json")).unwrap();
    // A schema below `components` is no resource of its own to the validator: its references start at the root.
    openapi["$defs"] = record["$defs"].take();
    record.as_object_mut().unwrap().retain(|key, _| !key.starts_with('$'));
    assert_eq!(openapi["components"]["schemas"]["Record"], json!({"$ref": "record.schema.json"}));
    openapi["components"]["schemas"]["Record"] = record;
    openapi
}

fn resolved<'o>(openapi: &'o Value, value: &'o Value) -> &'o Value {
    match value["$ref"].as_str() {
        Some(reference) => openapi.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

#[track_caller]
fn assert_valid(openapi: &Value, schema: &Value, instance: &Value) {
    let root = json!({"allOf": [schema], "components": openapi["components"], "$defs": openapi["$defs"]});
    let validator = jsonschema::options().should_validate_formats(true).build(&root).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{instance:#}");
}

/// The described contents of an answer: media type and media object.
fn contents<'o>(openapi: &'o Value, response: &'o Value) -> Vec<(&'o str, &'o Value)> {
    let content = resolved(openapi, response)["content"].as_object().unwrap();
    content.iter().map(|(media_type, media)| (media_type.as_str(), media)).collect()
}

#[test]
fn described_paths_are_the_routers_and_all_are_read_only() {
    let openapi = openapi();
    let paths = openapi["paths"].as_object().unwrap();
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    assert_eq!(described, BTreeSet::from([SUBMISSIONS, SUBMISSION, RECORD, FILES]));
    for item in paths.values() {
        let methods: Vec<&String> =
            item.as_object().unwrap().keys().filter(|key| *key != "parameters").collect();
        assert_eq!(methods, ["get"]);
    }
}

#[test]
fn examples_match_their_schemas() {
    let openapi = openapi();
    let mut seen = 0;
    for item in openapi["paths"].as_object().unwrap().values() {
        for response in item["get"]["responses"].as_object().unwrap().values() {
            for (_, media) in contents(&openapi, response) {
                assert_valid(&openapi, &media["schema"], &media["example"]);
                seen += 1;
            }
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[tokio::test]
async fn real_answers_match_the_description() {
    let openapi = openapi();
    let world = World::new().await;
    let unknown = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";
    world.register("s2", "later.docx", 60, false).await;
    for path in openapi["paths"].as_object().unwrap().keys() {
        let fill = |submission: &str, document: &str| {
            path.replace("{submissionId}", submission).replace("{documentId}", document)
        };
        let ready = world.ready.document_id.to_string();
        let mut answers = vec![
            world.get(&fill("s1", &ready), Some(EVALUATOR)).await,
            world.get(&fill("s1", &ready), Some(TEACHER)).await,
            world.get(&fill("s1", &ready), None).await,
            world.get(&fill("unknown", unknown), Some(EVALUATOR)).await,
            world.get(&fill("s1", &world.rejected.document_id.to_string()), Some(EVALUATOR)).await,
        ];
        if path == SUBMISSIONS {
            answers.push(world.get("/submissions?limit=1", Some(EVALUATOR)).await);
            answers.push(world.get("/submissions?limit=0", Some(EVALUATOR)).await);
        }
        for answer in answers {
            assert_described(&openapi, path, &answer);
        }
    }
}

#[track_caller]
fn assert_described(openapi: &Value, path: &str, answer: &Answer) {
    let response = &openapi["paths"][path]["get"]["responses"][answer.status.as_str()];
    let media_type = answer.header("content-type").unwrap();
    let described = contents(openapi, response);
    let media = described.iter().find(|(described, _)| *described == media_type);
    let (_, media) = media.unwrap_or_else(|| panic!("{path}: {media_type} is not described"));
    assert_valid(openapi, &media["schema"], &answer.body);
}

#[test]
fn described_limits_and_states_are_the_real_ones() {
    let openapi = openapi();
    let parameters = openapi["paths"][SUBMISSIONS]["get"]["parameters"].as_array().unwrap();
    let limit = &parameters.iter().find(|parameter| parameter["name"] == "limit").unwrap()["schema"];
    assert_eq!(limit["maximum"], json!(lectern::limits::MAX_PAGE));
    assert_eq!(limit["default"], json!(lectern::limits::DEFAULT_PAGE));
    let states = &openapi["components"]["schemas"]["SubmissionState"]["enum"];
    assert_eq!(*states, json!(lectern::document::submission::SubmissionState::ALL));
    let states = &openapi["components"]["schemas"]["DocumentState"]["enum"];
    assert_eq!(*states, json!(lectern::document::DocumentState::ALL));
}
