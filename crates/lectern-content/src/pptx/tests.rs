//! Tests of PPTX.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::{package::testing::zip, samples};

const PRESENTATION: &str = "<p:presentation xmlns:p='p' xmlns:r='r'><p:sldIdLst><p:sldId id='256' r:id='rId7'/>\
    <p:sldId id='257' r:id='rId3'/></p:sldIdLst></p:presentation>";

fn relationships(of: &[(&str, &str, &str)]) -> String {
    let one = |(id, kind, target): &(&str, &str, &str)| {
        format!("<Relationship Id='{id}' Type='http://example.com/{kind}' Target='{target}'/>")
    };
    format!("<Relationships>{}</Relationships>", of.iter().map(one).collect::<String>())
}

fn slide(content: &str) -> String {
    format!("<p:sld xmlns:p='p' xmlns:a='a'><p:cSld><p:spTree>{content}</p:spTree></p:cSld></p:sld>")
}

fn paragraph(text: &str) -> String {
    format!("<a:p><a:r><a:rPr/><a:t>{text}</a:t></a:r></a:p>")
}

/// A presentation that shows `first`, and then `second` with speaker's notes.
fn pptx(first: &str, second: &str, notes: &str) -> Vec<u8> {
    zip(&[
        ("_rels/.rels", &relationships(&[("r", "officeDocument", "ppt/presentation.xml")])),
        ("ppt/presentation.xml", PRESENTATION),
        (
            "ppt/_rels/presentation.xml.rels",
            &relationships(&[("rId3", "slide", "slides/slide1.xml"), ("rId7", "slide", "slides/slide2.xml")]),
        ),
        ("ppt/slides/slide1.xml", second),
        ("ppt/slides/_rels/slide1.xml.rels", &relationships(&[("r1", "notesSlide", "../notesSlides/n.xml")])),
        ("ppt/slides/slide2.xml", first),
        ("ppt/notesSlides/n.xml", notes),
    ])
}

fn of_slide(content: &str) -> Result<String, ContentError> {
    extract_text(&pptx(&slide(content), &slide(""), "<p:notes/>"))
}

#[test]
fn the_sample_presentation_is_read() {
    let text = extract_text(samples::SLIDES_PPTX).unwrap();
    assert!(text.contains("lesson"), "{text}");
}

#[test]
fn slides_are_read_in_the_order_in_which_they_are_shown() {
    let notes = format!("<p:notes xmlns:p='p' xmlns:a='a'>{}</p:notes>", paragraph("Say hello"));
    let presentation = pptx(&slide(&paragraph("One")), &slide(&paragraph("Two")), &notes);
    assert_eq!(extract_text(&presentation).unwrap(), "One\n\nTwo\nSay hello");
}

#[rstest]
#[case("<a:p><a:r><a:t>a</a:t></a:r><a:br/><a:r><a:t>b &amp; c</a:t></a:r></a:p>", "a\nb & c")]
#[case("<a:p><a:r><a:t>Page </a:t></a:r><a:fld type='slidenum'><a:t>7</a:t></a:fld></a:p>", "Page")]
#[case(
    "<a:tbl><a:tc><a:p><a:r><a:t>a</a:t></a:r></a:p></a:tc><a:tc><a:p><a:r><a:t>b</a:t></a:r></a:p></a:tc></a:tbl>",
    "a\nb"
)]
#[case(
    "<mc:Choice><a:p><a:t>x</a:t></a:p></mc:Choice><mc:Fallback><a:p><a:t>x</a:t></a:p></mc:Fallback>",
    "x"
)]
#[case("<a:p/><a:p>\n  <a:r>\n <a:t/></a:r></a:p>", "")]
fn text_is_extracted_as_it_is_shown(#[case] content: &str, #[case] text: &str) {
    assert_eq!(of_slide(content).unwrap(), text);
}

#[rstest]
#[case::entity_bomb("<a:p><a:t>&bomb;</a:t></a:p>", "malformed")]
#[case::broken("<a:p></a:t>", "malformed")]
fn a_broken_slide_is_a_typed_error(#[case] content: &str, #[case] code: &str) {
    assert_eq!(of_slide(content).unwrap_err().code(), code);
}

#[test]
fn case_13_a_doctype_is_refused() {
    let bomb = "<!DOCTYPE p [<!ENTITY a \"lol\">]><p:sld><a:t>&a;</a:t></p:sld>";
    assert_eq!(extract_text(&pptx(bomb, &slide(""), "<p:notes/>")).unwrap_err().code(), "malformed");
}

#[test]
fn case_12_a_zip_bomb_is_stopped_at_the_budget() {
    let bomb = slide(&paragraph(&" ".repeat(80 * 1024 * 1024)));
    let bomb = crate::package::testing::deflated(&[
        ("ppt/presentation.xml", PRESENTATION),
        ("ppt/_rels/presentation.xml.rels", &relationships(&[("rId7", "slide", "bomb.xml")])),
        ("ppt/bomb.xml", &bomb),
    ]);
    assert!(bomb.len() < 512 * 1024);
    assert_eq!(extract_text(&bomb), Err(ContentError::TooComplex));
}

#[test]
fn a_slide_that_is_shown_too_often_is_too_complex() {
    let ids = "<p:sldId r:id='rId3'/>".repeat(Limits::SLIDES + 1);
    let many = zip(&[("ppt/presentation.xml", &format!("<p:presentation>{ids}</p:presentation>"))]);
    assert_eq!(extract_text(&many), Err(ContentError::TooComplex));
}

#[test]
fn slides_that_are_missing_have_no_text() {
    assert_eq!(extract_text(&zip(&[("ppt/presentation.xml", PRESENTATION)])), Ok(String::new()));
}

#[test]
fn another_file_is_a_typed_error() {
    assert_eq!(extract_text(&zip(&[("a.txt", "a")])).unwrap_err().code(), "malformed");
    assert_eq!(extract_text(samples::LESSON_PLAN_PDF).unwrap_err().code(), "malformed");
    let mut old = vec![0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];
    assert_eq!(extract_text(&old).unwrap_err().code(), "unsupported");
    old.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(extract_text(&old), Err(ContentError::Encrypted));
}

#[test]
fn a_presentation_is_truncated_at_any_cut() {
    let slides = samples::SLIDES_PPTX;
    for length in (2..slides.len() - 22).step_by(97) {
        assert_eq!(extract_text(&slides[..length]), Err(ContentError::Truncated), "cut at {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_slide_is_text_or_a_typed_error(xml in "(<a:t>|</a:t>|<a:p>|</a:p>|<a:fld/>|<!--|-->|[<>&a0x;/!?\"= ]){0,60}") {
        let _ = of_slide(&xml);
    }

    #[test]
    fn a_mutated_presentation_is_text_or_a_typed_error(bytes in samples::mutated(samples::SLIDES_PPTX, usize::MAX)) {
        let _ = extract_text(&bytes);
    }
}
