//! Tests of type detection.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::samples;

const OLE: [u8; 8] = [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];

/// The first bytes of an MP4 with this brand.
fn mp4(brand: &str) -> Vec<u8> {
    [b"\0\0\0\x14ftyp", brand.as_bytes(), b"\0\0\x02\0isom\0\0\0\x08free"].concat()
}

#[rstest]
#[case(samples::LESSON_MP4, Kind::IsoMedia)]
#[case(samples::PHONE_MOV, Kind::IsoMedia)]
#[case(samples::PHONE_HEVC_MOV, Kind::IsoMedia)]
#[case(samples::PHONE_3GP, Kind::IsoMedia)]
#[case(samples::RECORDING_M4A, Kind::IsoMedia)]
#[case(samples::RECORDING_MP3, Kind::Accepted(MediaType::Mp3))]
#[case(samples::BOARD_JPG, Kind::Accepted(MediaType::Jpeg))]
#[case(samples::DRAWING_PNG, Kind::Accepted(MediaType::Png))]
#[case(samples::SLIDES_PPTX, Kind::Zip)]
#[case(samples::LESSON_PLAN_ODT, Kind::Zip)]
#[case(samples::LESSON_WEBM, Kind::Accepted(MediaType::WebM))]
#[case(samples::LESSON_PLAN_PDF, Kind::Accepted(MediaType::Pdf))]
#[case(samples::NOTES_TXT, Kind::Accepted(MediaType::Text))]
#[case(samples::LESSON_PLAN_DOCX, Kind::Zip)]
#[case(samples::EMPTY_PDF, Kind::Other)]
fn samples_show_their_kind(#[case] bytes: &[u8], #[case] kind: Kind) {
    assert_eq!(sniff(bytes), kind);
    assert_eq!(sniff(&bytes[..bytes.len().min(4096)]), kind);
}

#[rstest]
#[case::cut_in_a_character(&"Grüße".as_bytes()[..3], Kind::Accepted(MediaType::Text))]
#[case::windows_1252(b"Gr\xFC\xDFe", Kind::TextInOtherEncoding)]
#[case::shift_jis(b"\x83e\x83X\x83g\r\n", Kind::TextInOtherEncoding)]
#[case::utf_16(b"\xFF\xFEG\0r\0\xFC\0", Kind::Accepted(MediaType::Text))]
#[case::utf_16_cut_in_a_character(b"\xFE\xFF\0G\xD8\x3D", Kind::Accepted(MediaType::Text))]
#[case::utf_16_cut_in_a_unit(b"\xFE\xFF\0G\0", Kind::Accepted(MediaType::Text))]
#[case::utf_16_without_mark(b"H\0i\0\r\0\n\0", Kind::TextInOtherEncoding)]
#[case::utf_16_of_the_other_order_without_mark(b"\0H\0i", Kind::TextInOtherEncoding)]
#[case::utf_32(b"\xFF\xFE\0\0H\0\0\0", Kind::TextInOtherEncoding)]
#[case::half_a_surrogate_pair(b"\xFF\xFE\x3D\xD8H\0", Kind::Other)]
#[case::nul(b"a\0b", Kind::Other)]
#[case::control_characters(b"\x01\x02\xFF\xFC", Kind::Other)]
#[case::nothing(b"", Kind::Other)]
fn f06_encoding_of_a_text_is_seen(#[case] bytes: &[u8], #[case] kind: Kind) {
    assert_eq!(sniff(bytes), kind);
}

#[rstest]
fn f03_d06_mp4_is_detected_whatever_its_brand(
    #[values(
        "isom", "mp42", "avc1", "3gp4", "3gp5", "3g2a", "XAVC", "iso7", "iso8", "iso9", "hvc1", "cmfc",
        "dby1", "MSNV", "M4V ", "qt  ", "dash", "zzzz"
    )]
    brand: &str,
) {
    assert_eq!(sniff(&mp4(brand)), Kind::IsoMedia);
    assert!(fits_declared_type("video/mp4", &mp4(brand)));
}

#[rstest]
fn f03_pictures_in_the_container_of_mp4_are_no_videos(
    #[values("heic", "heix", "mif1", "avif", "avis", "jxl ", "crx ")] brand: &str,
) {
    let expected = match brand {
        "heic" | "heix" | "mif1" => refused("image/heic"),
        "avif" | "avis" => refused("image/avif"),
        _ => Kind::Other,
    };
    assert_eq!(sniff(&mp4(brand)), expected);
    assert!(!fits_declared_type("video/mp4", &mp4(brand)));
    assert!(!fits_declared_type("image/png", &mp4(brand)));
}

