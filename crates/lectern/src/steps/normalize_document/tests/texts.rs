//! What becomes of the texts of returned files.

use super::*;
use crate::display_text;

#[tokio::test]
async fn v03_record_holds_only_neutralised_names_rules_messages_suggestions_and_speakers() {
    let hostile = "\u{1b}[2J\u{202e}gnp\r\nexe\u{200b}\u{e0041}";
    let findings = json!({"findings": [
        {"start": 0, "end": 3, "rule": hostile, "message": hostile, "suggestion": hostile, "severity": "info"},
        {"start": 0, "end": 3, "rule": "empty", "message": "\u{202e}", "severity": "info"},
    ]});
    let transcript = json!({
        "language": hostile,
        "segments": [{"startMs": 0, "endMs": 1, "text": hostile, "speaker": hostile}],
    });
    let media = json!({"videoCodec": hostile, "audioCodec": hostile});
    let captions = format!("WEBVTT\n\n00:00.000 --> 00:01.000\n<v {}>{0}", hostile.replace("\r\n", " "));
    let returned =
        |role, media_type, content: String| record::tests::returned(hostile, role, media_type, content);
    let world = World::with(&[
        returned(FileRole::Text, "text/plain", "the lesson".to_owned()),
        returned(FileRole::Findings, "application/json", findings.to_string()),
        returned(FileRole::Transcript, "application/json", transcript.to_string()),
        returned(FileRole::Transcript, "text/vtt", captions),
        returned(FileRole::Media, "application/json", media.to_string()),
    ])
    .await;
    assert_eq!(world.run("token").await.unwrap(), Outcome::Ready);
    let record = world.record().await.unwrap();
    let (first, second) = (&record.findings[0], &record.findings[1]);
    assert_eq!((first.rule.as_str(), first.message.as_str()), ("[2Jgnp exe", "[2Jgnp exe"));
    assert_eq!(second.message, "The processing service gave no explanation.");
    assert_eq!(record.transcript.as_ref().unwrap().segments[0].text, "[2Jgnp\nexe");
    let texts = serde_json::to_string(&record).unwrap();
    let texts = texts.replace("\\n", "");
    assert!(!texts.contains("\\u") && !texts.chars().any(display_text::is_neutralised), "{texts}");
}

#[tokio::test]
async fn reversed_segment_ends_when_it_begins_in_every_format() {
    let json = r#"{"segments":[{"startMs":5000,"endMs":2000,"text":"reversed"}]}"#;
    for (media_type, content) in [
        ("application/json", json),
        ("text/vtt", "WEBVTT\n\n00:05.000 --> 00:02.000\nreversed\n"),
        ("application/x-subrip", "1\n00:00:05,000 --> 00:00:02,000\nreversed\n"),
    ] {
        let world =
            World::with(&[record::tests::returned("c", FileRole::Transcript, media_type, content)]).await;
        assert_eq!(world.run("token").await.unwrap(), Outcome::Ready, "{media_type}");
        let segment = world.record().await.unwrap().transcript.unwrap().segments.remove(0);
        assert_eq!((segment.start_ms, segment.end_ms), (5000, 5000), "{media_type}");
    }
}
