//! Tests of the PDF text.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use flate2::{Compression, write::ZlibEncoder};
use lectern_content::samples;
use lopdf::{
    Dictionary, EncryptionState, EncryptionVersion, dictionary,
    encryption::crypt_filters::{Aes128CryptFilter, Aes256CryptFilter, CryptFilter},
};
use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A PDF of one page with this content stream, plus other objects from number 10 on.
fn pdf(content: &Stream, others: &[Stream]) -> Vec<u8> {
    file("<< /F1 << /Type /Font /Subtype /Type1 /BaseFont /Courier >> >>", content, others)
}

/// As [`pdf`], with other fonts. Written by hand, because `lopdf` saves no object streams.
fn file(fonts: &str, content: &Stream, others: &[Stream]) -> Vec<u8> {
    let page = format!("<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font {fonts} >> >>");
    let mut objects = vec![
        (1, b"<< /Type /Catalog /Pages 2 0 R >>".to_vec()),
        (2, b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec()),
        (3, page.into_bytes()),
        (4, written(content)),
    ];
    objects.extend((10..).zip(others.iter().map(written)));
    let mut bytes = b"%PDF-1.5\n".to_vec();
    let mut table = String::new();
    for (number, object) in objects {
        let _ = write!(table, "{number} 1\n{:010} 00000 n \n", bytes.len());
        bytes.extend(format!("{number} 0 obj\n").into_bytes());
        bytes.extend(object);
        bytes.extend(b"\nendobj\n");
    }
    let start = bytes.len();
    let end = format!(
        "xref\n0 1\n0000000000 65535 f \n{table}trailer\n<< /Size 100 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF"
    );
    bytes.extend(end.into_bytes());
    bytes
}

fn written(stream: &Stream) -> Vec<u8> {
    let dictionary = format!("{:?}", stream.dict).into_bytes();
    [&dictionary, b"\nstream\n".as_slice(), &stream.content, b"\nendstream"].concat()
}

fn hello() -> Stream {
    Stream::new(Dictionary::new(), b"BT /F1 12 Tf (Hello world.) Tj ET".to_vec())
}

fn flate(mut dictionary: Dictionary, content: &[u8]) -> Stream {
    dictionary.set("Filter", "FlateDecode");
    Stream::new(dictionary, deflated(content))
}

#[test]
fn the_sample_lesson_plan_is_read() {
    let plan = extract_text(samples::LESSON_PLAN_PDF).unwrap();
    assert_eq!(plan.pages, 1);
    let words = plan.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("Lesson plan: The water cycle"), "{}", plan.text);
    assert!(words.contains("watch the the drops"), "{}", plan.text);
}

#[test]
fn a_small_pdf_is_read() {
    let text = extract_text(&pdf(&hello(), &[])).unwrap();
    assert_eq!((text.text.trim(), text.pages), ("Hello world.", 1));
}

#[test]
fn objects_in_an_object_stream_are_read() {
    let font = b"20 0 << /Type /Font /Subtype /Type1 /BaseFont /Courier >>";
    let packed = flate(dictionary! { "Type" => "ObjStm", "N" => 1, "First" => 5 }, font);
    let bytes = file("<< /F1 20 0 R >>", &hello(), &[packed]);
    assert_eq!(extract_text(&bytes).unwrap().text.trim(), "Hello world.");
}

/// How a test's PDF is encrypted.
#[derive(Clone, Copy, Debug)]
enum Cipher {
    Rc4,
    Aes128,
    Aes256,
}

