//! Tests of DOCX.

use std::io::{Cursor, Write};

use proptest::prelude::*;
use rstest::rstest;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::*;
use crate::{Limits, samples};

fn docx(xml: &str) -> Vec<u8> {
    packed("word/document.xml", CompressionMethod::Deflated, xml.as_bytes())
}

fn packed(name: &str, method: CompressionMethod, content: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
    zip.write_all(content).unwrap();
    zip.finish().unwrap().into_inner()
}

/// A ZIP of one stored document whose directory lists this document `count` times.
fn zip_of_many_entries(count: usize) -> Vec<u8> {
    let one = packed("word/document.xml", CompressionMethod::Stored, b"<w:document/>");
    let start = one.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let end = one.windows(4).rposition(|window| window == b"PK\x05\x06").unwrap();
    let entries = one[start..end].repeat(count);
    let mut zip = [&one[..start], &entries].concat();
    let at = zip.len() as u64;
    zip.extend(b"PK\x06\x06");
    zip.extend(44_u64.to_le_bytes());
    zip.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for value in [count as u64, count as u64, entries.len() as u64, start as u64] {
        zip.extend(value.to_le_bytes());
    }
    zip.extend(b"PK\x06\x07\0\0\0\0");
    zip.extend(at.to_le_bytes());
    zip.extend(1_u32.to_le_bytes());
    zip.extend(b"PK\x05\x06\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0");
    zip
}

#[test]
fn the_sample_lesson_plan_is_read() {
    let plan = extract_text(samples::LESSON_PLAN_DOCX).unwrap();
    assert!(plan.contains("Lesson plan"), "{plan}");
}

#[test]
fn case_12_a_zip_bomb_is_stopped_at_the_budget() {
    let text = format!("<w:document><w:t>{}</w:t></w:document>", " ".repeat(80 * 1024 * 1024));
    let bomb = docx(&text);
    assert!(bomb.len() < 512 * 1024);
    assert_eq!(extract_text(&bomb), Err(ContentError::TooComplex));
}

#[test]
fn case_12_a_million_entries_are_stopped_at_the_budget() {
    assert_eq!(extract_text(&zip_of_many_entries(1_000_000)), Err(ContentError::TooComplex));
    assert_eq!(
        extract_text(&zip_of_many_entries(2)).unwrap_err().code(),
        "malformed",
        "the test's ZIP is read"
    );
    assert!(extract_text(&zip_of_many_entries(1)).is_ok(), "the test's ZIP is read");
}

#[test]
fn case_12_false_sizes_and_counts_cause_no_panic() {
    let honest = docx("<w:document/>");
    for signature in [b"PK\x01\x02", b"PK\x05\x06"] {
        let at = honest.windows(4).rposition(|window| window == signature).unwrap();
        for offset in 8..honest.len().min(at + 28) - at - 3 {
            for value in [[0xFF; 4], [0xFF, 0xFF, 0xFF, 0x7F], [0, 0, 0, 1]] {
                let mut altered = honest.clone();
                altered[at + offset..at + offset + 4].copy_from_slice(&value);
                let _ = extract_text(&altered);
            }
        }
    }
}

#[test]
fn case_13_an_entity_bomb_is_refused() {
    let bomb =
        "<!DOCTYPE w [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;&a;\">]><w:document><w:t>&b;</w:t></w:document>";
    assert_eq!(extract_text(&docx(bomb)).unwrap_err().code(), "malformed");
    assert_eq!(
        extract_text(&docx("<w:document><w:t>&b;</w:t></w:document>")).unwrap_err().code(),
        "malformed"
    );
}

#[test]
fn an_encrypted_document_is_distinguished_from_an_old_one() {
    let mut ole = vec![0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];
    assert_eq!(extract_text(&ole).unwrap_err().code(), "unsupported");
    ole.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(extract_text(&ole), Err(ContentError::Encrypted));

    let mut zip = docx("<w:document/>");
    let at = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    zip[at + 8] |= 1;
    assert_eq!(extract_text(&zip), Err(ContentError::Encrypted));
}

#[test]
fn a_document_is_truncated_at_any_cut() {
    let plan = samples::LESSON_PLAN_DOCX;
    for length in (2..plan.len() - 22).step_by(97) {
        assert_eq!(extract_text(&plan[..length]), Err(ContentError::Truncated), "cut at {length}");
    }
    assert_eq!(extract_text(b""), Err(ContentError::Empty));
}

#[test]
fn another_zip_is_malformed() {
    let zip = packed("a.txt", CompressionMethod::Stored, b"hello");
    assert_eq!(extract_text(&zip).unwrap_err().code(), "malformed");
    assert_eq!(extract_text(samples::LESSON_PLAN_PDF).unwrap_err().code(), "malformed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_a_document_or_a_typed_error(bytes: Vec<u8>) {
        let _ = extract_text(&bytes);
        let _ = extract_text(&[b"PK\x03\x04", bytes.as_slice(), b"PK\x05\x06", bytes.as_slice()].concat());
    }

    #[test]
    fn a_mutated_document_is_a_document_or_a_typed_error(
        bytes in samples::mutated(samples::LESSON_PLAN_DOCX, usize::MAX)
    ) {
        let _ = extract_text(&bytes);
    }
}

/// A package of these parts, stored.
fn package(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored))
            .unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn relationships(id: &str, kind: &str, target: &str) -> String {
    format!(
        "<Relationships><Relationship Id=\"r0\" Type=\"x/theme\" Target=\"theme.xml\"/>\
         <Relationship Id=\"{id}\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}\" \
         Target=\"{target}\"/></Relationships>"
    )
}