#[test]
fn f03_ftyp_has_to_be_sane() {
    assert_eq!(sniff(&[b"\0\0\0\x10free\0\0\0\0\0\0\0\0", mp4("isom").as_slice()].concat()), Kind::IsoMedia);
    assert_eq!(sniff(b"\0\0\0\x08ftypisom\0\0\0\0"), Kind::Other);
    assert_eq!(sniff(b"\xFF\0\0\x14ftypisom\0\0\0\0"), Kind::Other);
    assert_eq!(sniff(b"\0\0\0\x14ftyp\0\x01\x02\x03\0\0\0\0"), Kind::Other);
}

#[test]
fn f11_webm_is_detected_by_its_parsed_header() {
    assert_eq!(sniff(b"\x1A\x45\xDF\xA3\x8B\x42\x82\x88webm\0\0\0\0"), Kind::Accepted(MediaType::WebM));
    assert_eq!(sniff(b"\x1A\x45\xDF\xA3\x8B\x42\x82\x88matroskawebm"), refused("video/matroska"));
}

#[test]
fn f08_text_that_mentions_a_pdf_is_text_and_a_pdf_behind_junk_is_a_pdf() {
    let mention = b"A PDF starts with %PDF-1.7 and a line end.";
    assert_eq!(sniff(mention), Kind::Accepted(MediaType::Text));
    assert!(fits_declared_type("text/plain", mention));
    assert!(fits_declared_type("text/plain", b"%PDF is short for Portable Document Format."));
    assert_eq!(sniff(b"junk\xFF\0%PDF-1.4\n\xE2\xE3\xCF\xD3"), Kind::Accepted(MediaType::Pdf));
    assert_eq!(sniff(b"\xEF\xBB\xBF\n%PDF-1.4"), Kind::Accepted(MediaType::Pdf));
    assert!(can_be_pdf(mention));
    assert!(!can_be_pdf(&[&[b' '; 1020], mention.as_slice()].concat()));
}

