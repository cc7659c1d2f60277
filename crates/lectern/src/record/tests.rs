//! Tests whole records: their content, refused files, and that every record conforms to the published schema.

mod real_files;

use std::{collections::BTreeMap, fmt::Write as _};

use bytes::Bytes;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use time::macros::datetime;

use super::*;
use crate::{
    contract::wire::{JobSucceeded, ReturnedFile},
    document::{CallbackId, Document, DocumentId, DocumentRef, DocumentState, JobResult, ObjectVersion},
    error::{Error, rfc3339},
    limits,
};

type Returned = (ReturnedFile, Option<Bytes>);

const NOW: time::OffsetDateTime = datetime!(2026-11-20 17:00:00 UTC);

/// A file as the callback declares it, with its content.
pub(crate) fn returned(name: &str, role: FileRole, media_type: &str, content: impl Into<Bytes>) -> Returned {
    let content = content.into();
    let file = ReturnedFile {
        name: name.into(),
        role,
        url: format!("https://third-party.example/{}", name.len()),
        size_bytes: content.len() as u64,
        sha256: Sha256::digest(&content).iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        }),
        media_type: media_type.to_owned(),
    };
    (file, Some(content))
}

/// The record of a document from all files that its job returned, in the order of the callback.
pub(crate) fn build(document: &Document, files: &[Returned]) -> Result<Record, Error> {
    let mut draft = Draft::new(document, "house")?;
    for (file, content) in files {
        draft.add(file, content.as_ref())?;
    }
    draft.finish(rfc3339(NOW))
}

/// A document whose job returned these files.
pub(crate) fn document(key: &str, media_type: MediaType, files: &[Returned]) -> Document {
    let object = ObjectVersion {
        bucket: "uploads".to_owned(),
        key: key.to_owned(),
        version_id: "version-1".to_owned(),
    };
    Document {
        reference: DocumentRef {
            submission_id: "s1".parse().unwrap(),
            document_id: DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id),
        },
        object,
        owner: None,
        name: None,
        size_bytes: 12_345,
        media_type: Some(media_type),
        state: DocumentState::Normalizing,
        reason: None,
        times: BTreeMap::from([("Received".to_owned(), "2026-11-20T16:00:00.000Z".to_owned())]),
        superseded_by: None,
        is_withdrawn: false,
        callback_id: CallbackId::new("callback"),
        traceparent: None,
        attempt: None,
        round: crate::document::Round::FIRST,
        job_id: Some("job-1".to_owned()),
        earlier_jobs: std::collections::BTreeSet::new(),
        result: Some(JobResult::Succeeded(JobSucceeded {
            job_id: "job-1".to_owned(),
            files: files.iter().map(|(file, _)| file.clone()).collect(),
        })),
        redrives: 0,
        record_key: None,
        abandoned_jobs: std::collections::BTreeSet::new(),
        expires_at: None,
    }
}

fn record_of(media_type: MediaType, files: &[Returned]) -> Result<Record, Error> {
    let key = format!("submissions/s1/lesson.{}", media_type.file_type().extension());
    let record = build(&document(&key, media_type, files), files)?;
    let value = serde_json::to_value(&record).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&json_schema()).unwrap();
    let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(
        serde_json::from_value::<Record>(value).unwrap(),
        record,
        "a record is read as it was written"
    );
    Ok(record)
}

fn code_of(media_type: MediaType, files: &[Returned]) -> String {
    let error = record_of(media_type, files).unwrap_err();
    let Error::RecordInvalid(reason) = error else { panic!("{error}") };
    assert!(reason.message.ends_with('.'), "{}", reason.message);
    reason.code
}

/// The smallest record.
pub(super) fn minimal() -> Record {
    record_of(MediaType::Docx, &[text("")]).unwrap()
}

fn text(text: &str) -> Returned {
    returned("text.txt", FileRole::Text, "text/plain", text.to_owned())
}

fn json_file(role: FileRole, value: &serde_json::Value) -> Returned {
    returned("file.json", role, "application/json", sorted(value).to_string())
}

/// Sorts the keys of objects. Their order otherwise depends on the features of `serde_json` that other crates enable in
/// the same build, and the snapshots contain the hash.
fn sorted(value: &serde_json::Value) -> serde_json::Value {
    if let Some(fields) = value.as_object() {
        let fields: std::collections::BTreeMap<_, _> = fields.iter().collect();
        return fields.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
    }
    value.as_array().map_or_else(|| value.clone(), |values| values.iter().map(sorted).collect())
}

