//! Evaluates the part of `JSONata` that `statemachines/document.asl.json` uses, and panics at anything else.

use lectern::error::rfc3339;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The values that an expression can refer to: the variables and, under the name `states`, `$states`.
pub(crate) type Scope = Map<String, Value>;

/// Evaluates every `{% … %}` in a template.
pub(crate) fn evaluate(template: &Value, scope: &Scope) -> Value {
    match template {
        Value::String(text) => match text.strip_prefix("{%").and_then(|text| text.strip_suffix("%}")) {
            Some(expression) => expression_value(expression, scope),
            None => template.clone(),
        },
        Value::Array(items) => items.iter().map(|item| evaluate(item, scope)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), evaluate(value, scope))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    }
}

/// Panics if an expression has no value, which is an error in Step Functions.
fn expression_value(expression: &str, scope: &Scope) -> Value {
    let mut parser = Parser { tokens: tokens(expression), at: 0, scope, text: expression };
    let value = parser.conditional();
    assert!(parser.at == parser.tokens.len(), "this interpreter does not know all of {expression}");
    value.unwrap_or_else(|| panic!("States.QueryEvaluationError: {expression} has no value"))
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '\'' {
            2 + rest[1..].find('\'').expect("a string ends")
        } else if rest.starts_with("..")
            || rest.starts_with("<=")
            || rest.starts_with(">=")
            || rest.starts_with("!=")
        {
            2
        } else if first.is_ascii_alphanumeric() || first == '$' || first == '_' {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            1 + rest[1..].find(|c: char| !word(c)).unwrap_or(rest.len() - 1)
        } else {
            first.len_utf8()
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

struct Parser<'e> {
    tokens: Vec<String>,
    at: usize,
    scope: &'e Scope,
    text: &'e str,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|next| next == token);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, token: &str) {
        assert!(self.take(token), "{token} is missing in {}", self.text);
    }

    fn conditional(&mut self) -> Option<Value> {
        let condition = self.both();
        if !self.take("?") {
            return condition;
        }
        let yes = self.conditional();
        self.expect(":");
        let no = self.conditional();
        if is_true(condition.as_ref()) { yes } else { no }
    }

    fn both(&mut self) -> Option<Value> {
        let mut value = self.comparison();
        while self.take("and") {
            let right = self.comparison();
            value = Some(json!(is_true(value.as_ref()) && is_true(right.as_ref())));
        }
        value
    }

    fn comparison(&mut self) -> Option<Value> {
        let left = self.sum();
        for operator in ["=", "!=", "<=", "<", ">=", ">"] {
            if self.take(operator) {
                let right = self.sum();
                let numbers = || (number(left.as_ref(), self.text), number(right.as_ref(), self.text));
                return Some(json!(match operator {
                    "=" => left == right,
                    "!=" => left != right,
                    "<=" => numbers().0 <= numbers().1,
                    "<" => numbers().0 < numbers().1,
                    ">=" => numbers().0 >= numbers().1,
                    _ => numbers().0 > numbers().1,
                }));
            }
        }
        left
    }

    fn sum(&mut self) -> Option<Value> {
        let mut value = self.product();
        loop {
            if self.take("&") {
                let right = self.product();
                let text = |value: Option<Value>| {
                    value.map_or(String::new(), |value| match value {
                        Value::String(ref text) => text.clone(),
                        Value::Null
                        | Value::Bool(_)
                        | Value::Number(_)
                        | Value::Array(_)
                        | Value::Object(_) => value.to_string(),
                    })
                };
                value = Some(json!(text(value) + &text(right)));
            } else if self.take("+") {
                let right = self.product();
                value = Some(self.calculated(value, right, |left, right| left + right));
            } else if self.take("-") {
                let right = self.product();
                value = Some(self.calculated(value, right, |left, right| left - right));
            } else {
                return value;
            }
        }
    }

    fn product(&mut self) -> Option<Value> {
        let mut value = self.path();
        while self.take("*") {
            let right = self.path();
            value = Some(self.calculated(value, right, |left, right| left * right));
        }
        value
    }

    fn calculated(&self, left: Option<Value>, right: Option<Value>, calculate: fn(f64, f64) -> f64) -> Value {
        let number = |value: Option<Value>| {
            let found = value.as_ref().and_then(Value::as_f64);
            found.unwrap_or_else(|| panic!("not a number in {}: {value:?}", self.text))
        };
        whole_if_it_can_be(calculate(number(left), number(right)))
    }

    fn path(&mut self) -> Option<Value> {
        let mut value = self.primary();
        while self.take(".") {
            let field = self.tokens[self.at].clone();
            self.at += 1;
            value = value.and_then(|value| value.get(&field).cloned());
        }
        value
    }

    fn primary(&mut self) -> Option<Value> {
        let token = self
            .tokens
            .get(self.at)
            .unwrap_or_else(|| panic!("incomplete expression: {}", self.text))
            .clone();
        self.at += 1;
        if let Some(text) = token.strip_prefix('\'') {
            return Some(json!(text.trim_end_matches('\'')));
        }
        if let Ok(number) = token.parse::<i64>() {
            return Some(json!(number));
        }
        if ["true", "false"].contains(&token.as_str()) {
            return Some(json!(token == "true"));
        }
        if token == "(" {
            let value = self.conditional();
            self.expect(")");
            return value;
        }
        if token == "[" {
            return self.list();
        }
        let name = token
            .strip_prefix('$')
            .unwrap_or_else(|| panic!("this interpreter does not know {token} in {}", self.text));
        if !self.take("(") {
            return self.scope.get(name).cloned();
        }
        if name == "random" {
            self.expect(")");
            return Some(json!(RANDOM));
        }
        let argument = self.conditional();
        let second = if self.take(",") { self.conditional() } else { None };
        self.expect(")");
        match name {
            "floor" => argument.map(|value| whole_if_it_can_be(value.as_f64().expect("a number").floor())),
            "power" => {
                let power = |(base, exponent): (Value, Value)| Some(base.as_f64()?.powf(exponent.as_f64()?));
                argument.zip(second).and_then(power).map(whole_if_it_can_be)
            }
            "min" => {
                let numbers = argument?.as_array().expect("a list").clone();
                numbers.iter().filter_map(Value::as_f64).reduce(f64::min).map(whole_if_it_can_be)
            }
            "exists" => Some(json!(argument.is_some())),
            "number" => {
                argument.map(|text| json!(text.as_str().expect("text").parse::<i64>().expect("a number")))
            }
            "toMillis" => argument.map(|time| json!(millis(time.as_str().expect("a time")))),
            "fromMillis" => argument.map(|millis| json!(time_of(millis.as_i64().expect("milliseconds")))),
            _ => panic!("this interpreter does not know ${name}() in {}", self.text),
        }
    }

    fn list(&mut self) -> Option<Value> {
        if self.take("]") {
            return Some(json!([]));
        }
        let first = self.conditional();
        let items = if self.take("..") {
            let last = self.conditional();
            (number(first.as_ref(), self.text)..=number(last.as_ref(), self.text))
                .map(|item| json!(item))
                .collect()
        } else {
            let mut items = vec![first?];
            while self.take(",") {
                items.extend(self.conditional());
            }
            items
        };
        self.expect("]");
        Some(Value::Array(items))
    }
}

