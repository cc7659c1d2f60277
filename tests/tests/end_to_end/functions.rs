//! The deployed functions: their configuration through Lambda's API, and their processes on this machine.

use std::{fs, path::PathBuf, process::Command};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{aws_json, stack::Stack};

impl Stack {
    /// A function's name, by its logical id in the template.
    pub(crate) async fn function(&self, resource: &str) -> String {
        let listed = aws_json::lambda(self, &Method::GET, "/2015-03-31/functions/", &Value::Null).await;
        let names = listed["Functions"].as_array().unwrap().iter();
        let prefix = format!("{}-{resource}", self.is.stack_name);
        let found = names
            .filter_map(|function| function["FunctionName"].as_str())
            .find(|name| name.starts_with(&prefix));
        found.unwrap_or_else(|| panic!("the stack has no {resource}")).to_owned()
    }

    /// The ARN of a function's role.
    pub(crate) async fn role_of(&self, resource: &str) -> String {
        let path = format!("/2015-03-31/functions/{}/configuration", self.function(resource).await);
        let configuration = aws_json::lambda(self, &Method::GET, &path, &Value::Null).await;
        configuration["Role"].as_str().unwrap().to_owned()
    }

    /// One variable of a function's environment.
    pub(crate) async fn variable(&self, function: &str, name: &str) -> String {
        let path = format!("/2015-03-31/functions/{function}/configuration");
        let configuration = aws_json::lambda(self, &Method::GET, &path, &Value::Null).await;
        configuration["Environment"]["Variables"][name].as_str().unwrap_or_default().to_owned()
    }

    /// Sets one variable of a function's environment, deploys the function as a new version, and returns the old value. The
    /// next invocation is a cold start.
    pub(crate) async fn set_variable(&self, function: &str, name: &str, value: &str) -> String {
        let path = format!("/2015-03-31/functions/{function}/configuration");
        let mut environment =
            aws_json::lambda(self, &Method::GET, &path, &Value::Null).await["Environment"].take();
        let before = environment["Variables"][name].as_str().unwrap_or_default().to_owned();
        environment["Variables"][name] = value.into();
        aws_json::lambda(self, &Method::PUT, &path, &json!({ "Environment": environment })).await;
        let functions = format!("/2015-03-31/functions/{function}");
        let path = format!("{functions}/versions");
        let published = aws_json::lambda(self, &Method::POST, &path, &json!({})).await;
        let live = json!({ "FunctionVersion": published["Version"] });
        aws_json::lambda(self, &Method::PUT, &format!("{functions}/aliases/live"), &live).await;
        before
    }

    /// Kills every process of a function, as a crash of its machine would; returns the number of processes.
    pub(crate) fn kill(&self, function: &str) -> usize {
        let processes = self.processes(function);
        let killed = processes.iter().filter(|process| {
            let kill = Command::new("kill").arg("-9").arg(process.file_name().unwrap()).status();
            kill.is_ok_and(|status| status.success())
        });
        killed.count()
    }

    /// The peak memory of the function's running processes so far, in bytes.
    pub(crate) fn peak_memory(&self, function: &str) -> u64 {
        let peak = |process: &PathBuf| {
            let status = fs::read_to_string(process.join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        1024 * self.processes(function).iter().filter_map(peak).max().expect("the function has a process")
    }

    /// The folders in `/proc` of the function's processes.
    fn processes(&self, function: &str) -> Vec<PathBuf> {
        let port = self.is.endpoint.rsplit(':').next().unwrap();
        let ours = |environ: &str| {
            let has = |name: &str, fits: &dyn Fn(&str) -> bool| {
                environ.split('\0').filter_map(|line| line.strip_prefix(name)).any(fits)
            };
            has("AWS_LAMBDA_FUNCTION_NAME=", &|value| value == function)
                && has("AWS_ENDPOINT_URL=", &|value| value.ends_with(port))
        };
        let processes = fs::read_dir("/proc").expect("these tests find processes in /proc").flatten();
        let processes = processes.map(|process| process.path());
        processes
            .filter(|process| {
                let environ = fs::read(process.join("environ")).unwrap_or_default();
                ours(&String::from_utf8_lossy(&environ))
            })
            .collect()
    }
}