fn finding(start: u64, end: u64) -> serde_json::Value {
    json!({"start": start, "end": end, "rule": "doubledWord", "message": "“the” stands twice.", "suggestion": "the",
           "severity": "warning"})
}

#[test]
fn record_of_a_video() {
    let vtt = "WEBVTT\n\n00:01.000 --> 00:02.500\n<v Ms Smith>Guten Morgen, Schu\u{308}ler</v>\n\n\
               00:02.500 --> 00:04.000\n<i>a</i> &lt; b";
    let facts = json!({"durationMs": 61_500, "widthPx": 1280, "heightPx": 720, "videoCodec": "avc1",
                       "audioCodec": "mp4a", "recordedAt": "2026-11-19T08:30:00.25+09:00"});
    let files = [
        returned("captions.vtt", FileRole::Transcript, "text/vtt", vtt),
        json_file(FileRole::Media, &facts),
        returned("Bild Schu\u{308}ler.png", FileRole::Attachment, "image/png", "not opened"),
    ];
    insta::assert_json_snapshot!(record_of(MediaType::Mp4, &files).unwrap());
}

#[test]
fn record_of_a_recording_has_facts_and_a_transcript() {
    let files = [
        returned(
            "captions.vtt",
            FileRole::Transcript,
            "text/vtt",
            "WEBVTT\n\n00:01.000 --> 00:02.500\nGood morning",
        ),
        json_file(FileRole::Media, &json!({"durationMs": 2_500, "audioCodec": "mp3"})),
    ];
    let record = record_of(MediaType::Mp3, &files).unwrap();
    assert_eq!(record.source.media_type, MediaType::Mp3);
    let media = record.media.unwrap();
    assert_eq!(
        (media.duration_ms, media.width_px, media.audio_codec.as_deref()),
        (Some(2_500), None, Some("mp3"))
    );
    assert_eq!(record.transcript.unwrap().segments[0].text, "Good morning");
}

#[test]
fn record_of_a_picture_has_neither_text_nor_transcript() {
    let facts = json_file(FileRole::Media, &json!({"widthPx": 320, "heightPx": 240}));
    let report = returned("report.pdf", FileRole::Attachment, "application/pdf", "not opened");
    for files in [vec![facts.clone()], vec![report.clone()], vec![facts, report]] {
        let record = record_of(MediaType::Jpeg, &files).unwrap();
        assert_eq!((record.text, record.transcript, record.findings), (None, None, vec![]));
        assert_eq!(record.attachments.len(), files.len());
    }
}

#[test]
fn record_of_slides_has_a_text_with_findings() {
    let files =
        [text("The the slides"), json_file(FileRole::Findings, &json!({"findings": [finding(0, 7)]}))];
    let record = record_of(MediaType::Pptx, &files).unwrap();
    assert_eq!((record.text.as_deref(), record.findings.len()), (Some("The the slides"), 1));
}

#[test]
fn s02_attachments_have_names_and_types_that_are_safe_to_save() {
    let files = [
        returned("report\u{202e}fdp.exe", FileRole::Attachment, "application/pdf", "%PDF-1.7"),
        returned("page.html", FileRole::Attachment, "text/html", "<script>"),
    ];
    let attachments = record_of(MediaType::Docx, &files).unwrap().attachments;
    let shown: Vec<_> =
        attachments.iter().map(|file| (file.file_name.as_str(), file.media_type.as_str())).collect();
    assert_eq!(shown, [("reportfdp_exe.pdf", "application/pdf"), ("page_html", "application/octet-stream")]);
}

#[test]
fn record_of_a_document() {
    let content = "Le the\u{301} the\u{301} est chaud.\r\nFin.";
    let files = [
        text(content),
        json_file(FileRole::Findings, &json!({"findings": [finding(16, 21), finding(3, 12)]})),
    ];
    let record = record_of(MediaType::Docx, &files).unwrap();
    let first = record.findings.first().unwrap().range;
    let covered: String = record.text.as_deref().unwrap().chars().skip(3).take(7).collect();
    assert_eq!((first.start, first.end, covered.as_str()), (3, 10, "thé thé"));
    insta::assert_json_snapshot!(record);
}