fn document(content: &str) -> String {
    format!("<w:document xmlns:w=\"w\" xmlns:r=\"r\"><w:body>{content}</w:body></w:document>")
}

fn paragraph(text: &str) -> String {
    format!("<w:p><w:r><w:t>{text}</w:t></w:r></w:p>")
}

#[rstest]
#[case::word_online("_rels/.rels", "word/document2.xml", "word/document2.xml")]
#[case::absolute("_rels/.rels", "/word/document.xml", "word/document.xml")]
#[case::elsewhere("_rels/.rels", "content/main.xml", "content/main.xml")]
#[case::backslashes("_rels\\.rels", "word/document.xml", "word\\document.xml")]
#[case::another_case("_Rels/.Rels", "word/Document.xml", "Word/document.xml")]
#[case::leading_slash("/_rels/.rels", "word/document.xml", "/word/document.xml")]
#[case::wrong_target("_rels/.rels", "word/nothing.xml", "word/document.xml")]
fn f02_f06_main_part_is_found_by_the_relationships(
    #[case] rels: &str,
    #[case] target: &str,
    #[case] name: &str,
) {
    let decoy = document(&paragraph("decoy"));
    let main = document(&paragraph("main"));
    let parts = [
        ("[trash]/0000.dat", "x"),
        ("word/glossary/document.xml", decoy.as_str()),
        (name, main.as_str()),
        (rels, &relationships("rId1", "officeDocument", target)),
    ];
    assert_eq!(extract_text(&package(&parts)).unwrap(), "main");
}

/// A document with a paragraph before and after an embedded document of this name.
fn with_chunk(name: &str, content: &str) -> Vec<u8> {
    let chunk = "<w:altChunk r:id=\"rId5\"/>";
    let main = document(&[&paragraph("before"), chunk, &paragraph("after")].concat());
    package(&[
        ("word/document.xml", &main),
        ("word/_rels/document.xml.rels", &relationships("rId5", "aFChunk", name)),
        (&format!("word/{name}"), content),
    ])
}

const MHT: &str = "MIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n  type=\"text/html\";\r\n \
    boundary=\"=_next\"\r\n\r\n--=_next\r\nContent-Type: text/html; charset=\"utf-8\"\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\r\n<!DOCTYPE html><p style=3D\"a\">caf=C3=A9 &amp; c=\r\no</p>\r\n\
    --=_next\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--=_next--\r\n";

#[rstest]
#[case::html(
    "afchunk.htm",
    "<html><body><p>one</p><p>two &eacute;</p></body></html>",
    "before\none\ntwo é\nafter"
)]
#[case::html_in_mime("afchunk.mht", MHT, "before\ncafé & co\nafter")]
#[case::plain_text("afchunk.txt", "a < b\nc", "before\na < b\nc\nafter")]
#[case::nothing("afchunk.html", "", "before\n\nafter")]
fn f12_embedded_document_is_part_of_the_text(
    #[case] name: &str,
    #[case] content: &str,
    #[case] expected: &str,
) {
    assert_eq!(extract_text(&with_chunk(name, content)).unwrap(), expected);
}

/// A package is not text, so it is stored by its bytes.
fn with_package(embedded: &[u8]) -> Vec<u8> {
    let main = document("<w:altChunk r:id=\"rId5\"/>");
    let rels = relationships("rId5", "aFChunk", "/word/chunk.docx");
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let parts = [
        ("word/document.xml", main.as_bytes()),
        ("word/_rels/document.xml.rels", rels.as_bytes()),
        ("word/chunk.docx", embedded),
    ];
    for (name, content) in parts {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn f12_embedded_word_document_is_read_and_none_within_it() {
    let inner = package(&[("word/document.xml", &document(&paragraph("inside")))]);
    let outer = with_package(&inner);
    assert_eq!(extract_text(&outer).unwrap(), "inside");
    assert_eq!(extract_text(&with_package(&outer)).unwrap_err().code(), "unsupported");
}

#[rstest]
#[case::rich_text("afchunk.rtf", "{\\rtf1 text}")]
#[case::base64("afchunk.mht", "Content-Type: text/html\nContent-Transfer-Encoding: base64\n\nPHA+")]
#[case::picture("afchunk.mht", "Content-Type: image/png\n\nx")]
#[case::only_pictures(
    "afchunk.mht",
    "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\n\nx\n--b--"
)]
fn f12_embedded_document_that_cannot_be_read_is_a_typed_error(#[case] name: &str, #[case] content: &str) {
    let error = extract_text(&with_chunk(name, content)).unwrap_err();
    assert_eq!(error.code(), "unsupported");
    assert!(error.to_string().contains("open it in Word and save it again"), "{error}");
}

#[test]
fn f12_embedded_document_that_is_missing_is_a_typed_error() {
    let main = document("<w:altChunk r:id=\"rId5\"/>");
    assert_eq!(extract_text(&docx(&main)).unwrap_err().code(), "unsupported");
}

#[test]
fn case_12_embedded_documents_share_the_budget() {
    let chunks = "<w:altChunk r:id=\"rId5\"/>".repeat(Limits::EMBEDDED_DOCUMENTS + 1);
    assert_eq!(extract_text(&docx(&document(&chunks))), Err(ContentError::TooComplex));
    let large = "x".repeat(1024 * 1024);
    let main = document(&"<w:altChunk r:id=\"rId5\"/>".repeat(65));
    let parts = [
        ("word/document.xml", main.as_str()),
        ("word/_rels/document.xml.rels", &relationships("rId5", "aFChunk", "a.txt")),
        ("word/a.txt", &large),
    ];
    assert_eq!(extract_text(&package(&parts)), Err(ContentError::TooComplex));
}
