//! `WordprocessingML`: reads the text of a document's main part as a stream.

use std::io::Read;

use quick_xml::events::BytesStart;

use crate::{
    ContentError, Limits,
    xml::{self, Extracted, Node},
};

/// Elements whose content is not part of the text: properties, deleted and moved-away runs, field codes, ruby text (the
/// reading above the text), and the second rendering for old readers in `mc:AlternateContent`.
const SKIPPED: [&str; 10] =
    ["pPr", "rPr", "tblPr", "sectPr", "del", "moveFrom", "delText", "instrText", "rt", "Fallback"];

/// The text of a part, and the documents that it embeds: where in the text, and the id of the relationship.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) text: Extracted,
    pub(super) chunks: Vec<(usize, String)>,
}

/// Extracts the text.
pub(super) fn extract(xml: impl Read) -> Result<Body, ContentError> {
    let mut out = Body::default();
    let (mut skipped, mut in_text) = (0_usize, false);
    xml::visit(xml, "document", |node| {
        match node {
            Node::Open(name, _) if skipped > 0 || SKIPPED.contains(&name) => skipped += 1,
            Node::Close(_) if skipped > 0 => skipped -= 1,
            Node::Open(name, tag) => {
                in_text = name == "t";
                out.element(name, tag)?;
            }
            Node::Close(name) => {
                in_text = false;
                if name == "p" {
                    out.text.push("\n")?;
                }
            }
            Node::Text(text) if in_text && skipped == 0 => out.text.push(text)?,
            Node::Text(_) => {}
        }
        Ok(())
    })?;
    Ok(out)
}

impl Body {
    /// Adds the character that an element stands for, or notes the document that it embeds.
    fn element(&mut self, name: &str, tag: &BytesStart<'_>) -> Result<(), ContentError> {
        match name {
            "tab" | "ptab" => self.text.push("\t"),
            "br" | "cr" => self.text.push("\n"),
            "noBreakHyphen" => self.text.push("\u{2011}"),
            "altChunk" => {
                if let Some(id) = xml::attribute(tag, "id")? {
                    if self.chunks.len() >= Limits::EMBEDDED_DOCUMENTS {
                        return Err(ContentError::TooComplex);
                    }
                    self.chunks.push((self.text.as_str().len(), id));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn body(xml: &str) -> String {
        format!("<?xml version=\"1.0\"?><w:document xmlns:w=\"x\"><w:body>{xml}</w:body></w:document>")
    }

    #[rstest]
    #[case(
        "<w:p><w:r><w:t>One</w:t></w:r><w:r><w:t xml:space=\"preserve\"> two</w:t></w:r></w:p>",
        "One two"
    )]
    #[case("<w:p><w:r><w:t>a</w:t></w:r></w:p><w:p/><w:p><w:r><w:t>b</w:t></w:r></w:p>", "a\n\nb")]
    #[case("<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>", "a\tb\nc")]
    #[case("<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t>a</w:t></w:r></w:p>", "a")]
    #[case(
        "<w:p><w:del><w:r><w:delText>no</w:delText></w:r></w:del><w:ins><w:r><w:t>yes</w:t></w:r></w:ins></w:p>",
        "yes"
    )]
    #[case("<w:p><w:r><w:instrText>PAGE</w:instrText><w:t>4</w:t></w:r></w:p>", "4")]
    #[case("<w:p><w:r><w:t>R&amp;D &#228;&#x20AC; &lt;b&gt;</w:t></w:r></w:p>", "R&D ä€ <b>")]
    #[case("<w:p><w:r><w:t><![CDATA[<x>]]></w:t></w:r></w:p>", "<x>")]
    #[case(
        "<a:Choice><w:p><w:t>x</w:t></w:p></a:Choice><a:Fallback><w:p><w:t>x</w:t></w:p></a:Fallback>",
        "x"
    )]
    #[case(
        "<w:p><w:ruby><w:rt><w:r><w:t>kan</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>漢</w:t></w:r></w:rubyBase></w:ruby></w:p>",
        "漢"
    )]
    #[case("\n <w:p>\n <w:r>\n <w:t>a</w:t> </w:r>\n</w:p>\n", "a")]
    fn text_is_extracted_as_it_is_read(#[case] xml: &str, #[case] text: &str) {
        assert_eq!(extract(body(xml).as_bytes()).unwrap().text.finish(), text);
    }

    #[rstest]
    #[case("<w:p><w:t>&bomb;</w:t></w:p>", "malformed")]
    #[case("<w:p>&bomb;</w:p>", "malformed")]
    #[case("<w:p></w:r>", "malformed")]
    #[case("<w:p", "malformed")]
    #[case("<w:t>\u{0}", "malformed")]
    fn broken_xml_is_a_typed_error(#[case] xml: &str, #[case] code: &str) {
        assert_eq!(extract(body(xml).as_bytes()).unwrap_err().code(), code);
    }

    #[test]
    fn case_13_a_doctype_is_refused_at_any_position() {
        for xml in [
            "<!DOCTYPE w:document><w:document/>",
            "<w:document><!DOCTYPE a [<!ENTITY b \"c\">]></w:document>",
        ] {
            assert_eq!(extract(xml.as_bytes()).unwrap_err().code(), "malformed");
        }
    }

    #[test]
    fn case_13_elements_nested_too_deep_are_too_complex() {
        let xml = "<w:document>".repeat(Limits::XML_DEPTH + 1);
        assert_eq!(extract(xml.as_bytes()).unwrap_err(), ContentError::TooComplex);
    }

    #[test]
    fn xml_that_ends_early_is_truncated_and_other_xml_is_no_document() {
        assert_eq!(extract(&b"<w:document><w:body>"[..]).unwrap_err(), ContentError::Truncated);
        assert_eq!(extract(&b"<html></html>"[..]).unwrap_err().code(), "malformed");
        assert_eq!(extract(&b"<w:document>\xFF</w:document>"[..]).unwrap_err(), ContentError::NotUtf8);
    }

    proptest! {
        #[test]
        fn any_xml_is_text_or_a_typed_error(xml in "(<w:t>|</w:t>|<w:p/>|<!--|-->|<!\\[CDATA\\[|\\]\\]>|&#|;|[<>&a0x;/!?\"= ]){0,60}") {
            let _ = extract(body(&xml).as_bytes());
            let _ = extract(xml.as_bytes());
        }
    }
}