/// The state of an encryption with this user password and an owner password.
fn encryption(document: &Document, cipher: Cipher, user_password: &str) -> EncryptionState {
    let filter: Arc<dyn CryptFilter> = match cipher {
        Cipher::Aes256 => Arc::new(Aes256CryptFilter),
        Cipher::Rc4 | Cipher::Aes128 => Arc::new(Aes128CryptFilter),
    };
    let crypt_filters = BTreeMap::from([(b"StdCF".to_vec(), filter)]);
    let (stream_filter, string_filter) = (b"StdCF".to_vec(), b"StdCF".to_vec());
    let (owner_password, permissions) = ("owner", lopdf::Permissions::empty());
    let version = match cipher {
        Cipher::Rc4 => {
            EncryptionVersion::V2 { document, owner_password, user_password, key_length: 128, permissions }
        }
        Cipher::Aes128 => EncryptionVersion::V4 {
            document,
            encrypt_metadata: true,
            crypt_filters,
            stream_filter,
            string_filter,
            owner_password,
            user_password,
            permissions,
        },
        Cipher::Aes256 => EncryptionVersion::V5 {
            encrypt_metadata: true,
            crypt_filters,
            file_encryption_key: &[7; 32],
            stream_filter,
            string_filter,
            owner_password,
            user_password,
            permissions,
        },
    };
    EncryptionState::try_from(version).unwrap()
}

/// A PDF with this page and these object streams, encrypted.
fn encrypted(fonts: &str, streams: &[Stream], cipher: Cipher, user_password: &str) -> Vec<u8> {
    let mut document = Document::load_mem(&file(fonts, &hello(), &[])).unwrap();
    for (number, stream) in (30..).zip(streams) {
        let mut stream = stream.clone();
        stream.dict.set("Type", "NotYet");
        document.objects.insert((number, 0), Object::Stream(stream));
    }
    let id = Object::string_literal("0123456789abcdef");
    document.trailer.set("ID", vec![id.clone(), id]);
    let state = encryption(&document, cipher, user_password);
    document.encrypt(&state).unwrap();
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    // `lopdf` saves no object streams, so they get their type in the file.
    for at in 0..bytes.len().saturating_sub(6) {
        if bytes[at..].starts_with(b"NotYet") {
            bytes[at..at + 6].copy_from_slice(b"ObjStm");
        }
    }
    bytes
}

const COURIER: &str = "<< /F1 << /Type /Font /Subtype /Type1 /BaseFont /Courier >> >>";

#[rstest]
fn case_14_an_encrypted_pdf_is_a_typed_rejection(
    #[values(Cipher::Rc4, Cipher::Aes128, Cipher::Aes256)] cipher: Cipher,
) {
    assert_eq!(extract_text(&encrypted(COURIER, &[], cipher, "user")), Err(ContentError::Encrypted));
}

#[rstest]
fn f13_pdf_with_only_an_owner_password_is_read(
    #[values(Cipher::Rc4, Cipher::Aes128, Cipher::Aes256)] cipher: Cipher,
) {
    let bytes = encrypted(COURIER, &[], cipher, "");
    assert!(!bytes.windows(5).any(|window| window == b"Hello"), "the test's PDF is encrypted");
    assert_eq!(extract_text(&bytes).unwrap().text.trim(), "Hello world.");
}

#[test]
fn f13_object_streams_of_a_pdf_with_an_owner_password_are_read() {
    let font = b"20 0 << /Type /Font /Subtype /Type1 /BaseFont /Courier >>";
    let packed = flate(dictionary! { "Type" => "ObjStm", "N" => 1, "First" => 5 }, font);
    let bytes = encrypted("<< /F1 20 0 R >>", &[packed], Cipher::Aes128, "");
    assert_eq!(extract_text(&bytes).unwrap().text.trim(), "Hello world.");
}

#[test]
fn case_14_f13_budget_holds_for_an_encrypted_pdf() {
    let packed =
        |size: usize| flate(dictionary! { "Type" => "ObjStm", "N" => 0, "First" => 0 }, &vec![b' '; size]);
    let count = MAX_OBJECT_STREAMS_BYTES / MAX_STREAM_BYTES + 1;
    let many = vec![packed(MAX_STREAM_BYTES); count];
    for bomb in [&[packed(MAX_STREAM_BYTES + 1)][..], &many, &[many_entries_for_one_object()]] {
        let bytes = encrypted(COURIER, bomb, Cipher::Aes128, "");
        assert_eq!(extract_text(&bytes), Err(ContentError::TooComplex));
    }
    assert!(extract_text(&encrypted(COURIER, &many[..1], Cipher::Aes128, "")).is_ok());
}

#[test]
fn case_14_a_pdf_is_truncated_at_any_cut() {
    let plan = samples::LESSON_PLAN_PDF;
    for length in (1024..plan.len() - 8).step_by(1999) {
        assert_eq!(extract_text(&plan[..length]), Err(ContentError::Truncated), "cut at {length}");
    }
}

