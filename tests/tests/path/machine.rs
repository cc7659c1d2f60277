//! Interprets `statemachines/document.asl.json`: its states, variables, choices, retries and catches.

use std::time::Duration;

use lectern::error::rfc3339;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::jsonata::{RANDOM, Scope, evaluate};

/// Small limits, so that a run can reach each of them.
pub(crate) const MAX_ROUNDS: u64 = 2;
pub(crate) const MAX_FAILED: usize = 4;
pub(crate) const MAX_UNKNOWN_OUTCOMES: usize = 2;
/// How often a document requests a permit before it fails.
pub(crate) const MAX_REQUESTS: usize = 5;
/// How often a document whose transfer took too long is sent again.
pub(crate) const MAX_SLOW: usize = 2;
const HOUR: u64 = 3600;
const LIMITS: [(&str, u64); 14] = [
    ("UnavailableMaxAttempts", 4),
    ("StoreMaxAttempts", 3),
    ("OtherMaxAttempts", 2),
    ("MismatchMaxAttempts", 1),
    ("FailMaxAttempts", 50),
    ("MaxFailedTransfers", MAX_FAILED as u64),
    ("MaxUnknownOutcomes", MAX_UNKNOWN_OUTCOMES as u64),
    ("MaxSlowTransfers", MAX_SLOW as u64),
    ("MaxPermitRequests", MAX_REQUESTS as u64 - 1),
    ("MaxProbes", 1),
    ("MaxUnansweredProbes", 3),
    ("MaxRounds", MAX_ROUNDS),
    // The sum equals the lease of `MemoryWorld`.
    ("CallbackTimeoutSeconds", 999 * HOUR),
    ("LeaseMarginSeconds", HOUR),
];

/// What stands for a state after the last one of an execution that has succeeded.
const DONE: &str = "Done";

/// The definition, with its substitutions applied.
#[derive(Debug)]
pub(crate) struct Machine(Value);

impl Machine {
    /// Reads the definition. Numbers that only set a time become 1; resources are replaced by their names.
    pub(crate) fn load() -> Self {
        let mut text = include_str!("../../../statemachines/document.asl.json").to_owned();
        for (name, limit) in LIMITS {
            text = text.replace(&format!("${{{name}}}"), &limit.to_string());
        }
        while let Some(start) = text.find("${") {
            let end = start + text[start..].find('}').unwrap();
            let name = text[start + 2..end].to_owned();
            let quoted = ["Url", "Arn", "Name"].iter().any(|suffix| name.ends_with(suffix));
            text.replace_range(start..=end, if quoted { &name } else { "1" });
        }
        Self(serde_json::from_str(&text).unwrap())
    }

    /// The definition as deployed, with the template's numbers.
    pub(crate) fn as_deployed() -> Self {
        Self(super::asl::Machine::load().definition)
    }

    fn state(&self, name: &str) -> &Value {
        let map = &self.0["States"]["VerifyReturned"]["ItemProcessor"]["States"];
        self.0["States"].get(name).or_else(|| map.get(name)).unwrap_or_else(|| panic!("no state {name}"))
    }
}

/// What an execution does next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// Nothing: the execution has entered its next state.
    Moved,
    /// Send this message.
    Send(Sending),
    /// Wait.
    Sleep(Sleep),
    /// Store the task token on the document and wait.
    AwaitCallback,
    /// Read the result.
    BeginVerify,
    /// Invoke this function with this payload.
    Invoke(String, Value),
    /// Verify each of these files with this payload, one after the other.
    Map(Vec<Value>),
    /// Nothing: the execution has ended.
    Over,
}

/// A message to a queue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sending {
    pub(crate) queue: String,
    pub(crate) group: String,
    pub(crate) body: Value,
    /// Whether the task waits for an answer to its task token.
    pub(crate) waits: bool,
}