#[test]
fn f06_compound_file_says_whether_it_has_a_password() {
    let entry = |name: &str| -> Vec<u8> { name.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let kind = |name: &str| sniff(&[&OLE[..], &entry(name)].concat());
    assert_eq!(kind("EncryptedPackage"), Kind::CompoundFile(CompoundFile::Encrypted));
    assert_eq!(kind("WordDocument"), Kind::CompoundFile(CompoundFile::OldWord));
    assert_eq!(kind("PowerPoint Document"), Kind::CompoundFile(CompoundFile::OldPowerPoint));
    assert_eq!(kind("Workbook"), Kind::CompoundFile(CompoundFile::Unclear));
}

fn refused(media_type: &str) -> Kind {
    Kind::Refused(FileType::of_media_type(media_type).unwrap())
}

#[rstest]
#[case::avi(b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo")]
#[case::wav(b"RIFF\0\0\0\0WAVEfmt ", "audio/wav")]
#[case::webp(b"RIFF\0\0\0\0WEBPVP8 ", "image/webp")]
#[case::wmv(b"\x30\x26\xB2\x75\x8E\x66\xCF\x11\xA6\xD9", "video/x-ms-wmv")]
#[case::ogg(b"OggS\0\x02", "audio/ogg")]
#[case::gif(b"GIF89a\x01\0", "image/gif")]
#[case::tiff(b"II*\0\x08\0\0\0", "image/tiff")]
#[case::rtf(b"{\\rtf1\\ansi", "application/rtf")]
#[case::rar(b"Rar!\x1A\x07\x01\0", "application/vnd.rar")]
#[case::packed(b"\x1F\x8B\x08\0", "application/gzip")]
#[case::program(b"MZ\x90\0\x03\0\0\0", "application/x-msdownload")]
#[case::program_of_linux(b"\x7FELF\x02\x01\x01\0", "application/x-msdownload")]
fn known_formats_are_told_by_their_row(#[case] bytes: &[u8], #[case] media_type: &str) {
    assert_eq!(sniff(bytes), refused(media_type));
    assert!(!fits_declared_type("text/plain", bytes) && !fits_declared_type("application/pdf", bytes));
}

#[test]
fn a_program_of_windows_is_told_by_the_header_that_the_first_one_leads_to() {
    let mut program = b"MZ".to_vec();
    program.resize(0x3C, 0);
    program.extend(0x40_u32.to_le_bytes());
    assert_eq!(sniff(&program), Kind::Other);
    program.extend(b"PE\0\0");
    assert_eq!(sniff(&program), refused("application/x-msdownload"));
    assert_eq!(sniff(b"MZ is how programs start."), Kind::Accepted(MediaType::Text));
}

#[rstest]
#[case::index(b"\0\0\0\x20moov\0\0\0\x18mvhd")]
#[case::media_of_64_bits(b"\0\0\0\x01mdat\0\0\0\0\0\0\x10\0")]
#[case::media_behind_a_placeholder(b"\0\0\0\x08wide\0\0\x10\0mdat")]
fn an_old_quicktime_movie_has_no_brand(#[case] bytes: &[u8]) {
    assert_eq!(sniff(bytes), Kind::IsoMedia);
}

#[test]
fn the_start_of_an_open_document_says_what_it_is() {
    let start = |mimetype: &str| {
        let size = u32::try_from(mimetype.len()).unwrap().to_le_bytes();
        [
            b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".as_slice(),
            &size,
            &size,
            b"\x08\0\0\0mimetype",
            mimetype.as_bytes(),
        ]
        .concat()
    };
    let text = "application/vnd.oasis.opendocument.text";
    assert_eq!(sniff_zip_start(&start(text)), Some(text));
    assert_eq!(sniff_zip_start(&start(text)[..50]), None);
    assert_eq!(sniff_zip_start(&start("")), None);
    assert_eq!(sniff_zip_start(&start(&"x".repeat(200))), None);
    assert_eq!(sniff_zip_start(samples::LESSON_PLAN_ODT), Some(text));
    assert_eq!(sniff_zip_end(samples::LESSON_PLAN_ODT), ZipContent::OpenDocument);
    assert_eq!(sniff_zip_end(samples::SLIDES_PPTX), ZipContent::Presentation);
    assert_eq!(sniff_zip_start(samples::SLIDES_PPTX), None);
}

/// The end of a ZIP with these entries.
fn zip_end(names: &[&str]) -> Vec<u8> {
    let mut end = Vec::new();
    for name in names {
        let length = u16::try_from(name.len()).unwrap();
        end.extend(b"PK\x01\x02");
        end.extend([0; 24]);
        end.extend(length.to_le_bytes());
        end.extend([0; 16]);
        end.extend(name.as_bytes());
    }
    let size = u32::try_from(end.len()).unwrap();
    end.extend(b"PK\x05\x06\0\0\0\0\0\0\0\0");
    end.extend(size.to_le_bytes());
    end.extend([0; 6]);
    end
}

#[rstest]
#[case::word(&["[Content_Types].xml", "_rels/.rels", "word/document.xml"], ZipContent::Word)]
#[case::pictures_first(&["word/media/image1.jpeg", "[trash]/0000.dat", "_rels/.rels"], ZipContent::Word)]
#[case::word_online(&["_rels/.rels", "word/document2.xml"], ZipContent::Word)]
#[case::backslashes(&["_rels\\.rels", "word\\document.xml"], ZipContent::Word)]
#[case::another_case(&["_RELS/.rels", "Word/Document.xml"], ZipContent::Word)]
#[case::main_part_elsewhere(&["_rels/.rels", "document.xml"], ZipContent::Word)]
#[case::spreadsheet(&["_rels/.rels", "xl/workbook.xml"], ZipContent::Other)]
#[case::slides(&["_rels/.rels", "ppt/presentation.xml"], ZipContent::Presentation)]
#[case::slides_with_a_document_in_it(&["_rels/.rels", "ppt/embeddings/word/a.docx"], ZipContent::Presentation)]
#[case::slides_with_macros(&["ppt/presentation.xml", "ppt/vbaProject.bin"], ZipContent::WithMacros)]
#[case::document_with_macros(&["word/document.xml", "word/vbaProject.bin"], ZipContent::WithMacros)]
#[case::open_document(&["mimetype", "content.xml", "META-INF/manifest.xml"], ZipContent::OpenDocument)]
#[case::open_document_with_a_password(
    &["mimetype", "META-INF/manifest.xml", "encrypted-package"],
    ZipContent::EncryptedOpenDocument
)]
#[case::program_of_java(&["META-INF/MANIFEST.MF", "Main.class"], ZipContent::Other)]
#[case::photos(&["a.jpg", "b.jpg"], ZipContent::Other)]
#[case::nothing(&[], ZipContent::Other)]
fn f04_end_of_a_zip_says_what_is_in_it(#[case] names: &[&str], #[case] expected: ZipContent) {
    let end = zip_end(names);
    assert_eq!(sniff_zip_end(&end), expected);
    assert_eq!(sniff_zip_end(&[b"data before".as_slice(), &end, b"a comment"].concat()), expected);
}

