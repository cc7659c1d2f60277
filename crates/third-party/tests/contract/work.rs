//! The result files of real samples.

use std::path::PathBuf;

use http::StatusCode;
use lectern::contract::wire::{FileRole, FindingsFile, JobSucceeded, MediaFile};

use crate::support::{Harness, NOTES};

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples").join(name)).unwrap()
}

async fn result(harness: &Harness, media_type: &str, bytes: Vec<u8>) -> JobSucceeded {
    assert_eq!(harness.push(media_type, bytes).send().await.unwrap().status(), StatusCode::CREATED);
    harness.receiver.wait_for(1).await[0].succeeded()
}

async fn file(harness: &Harness, result: &JobSucceeded, role: FileRole) -> String {
    let file = result.files.iter().find(|file| file.role == role).unwrap();
    harness.download(file).await.text().await.unwrap()
}

#[tokio::test]
async fn text_is_returned_with_findings_that_point_into_it() {
    let harness = Harness::start().await;
    let result = harness.notes_result().await;
    let text = file(&harness, &result, FileRole::Text).await;
    assert_eq!(text.as_bytes(), NOTES);
    let findings: FindingsFile =
        serde_json::from_str(&file(&harness, &result, FileRole::Findings).await).unwrap();
    assert!(!findings.findings.is_empty(), "a doubled word is found");
    let length = text.chars().count() as u64;
    assert!(findings.findings.iter().all(|found| found.start < found.end && found.end <= length));
    let report = file(&harness, &result, FileRole::Attachment).await;
    assert!(report.contains(&format!("Findings: {}\n", findings.findings.len())), "{report}");
}

#[tokio::test]
async fn the_sample_documents_are_read() {
    for (name, media_type) in [
        ("lesson-plan.docx", DOCX),
        ("lesson-plan.pdf", "application/pdf"),
        ("lesson-plan.odt", "application/vnd.oasis.opendocument.text"),
        ("slides.pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ] {
        let harness = Harness::start().await;
        let result = result(&harness, media_type, sample(name)).await;
        let text = file(&harness, &result, FileRole::Text).await;
        assert!(text.split_whitespace().count() > 20, "{name}: {text}");
    }
}

#[tokio::test]
async fn the_sample_videos_have_facts_and_captions() {
    for (name, media_type) in [
        ("lesson.mp4", "video/mp4"),
        ("lesson.webm", "video/webm"),
        ("phone.mov", "video/quicktime"),
        ("phone-hevc.mov", "video/quicktime"),
        ("phone.3gp", "video/3gpp"),
    ] {
        let harness = Harness::start().await;
        let result = result(&harness, media_type, sample(name)).await;
        let facts: MediaFile = serde_json::from_str(&file(&harness, &result, FileRole::Media).await).unwrap();
        assert!(facts.duration_ms.is_some_and(|ms| ms > 0), "{name}: {facts:?}");
        assert!(facts.width_px.is_some() && facts.height_px.is_some(), "{name}: {facts:?}");
        assert!(facts.video_codec.is_some(), "{name}: {facts:?}");
        let captions = file(&harness, &result, FileRole::Transcript).await;
        let cues = lectern_content::vtt::parse(captions.as_bytes()).unwrap().cues;
        assert_eq!(cues.len() as u64, facts.duration_ms.unwrap().div_ceil(1000), "{name}");
        assert!(cues[0].text.starts_with("Video, second 1 of "), "{name}");
    }
}

#[tokio::test]
async fn the_sample_recordings_have_a_length_and_captions() {
    for (name, media_type, codec) in
        [("recording.m4a", "audio/mp4", "mp4a"), ("recording.mp3", "audio/mpeg", "mp3")]
    {
        let harness = Harness::start().await;
        let result = result(&harness, media_type, sample(name)).await;
        let facts: MediaFile = serde_json::from_str(&file(&harness, &result, FileRole::Media).await).unwrap();
        assert!(facts.duration_ms.is_some_and(|ms| (1900..2200).contains(&ms)), "{name}: {facts:?}");
        assert_eq!(
            facts.audio_codec.as_ref().map(lectern::display_text::Label::as_str),
            Some(codec),
            "{name}"
        );
        let captions = file(&harness, &result, FileRole::Transcript).await;
        let cues = lectern_content::vtt::parse(captions.as_bytes()).unwrap().cues;
        assert!(cues[0].text.starts_with("Recording, second 1 of "), "{name}: {captions}");
    }
}

#[tokio::test]
async fn pictures_return_their_size_and_neither_transcript_nor_findings() {
    for (name, media_type) in [("board.jpg", "image/jpeg"), ("drawing.png", "image/png")] {
        let harness = Harness::start().await;
        let result = result(&harness, media_type, sample(name)).await;
        assert_eq!(
            result.files.iter().map(|file| file.role).collect::<Vec<_>>(),
            [FileRole::Media],
            "{name}"
        );
        let facts: MediaFile = serde_json::from_str(&file(&harness, &result, FileRole::Media).await).unwrap();
        assert_eq!((facts.width_px, facts.height_px), (Some(320), Some(240)), "{name}");
    }
}

#[tokio::test]
async fn an_unreadable_document_fails_its_job_with_a_code() {
    let truncated = sample("lesson.mp4");
    for (media_type, bytes, codes) in [
        ("video/mp4", truncated[..truncated.len() / 2].to_vec(), ["truncated", "malformed"]),
        ("application/pdf", b"no pdf at all".to_vec(), ["malformed", "truncated"]),
        (DOCX, b"PK\x03\x04 and nothing else".to_vec(), ["malformed", "truncated"]),
        ("text/plain", b"Gr\xFC\xDFe".to_vec(), ["notUtf8", "notUtf8"]),
        ("video/webm", b"no video".to_vec(), ["malformed", "malformed"]),
        ("audio/mpeg", b"no recording".to_vec(), ["malformed", "malformed"]),
        ("image/png", sample("drawing.png")[..900].to_vec(), ["truncated", "truncated"]),
        ("image/jpeg", sample("drawing.png")[1..].to_vec(), ["malformed", "malformed"]),
        ("application/vnd.oasis.opendocument.text", sample("slides.pptx"), ["malformed", "malformed"]),
    ] {
        let harness = Harness::start().await;
        harness.push(media_type, bytes).send().await.unwrap();
        let code = harness.receiver.wait_for(1).await[0].failed_code();
        assert!(codes.contains(&code.as_str()), "{media_type}: {code}");
    }
}