/// How long a state waits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sleep {
    /// Until this time, RFC 3339.
    Until(String),
    /// For this number of seconds.
    Seconds(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Execution {
    pub(crate) state: String,
    /// The task token of the current state, if it waits for an answer.
    pub(crate) token: Option<String>,
    /// The states that the execution entered, in order.
    pub(crate) path: Vec<String>,
    /// The time by the simulation's clock.
    pub(crate) now: OffsetDateTime,
    entered_at: OffsetDateTime,
    input: Value,
    variables: Scope,
    tried: Vec<u64>,
    /// After a failure that is retried: the seconds until the state is tried again.
    retry_after_s: Option<f64>,
}

impl Execution {
    pub(crate) fn start(machine: &Machine, input: Value, now: OffsetDateTime) -> Self {
        let state = machine.0["StartAt"].as_str().unwrap().to_owned();
        let path = vec![state.clone()];
        Self {
            state,
            token: None,
            path,
            now,
            entered_at: now,
            input,
            variables: Scope::new(),
            tried: Vec::new(),
            retry_after_s: None,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        [DONE, "Failed", "NotAccepted"].contains(&self.state.as_str())
    }

    /// Takes the pause before the state is tried again.
    pub(crate) fn take_retry_pause(&mut self) -> Option<Duration> {
        self.retry_after_s.take().map(Duration::from_secs_f64)
    }

    /// Whether the current state is a Wait.
    pub(crate) fn sleeps(&self, machine: &Machine) -> bool {
        self.state != DONE && machine.state(&self.state)["Type"] == "Wait"
    }

    /// Runs the current state. `token` is the task token to use if the state needs one.
    pub(crate) fn step(&mut self, machine: &Machine, token: &str) -> Work {
        if self.state == DONE {
            return Work::Over;
        }
        let state = machine.state(&self.state);
        let scope = self.scope(json!({ "Task": { "Token": token } }), json!({}));
        match (state["Type"].as_str().unwrap(), state["Resource"].as_str().unwrap_or_default()) {
            ("Pass", _) => self.go_on(state, &scope),
            ("Wait", _) if state.get("Seconds").is_some() => {
                let seconds = evaluate(&state["Seconds"], &scope);
                Work::Sleep(Sleep::Seconds(seconds.as_u64().unwrap_or_else(|| panic!("{seconds}"))))
            }
            ("Wait", _) => {
                let until = evaluate(&state["Timestamp"], &scope);
                let text = until.as_str().filter(|text| text.len() == 24 && text.ends_with('Z'));
                Work::Sleep(Sleep::Until(text.unwrap_or_else(|| panic!("{until}")).to_owned()))
            }
            ("Choice", _) => {
                let choices = state["Choices"].as_array().unwrap();
                let chosen =
                    choices.iter().find(|choice| evaluate(&choice["Condition"], &scope) == json!(true));
                self.assign(chosen.unwrap_or(state), &scope);
                self.enter(chosen.map_or(&state["Default"], |choice| &choice["Next"]));
                Work::Moved
            }
            ("Succeed", _) => Work::Over,
            ("Fail", _) => {
                assert!(evaluate(&state["Error"], &scope).is_string());
                assert!(evaluate(&state["Cause"], &scope).is_string());
                Work::Over
            }
            ("Map", _) => {
                let processor = &state["ItemProcessor"];
                let task = machine.state(processor["StartAt"].as_str().unwrap());
                let payload = |item: &Value| {
                    let outer = self.scope(json!({ "Map": { "Item": { "Value": item } } }), json!({}));
                    let inner =
                        self.scope(json!({}), json!({ "input": evaluate(&state["ItemSelector"], &outer) }));
                    evaluate(&task["Arguments"]["Payload"], &inner)
                };
                Work::Map(evaluate(&state["Items"], &scope).as_array().unwrap().iter().map(payload).collect())
            }
            ("Task", resource)
                if resource.trim_end_matches(".waitForTaskToken").ends_with("sqs:sendMessage") =>
            {
                let arguments = evaluate(&state["Arguments"], &scope);
                let text = |field: &str| arguments[field].as_str().unwrap().to_owned();
                let waits = resource.ends_with(".waitForTaskToken");
                self.token = waits.then(|| token.to_owned());
                let (queue, group) = (text("QueueUrl"), text("MessageGroupId"));
                Work::Send(Sending { queue, group, body: arguments["MessageBody"].clone(), waits })
            }
            ("Task", resource) if resource.ends_with("dynamodb:updateItem.waitForTaskToken") => {
                Work::AwaitCallback
            }
            ("Task", resource) if resource.ends_with("dynamodb:updateItem") => Work::BeginVerify,
            ("Task", resource) if resource.ends_with("lambda:invoke") => {
                let arguments = evaluate(&state["Arguments"], &scope);
                Work::Invoke(
                    arguments["FunctionName"].as_str().unwrap().to_owned(),
                    arguments["Payload"].clone(),
                )
            }
            other => panic!("this interpreter does not know {other:?}"),
        }
    }

    /// The wait is over.
    pub(crate) fn wake(&mut self, machine: &Machine) {
        self.succeed(machine, &Value::Null);
    }

    /// The timeout of the current state, in seconds.
    pub(crate) fn timeout_s(&self, machine: &Machine) -> u64 {
        machine.state(&self.state)["TimeoutSeconds"].as_u64().unwrap()
    }

    /// The task has succeeded with this output.
    pub(crate) fn succeed(&mut self, machine: &Machine, result: &Value) {
        let state = machine.state(&self.state);
        let scope = self.scope(json!({}), json!({ "result": result }));
        self.go_on(state, &scope);
    }

    /// The task has failed: the error is retried or caught; otherwise the definition has a bug.
    pub(crate) fn fail(&mut self, machine: &Machine, name: &str, cause: &str) {
        self.token = None;
        let state = machine.state(&self.state);
        if retries(state, &mut self.tried, name) {
            self.retry_after_s = Some(pause_s(state, &self.tried, name));
            return;
        }
        let caught = matching(&state["Catch"], name).unwrap_or_else(|| panic!("{name} is not caught"));
        let caught = &state["Catch"][caught];
        let scope = self.scope(json!({}), json!({ "errorOutput": { "Error": name, "Cause": cause } }));
        self.assign(caught, &scope);
        self.enter(&caught["Next"]);
    }

    /// Whether the task inside the Map is retried after this error.
    pub(crate) fn retries_file(machine: &Machine, tried: &mut Vec<u64>, name: &str) -> bool {
        retries(machine.state("VerifyReturnedFile"), tried, name)
    }

    /// The variables, and `$states` with the context and `more`.
    fn scope(&self, context: Value, more: Value) -> Scope {
        let retry_count: u64 = self.tried.iter().sum();
        let mut states = json!({
            "input": self.input,
            "context": { "State": { "RetryCount": retry_count, "EnteredTime": rfc3339(self.entered_at) } },
        });
        let add = |to: &mut Value, from: Value| {
            if let (Value::Object(to), Value::Object(from)) = (to, from) {
                to.extend(from);
            }
        };
        add(&mut states["context"], context);
        add(&mut states, more);
        let mut scope = self.variables.clone();
        scope.insert("states".to_owned(), states);
        scope
    }

    fn go_on(&mut self, state: &Value, scope: &Scope) -> Work {
        self.assign(state, scope);
        let done = json!(DONE);
        self.enter(if state["End"] == true { &done } else { &state["Next"] });
        Work::Moved
    }

    fn assign(&mut self, state: &Value, scope: &Scope) {
        if let Some(fields) = state.get("Assign") {
            let values = evaluate(fields, scope);
            self.variables.extend(values.as_object().unwrap().clone());
        }
    }

    fn enter(&mut self, next: &Value) {
        next.as_str().unwrap().clone_into(&mut self.state);
        self.path.push(self.state.clone());
        self.entered_at = self.now;
        self.tried.clear();
        self.token = None;
    }
}

/// The first retrier that matches the error decides. Each retrier has its own count.
fn retries(state: &Value, tried: &mut Vec<u64>, name: &str) -> bool {
    let Some(index) = matching(&state["Retry"], name) else { return false };
    tried.resize(state["Retry"].as_array().unwrap().len(), 0);
    let again = tried[index] < state["Retry"][index]["MaxAttempts"].as_u64().unwrap();
    tried[index] += u64::from(again);
    again
}

/// The pause of the error's retrier after this number of failures: the middle of the jitter's range.
fn pause_s(state: &Value, tried: &[u64], name: &str) -> f64 {
    let index = matching(&state["Retry"], name).expect("a retrier matches the error");
    let (retrier, failures) = (&state["Retry"][index], i32::try_from(tried[index]).unwrap());
    let number = |field: &str| retrier[field].as_f64();
    let pause_s = number("IntervalSeconds").unwrap() * number("BackoffRate").unwrap().powi(failures - 1);
    let jitter = if retrier["JitterStrategy"] == "FULL" { RANDOM } else { 1.0 };
    pause_s.min(number("MaxDelaySeconds").unwrap_or(f64::MAX)) * jitter
}

fn matching(list: &Value, name: &str) -> Option<usize> {
    list.as_array()?.iter().position(|entry| {
        entry["ErrorEquals"].as_array().unwrap().iter().any(|known| known == name || known == "States.ALL")
    })
}
