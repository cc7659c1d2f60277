//! The deployed functions: their configuration through Lambda's API, and their processes on this machine.

use std::{fs, path::Path, process::Command};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{aws_json, stack::Stack};

impl Stack {
    /// A function's name by its resource in the template.
    pub(crate) async fn function(&self, resource: &str) -> String {
        let listed = aws_json::lambda(self, &Method::GET, "/2015-03-31/functions/", &Value::Null).await;
        let names = listed["Functions"].as_array().unwrap().iter();
        let prefix = format!("{}-{resource}", self.is.stack_name);
        let found = names
            .filter_map(|function| function["FunctionName"].as_str())
            .find(|name| name.starts_with(&prefix));
        found.unwrap_or_else(|| panic!("there is no {resource}")).to_owned()
    }

    /// Sets one variable of a function's environment and returns what it was; the next invocation is a cold start.
    pub(crate) async fn set_variable(&self, function: &str, name: &str, value: &str) -> String {
        let path = format!("/2015-03-31/functions/{function}/configuration");
        let mut environment =
            aws_json::lambda(self, &Method::GET, &path, &Value::Null).await["Environment"].take();
        let before = environment["Variables"][name].as_str().unwrap_or_default().to_owned();
        environment["Variables"][name] = value.into();
        aws_json::lambda(self, &Method::PUT, &path, &json!({ "Environment": environment })).await;
        before
    }

    /// Kills every process of a function of this stack, as when its machine dies; how many there were.
    pub(crate) fn kill(&self, function: &str) -> usize {
        let port = self.is.endpoint.rsplit(':').next().unwrap();
        let ours = |environ: &str| {
            let has = |name: &str, fits: &dyn Fn(&str) -> bool| {
                environ.split('\0').filter_map(|line| line.strip_prefix(name)).any(fits)
            };
            has("AWS_LAMBDA_FUNCTION_NAME=", &|value| value == function)
                && has("AWS_ENDPOINT_URL=", &|value| value.ends_with(port))
        };
        let processes = fs::read_dir("/proc").expect("these tests kill by /proc").flatten();
        let pids = processes.filter(|process| {
            let environ = fs::read(Path::new(&process.path()).join("environ")).unwrap_or_default();
            ours(&String::from_utf8_lossy(&environ))
        });
        let killed = pids.filter(|process| {
            Command::new("kill")
                .arg("-9")
                .arg(process.file_name())
                .status()
                .is_ok_and(|status| status.success())
        });
        killed.count()
    }
}