#[test]
fn f04_directory_that_is_cut_off_at_its_start_is_read_from_its_first_whole_entry() {
    let end = zip_end(&["a.xml", "_rels/.rels", "word/document.xml"]);
    assert_eq!(sniff_zip_end(&end[10..]), ZipContent::Word);
    assert_eq!(sniff_zip_end(&end[..end.len() - 22]), ZipContent::Truncated);
    assert_eq!(sniff_zip_end(&end[..end.len() - 10]), ZipContent::Truncated);
    assert_eq!(sniff_zip_end(samples::LESSON_PLAN_DOCX), ZipContent::Word);
    assert_eq!(sniff_zip_end(b""), ZipContent::Truncated);
}

#[rstest]
#[case("text/vtt", b"\xEF\xBB\xBFWEBVTT\n", true)]
#[case("text/vtt", b"<html>", false)]
#[case("application/json", b" {\"a\":1}", true)]
#[case("application/json", b"\"text\"", true)]
#[case("application/json", b"%PDF-1.7", false)]
#[case("application/json", b"just text", false)]
#[case("application/problem+json", b"[1]", true)]
#[case("image/png", b"%PDF-1.7", false)]
#[case("text/plain", b"%PDF-1.7", false)]
#[case("application/pdf", b"just text", false)]
#[case("application/octet-stream", b"%PDF-1.7", true)]
#[case("application/xml", b"<?xml version=\"1.0\"?><a/>", true)]
#[case("application/xml", b"%PDF-1.7", false)]
#[case("image/svg+xml", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", true)]
#[case("image/svg+xml", b"<?xml version=\"1.0\"?><svg/>", true)]
#[case("audio/wav", b"RIFF\0\0\0\0WAVEfmt ", true)]
#[case("audio/x-wav", b"RIFF\0\0\0\0WAVEfmt ", true)]
#[case("audio/vnd.wave", b"RIFF\0\0\0\0WAVEfmt ", true)]
#[case("audio/mpeg", b"RIFF\0\0\0\0WAVEfmt ", true)]
#[case("image/webp", b"RIFF\0\0\0\0WAVEfmt ", false)]
#[case("application/epub+zip", b"PK\x03\x04mimetype", true)]
#[case("application/vnd.example", b"PK\x03\x04", true)]
#[case("application/vnd.example", b"\x89PNG\r\n\x1A\n", true)]
#[case("image/png", b"unknown bytes", true)]
#[case("audio/wav", b"unknown bytes", true)]
#[case("text/plain", b"one NUL\0", true)]
#[case("text/html", b"<!doctype html>", true)]
#[case("video/quicktime", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", true)]
fn f08_sniffer_that_does_not_know_a_type_contradicts_nothing(
    #[case] declared: &str,
    #[case] bytes: &[u8],
    #[case] fits: bool,
) {
    assert_eq!(fits_declared_type(declared, bytes), fits);
}

#[rstest]
fn v07_empty_file_fits_any_type(
    #[values("text/plain", "application/pdf", "image/png", "text/vtt", "application/json", "x", "")] declared: &str,
) {
    assert!(fits_declared_type(declared, b""));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512), declared in any::<String>()) {
        let _ = sniff(&bytes);
        let _ = (sniff_zip_end(&bytes), sniff_zip_start(&bytes));
        let _ = sniff_zip_start(&[b"PK\x03\x04", bytes.as_slice()].concat());
        let _ = sniff_zip_end(&[b"PK\x01\x02", bytes.as_slice(), b"PK\x05\x06", &bytes].concat());
        let _ = fits_declared_type(&declared, &bytes);
        let _ = fits_declared_type("text/vtt", &bytes);
    }

    #[test]
    fn any_text_is_text(text in "[^\0]{1,80}") {
        prop_assume!(Format::shown_by(text.as_bytes()).is_none());
        prop_assert_eq!(sniff(text.as_bytes()), Kind::Accepted(MediaType::Text));
        prop_assert!(fits_declared_type("text/plain", text.as_bytes()));
    }
}
