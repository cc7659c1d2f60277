//! DOCX: the ZIP container. `word_xml` reads the XML in it.

mod word_xml;

use std::io::{self, Cursor, Read};

// `ZipArchive` allocates by the number of entries that the file declares; `ZipIterable` reads one after the other.
use zip::unstable::read::ZipIterable;
use zip::{
    read::{Config, ZipReadOptions},
    result::ZipError,
};

use crate::{
    CompoundFile, ContentError, Limits,
    sniff::{compound_file, is_compound_file},
};

/// Extracts the paragraphs of the body, separated by `\n`. Tables and text boxes are part of the body; deleted text,
/// headers, footnotes and comments are not.
///
/// The function reads the ZIP's directory and inflates one entry, `word/document.xml`. It counts inflated bytes as
/// they come out of the inflater and compares them with [`Limits::ZIP_INFLATED_BYTES`] and [`Limits::ZIP_RATIO`]. It
/// refuses a `DOCTYPE`, so no entity can expand. It holds only the text, one run of the document and buffers in memory.
pub fn extract_text(bytes: &[u8]) -> Result<String, ContentError> {
    check_container(bytes)?;
    let mut archive = ZipIterable::try_new(Cursor::new(bytes), Config::default()).map_err(zip_error)?;
    if archive.len() > Limits::ZIP_ENTRIES {
        return Err(ContentError::TooComplex);
    }
    let mut document = None;
    for entry in archive.files().map_err(zip_error)? {
        let entry = entry.map_err(zip_error)?;
        if entry.name_raw() == b"word/document.xml" && document.replace(entry).is_some() {
            // Two programs could show different documents for the same file.
            return Err(ContentError::malformed("it contains two documents with the same name"));
        }
    }
    let document = document.ok_or_else(|| ContentError::malformed("it is a ZIP, but not a Word document"))?;
    if document.encrypted() {
        return Err(ContentError::Encrypted);
    }
    let packed_bytes = document.compressed_size().min(bytes.len() as u64);
    let mut reader = Cursor::new(bytes);
    let inflated = document.with_reader(&mut reader, ZipReadOptions::new()).map_err(zip_error)?;
    let budget = inflate_budget(packed_bytes);
    word_xml::extract(Budgeted { inner: inflated, left: budget })
}

/// Checks the signature and the end of the file.
fn check_container(bytes: &[u8]) -> Result<(), ContentError> {
    const END_OF_DIRECTORY: &[u8] = b"PK\x05\x06";
    /// The length of that record with the longest comment.
    const END_BYTES: usize = 22 + 65_535;

    if bytes.is_empty() {
        return Err(ContentError::Empty);
    }
    if bytes.len() > Limits::ZIP_BYTES {
        return Err(ContentError::TooComplex);
    }
    if is_compound_file(bytes) {
        return Err(match compound_file(bytes) {
            CompoundFile::Encrypted => ContentError::Encrypted,
            CompoundFile::OldWord | CompoundFile::Unclear => ContentError::Unsupported(
                "it is in the format of an old version of Word; please save it as .docx",
            ),
        });
    }
    if !bytes.starts_with(b"PK") {
        return Err(ContentError::malformed("it is not a Word document"));
    }
    let end = &bytes[bytes.len().saturating_sub(END_BYTES)..];
    if end.windows(END_OF_DIRECTORY.len()).any(|window| window == END_OF_DIRECTORY) {
        Ok(())
    } else {
        Err(ContentError::Truncated)
    }
}

fn inflate_budget(packed_bytes: u64) -> u64 {
    packed_bytes
        .saturating_mul(Limits::ZIP_RATIO)
        .clamp(Limits::ZIP_RATIO_FROM_BYTES, Limits::ZIP_INFLATED_BYTES)
}

fn zip_error(error: ZipError) -> ContentError {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => {
            ContentError::Encrypted
        }
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            ContentError::Unsupported("it uses an unusual compression method")
        }
        ZipError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => ContentError::Truncated,
        ZipError::Io(_) | ZipError::InvalidArchive(_) | ZipError::FileNotFound | _ => {
            ContentError::malformed("its ZIP directory is broken")
        }
    }
}

/// The error inside the [`io::Error`] that [`Budgeted`] returns.
#[derive(Debug, thiserror::Error)]
#[error("over the budget")]
struct OverBudget;

/// A reader that fails with [`OverBudget`] after `left` bytes.
struct Budgeted<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| io::Error::other(OverBudget))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    use super::*;
    use crate::samples;

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
        let bomb = "<!DOCTYPE w [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;&a;\">]><w:document><w:t>&b;</w:t></w:document>";
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
}
