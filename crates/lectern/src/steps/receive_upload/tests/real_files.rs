//! Tests of uploads as teachers really make them.

use bytes::Bytes;

use super::*;
use crate::limits::ZIP_END_BYTES;

const MP4: &[u8] = b"\0\0\0\x14ftypisom\0\0\x02\0isom\0\0\0\x08free";
const WEBM: &[u8] = b"\x1A\x45\xDF\xA3\x88\x42\x82\x85webm\0";

/// The end of a ZIP with these entries.
fn zip_end(names: &[&str]) -> Vec<u8> {
    let mut end = Vec::new();
    for name in names {
        end.extend(b"PK\x01\x02");
        end.extend([0; 24]);
        end.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        end.extend([0; 16]);
        end.extend(name.as_bytes());
    }
    let size = u32::try_from(end.len()).unwrap();
    end.extend(b"PK\x05\x06\0\0\0\0\0\0\0\0");
    end.extend(size.to_le_bytes());
    end.extend([0; 6]);
    end
}

/// A ZIP of this size with these entries in its directory.
fn zip(size: usize, names: &[&str]) -> Vec<u8> {
    let end = zip_end(names);
    let mut bytes = b"PK\x03\x04".to_vec();
    bytes.resize(size.saturating_sub(end.len()).max(4), b'x');
    bytes.extend(end);
    bytes
}

const WORD: [&str; 3] = ["word/media/image1.jpeg", "word/document.xml", "_rels/.rels"];

async fn judged(name: &str, declared: Option<&str>, bytes: impl Into<Bytes>) -> Document {
    let world = MemoryWorld::default();
    let object = object(name, "v1");
    world.objects.upload(&object, declared, bytes);
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    world.document(&object).unwrap()
}

#[rstest]
#[tokio::test]
async fn f01_clumsy_declaration_turns_no_good_file_away(
    #[values(
        "",
        "application/zip",
        "application/x-zip-compressed",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "APPLICATION/OCTET-STREAM",
        "binary/octet-stream",
        "Binary/Octet-Stream",
        "application/download",
        "application/x-www-form-urlencoded",
        "application/unknown",
        "text/plain",
        "text/html; charset=utf-8",
        "nonsense"
    )]
    declared: &str,
) {
    let files: [(&str, &[u8]); 5] =
        [("a.docx", &zip(1000, &WORD)), ("a.pdf", PDF), ("a.txt", TEXT), ("a.mp4", MP4), ("a.webm", WEBM)];
    for (name, bytes) in files {
        let document = judged(name, Some(declared), bytes.to_vec()).await;
        assert_eq!(
            (document.state, code(&document)),
            (DocumentState::Received, None),
            "{name} as {declared}"
        );
    }
}

#[rstest]
#[case("a.docx", "application/msword")]
#[case("a.docx", &MediaType::Docx.as_str().to_uppercase())]
#[case("a.mp4", "application/mp4")]
#[case("a.mp4", "Video/MP4")]
#[case("a.mp4", "video/quicktime")]
#[case("a.mp4", "video/3gpp")]
#[case("a.m4v", "video/x-m4v")]
#[case("a.mp4", "audio/mp4")]
#[case("a.webm", "video/x-matroska")]
#[case("a.webm", "audio/webm")]
#[case("a.pdf", "application/x-pdf")]
#[case("a.txt", "text/markdown")]
#[tokio::test]
async fn f01_other_name_of_the_type_is_no_contradiction(#[case] name: &str, #[case] declared: &str) {
    let bytes = match name {
        "a.docx" => zip(1000, &WORD),
        "a.mp4" | "a.m4v" => MP4.to_vec(),
        "a.webm" => WEBM.to_vec(),
        "a.pdf" => PDF.to_vec(),
        _ => TEXT.to_vec(),
    };
    assert_eq!(code(&judged(name, Some(declared), bytes).await), None);
}

