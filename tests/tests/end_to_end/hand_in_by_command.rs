//! The command `lectern` as teachers and evaluators use it: as a process of its own, without AWS credentials, signed in by the
//! form of the sign-in page.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use reqwest::{Url, header::LOCATION};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    content::{text, video},
    stack::Stack,
    wait::{SOON, eventually},
};

/// Six parts of 8 MiB, of which four are sent at the same time.
const LARGE_BYTES: usize = 48_000_000;
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// Somebody with a sign-in of their own.
struct Person {
    stack_file: PathBuf,
    state: TempDir,
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Person {
    /// Runs `lectern login` and fills in the form of the page that it names, as a browser does.
    async fn sign_in(stack: &Stack, key: &str) -> Self {
        let person = Self { stack_file: stack.file().to_owned(), state: tempfile::tempdir().unwrap() };
        let description: Value = serde_json::from_slice(&std::fs::read(stack.file()).unwrap()).unwrap();
        let credentials = &description["people"][key];
        let (mut login, page) = person.begin(&["login"], |line| line.parse::<Url>().ok());
        let typed =
            ["username", "password"].map(|name| (name.into(), credentials[name].as_str().unwrap().into()));
        // The hidden fields of the form repeat the query of its address.
        let fields = Url::parse_with_params("form:", page.query_pairs().chain(typed)).unwrap();
        let form = stack.http.post(page.join("/login").unwrap()).body(fields.query().unwrap().to_owned());
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        let answer = form.send().await.unwrap();
        let redirect = answer.headers()[LOCATION].to_str().unwrap();
        stack.http.get(redirect).send().await.unwrap().error_for_status().unwrap();
        assert!(login.wait().unwrap().success());
        person
    }

    /// Lets the access token look expired, as it does an hour after the sign-in.
    fn let_the_access_token_expire(&self) {
        let file = std::fs::read_dir(self.state.path()).unwrap().next().unwrap().unwrap().path();
        let mut sign_in: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        sign_in["expiresAt"] = "2026-01-01T00:00:00Z".into();
        std::fs::write(file, sign_in.to_string()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let binary = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("lectern");
        let mut command = Command::new(binary);
        command
            .arg("--stack-file")
            .arg(&self.stack_file)
            .arg("--state-dir")
            .arg(self.state.path())
            .args(arguments);
        // Without a display, the command opens no browser. The stack is on this machine.
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").env("NO_PROXY", "127.0.0.1,localhost");
        command
    }

    /// Starts the command, and reads its notes until `find` finds something in a line.
    fn begin<T>(&self, arguments: &[&str], find: impl Fn(&str) -> Option<T>) -> (Child, T) {
        let mut child = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let notes = BufReader::new(child.stderr.take().unwrap()).lines();
        let found = notes.map(Result::unwrap).find_map(|line| find(&line)).expect("the command says it");
        (child, found)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The answer of a command that succeeds.
    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.out, ran.err);
        serde_json::from_str(&ran.out).unwrap()
    }
}

/// Waits until S3 has a part of the submission's only file in parts.
async fn until_a_part_has_arrived(stack: &Stack, submission: &str) {
    let bucket = &stack.is.uploads_bucket;
    eventually("a part has arrived", SOON, async || {
        let begun = stack.s3.list_multipart_uploads().bucket(bucket).send().await.unwrap();
        let prefix = format!("submissions/{submission}/");
        let uploads = begun.uploads.unwrap_or_default();
        let upload =
            uploads.into_iter().find(|upload| upload.key().is_some_and(|key| key.starts_with(&prefix)));
        let upload = upload.ok_or("no upload in parts has begun")?;
        let parts = stack.s3.list_parts().bucket(bucket).set_key(upload.key).set_upload_id(upload.upload_id);
        let parts = parts.send().await.unwrap().parts.unwrap_or_default();
        if parts.is_empty() { Err("no part has arrived".to_owned()) } else { Ok(()) }
    })
    .await;
}

/// One test, because `lectern login` always listens at the same port.
#[tokio::test]
async fn upload_that_was_killed_continues_and_evaluators_read_the_captions() {
    let stack = Stack::open();
    let teacher = Person::sign_in(&stack, "teacher").await;
    let folder = tempfile::tempdir().unwrap();
    let mut lesson = video();
    // A box that every reader skips makes the video large.
    lesson.extend_from_slice(&u32::try_from(LARGE_BYTES - lesson.len()).unwrap().to_be_bytes());
    lesson.extend_from_slice(b"free");
    lesson.resize(LARGE_BYTES, 0);
    for (name, content) in [("lesson.mp4", lesson), ("plan.txt", text()), (".DS_Store", b"Bud1".to_vec())] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let path = folder.path().to_str().unwrap();

    let submission_of =
        |line: &str| Some(line.split_once("to submission ")?.1.trim_end_matches('.').to_owned());
    let (mut upload, submission) = teacher.begin(&["upload", path, "--title", "Fractions"], submission_of);
    until_a_part_has_arrived(&stack, &submission).await;
    upload.kill().unwrap();
    upload.wait().unwrap();
    teacher.let_the_access_token_expire();
    let continued = teacher.json(&["upload", path, "--submission", &submission]);
    let files = continued["files"].as_array().unwrap();
    assert_eq!(files.iter().map(|file| &file["name"]).collect::<Vec<_>>(), ["lesson.mp4", "plan.txt"]);
    assert_eq!(files[0]["outcome"], "sent");
    let kept = files[0]["keptBytes"].as_u64().unwrap();
    assert!(kept >= PART_BYTES && kept < LARGE_BYTES as u64, "{kept} bytes were kept");

    let watched = teacher.json(&["watch", &submission]);
    let documents = watched["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 2, "each file was handed in once: {watched}");
    let id_of = |name: &str| {
        let document = documents.iter().find(|document| document["fileName"] == name).unwrap();
        format!("{submission}/{}", document["documentId"].as_str().unwrap())
    };
    let again = teacher.json(&["upload", path, "--submission", &submission]);
    assert!(again["files"].as_array().unwrap().iter().all(|file| file["outcome"] == "arrived"), "{again}");

    let evaluator = Person::sign_in(&stack, "evaluator").await;
    let listed = evaluator.json(&["submissions", "--state", "Ready", "--type", "video", "--limit", "100"]);
    let listed = listed["submissions"].as_array().unwrap();
    assert!(listed.iter().any(|listed| listed["submissionId"] == submission.as_str()), "{listed:?}");
    let captions = evaluator.run(&["record", &id_of("lesson.mp4"), "--vtt"]);
    assert!(captions.out.starts_with("WEBVTT\n\n00:00:"), "{}{}", captions.out, captions.err);
    let plan = evaluator.run(&["record", &id_of("plan.txt")]);
    assert!(plan.out.contains("[recieve]") && plan.out.contains("Suggestion: receive"), "{}", plan.out);
    let refused = evaluator.run(&["upload", path, "--title", "Fractions"]);
    assert_eq!((refused.code, refused.err.contains("Not allowed")), (Some(1), true), "{}", refused.err);

    assert_eq!(teacher.run(&["logout"]).code, Some(0));
    let ended = teacher.run(&["watch", &submission]);
    assert!(ended.err.contains("you are not signed in"), "{}", ended.err);
}
