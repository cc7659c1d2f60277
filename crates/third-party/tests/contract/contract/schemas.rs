//! The schemas of the contract and the wire types accept the same values.

use super::*;

fn returned_file() -> ReturnedFile {
    ReturnedFile {
        name: "Grüße.txt".into(),
        role: FileRole::Text,
        url: "https://files.example.com/f/x".to_owned(),
        size_bytes: 5,
        sha256: "0".repeat(64),
        media_type: "text/plain".to_owned(),
    }
}

fn succeeded() -> JobSucceeded {
    let roles =
        [FileRole::Transcript, FileRole::Findings, FileRole::Media, FileRole::Text, FileRole::Attachment];
    let files = roles.map(|role| ReturnedFile { role, ..returned_file() });
    JobSucceeded { job_id: "job_1".to_owned(), files: files.to_vec() }
}

fn failed() -> JobFailed {
    let error = JobError { code: "tooComplex".to_owned(), message: "Too complex.".into() };
    JobFailed { job_id: "job_1".to_owned(), error }
}

fn callback(event: CallbackEvent) -> Callback {
    Callback { timestamp: "2026-11-20T16:00:00.000Z".to_owned(), event }
}

fn pull_request(media_type: MediaType) -> PullRequest {
    PullRequest {
        source_url: "https://uploads.example.com/x".to_owned(),
        media_type,
        size_bytes: u64::from(u32::MAX) + 1,
        callback_url: "http://abc.execute-api.localhost:4566/callbacks/x".to_owned(),
    }
}

fn finding(severity: Severity) -> FileFinding {
    FileFinding {
        start: 0,
        end: 3,
        rule: "doubledWord".into(),
        message: "Doubled.".into(),
        suggestion: Some("the".into()),
        severity,
    }
}

fn media() -> MediaFile {
    MediaFile {
        duration_ms: Some(4000),
        width_px: Some(320),
        height_px: Some(240),
        video_codec: Some("avc1".into()),
        audio_codec: Some("mp4a".into()),
        recorded_at: Some("2026-11-20T09:30:00+01:00".to_owned()),
    }
}

fn transcript() -> TranscriptFile {
    let segment = TranscriptFileSegment {
        start_ms: 0,
        end_ms: 900,
        text: "Good morning!".to_owned(),
        speaker: Some("Teacher".into()),
    };
    TranscriptFile { language: Some("en".into()), segments: vec![segment] }
}

/// The names of schemas, each with a value of the wire type that the schema describes.
fn wire_examples() -> Vec<(&'static str, Value)> {
    let value = |serialized: Result<Value, serde_json::Error>| serialized.unwrap();
    let mut examples = vec![
        ("JobAccepted", value(serde_json::to_value(JobAccepted { job_id: "job_1".to_owned() }))),
        ("JobStatus", value(serde_json::to_value(JobStatus::Working { job_id: "job_1".to_owned() }))),
        ("JobStatus", value(serde_json::to_value(JobStatus::Succeeded(succeeded())))),
        ("JobStatus", value(serde_json::to_value(JobStatus::Failed(failed())))),
        ("Callback", value(serde_json::to_value(callback(CallbackEvent::Succeeded(succeeded()))))),
        ("Callback", value(serde_json::to_value(callback(CallbackEvent::Failed(failed()))))),
        ("MediaFile", value(serde_json::to_value(media()))),
        ("MediaFile", value(serde_json::to_value(MediaFile::default()))),
        ("TranscriptFile", value(serde_json::to_value(transcript()))),
    ];
    for media_type in MediaType::ALL {
        examples.push(("PullRequest", value(serde_json::to_value(pull_request(media_type)))));
    }
    for severity in [Severity::Info, Severity::Warning, Severity::Error] {
        let file = FindingsFile { findings: vec![finding(severity)] };
        examples.push(("FindingsFile", value(serde_json::to_value(file))));
    }
    examples
}

#[test]
fn the_schemas_accept_what_the_wire_types_write() {
    let contract = contract();
    for (name, value) in wire_examples() {
        accepts(&component(&contract, name), &value);
    }
}