#[rstest]
#[case("a.pdf", "image/png", PDF)]
#[case("a.pdf", "video/mp4", PDF)]
#[case("a.pdf", "application/msword", PDF)]
#[case("a.mp4", "image/heic", MP4)]
#[case("a.mp4", "application/pdf", MP4)]
#[case("a.txt", "application/pdf", TEXT)]
#[case("a.txt", "audio/mpeg", TEXT)]
#[tokio::test]
async fn f01_declaration_of_quite_another_file_contradicts(
    #[case] name: &str,
    #[case] declared: &str,
    #[case] bytes: &'static [u8],
) {
    assert_eq!(code(&judged(name, Some(declared), bytes).await), Some("typeMismatch"));
}

#[rstest]
#[case::small(1000)]
#[case::longer_than_the_first_bytes(60_000)]
#[tokio::test]
async fn f04_document_is_accepted_wherever_its_parts_stand(#[case] size: usize) {
    assert_eq!(code(&judged("a.docx", None, zip(size, &WORD)).await), None);
}

#[tokio::test]
async fn f04_end_is_read_only_of_a_zip_that_claims_to_be_a_document() {
    let reads = async |name: &str, bytes: Vec<u8>| {
        let world = MemoryWorld::default();
        let object = object(name, "v1");
        world.objects.upload(&object, None, bytes);
        world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
        world.count("read_upload")
    };
    assert_eq!(reads("a.docx", zip(1000, &WORD)).await, 2);
    assert_eq!(reads("a.pdf", zip(1000, &WORD)).await, 1);
    assert_eq!(reads("a.docx", PDF.to_vec()).await, 1);
    assert_eq!(reads("a.pdf", PDF.to_vec()).await, 1);
    assert_eq!(reads("a.exe", PDF.to_vec()).await, 0);
}

#[tokio::test]
async fn f04_no_more_than_the_end_of_a_large_document_is_read() {
    let world = MemoryWorld::default();
    let object = object("a.docx", "v1");
    world.objects.upload(&object, None, zip(usize::try_from(2 * ZIP_END_BYTES).unwrap(), &WORD));
    let MemoryWorld { objects: uploads, store, states: executions, clock, random, .. } = &world;
    let event = s3_event(&[(&object, "01")]);
    let message = Message { body: &event, xray_header: None };
    let max_upload_bytes = u64::MAX;
    let ports =
        Ports { uploads, store, executions, clock, random, max_upload_bytes, scans_for_malware: false };
    assert_eq!(ports.handle(message).await.unwrap(), accepted(1));
    assert_eq!(uploads.bytes_read(), SNIFF_BYTES + ZIP_END_BYTES);
}

#[rstest]
#[case::no_end(&zip(1000, &WORD)[..500], "truncated", "incomplete")]
#[case::spreadsheet(&zip(1000, &["_rels/.rels", "xl/workbook.xml"]), "typeMismatch", "another kind of document")]
#[case::photos(&zip(1000, &["a.jpg"]), "typeMismatch", "ZIP")]
#[case::password(&ole("EncryptedPackage"), "encrypted", "Remove the password")]
#[case::old_word(&ole("WordDocument"), "unsupported", "Save it as .docx")]
#[case::either(&ole(""), "unsupported", "without a password")]
#[case::text(TEXT, "typeMismatch", "not what its extension says")]
#[tokio::test]
async fn f04_f06_document_that_cannot_be_read_is_rejected_with_a_way_out(
    #[case] bytes: &[u8],
    #[case] expected: &str,
    #[case] way_out: &str,
) {
    let document = judged("a.docx", None, bytes.to_vec()).await;
    assert_eq!((document.state, code(&document)), (DocumentState::Rejected, Some(expected)));
    let message = document.reason.unwrap().message;
    assert!(message.contains(way_out), "{message}");
}

/// A compound file with an entry of this name.
fn ole(name: &str) -> Vec<u8> {
    let name = name.encode_utf16().flat_map(u16::to_le_bytes);
    [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1].into_iter().chain(name).collect()
}

#[tokio::test]
async fn f06_text_in_utf_16_is_accepted_and_in_an_old_encoding_rejected_with_a_way_out() {
    assert_eq!(code(&judged("a.txt", None, &b"\xFF\xFEG\0r\0\xFC\0\xDF\0e\0"[..]).await), None);
    for old in [&b"Gr\xFC\xDFe"[..], b"H\0i\0!\0"] {
        let document = judged("a.txt", None, old).await;
        assert_eq!(code(&document), Some("notUtf8"));
        assert!(document.reason.unwrap().message.contains("save it with the encoding UTF-8"));
    }
}

