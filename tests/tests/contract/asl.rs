//! The definitions of the state machines as AWS receives them, with the substitutions of `template.yaml` applied.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    sources::{captures, read},
    template::Template,
};

/// The state machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The whole definition.
    pub(crate) definition: Value,
    /// Every state by name, including the states within a Map.
    pub(crate) states: BTreeMap<String, Value>,
    /// The Map that contains a state, by the state's name.
    pub(crate) maps: BTreeMap<String, String>,
}

/// A transition from one state to another.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    /// The condition under which a Choice takes this transition.
    pub(crate) condition: Option<String>,
    /// The variables that this transition assigns.
    pub(crate) assign: Value,
}

impl Edge {
    /// The counters that must all be below their limits for this transition.
    pub(crate) fn limited_by(&self) -> BTreeSet<String> {
        let condition = self.condition.as_deref().unwrap_or_default();
        if condition.contains(" or ") {
            return BTreeSet::new();
        }
        captures(r"\$(\w+) <=? \d+", condition)
    }
}

impl Machine {
    /// Reads the definition of the workflow, with the defaults of the template's parameters.
    #[track_caller]
    pub(crate) fn load() -> Self {
        Self::of("statemachines/document.asl.json", "DocumentStateMachine")
    }

    /// Reads the definition of a state machine, with the defaults of the template's parameters.
    #[track_caller]
    pub(crate) fn of(file: &str, resource: &str) -> Self {
        let template = Template::load();
        let mut text = read(file);
        for (name, value) in substitutions(&template, resource) {
            let value = template.resolved(value);
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text = text.replace(&format!("${{{name}}}"), &value);
        }
        let definition: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("the state machine is not JSON after the substitutions: {error}"));
        let mut machine = Self { definition, states: BTreeMap::new(), maps: BTreeMap::new() };
        machine.collect(&machine.definition["States"].clone(), None);
        machine
    }

    fn collect(&mut self, states: &Value, map: Option<&str>) {
        for (name, state) in states.as_object().unwrap() {
            let known = self.states.insert(name.clone(), state.clone());
            assert!(
                known.is_none(),
                "two states are named {name}; state names are unique in a state machine"
            );
            if let Some(map) = map {
                self.maps.insert(name.clone(), map.to_owned());
            }
            if state["Type"] == "Map" {
                self.collect(&state["ItemProcessor"]["States"], Some(name));
            }
        }
    }

    /// One state.
    #[track_caller]
    pub(crate) fn state(&self, name: &str) -> &Value {
        self.states.get(name).unwrap_or_else(|| panic!("the state machine has no state {name}"))
    }

    /// The states of one type.
    pub(crate) fn of_type(&self, kind: &str) -> Vec<(&str, &Value)> {
        let of_type = self.states.iter().filter(|(_, state)| state["Type"] == kind);
        of_type.map(|(name, state)| (name.as_str(), state)).collect()
    }

    /// Every transition from a state to another.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (from, state) in &self.states {
            let mut edge = |to: &Value, assign: &Value, condition: &Value| {
                if let Some(to) = to.as_str() {
                    let condition = condition.as_str().map(str::to_owned);
                    let assign = assign.clone();
                    edges.push(Edge { from: from.clone(), to: to.to_owned(), condition, assign });
                }
            };
            edge(&state["Next"], &state["Assign"], &Value::Null);
            edge(&state["Default"], &state["Assign"], &Value::Null);
            edge(&state["ItemProcessor"]["StartAt"], &Value::Null, &Value::Null);
            for rule in state["Choices"].as_array().into_iter().flatten() {
                edge(&rule["Next"], &rule["Assign"], &rule["Condition"]);
            }
            for catcher in state["Catch"].as_array().into_iter().flatten() {
                edge(&catcher["Next"], &catcher["Assign"], &Value::Null);
            }
        }
        edges
    }

    /// The limit that a Choice sets for a counter.
    #[track_caller]
    pub(crate) fn limit(&self, state: &str, counter: &str) -> u64 {
        let found = captures(&format!(r"\${counter} <= (\d+)"), &self.state(state).to_string());
        found.first().unwrap_or_else(|| panic!("{state} has no limit on {counter}")).parse().unwrap()
    }

    /// The catcher that Step Functions chooses for an error in a state.
    #[track_caller]
    pub(crate) fn catcher(&self, state: &str, error: &str) -> &Value {
        let catchers = self.state(state)["Catch"].as_array();
        let matches = |catcher: &&Value| {
            let names = catcher["ErrorEquals"].as_array().unwrap();
            names.iter().any(|name| name == error || name == "States.ALL")
        };
        let catcher = catchers.and_then(|catchers| catchers.iter().find(matches));
        catcher.unwrap_or_else(|| panic!("{state}: give Catch a rule for {error}"))
    }

    /// The retry rule that Step Functions chooses for an error in a state.
    #[track_caller]
    pub(crate) fn retry_rule(&self, state: &str, error: &str) -> &Value {
        let rules = self.state(state)["Retry"].as_array();
        let matches = |rule: &&Value| {
            let names = rule["ErrorEquals"].as_array().unwrap();
            names.iter().any(|name| name == error || name == "States.ALL")
        };
        let rule = rules.and_then(|rules| rules.iter().find(matches));
        rule.unwrap_or_else(|| panic!("{state}: give Retry a rule for {error}"))
    }
}

/// The substitutions that the template defines for a state machine.
pub(crate) fn substitutions<'t>(template: &'t Template, resource: &str) -> BTreeMap<&'t str, &'t Value> {
    let machine = template.resource("AWS::Serverless::StateMachine", resource);
    let substitutions = machine["DefinitionSubstitutions"].as_object().unwrap();
    substitutions.iter().map(|(name, value)| (name.as_str(), value)).collect()
}

/// The states that can be reached from `start` over `edges`.
pub(crate) fn reachable<'e>(start: &str, edges: impl IntoIterator<Item = &'e Edge>) -> BTreeSet<String> {
    let edges: Vec<&Edge> = edges.into_iter().collect();
    let mut reached = BTreeSet::new();
    let mut open = vec![start.to_owned()];
    while let Some(state) = open.pop() {
        let next = edges.iter().filter(|edge| edge.from == state).map(|edge| edge.to.clone());
        open.extend(next.filter(|to| reached.insert(to.clone())));
    }
    reached
}
