//! Tests of files as third parties really return them: odd, but readable.

use super::*;

fn captions(media_type: &str, content: &str) -> Returned {
    returned("captions", FileRole::Transcript, media_type, content.to_owned())
}

fn texts(transcript: &Transcript) -> Vec<&str> {
    transcript.segments.iter().map(|segment| segment.text.as_str()).collect()
}

#[test]
fn f05_dropped_cues_are_counted_on_the_record() {
    let vtt = "WEBVTT\n\n00:58.000 --> 00:60.000\nlost\n\n01:00.000 --> 01:03.000\nkept";
    let record = record_of(MediaType::Mp4, &[captions("text/vtt", vtt)]).unwrap();
    let transcript = record.transcript.unwrap();
    assert_eq!((texts(&transcript), transcript.dropped_cues), (vec!["kept"], 1));
}

#[rstest]
#[case("text/vtt", "")]
#[case("text/vtt", "WEBVTT\n")]
#[case("application/x-subrip", "")]
#[case("application/json", r#"{"segments":[]}"#)]
fn f05_silent_lesson_has_a_transcript_without_segments(#[case] media_type: &str, #[case] content: &str) {
    let record = record_of(MediaType::Mp4, &[captions(media_type, content)]).unwrap();
    assert_eq!(record.transcript, Some(Transcript { language: None, segments: vec![], dropped_cues: 0 }));
}

#[test]
fn f05_captions_of_which_nothing_can_be_read_fail_with_a_sentence() {
    let error = record_of(MediaType::Mp4, &[captions("application/x-subrip", "Good morning.")]).unwrap_err();
    let reason = error.reason();
    assert_eq!(reason.code, "noCues");
    assert!(reason.message.contains("transcript") && reason.message.ends_with('.'), "{}", reason.message);
}

#[rstest]
#[case("text/srt", "1\n00:00:01,000 --> 00:00:02,000\nHello")]
#[case("application/x-subrip; charset=utf-8", "1\n00:00:01,000 --> 00:00:02,000\nHello")]
#[case("text/json", r#"{"segments":[{"startMs":1000,"endMs":2000,"text":"Hello"}]}"#)]
#[case("application/vnd.example+json", r#"{"segments":[{"startMs":1000,"endMs":2000,"text":"Hello"}]}"#)]
fn f08_transcript_is_read_under_any_name_of_its_type(#[case] media_type: &str, #[case] content: &str) {
    let record = record_of(MediaType::Mp4, &[captions(media_type, content)]).unwrap();
    assert_eq!(texts(&record.transcript.unwrap()), ["Hello"]);
}

#[test]
fn f14_v04_numbers_and_text_are_read_in_any_spelling() {
    let json = r#"{"segments":[{"startMs":1e3,"endMs":1500.0,"text":"half \ud83d a character"},
                               {"startMs":2000.0,"endMs":1000,"text":"reversed"}]}"#;
    let media = r#"{"durationMs":61500.0,"widthPx":1.28e3,"heightPx":720}"#;
    let files = [
        captions("application/json", json),
        returned("media.json", FileRole::Media, "application/json", media),
    ];
    let record = record_of(MediaType::Mp4, &files).unwrap();
    let transcript = record.transcript.unwrap();
    assert_eq!(texts(&transcript), ["half \u{FFFD} a character", "reversed"]);
    let times: Vec<_> =
        transcript.segments.iter().map(|segment| (segment.start_ms, segment.end_ms)).collect();
    assert_eq!(times, [(1000, 1500), (2000, 2000)]);
    let media = record.media.unwrap();
    assert_eq!((media.duration_ms, media.width_px, media.height_px), (Some(61_500), Some(1280), Some(720)));
}

#[test]
fn v04_unknown_severity_is_info() {
    let json = r#"{"findings":[{"start":0.0,"end":1,"rule":"r","message":"m","severity":"fatal"}]}"#;
    let files = [text("a"), returned("f.json", FileRole::Findings, "application/json", json)];
    let record = record_of(MediaType::Docx, &files).unwrap();
    assert_eq!(record.findings.first().unwrap().severity, Severity::Info);
}

#[test]
fn v04_file_of_an_unknown_role_is_an_attachment() {
    let declared = json!({"name": "a", "role": "summary", "url": "https://x.example", "sizeBytes": 1.0, "sha256": "0",
                          "mediaType": "text/plain"});
    let file: ReturnedFile = serde_json::from_value(declared).unwrap();
    assert_eq!((file.role, file.size_bytes), (FileRole::Attachment, 1));
}

