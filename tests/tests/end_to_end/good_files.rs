//! Good files of every type become `Ready`, with a record that matches the file's content.

use serde_json::Value;

use crate::{
    case::Case,
    content::{sample, text, video},
};

async fn record_of(name: &str, bytes: Vec<u8>) -> Value {
    let case = Case::begin();
    let size = bytes.len();
    let upload = case.upload(name, bytes).await;
    case.stack.ready(&upload).await;
    let record = case.stack.record(&upload).await;
    assert_eq!(record["source"]["fileName"], name);
    assert_eq!(record["source"]["sizeBytes"], size);
    assert_eq!(record["documentId"], upload.id().to_string());
    assert_eq!(record["provenance"]["sourceVersionId"], upload.version.as_str());
    let job = case.stack.only_job(&upload).await;
    assert_eq!(record["provenance"]["jobId"], job.job_id.as_str());
    record
}

fn speaks_of_the_lesson_plan(record: &Value) {
    assert!(record["text"].as_str().is_some_and(|text| text.contains("lesson")), "{}", record["text"]);
    let rules: Vec<&str> = record["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|finding| finding["rule"].as_str())
        .collect();
    assert!(rules.contains(&"doubledWord"), "{rules:?}");
}

#[tokio::test]
async fn mp4_becomes_a_record_with_its_length_and_resolution() {
    let record = record_of("lesson.mp4", video()).await;
    assert_eq!(record["source"]["mediaType"], "video/mp4");
    assert!(record["media"]["durationMs"].as_u64().is_some_and(|ms| (3900..4200).contains(&ms)), "{record}");
    assert_eq!((&record["media"]["widthPx"], &record["media"]["heightPx"]), (&320.into(), &240.into()));
    assert_eq!(record["media"]["recordedAt"], "2026-09-01T08:30:00.000Z");
    assert!(!record["transcript"]["segments"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn webm_becomes_a_record_with_its_facts() {
    let record = record_of("lesson.webm", sample("lesson.webm")).await;
    assert_eq!(record["source"]["mediaType"], "video/webm");
    assert_eq!((&record["media"]["widthPx"], &record["media"]["heightPx"]), (&320.into(), &240.into()));
}

#[tokio::test]
async fn videos_of_phones_become_records_with_their_facts() {
    for (name, media_type, codec) in [
        ("phone.mov", "video/quicktime", "avc1"),
        ("phone-hevc.mov", "video/quicktime", "hvc1"),
        ("phone.3gp", "video/3gpp", "avc1"),
    ] {
        let record = record_of(name, sample(name)).await;
        assert_eq!(record["source"]["mediaType"], media_type);
        assert_eq!(record["media"]["videoCodec"], codec, "{record}");
        assert!(!record["transcript"]["segments"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn recordings_become_records_with_their_length_and_a_transcript() {
    for (name, media_type) in [("recording.m4a", "audio/mp4"), ("recording.mp3", "audio/mpeg")] {
        let record = record_of(name, sample(name)).await;
        assert_eq!(record["source"]["mediaType"], media_type);
        assert!(
            record["media"]["durationMs"].as_u64().is_some_and(|ms| (1900..2200).contains(&ms)),
            "{record}"
        );
        assert!(record["media"].get("widthPx").is_none(), "{record}");
        assert!(!record["transcript"]["segments"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn pictures_become_records_without_text_and_transcript() {
    for (name, media_type) in [("board.jpg", "image/jpeg"), ("drawing.png", "image/png")] {
        let record = record_of(name, sample(name)).await;
        assert_eq!(record["source"]["mediaType"], media_type);
        assert_eq!((&record["media"]["widthPx"], &record["media"]["heightPx"]), (&320.into(), &240.into()));
        assert!(record.get("text").is_none() && record.get("transcript").is_none(), "{record}");
        assert_eq!(record["findings"], serde_json::json!([]));
    }
}

#[tokio::test]
async fn slides_and_open_documents_become_records_with_their_text_and_findings() {
    for name in ["slides.pptx", "lesson-plan.odt"] {
        speaks_of_the_lesson_plan(&record_of(name, sample(name)).await);
    }
}

#[tokio::test]
async fn docx_becomes_a_record_with_its_text_and_findings() {
    speaks_of_the_lesson_plan(&record_of("lesson-plan.docx", sample("lesson-plan.docx")).await);
}

#[tokio::test]
async fn pdf_becomes_a_record_with_its_text_and_findings() {
    speaks_of_the_lesson_plan(&record_of("lesson-plan.pdf", sample("lesson-plan.pdf")).await);
}

#[tokio::test]
async fn text_becomes_a_record_with_its_text_and_findings() {
    let bytes = text();
    let record = record_of("notes.txt", bytes.clone()).await;
    assert_eq!(record["text"].as_str().unwrap().trim(), std::str::from_utf8(&bytes).unwrap().trim());
    let findings = record["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["rule"] == "doubledWord"), "{findings:?}");
    assert!(findings.iter().any(|finding| finding["suggestion"] == "receive"), "{findings:?}");
}
