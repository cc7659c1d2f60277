//! Tests of ODT.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::{
    package::testing::{deflated, zip},
    samples,
};

fn content(text: &str) -> String {
    format!(
        "<office:document-content xmlns:office='o' xmlns:text='t'><office:body><office:text>{text}</office:text>\
         </office:body></office:document-content>"
    )
}

fn of_text(text: &str) -> Result<String, ContentError> {
    extract_text(&zip(&[
        ("mimetype", "application/vnd.oasis.opendocument.text"),
        ("content.xml", &content(text)),
    ]))
}

#[test]
fn the_sample_plan_is_read() {
    let text = extract_text(samples::LESSON_PLAN_ODT).unwrap();
    assert!(text.contains("lesson"), "{text}");
}

#[rstest]
#[case("<text:h>Title</text:h><text:p>One <text:span>two</text:span></text:p><text:p/>", "Title\nOne two")]
#[case("<text:p>\n  a\n  b <text:s text:c='2'/>c<text:tab/>d<text:line-break/>e</text:p>", "a b   c\td\ne")]
#[case("<text:list><text:list-item><text:p>a</text:p></text:list-item></text:list>", "a")]
#[case("<text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:p>stays</text:p>", "stays")]
#[case("<text:p>a<office:annotation><text:p>why?</text:p></office:annotation>b</text:p>", "ab")]
#[case(
    "<text:p>a<draw:frame><draw:text-box><text:p>box</text:p></draw:text-box></draw:frame>b</text:p>",
    "a\nbox\nb"
)]
#[case(
    "<text:p><text:ruby><text:ruby-base>漢</text:ruby-base><text:ruby-text>kan</text:ruby-text></text:ruby></text:p>",
    "漢"
)]
#[case("<text:p>R&amp;D &#228; <![CDATA[<x>]]></text:p>", "R&D ä <x>")]
#[case("text outside of paragraphs", "")]
fn text_is_extracted_as_it_is_read(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(of_text(text).unwrap(), expected);
}

#[test]
fn a_number_of_spaces_is_limited() {
    let spaces = of_text("<text:p>a<text:s text:c='4000000000'/>b</text:p>").unwrap();
    assert_eq!(spaces.len(), MOST_SPACES + 2);
}

#[rstest]
#[case::by_part(
    "<manifest:manifest><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></manifest:manifest>",
    "content.xml"
)]
#[case::as_a_whole("<manifest:manifest/>", "encrypted-package")]
fn a_password_is_named(#[case] manifest: &str, #[case] part: &str) {
    let encrypted = zip(&[("META-INF/manifest.xml", manifest), (part, "\u{1}\u{2}\u{3}")]);
    assert_eq!(extract_text(&encrypted), Err(ContentError::Encrypted));
}

#[rstest]
#[case::entity_bomb("<text:p>&bomb;</text:p>")]
#[case::broken("<text:p></text:h>")]
fn broken_xml_is_malformed(#[case] text: &str) {
    assert_eq!(of_text(text).unwrap_err().code(), "malformed");
}

#[test]
fn case_13_a_doctype_is_refused() {
    let bomb = format!("<!DOCTYPE a [<!ENTITY a \"lol\">]>{}", content("<text:p>&a;</text:p>"));
    assert_eq!(extract_text(&zip(&[("content.xml", &bomb)])).unwrap_err().code(), "malformed");
}

#[test]
fn case_12_a_zip_bomb_is_stopped_at_the_budget() {
    let bomb = content(&format!("<text:p>{}</text:p>", "x".repeat(80 * 1024 * 1024)));
    let bomb = deflated(&[("content.xml", &bomb)]);
    assert!(bomb.len() < 512 * 1024);
    assert_eq!(extract_text(&bomb), Err(ContentError::TooComplex));
}

#[test]
fn another_document_is_malformed() {
    let table = content("").replace("office:text", "office:spreadsheet");
    assert_eq!(extract_text(&zip(&[("content.xml", &table)])).unwrap_err().code(), "malformed");
    assert_eq!(extract_text(&zip(&[("a.txt", "a")])).unwrap_err().code(), "malformed");
    assert_eq!(extract_text(samples::LESSON_PLAN_PDF).unwrap_err().code(), "malformed");
    assert_eq!(extract_text(b""), Err(ContentError::Empty));
}

#[test]
fn a_document_is_truncated_at_any_cut() {
    let plan = samples::LESSON_PLAN_ODT;
    for length in (2..plan.len() - 22).step_by(97) {
        assert_eq!(extract_text(&plan[..length]), Err(ContentError::Truncated), "cut at {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_content_is_text_or_a_typed_error(xml in "(<text:p>|</text:p>|<text:s text:c='9'/>|<!--|-->|[<>&a0x;/!?\"= ]){0,60}") {
        let _ = of_text(&xml);
    }

    #[test]
    fn a_mutated_document_is_text_or_a_typed_error(bytes in samples::mutated(samples::LESSON_PLAN_ODT, usize::MAX)) {
        let _ = extract_text(&bytes);
    }
}