#[rstest]
#[case::brand_of_a_phone("a.mp4", b"\0\0\0\x14ftyp3gp4\0\0\x02\x003gp4", None)]
#[case::brand_of_a_camera("a.mp4", b"\0\0\0\x14ftypXAVC\0\0\x02\0XAVC", None)]
#[case::photo("a.mp4", b"\0\0\0\x14ftypheic\0\0\0\0mif1", Some("typeMismatch"))]
#[case::web_m_of_a_browser("a.webm", WEBM, None)]
#[case::matroska("a.webm", b"\x1A\x45\xDF\xA3\x8B\x42\x82\x88matroska", Some("typeMismatch"))]
#[case::pdf_behind_junk("a.pdf", b"junk\n%PDF-1.4\n", None)]
#[case::text_that_mentions_pdf("a.txt", b"A file that starts with %PDF-1.4 is a PDF.", None)]
#[tokio::test]
async fn f03_f08_f11_d06_structure_decides(
    #[case] name: &str,
    #[case] bytes: &'static [u8],
    #[case] expected: Option<&str>,
) {
    assert_eq!(code(&judged(name, None, bytes).await), expected);
}

#[tokio::test]
async fn f07_companion_files_are_ignored_and_counted() {
    let world = MemoryWorld::default();
    let objects = ["._lesson.mp4", ".DS_Store", "lesson.mp4", "~$plan.docx", "lesson.mp4.filepart"]
        .map(|name| object(name, "v1"));
    for object in &objects {
        world.objects.upload(object, None, MP4);
    }
    let summary =
        world.receive_upload(&s3_event(&objects.each_ref().map(|object| (object, "01")))).await.unwrap();
    assert_eq!(summary, Summary { accepted: 1, rejected: 0, erased: 0, removed: 0, ignored: 4 });
    assert_eq!(world.store.all().len(), 1);
}

#[rstest]
#[case::in_order(["01", "02"])]
#[case::swapped(["02", "01"])]
#[tokio::test]
async fn f07_rejected_file_that_is_replaced_no_longer_holds_its_submission(#[case] sequencers: [&str; 2]) {
    let world = MemoryWorld::default();
    let [bad, good] = ["v1", "v2"].map(|version| object("lesson.pdf", version));
    let uploads: [(&ObjectVersion, &str, &'static [u8]); 2] = [(&bad, "01", TEXT), (&good, "02", PDF)];
    for sequencer in sequencers {
        let (object, sequencer, bytes) = uploads.into_iter().find(|upload| upload.1 == sequencer).unwrap();
        upload(&world, object, sequencer, bytes).await;
    }
    let counts = world.store.submission_now(&"s1".parse().unwrap()).unwrap().counts;
    assert_eq!((counts.open, counts.rejected), (1, 0));
}

fn sample_file(name: &str) -> &'static [u8] {
    match name {
        "phone.mov" => include_bytes!("../../../../../../samples/phone.mov"),
        "phone-hevc.mov" => include_bytes!("../../../../../../samples/phone-hevc.mov"),
        "phone.3gp" => include_bytes!("../../../../../../samples/phone.3gp"),
        "recording.m4a" => include_bytes!("../../../../../../samples/recording.m4a"),
        "recording.mp3" => include_bytes!("../../../../../../samples/recording.mp3"),
        "board.jpg" => include_bytes!("../../../../../../samples/board.jpg"),
        "drawing.png" => include_bytes!("../../../../../../samples/drawing.png"),
        "slides.pptx" => include_bytes!("../../../../../../samples/slides.pptx"),
        "lesson-plan.odt" => include_bytes!("../../../../../../samples/lesson-plan.odt"),
        other => panic!("{other} is not included"),
    }
}

#[rstest]
#[case("IMG_0001.MOV", "video/quicktime", "phone.mov")]
#[case("in hevc.mov", "video/quicktime", "phone-hevc.mov")]
#[case("VID_0001.3gp", "video/3gpp", "phone.3gp")]
#[case("android.mp4", "video/mp4", "phone.3gp")]
#[case("renamed.mp4", "video/mp4", "phone.mov")]
#[case("memo.m4a", "audio/mp4", "recording.m4a")]
#[case("memo.mp3", "audio/mpeg", "recording.mp3")]
#[case("board.JPG", "image/jpeg", "board.jpg")]
#[case("board.jpeg", "image/jpeg", "board.jpg")]
#[case("drawing.png", "image/png", "drawing.png")]
#[case(
    "slides.pptx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "slides.pptx"
)]
#[case("plan.odt", "application/vnd.oasis.opendocument.text", "lesson-plan.odt")]
#[tokio::test]
async fn real_files_are_accepted_whatever_portals_declare(
    #[case] name: &str,
    #[case] media_type: &str,
    #[case] sample: &str,
    #[values("", "application/octet-stream", "application/zip", "text/plain")] declared: &str,
) {
    let bytes = sample_file(sample);
    for declared in [declared, media_type] {
        let document = judged(name, Some(declared), bytes).await;
        assert_eq!(code(&document), None, "{name} as {declared}: {:?}", document.reason);
        assert_eq!(document.media_type.map(MediaType::as_str), Some(media_type));
    }
}

