//! `template.yaml` as JSON: loops are expanded, short-form tags become intrinsic functions, and
//! parameters have their default values.

use std::{collections::BTreeMap, mem};

use serde_json::{Map, Value, json};
use serde_norway::Value as Yaml;

use super::sources::read;

/// The template.
#[derive(Debug)]
pub(crate) struct Template(pub(crate) Value);

impl Template {
    /// Reads `template.yaml`.
    #[track_caller]
    pub(crate) fn load() -> Self {
        let yaml: Yaml = serde_norway::from_str(&read("template.yaml")).unwrap();
        let mut template = json_of(&yaml);
        expand_loops(template["Resources"].as_object_mut().unwrap());
        Self(template)
    }

    /// The properties of all resources of a type, by resource name.
    pub(crate) fn resources(&self, kind: &str) -> BTreeMap<&str, &Value> {
        let all = self.0["Resources"].as_object().unwrap();
        let of_kind = all.iter().filter(|(_, resource)| resource["Type"] == kind);
        let found: BTreeMap<&str, &Value> =
            of_kind.map(|(name, resource)| (name.as_str(), &resource["Properties"])).collect();
        assert!(!found.is_empty(), "template.yaml has no resource of the type {kind}");
        found
    }

    /// The properties of one resource.
    #[track_caller]
    pub(crate) fn resource(&self, kind: &str, name: &str) -> &Value {
        let resources = self.resources(kind);
        resources.get(name).unwrap_or_else(|| panic!("template.yaml: add {name} ({kind})"))
    }

    /// A value with parameters and mappings replaced by their defaults, and references to resources by their names.
    pub(crate) fn resolved(&self, value: &Value) -> Value {
        if let Some(name) = value["Ref"].as_str() {
            let parameter = &self.0["Parameters"][name];
            return if parameter.is_object() { parameter["Default"].clone() } else { json!(name) };
        }
        if let Some(attribute) = value.get("Fn::GetAtt") {
            return attribute.clone();
        }
        match value["Fn::FindInMap"].as_array().map(Vec::as_slice) {
            Some([map, top, second]) => {
                let (map, top, second) = (map.as_str(), top.as_str(), second.as_str());
                self.0["Mappings"][map.unwrap()][top.unwrap()][second.unwrap()].clone()
            }
            _ => value.clone(),
        }
    }

    /// A value as a number, with the defaults of the parameters.
    #[track_caller]
    pub(crate) fn number(&self, value: &Value) -> u64 {
        let resolved = self.resolved(value);
        let number = resolved.as_u64().or_else(|| resolved.as_str()?.parse().ok());
        number.unwrap_or_else(|| {
            panic!("{value} is not a number in template.yaml; give the parameter a default")
        })
    }

    /// A function's timeout in seconds.
    pub(crate) fn timeout_s(&self, function: &Value) -> u64 {
        let default = &self.0["Globals"]["Function"]["Timeout"];
        self.number(function.get("Timeout").unwrap_or(default))
    }

    /// The policy statements of a function or state machine, including those that only some stacks have.
    pub(crate) fn statements(properties: &Value) -> Vec<&Value> {
        let policies = properties["Policies"].as_array().into_iter().flatten();
        let statements = policies.flat_map(|policy| list(&policy["Statement"]));
        statements.map(|it| it.get("Fn::If").map_or(it, |branches| &branches[1])).collect()
    }
}

/// The items of a list, or a single value as a list of one.
pub(crate) fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => vec![value],
    }
}

/// The strings of a list, or a single string as a list of one.
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    list(value).into_iter().filter_map(Value::as_str).collect()
}

/// Calls `visit` with the path and value of `value` and of everything in it.
pub(crate) fn walk(value: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, value);
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{path}/{index}"), visit);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                walk(field, &format!("{path}/{name}"), visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn json_of(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Number(_) => serde_json::to_value(yaml).unwrap(),
        Yaml::String(text) => json!(text),
        Yaml::Sequence(items) => items.iter().map(json_of).collect(),
        Yaml::Mapping(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (key_of(name), json_of(value))).collect())
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let function = match tag.trim_start_matches('!') {
                plain @ ("Ref" | "Condition") => plain.to_owned(),
                function => format!("Fn::{function}"),
            };
            Value::Object(Map::from_iter([(function, json_of(&tagged.value))]))
        }
    }
}

/// Replaces each `Fn::ForEach` among the resources by the resources that it stands for.
fn expand_loops(resources: &mut Map<String, Value>) {
    let (loops, plain): (Map<_, _>, Map<_, _>) =
        mem::take(resources).into_iter().partition(|(name, _)| name.starts_with("Fn::ForEach::"));
    *resources = plain;
    for (name, each) in loops {
        let (variable, body) = (each[0].as_str().unwrap(), each[2].as_object().unwrap());
        for value in texts(&each[1]) {
            for (key, resource) in body {
                let key = key.replace(&format!("${{{variable}}}"), value);
                let resource = substituted(resource, variable, value);
                assert!(resources.insert(key.clone(), resource).is_none(), "{name}: {key} exists twice");
            }
        }
    }
}

/// The body of a loop for one value of its variable, as `CloudFormation` substitutes it: in `Fn::Sub` and `Ref`.
fn substituted(body: &Value, variable: &str, value: &str) -> Value {
    match body {
        Value::Array(items) => items.iter().map(|item| substituted(item, variable, value)).collect(),
        Value::Object(fields) => {
            if body["Ref"] == variable {
                return json!(value);
            }
            if let Some(text) = body["Fn::Sub"].as_str() {
                let text = text.replace(&format!("${{{variable}}}"), value);
                return if text.contains("${") { json!({ "Fn::Sub": text }) } else { json!(text) };
            }
            let fields =
                fields.iter().map(|(name, field)| (name.clone(), substituted(field, variable, value)));
            let fields = fields.collect::<Map<_, _>>();
            // `!GetAtt [Name, Attribute]` is the same as `!GetAtt Name.Attribute`.
            match fields.get("Fn::GetAtt") {
                Some(attribute @ Value::Array(_)) => json!({ "Fn::GetAtt": texts(attribute).join(".") }),
                _ => Value::Object(fields),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => body.clone(),
    }
}

fn key_of(yaml: &Yaml) -> String {
    let key = json_of(yaml);
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
}