#[rstest]
#[case("{\"segments\":[\n{\"startMs\":\"secret\"}]}", "Data error at line 2 column 19")]
#[case("{\"segments\":[", "Eof error at line 1 column 13")]
fn v04_broken_json_says_where_and_quotes_nothing(#[case] json: &str, #[case] place: &str) {
    let reason = record_of(MediaType::Mp4, &[captions("application/json", json)]).unwrap_err().reason();
    assert_eq!(reason.code, "badJson");
    assert!(reason.message.contains(&format!("(file 1: badJson, {place})")), "{}", reason.message);
    assert!(!reason.message.contains("secret"), "{}", reason.message);
}

#[rstest]
#[case::utf_8(b"\xEF\xBB\xBFab cd")]
#[case::utf_16(b"\xFF\xFEa\0b\0 \0c\0d\0")]
fn d05_offsets_count_a_byte_order_mark(#[case] content: &'static [u8]) {
    let files = [
        returned("text.txt", FileRole::Text, "text/plain", content),
        json_file(FileRole::Findings, &json!({"findings": [finding(4, 6), finding(1, 3)]})),
    ];
    let record = record_of(MediaType::Docx, &files).unwrap();
    assert_eq!(record.text.as_deref(), Some("ab cd"));
    let ranges: Vec<_> =
        record.findings.iter().map(|finding| (finding.range.start, finding.range.end)).collect();
    assert_eq!(ranges, [(0, 2), (3, 5)]);
    let beyond = json_file(FileRole::Findings, &json!({"findings": [finding(4, 7)]}));
    assert_eq!(code_of(MediaType::Docx, &[files[0].clone(), beyond]), "findingOutsideText");
}

/// The normalised text would be small enough; it is not normalised to find out.
#[test]
fn d13_text_is_refused_by_its_length_before_it_is_normalised() {
    let decomposed = "e\u{301}";
    let fits = decomposed.repeat(limits::MAX_RECORD_BYTES / decomposed.len());
    assert!(record_of(MediaType::Docx, &[text(&fits)]).is_ok());
    let too_long = fits + decomposed;
    assert_eq!(code_of(MediaType::Docx, &[text(&too_long)]), "recordTooLarge");
    let half = "e\u{301}".repeat(limits::MAX_RECORD_BYTES / 6 + 1);
    let segments = json!({"segments": [{"startMs": 0, "endMs": 1, "text": half}, {"startMs": 1, "endMs": 2, "text": half}]});
    assert_eq!(code_of(MediaType::Mp4, &[json_file(FileRole::Transcript, &segments)]), "recordTooLarge");
    let cue = format!("00:01.000 --> 00:02.000\n{half}\n\n");
    let vtt = captions("text/vtt", &format!("WEBVTT\n\n{cue}{cue}"));
    assert_eq!(code_of(MediaType::Mp4, &[vtt]), "recordTooLarge");
}

#[rstest]
#[case::word(MediaType::Docx.as_str(), "PK\u{3}\u{4} damaged")]
#[case::video(MediaType::Mp4.as_str(), "not a video at all")]
#[case::empty("application/pdf", "")]
#[case::word_with_a_password(MediaType::Docx.as_str(), "\u{D0}\u{CF}")]
fn f02_v07_attachment_that_cannot_be_opened_is_listed_and_fails_no_record(
    #[case] media_type: &str,
    #[case] content: &str,
) {
    let attachment = returned("x", FileRole::Attachment, media_type, content.to_owned());
    let files = [text("a"), attachment.clone(), (attachment.0, None)];
    let record = record_of(MediaType::Docx, &files).unwrap();
    assert_eq!(record.attachments.len(), 3);
}

/// Each row is a role, a file that the record is built from, and a second one, which is not even read.
#[rstest]
#[case(FileRole::Transcript, "text/vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nfirst", "application/x-subrip")]
#[case(FileRole::Media, "application/json", r#"{"durationMs": 1}"#, "application/json")]
#[case(FileRole::Text, "text/plain", "first", "text/plain")]
fn v08_first_file_of_a_role_is_used_and_further_ones_are_attachments(
    #[case] role: FileRole,
    #[case] media_type: &str,
    #[case] first: &str,
    #[case] second_type: &str,
) {
    let first = returned("first", role, media_type, first.to_owned());
    let (second, _) = returned("second", role, second_type, "\u{0}nonsense");
    let alone = record_of(MediaType::Mp4, std::slice::from_ref(&first)).unwrap();
    let both = record_of(MediaType::Mp4, &[first, (second, None)]).unwrap();
    assert_eq!((both.transcript, both.media, both.text), (alone.transcript, alone.media, alone.text));
    let roles: Vec<_> = both.attachments.iter().map(|attachment| attachment.role).collect();
    assert_eq!(roles, [role, FileRole::Attachment]);
}

#[test]
fn v07_text_with_a_nul_is_read() {
    let record = record_of(MediaType::Docx, &[text("one\0two")]).unwrap();
    assert_eq!(record.text.as_deref(), Some("one\u{FFFD}two"));
}