async fn message(name: &str, bytes: impl Into<Bytes>) -> (String, String) {
    let reason = judged(name, None, bytes).await.reason.unwrap();
    (reason.code, reason.message.to_string())
}

#[rstest]
#[case(
    "lesson.avi",
    "unsupportedType",
    "The file is an AVI video. Export the video as MP4 with H.264 and upload the .mp4 file."
)]
#[case(
    "IMG_1.HEIC",
    "unsupportedType",
    "The file is a HEIC picture. Few browsers show it. Save the picture as .jpg and upload that file; an iPhone takes JPEG pictures with Settings, Camera, Formats, Most Compatible."
)]
#[case(
    "report.pdf.exe",
    "unsupportedType",
    "The file is a program. Programs and scripts cannot be handed in. Upload videos, recordings, documents or pictures."
)]
#[tokio::test]
async fn refused_types_are_told_with_a_way_out(
    #[case] name: &str,
    #[case] code: &str,
    #[case] sentence: &str,
) {
    assert_eq!(message(name, PDF).await, (code.to_owned(), sentence.to_owned()));
}

#[tokio::test]
async fn unknown_types_are_told_what_is_accepted() {
    let (code, sentence) = message("lesson.xyz", PDF).await;
    assert_eq!(code, "unsupportedType");
    for extension in [".mp4", ".mov", ".m4a", ".jpg", ".pptx", ".odt", ".txt"] {
        assert!(sentence.contains(extension), "{sentence}");
    }
}

#[rstest]
#[case::png("a.jpg", sample_file("drawing.png"), "a PNG picture", ".png")]
#[case::recording("a.m4a", sample_file("recording.mp3"), "an MP3 recording", ".mp3")]
#[case::video("a.webm", sample_file("phone.mov"), "an MP4 video", ".mp4")]
#[case::slides("a.docx", sample_file("slides.pptx"), "a PowerPoint presentation", ".pptx")]
#[case::pdf("a.png", PDF, "a PDF", ".pdf")]
#[tokio::test]
async fn misnamed_files_are_told_their_name(
    #[case] name: &str,
    #[case] bytes: &'static [u8],
    #[case] title: &str,
    #[case] extension: &str,
) {
    let (code, sentence) = message(name, bytes).await;
    assert_eq!(code, "typeMismatch");
    assert!(sentence.contains(title) && sentence.contains(&format!("ends in {extension} ")), "{sentence}");
}