#[rstest]
#[case::vtt("text/vtt", "WEBVTT\n\n00:01.000 --> 00:02.500\nHello")]
#[case::vtt_with_parameter("text/vtt; charset=utf-8", "WEBVTT\n\n00:01.000 --> 00:02.500\nHello")]
#[case::srt("application/x-subrip", "1\n00:00:01,000 --> 00:00:02,500\nHello\n")]
#[case::json(
    "application/json",
    r#"{"segments":[{"startMs":1000,"endMs":2500,"text":"Hello","speaker":" "}]}"#
)]
#[case::json_with_bom(
    "application/json",
    "\u{feff}{\"segments\":[{\"startMs\":1000,\"endMs\":2500,\"text\":\"Hello\"}]}"
)]
fn transcript_is_the_same_in_every_format(#[case] media_type: &str, #[case] content: &str) {
    let files = [returned("captions", FileRole::Transcript, media_type, content.to_owned())];
    let segment = TranscriptSegment { start_ms: 1000, end_ms: 2500, text: "Hello".to_owned(), speaker: None };
    let transcript = record_of(MediaType::Mp4, &files).unwrap().transcript.unwrap();
    assert_eq!(transcript, Transcript { language: None, segments: vec![segment], dropped_cues: 0 });
}

#[rstest]
#[case::bom_and_crlf("\u{feff}WEBVTT\r\n\r\n00:01.000 --> 00:02.000\r\nA\r\n", &[(1000, 2000, "A")])]
#[case::overlapping_and_unordered(
    "WEBVTT\n\n00:03.000 --> 00:09.000\nB\n\n00:01.000 --> 00:04.000\nA",
    &[(1000, 4000, "A"), (3000, 9000, "B")]
)]
#[case::negative_start("WEBVTT\n\n-00:01.000 --> 00:02.000\nA", &[(0, 2000, "A")])]
#[case::end_before_start("WEBVTT\n\n00:05.000 --> 00:02.000\nA", &[(5000, 5000, "A")])]
fn case_43_strange_captions_become_ordered_segments(
    #[case] vtt: &str,
    #[case] expected: &[(u64, u64, &str)],
) {
    let files = [returned("captions.vtt", FileRole::Transcript, "text/vtt", vtt.to_owned())];
    let segments = record_of(MediaType::Mp4, &files).unwrap().transcript.unwrap().segments;
    let seen: Vec<_> = segments.iter().map(|s| (s.start_ms, s.end_ms, s.text.as_str())).collect();
    assert_eq!(seen, expected);
}

#[rstest]
#[case::not_utf8("text/vtt", b"WEBVTT\n\n00:01.000 --> 00:02.000\nGr\xfc\xdfe", "notUtf8")]
#[case::no_vtt("text/vtt", b"<html>", "malformed")]
#[case::all_cues_lost("text/vtt", b"WEBVTT\n\n00:01.000 --> soon\nHello", "noCues")]
#[case::srt_not_utf8("application/x-subrip", b"1\n00:00:01,000 --> 00:00:02,000\n\xff\xfb", "notUtf8")]
#[case::json_not_json("application/json", b"{\"segments\":[", "badJson")]
#[case::json_negative("application/json", br#"{"segments":[{"startMs":-1,"endMs":1,"text":""}]}"#, "badJson")]
#[case::unknown("text/html", b"<b>", "unknownTranscriptType")]
fn case_43_unreadable_transcript_is_a_typed_error(
    #[case] media_type: &str,
    #[case] content: &'static [u8],
    #[case] code: &str,
) {
    let files = [returned("captions", FileRole::Transcript, media_type, content)];
    assert_eq!(code_of(MediaType::Mp4, &files), code);
}

#[rstest]
#[case::beyond_the_text(finding(0, 6), "findingOutsideText")]
#[case::far_beyond(finding(u64::MAX - 1, u64::MAX), "findingOutsideText")]
#[case::reversed(finding(3, 2), "findingOutsideText")]
#[case::negative(json!({"start": -1, "end": 2, "rule": "r", "message": "m", "severity": "info"}), "badJson")]
fn bad_finding_is_refused(#[case] bad: serde_json::Value, #[case] code: &str) {
    let files = [text("12345"), json_file(FileRole::Findings, &json!({"findings": [finding(0, 5), bad]}))];
    assert_eq!(code_of(MediaType::Docx, &files), code);
}

#[test]
fn findings_without_a_text_are_refused_and_no_findings_are_not() {
    let with =
        |findings: &[serde_json::Value]| [json_file(FileRole::Findings, &json!({"findings": findings}))];
    assert_eq!(code_of(MediaType::Docx, &with(&[finding(0, 0)])), "findingOutsideText");
    assert!(record_of(MediaType::Docx, &with(&[])).is_ok());
}