/// The constant value of `$random()`, so that every run is the same.
pub(crate) const RANDOM: f64 = 0.5;

/// Converts a number to JSON. `JSONata` has one number type; JSON writes whole numbers without a fraction.
#[expect(clippy::cast_possible_truncation, reason = "the largest numbers are milliseconds of a date")]
fn whole_if_it_can_be(number: f64) -> Value {
    if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
}

fn is_true(value: Option<&Value>) -> bool {
    value == Some(&json!(true))
}

/// Both branches of a condition are evaluated, so each must be valid.
fn number(value: Option<&Value>, text: &str) -> i64 {
    value.and_then(Value::as_i64).unwrap_or_else(|| panic!("not a number in {text}: {value:?}"))
}

/// Milliseconds of the Unix epoch.
fn millis(time: &str) -> i64 {
    let time = OffsetDateTime::parse(time, &Rfc3339).unwrap_or_else(|error| panic!("{time}: {error}"));
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap()
}

fn time_of(millis: i64) -> String {
    rfc3339(OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).unwrap())
}

#[test]
fn expressions_of_the_state_machine_are_understood() {
    let scope = json!({ "a": 2, "s": "x", "t": "2026-11-20T16:00:00.250Z", "states": { "r": { "N": "3" } } });
    let scope = scope.as_object().unwrap();
    let value = |text: &str| evaluate(&json!(format!("{{% {text} %}}")), scope);
    assert_eq!(value("$a * 1000 + 1"), json!(2001));
    assert_eq!(value("'P#' & $s"), json!("P#x"));
    assert_eq!(value("$s = 'x' and $a <= 2"), json!(true));
    assert_eq!(value("$a = 0 ? [] : [0..$a - 1]"), json!([0, 1]));
    assert_eq!(value("$a = 2 ? [] : [0..$a - 1]"), json!([]));
    assert_eq!(value("$number($states.r.N)"), json!(3));
    assert_eq!(value("$exists($states.q) ? $states.q : ''"), json!(""));
    assert_eq!(value("$floor($random() * $min([900, 5 * $power(2, $min([$a, 10]))]))"), json!(10));
    assert_eq!(value("$floor($random() * 3)"), json!(1));
    assert_eq!(value("$fromMillis($toMillis($t) + 90 * 1000)"), json!("2026-11-20T16:01:30.250Z"));
    assert_eq!(value("$toMillis($t) < $toMillis($t) + 1"), json!(true));
    assert_eq!(value("$s = 'x' ? true : $a"), json!(true));
    assert_eq!(value("$s = 'y' ? true : $s = 'z' ? 0 : false"), json!(false));
    assert!(std::panic::catch_unwind(|| value("$nothing")).is_err());
}