#[test]
fn the_schemas_name_exactly_the_fields_of_the_wire_types() {
    let contract = contract();
    let examples: Vec<(&str, Value)> = [
        ("PullRequest", serde_json::to_value(pull_request(MediaType::Mp4))),
        ("JobAccepted", serde_json::to_value(JobAccepted { job_id: "job_1".to_owned() })),
        ("JobSucceeded", serde_json::to_value(succeeded())),
        ("JobFailed", serde_json::to_value(failed())),
        ("JobError", serde_json::to_value(failed().error)),
        ("ReturnedFile", serde_json::to_value(returned_file())),
        ("CallbackFailed", serde_json::to_value(callback(CallbackEvent::Failed(failed())))),
        ("JobStatusWorking", serde_json::to_value(JobStatus::Working { job_id: "job_1".to_owned() })),
        ("FindingsFile", serde_json::to_value(FindingsFile { findings: Vec::new() })),
        ("FileFinding", serde_json::to_value(finding(Severity::Info))),
        ("MediaFile", serde_json::to_value(media())),
        ("TranscriptFile", serde_json::to_value(transcript())),
    ]
    .map(|(name, value)| (name, value.unwrap()))
    .into();
    for (name, value) in examples {
        let described = contract["components"]["schemas"][name]["properties"].as_object().unwrap();
        let written = value.as_object().unwrap();
        assert_eq!(
            described.keys().collect::<BTreeSet<_>>(),
            written.keys().collect::<BTreeSet<_>>(),
            "{name}"
        );
    }
}

#[test]
fn the_schemas_refuse_a_missing_field_and_a_field_of_another_type() {
    let contract = contract();
    for (name, value) in wire_examples().into_iter().filter(|(name, _)| *name != "MediaFile") {
        let validator = component(&contract, name);
        for field in value.as_object().unwrap().keys().filter(|field| *field != "language") {
            let mut broken = value.clone();
            broken.as_object_mut().unwrap().remove(field);
            assert!(!validator.is_valid(&broken), "{name} without {field}");
            broken[field] = Value::Bool(true);
            assert!(!validator.is_valid(&broken), "{name} with {field}: true");
        }
    }
    assert!(!component(&contract, "MediaFile").is_valid(&json!({ "durationMs": -1 })));
}

#[test]
fn the_schema_of_a_returned_file_refuses_what_lectern_refuses() {
    let contract = contract();
    let validator = component(&contract, "ReturnedFile");
    let good = serde_json::to_value(returned_file()).unwrap();
    accepts(&validator, &good);
    let long_url = format!("https://example.com/{}", "x".repeat(limits::MAX_URL_BYTES));
    for (field, bad) in [
        ("name", json!("../../x")),
        ("name", json!("a\\b")),
        ("name", json!("..")),
        ("name", json!("")),
        ("name", json!("a\u{0}b")),
        ("name", json!("x".repeat(limits::MAX_FILE_NAME_BYTES + 1))),
        ("role", json!("virus")),
        ("url", json!("file:///etc/passwd")),
        ("url", json!(long_url)),
        ("sizeBytes", json!(-1)),
        ("sizeBytes", json!(limits::MAX_RETURNED_FILE_BYTES + 1)),
        ("sha256", json!("A".repeat(64))),
        ("sha256", json!("0".repeat(63))),
        ("mediaType", json!("text/plain; charset=utf-8")),
    ] {
        let mut broken = good.clone();
        broken[field] = bad.clone();
        assert!(!validator.is_valid(&broken), "{field}: {bad}");
    }
    let many = JobSucceeded {
        job_id: "job_1".to_owned(),
        files: vec![returned_file(); limits::MAX_RETURNED_FILES + 1],
    };
    assert!(!component(&contract, "JobSucceeded").is_valid(&serde_json::to_value(many).unwrap()));
}

#[test]
fn a_success_with_the_type_of_a_failure_is_refused() {
    let contract = contract();
    let validator = component(&contract, "Callback");
    let mut mixed = serde_json::to_value(callback(CallbackEvent::Succeeded(succeeded()))).unwrap();
    mixed["type"] = json!("job.failed");
    assert!(!validator.is_valid(&mixed));
    assert!(serde_json::from_value::<Callback>(mixed).is_err());
}