#[test]
fn findings_may_come_before_the_text_and_in_several_files() {
    let findings = |at| json_file(FileRole::Findings, &json!({"findings": [finding(at, at + 1)]}));
    let record = record_of(MediaType::Docx, &[findings(2), text("abc"), findings(0)]).unwrap();
    assert_eq!(record.findings.iter().map(|f| f.range.start).collect::<Vec<_>>(), [0, 2]);
}

#[rstest]
#[case::nothing(&[], "nothingReturned")]
#[case::content_lost(&[(text("a").0, None)], "missing")]
#[case::text_is_html(&[returned("t", FileRole::Text, "text/html", "<p>")], "unknownTextType")]
fn files_that_do_not_fit_together_are_refused(#[case] files: &[Returned], #[case] code: &str) {
    assert_eq!(code_of(MediaType::Docx, files), code);
}

#[rstest]
#[case("2026-11-19T08:30:00+09:00", Some("2026-11-18T23:30:00.000Z"))]
#[case("2026-11-19T08:30:00Z", Some("2026-11-19T08:30:00.000Z"))]
#[case("0000-01-01T00:00:00+01:00", None)]
#[case("9999-12-31T23:59:59-01:00", None)]
#[case("yesterday", None)]
#[case("2026-11-19", None)]
fn recording_time_is_utc_or_refused(#[case] given: &str, #[case] expected: Option<&str>) {
    let files = [json_file(FileRole::Media, &json!({"recordedAt": given}))];
    match expected {
        Some(utc) => {
            assert_eq!(
                record_of(MediaType::Mp4, &files).unwrap().media.unwrap().recorded_at.as_deref(),
                Some(utc)
            );
        }
        None => assert_eq!(code_of(MediaType::Mp4, &files), "badTime"),
    }
}

#[test]
fn names_are_composed_and_otherwise_inert() {
    let evil = "=HYPERLINK(\"x\")<script>alert(1)</script>e\u{301}";
    let files = [returned(evil, FileRole::Attachment, "image/png", "x"), text(evil)];
    let document = document("submissions/s1/the\u{301}.docx", MediaType::Docx, &files);
    let record = build(&document, &files).unwrap();
    let composed = "=HYPERLINK(\"x\")<script>alert(1)</script>é";
    assert_eq!(record.source.file_name, "thé.docx");
    let saved = "=HYPERLINK(_x_)_script_alert(1)__script_é.png";
    assert_eq!(record.attachments.first().unwrap().file_name, saved);
    assert_eq!(record.text.as_deref(), Some(composed));
}

#[test]
fn parsed_file_over_the_limit_is_refused_unread() {
    let (mut file, _) = text("x");
    file.size_bytes = limits::MAX_PARSED_FILE_BYTES + 1;
    assert_eq!(code_of(MediaType::Docx, &[(file, None)]), "tooLarge");
}

#[test]
fn counts_and_size_of_a_record_are_bounded() {
    let findings = vec![finding(0, 0); limits::MAX_RECORD_FINDINGS + 1];
    let many = [text(""), json_file(FileRole::Findings, &json!({"findings": findings}))];
    assert_eq!(code_of(MediaType::Docx, &many), "tooManyFindings");
    let segments = vec![json!({"startMs": 0, "endMs": 0, "text": "a"}); limits::MAX_RECORD_SEGMENTS + 1];
    let many = [json_file(FileRole::Transcript, &json!({"segments": segments}))];
    assert_eq!(code_of(MediaType::Mp4, &many), "tooManySegments");
    let long = "\"".repeat(limits::MAX_RECORD_BYTES / 2);
    assert_eq!(code_of(MediaType::Docx, &[text(&long)]), "recordTooLarge");
}

#[test]
fn document_without_a_successful_result_is_our_own_fault() {
    let files = [text("x")];
    let mut lost = document("submissions/s1/a.docx", MediaType::Docx, &files);
    lost.result = None;
    assert_eq!(build(&lost, &files).unwrap_err().name(), "Store.Unavailable");
}

proptest! {
    #[test]
    fn any_content_gives_a_record_that_keeps_the_schema_or_a_typed_error(
        role in prop_oneof![
            Just(FileRole::Transcript), Just(FileRole::Findings), Just(FileRole::Media), Just(FileRole::Text),
        ],
        media_type in "text/vtt|application/x-subrip|application/json|text/plain|.{0,12}",
        content: Vec<u8>,
    ) {
        match record_of(MediaType::Mp4, &[returned("x", role, &media_type, content)]) {
            Ok(_) => {}
            Err(error) => prop_assert_eq!(error.name(), "Record.Invalid"),
        }
    }
}