#[test]
fn case_14_the_bad_samples_are_typed_rejections() {
    assert_eq!(extract_text(samples::EMPTY_PDF), Err(ContentError::Empty));
    assert_eq!(extract_text(samples::RENAMED_PDF).unwrap_err().code(), "malformed");
}

#[test]
fn case_14_a_panicking_parser_is_a_typed_rejection() {
    let result = within_deadline(|| panic!("a parser's bug"));
    assert_eq!(result.unwrap_err().code(), "malformed");
}

#[test]
fn case_14_a_parser_that_unwinds_without_a_panic_message_is_a_typed_rejection() {
    let started = Instant::now();
    let result = within_deadline(|| std::panic::resume_unwind(Box::new(())));
    assert_eq!(result.unwrap_err().code(), "malformed");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn case_14_a_page_that_inflates_beyond_the_limit_is_too_complex() {
    let bomb = flate(Dictionary::new(), &vec![b' '; MAX_STREAM_BYTES + 1]);
    assert_eq!(extract_text(&pdf(&bomb, &[])), Err(ContentError::TooComplex));
}

#[test]
fn case_14_object_streams_that_inflate_beyond_the_limit_are_too_complex() {
    let packed =
        |size: usize| flate(dictionary! { "Type" => "ObjStm", "N" => 0, "First" => 0 }, &vec![b' '; size]);
    let one = pdf(&hello(), &[packed(MAX_STREAM_BYTES + 1)]);
    assert_eq!(extract_text(&one), Err(ContentError::TooComplex));
    let count = MAX_OBJECT_STREAMS_BYTES / MAX_STREAM_BYTES + 1;
    let many = vec![packed(MAX_STREAM_BYTES); count];
    assert_eq!(extract_text(&pdf(&hello(), &many)), Err(ContentError::TooComplex));
    assert!(extract_text(&pdf(&hello(), &many[..1])).is_ok());
}

/// An object stream that lists one large object many times.
fn many_entries_for_one_object() -> Stream {
    let mut index = String::new();
    for number in 100..20_100 {
        let _ = write!(index, "{number} 0 ");
    }
    let first = i64::try_from(index.len()).unwrap();
    let content = format!("{index}({})", "x".repeat(1_000_000));
    flate(dictionary! { "Type" => "ObjStm", "N" => 20_000, "First" => first }, content.as_bytes())
}

#[test]
fn case_14_an_object_stream_that_lists_one_object_many_times_is_refused() {
    assert_eq!(extract_text(&pdf(&hello(), &[many_entries_for_one_object()])), Err(ContentError::TooComplex));
}

#[test]
fn case_14_deep_nesting_overflows_no_stack() {
    for nested in ["[", "<<", "<</A", "(", "[<<"] {
        let content = format!("BT {} Tj ET", nested.repeat(200_000));
        let _ = extract_text(&pdf(&Stream::new(Dictionary::new(), content.into_bytes()), &[]));
        let file =
            format!("%PDF-1.5\n1 0 obj\n{}\nendobj\ntrailer <</Root 1 0 R>>\n%%EOF", nested.repeat(200_000));
        assert!(extract_text(file.as_bytes()).is_err());
    }
}

#[test]
fn case_14_a_cyclic_page_tree_is_a_typed_rejection() {
    let bytes = String::from_utf8(pdf(&hello(), &[])).unwrap().replace("/Kids [3 0 R]", "/Kids [2 0 R]");
    assert_eq!(extract_text(bytes.as_bytes()).unwrap_err().code(), "malformed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_are_a_text_or_a_typed_error(bytes: Vec<u8>) {
        let _ = extract_text(&bytes);
        let _ = extract_text(&[b"%PDF-1.5\n", bytes.as_slice(), b"\ntrailer <</Root 1 0 R>>\n%%EOF"].concat());
    }

    #[test]
    fn a_mutated_pdf_is_a_text_or_a_typed_error(bytes in samples::mutated(samples::LESSON_PLAN_PDF, usize::MAX)) {
        let _ = extract_text(&bytes);
    }
}