#[rstest]
#[case::heic_named_jpg("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "typeMismatch", "a HEIC picture")]
#[case::webp_named_png("a.png", b"RIFF\0\0\0\0WEBPVP8 ", "typeMismatch", "a WebP picture")]
#[case::wav_named_mp3("a.mp3", b"RIFF\0\0\0\0WAVEfmt ", "typeMismatch", "an uncompressed recording")]
#[case::program_named_jpg("a.jpg", b"MZ\x90\0\x03\0\0\0", "typeMismatch", "a program")]
#[case::rtf_named_txt("a.txt", b"{\\rtf1\\ansi}", "typeMismatch", "an RTF document")]
#[case::page_named_png("a.png", b"<html>Not found</html>", "typeMismatch", "is not what its extension says")]
#[tokio::test]
async fn content_of_a_refused_type_is_told_by_its_own_sentence(
    #[case] name: &str,
    #[case] bytes: &'static [u8],
    #[case] expected: &str,
    #[case] words: &str,
) {
    let (code, sentence) = message(name, bytes).await;
    assert_eq!(code, expected);
    assert!(sentence.contains(words), "{sentence}");
}

#[rstest]
#[case::slides_with_macros("a.pptx", &["_rels/.rels", "ppt/presentation.xml", "ppt/vbaProject.bin"], "unsupported")]
#[case::document_with_macros("a.docx", &["_rels/.rels", "word/document.xml", "word/vbaProject.bin"], "unsupported")]
#[case::text_with_a_password("a.odt", &["mimetype", "META-INF/manifest.xml", "encrypted-package"], "encrypted")]
#[case::archive("a.pptx", &["a.jpg"], "typeMismatch")]
#[case::slides_as_text("a.odt", &["_rels/.rels", "ppt/presentation.xml"], "typeMismatch")]
#[tokio::test]
async fn end_of_a_zip_decides(#[case] name: &str, #[case] entries: &[&str], #[case] expected: &str) {
    assert_eq!(message(name, zip(1000, entries)).await.0, expected);
}

#[tokio::test]
async fn open_document_tables_are_no_texts() {
    let table = b"application/vnd.oasis.opendocument.spreadsheet";
    let size = u32::try_from(table.len()).unwrap().to_le_bytes();
    let header =
        [b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".as_slice(), &size, &size, b"\x08\0\0\0mimetype"];
    let end = zip_end(&["mimetype", "content.xml", "META-INF/manifest.xml"]);
    let bytes = [header.concat().as_slice(), table, &end].concat();
    let (code, sentence) = message("a.odt", bytes).await;
    assert_eq!(
        (code.as_str(), sentence.contains("an OpenDocument table")),
        ("typeMismatch", true),
        "{sentence}"
    );
}

#[rstest]
#[case("EncryptedPackage", "encrypted", "Remove the password")]
#[case("PowerPoint Document", "unsupported", "old version of PowerPoint")]
#[tokio::test]
async fn old_and_protected_slides_are_told_apart(
    #[case] entry: &str,
    #[case] expected: &str,
    #[case] words: &str,
) {
    let ole = [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];
    let entry: Vec<u8> = entry.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (code, sentence) = message("a.pptx", [&ole[..], &entry].concat()).await;
    assert_eq!((code.as_str(), sentence.contains(words)), (expected, true), "{sentence}");
}

#[tokio::test]
async fn recording_behind_a_tag_of_ten_megabytes_is_accepted_by_its_start() {
    let tag = [b"ID3\x04\0\0\x05\0\0\0".as_slice(), &vec![b'x'; 5 << 21]].concat();
    let world = MemoryWorld::default();
    let object = object("a.mp3", "v1");
    world.objects.upload(&object, None, [tag.as_slice(), sample_file("recording.mp3")].concat());
    let MemoryWorld { objects: uploads, store, states: executions, clock, random, .. } = &world;
    let event = s3_event(&[(&object, "01")]);
    let message = Message { body: &event, xray_header: None };
    let max_upload_bytes = u64::MAX;
    let ports =
        Ports { uploads, store, executions, clock, random, max_upload_bytes, scans_for_malware: false };
    assert_eq!(ports.handle(message).await.unwrap(), accepted(1));
    assert_eq!(uploads.bytes_read(), SNIFF_BYTES);
}

#[tokio::test]
async fn picture_with_a_program_behind_its_end_is_a_picture() {
    let bytes = [sample_file("board.jpg"), b"MZ\x90\0\x03\0\0\0"].concat();
    assert_eq!(judged("a.jpg", None, bytes).await.media_type, Some(MediaType::Jpeg));
}
