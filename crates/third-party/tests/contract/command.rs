//! The command: its start, its output and its end.

use std::{path::Path, process::Stdio};

use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::support::{ADMIN_KEY, API_KEY, Harness, KEY, NOTES, SIGNING_SECRET};

fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_third-party"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--delay-ms", "0", "--data-dir"]).arg(data_dir);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn listening(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    ready["listening"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn it_serves_until_sigterm_and_case_53_logs_no_secret() {
    let harness = Harness::start().await;
    let secrets = harness.folder().join("secrets.json");
    let content = json!({ "apiKey": API_KEY, "signingSecret": SIGNING_SECRET, "adminKey": ADMIN_KEY });
    std::fs::write(&secrets, content.to_string()).unwrap();
    let data_dir = harness.folder().join("data");
    let mut child = command(&data_dir)
        .arg("--secrets-file")
        .arg(&secrets)
        .env("THIRD_PARTY_API_KEY", "")
        .spawn()
        .unwrap();
    let url = listening(&mut child).await;

    let submission = harness
        .client
        .post(format!("{url}/v1/jobs/push"))
        .bearer_auth(API_KEY)
        .header("idempotency-key", KEY)
        .header("lectern-callback-url", &harness.receiver.url)
        .header("content-type", "text/plain")
        .body(NOTES);
    assert_eq!(submission.send().await.unwrap().status(), StatusCode::CREATED);
    let files = harness.receiver.wait_for(1).await[0].succeeded().files;

    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert!(child.wait().await.unwrap().success());
    assert_eq!(std::fs::read_dir(&data_dir).unwrap().count(), 0, "all files are removed");

    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
    assert!(log.lines().count() >= 2);
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    for secret in [API_KEY, ADMIN_KEY, SIGNING_SECRET, &harness.receiver.url, &files[0].url, "http://"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn a_missing_secret_is_an_error_that_names_it() {
    let harness = Harness::start().await;
    let output = command(&harness.folder().join("data"))
        .env("THIRD_PARTY_API_KEY", API_KEY)
        .env("THIRD_PARTY_SIGNING_SECRET", "whsec_short")
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("the signing secret is missing or malformed"), "{message}");
    assert!(!message.contains("whsec_short"));
}

#[tokio::test]
async fn limits_are_given_as_flags_or_in_the_environment() {
    let harness = Harness::start().await;
    let with_secrets = || {
        let mut command = command(&harness.folder().join("data"));
        command
            .env("THIRD_PARTY_API_KEY", API_KEY)
            .env("THIRD_PARTY_SIGNING_SECRET", SIGNING_SECRET)
            .env("THIRD_PARTY_ADMIN_KEY", ADMIN_KEY);
        command
    };
    let mut child = with_secrets()
        .args(["--requests-per-second", "8.5", "--burst", "3"])
        .env("THIRD_PARTY_MAX_IN_FLIGHT", "20")
        .spawn()
        .unwrap();
    let url = format!("{}/admin/limits", listening(&mut child).await);
    let limits: Value =
        harness.client.get(url).bearer_auth(ADMIN_KEY).send().await.unwrap().json().await.unwrap();
    assert_eq!(limits, json!({ "requestsPerSecond": 8.5, "burst": 3, "maxInFlight": 20 }));

    for (flags, said) in [
        (vec!["--burst", "3"], "--requests-per-second"),
        (vec!["--requests-per-second", "0"], "the limits are invalid"),
        (vec!["--requests-per-second", "many"], "invalid value"),
    ] {
        let output = with_secrets().args(&flags).output().await.unwrap();
        assert!(!output.status.success(), "{flags:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(said), "{flags:?}: {message}");
    }
}
