//! The names and media types under which files reach a reader (S02).
//!
//! A third party chooses the name and the declared type of a file that it returns. A reader saves that file, so its name
//! must not make a computer run it, and must not look like another name. The extension follows from the verified media
//! type, and only types of an allow-list have one.

use lectern_content::{FileType, MediaType, canonical};

use crate::{display_text::Label, record::nfc};

/// The media type of files whose type is not on the allow-list. Browsers save such a file and do not open it.
pub const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

/// Passive types that third parties return and teachers do not hand in, with their extensions.
const RETURNED: [(&str, &[&str]); 6] = [
    ("text/vtt", &["vtt"]),
    ("application/x-subrip", &["srt"]),
    ("application/json", &["json"]),
    ("audio/wav", &["wav"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
];

/// A file as a reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafeFile {
    /// Its name, NFC. It ends in an extension of the media type, or has no dot.
    pub name: String,
    /// Its media type; [`UNKNOWN_MEDIA_TYPE`] if the type is not on the allow-list.
    pub media_type: &'static str,
}

impl SafeFile {
    /// A file that a third party returned with this name and this media type, which verify-returned-file has compared with
    /// the bytes.
    pub fn returned(name: &str, media_type: &str) -> Self {
        let canonical = canonical(media_type);
        let returned = RETURNED.iter().find(|(known, _)| *known == canonical).copied();
        let accepted = || canonical.parse().ok().map(MediaType::file_type).map(row_of);
        let (media_type, extensions) = returned.or_else(accepted).unwrap_or((UNKNOWN_MEDIA_TYPE, &[]));
        Self { name: safe_name(name, extensions), media_type }
    }

    /// An upload whose type receive-upload has detected; `None` if it was rejected before.
    pub fn uploaded(name: &str, media_type: Option<MediaType>) -> Self {
        let (media_type, extensions) =
            media_type.map_or((UNKNOWN_MEDIA_TYPE, &[][..]), |media_type| row_of(media_type.file_type()));
        Self { name: safe_name(name, extensions), media_type }
    }
}

fn row_of(row: FileType) -> (&'static str, &'static [&'static str]) {
    (row.media_type, row.extensions)
}

/// The name with one of these extensions at its end, or without a dot if there is none.
///
/// A name that has another extension loses its dots, so that `report.pdf.exe` becomes `report_pdf_exe.pdf`. Characters
/// that file systems reserve become `_`.
fn safe_name(name: &str, extensions: &[&str]) -> String {
    let name = nfc(&Label::new(name)).replace(['/', '\\', ':', '*', '?', '"', '<', '>', '|'], "_");
    let name = name.trim_matches(|character: char| character == '.' || character.is_whitespace());
    if let Some((stem, extension)) = name.rsplit_once('.')
        && !stem.is_empty()
        && extensions.contains(&extension.to_ascii_lowercase().as_str())
    {
        return name.to_owned();
    }
    let stem = if name.is_empty() { "file".to_owned() } else { name.replace('.', "_") };
    match extensions.first() {
        Some(extension) => format!("{stem}.{extension}"),
        None => stem,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::as_it_should_be("captions.vtt", "text/vtt", "captions.vtt", "text/vtt")]
    #[case::upper_case("Report.PDF", "application/pdf", "Report.PDF", "application/pdf")]
    #[case::another_name_of_the_type("a.srt", "text/srt", "a.srt", "application/x-subrip")]
    #[case::dots_in_the_stem("lesson 1.2.pdf", "application/pdf", "lesson 1.2.pdf", "application/pdf")]
    #[case::program_behind("report.pdf.exe", "application/pdf", "report_pdf_exe.pdf", "application/pdf")]
    #[case::program_behind_blanks(
        "report.pdf      .exe",
        "application/pdf",
        "report_pdf      _exe.pdf",
        "application/pdf"
    )]
    #[case::program("setup.exe", "application/x-msdownload", "setup_exe", UNKNOWN_MEDIA_TYPE)]
    #[case::script_in_a_drawing("a.svg", "image/svg+xml", "a_svg", UNKNOWN_MEDIA_TYPE)]
    #[case::page("index.html", "text/html", "index_html", UNKNOWN_MEDIA_TYPE)]
    #[case::macros(
        "a.docm",
        "application/vnd.ms-word.document.macroEnabled.12",
        "a_docm",
        UNKNOWN_MEDIA_TYPE
    )]
    #[case::no_extension("report", "application/pdf", "report.pdf", "application/pdf")]
    #[case::only_an_extension(".pdf", "application/pdf", "pdf.pdf", "application/pdf")]
    #[case::reversed("report\u{202e}fdp.exe", "application/pdf", "reportfdp_exe.pdf", "application/pdf")]
    #[case::isolated(
        "a\u{2066}b\u{2069}\u{200e}\u{200f}.pdf",
        "application/pdf",
        "ab.pdf",
        "application/pdf"
    )]
    #[case::invisible("re\u{200b}port\u{feff}.pdf", "application/pdf", "report.pdf", "application/pdf")]
    #[case::path("..\\..\\a/b.pdf", "application/pdf", "_.._a_b.pdf", "application/pdf")]
    #[case::trailing_dots("a.exe. . ", "application/x-msdownload", "a_exe", UNKNOWN_MEDIA_TYPE)]
    #[case::nothing("\u{202e}", "application/pdf", "file.pdf", "application/pdf")]
    #[case::another_script("דו״ח.pdf", "application/pdf", "דו״ח.pdf", "application/pdf")]
    fn s02_name_of_a_returned_file_follows_its_verified_type(
        #[case] name: &str,
        #[case] declared: &str,
        #[case] safe: &str,
        #[case] media_type: &str,
    ) {
        assert_eq!(
            SafeFile::returned(name, declared),
            SafeFile { name: safe.to_owned(), media_type: leak(media_type) }
        );
    }

    fn leak(text: &str) -> &'static str {
        Box::leak(text.to_owned().into_boxed_str())
    }

    #[test]
    fn s02_name_of_an_upload_follows_its_detected_type() {
        let uploaded = |name, media_type| SafeFile::uploaded(name, media_type).name;
        assert_eq!(uploaded("IMG_0001.MOV", Some(MediaType::QuickTime)), "IMG_0001.MOV");
        assert_eq!(uploaded("plan.docx.scr", Some(MediaType::Docx)), "plan_docx_scr.docx");
        assert_eq!(uploaded("plan.scr", None), "plan_scr");
    }

    proptest! {
        #[test]
        fn s02_no_name_can_be_run_or_hides_what_it_is(
            name in "\\PC{0,30}|[a-z.\\\\/: \u{202e}\u{2066}\u{200f}\u{0}]{0,30}",
            media_type in prop::sample::select(vec!["application/pdf", "text/vtt", "text/html", "x"]),
        ) {
            let safe = SafeFile::returned(&name, media_type);
            let extension = safe.name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
            match media_type {
                "application/pdf" => prop_assert_eq!(extension.as_deref(), Some("pdf")),
                "text/vtt" => prop_assert_eq!(extension.as_deref(), Some("vtt")),
                _ => prop_assert_eq!(extension, None),
            }
            prop_assert!(!safe.name.chars().any(|c| crate::display_text::is_neutralised(c) || "/\\:".contains(c)));
            prop_assert_eq!(SafeFile::returned(&safe.name, media_type), safe, "safe names stay");
        }
    }
}
