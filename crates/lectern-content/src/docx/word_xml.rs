//! `WordprocessingML`: reads the text of a document's main part as a stream.

use std::io::{BufReader, Read};

use quick_xml::{
    Reader, XmlVersion,
    errors::IllFormedError,
    events::{BytesStart, Event},
};

use super::{package::read_error, relationships::attribute};
use crate::{ContentError, Limits};

/// Elements whose content is not part of the text: properties, deleted and moved-away runs, field codes, ruby text (the
/// reading above the text), and the second rendering for old readers in `mc:AlternateContent`.
const SKIPPED: [&str; 10] =
    ["pPr", "rPr", "tblPr", "sectPr", "del", "moveFrom", "delText", "instrText", "rt", "Fallback"];

/// The text of a part, and the documents that it embeds: where in the text, and the id of the relationship.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) text: String,
    pub(super) chunks: Vec<(usize, String)>,
    chars: usize,
}

/// Extracts the text. Compares names without their namespace prefix, because each program chooses its own prefix.
pub(super) fn extract(xml: impl Read) -> Result<Body, ContentError> {
    let mut reader = Reader::from_reader(BufReader::new(xml));
    let mut out = Body::default();
    let mut buffer = Vec::new();
    let mut depth = 0_usize;
    let mut skipped_from: Option<usize> = None;
    let mut in_text = false;
    for _ in 0..Limits::XML_EVENTS {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(|error| xml_error(&error))? {
            Event::Start(tag) => {
                let name = tag.local_name();
                if depth == 0 && name.as_ref() != "document" {
                    return Err(ContentError::malformed("it is XML, but not a Word document"));
                }
                depth += 1;
                if depth > Limits::XML_DEPTH {
                    return Err(ContentError::TooComplex);
                }
                if skipped_from.is_none() {
                    if SKIPPED.contains(&name.as_ref()) {
                        skipped_from = Some(depth);
                    }
                    in_text = name.as_ref() == "t";
                    out.element(name.as_ref())?;
                    out.chunk(&tag)?;
                }
            }
            Event::Empty(tag) => {
                if skipped_from.is_none() {
                    out.element(tag.local_name().as_ref())?;
                    out.chunk(&tag)?;
                    if tag.local_name().as_ref() == "p" {
                        out.push("\n")?;
                    }
                }
            }
            Event::End(tag) => {
                if skipped_from.is_none() && tag.local_name().as_ref() == "p" {
                    out.push("\n")?;
                }
                if skipped_from == Some(depth) {
                    skipped_from = None;
                }
                in_text = false;
                depth = depth.saturating_sub(1);
            }
            Event::Text(text) if in_text && skipped_from.is_none() => {
                out.push(&text.xml_content(XmlVersion::Explicit1_0))?;
            }
            Event::CData(text) if in_text && skipped_from.is_none() => out.push(&text)?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| xml_error(&error))?;
                let resolved = character.map(String::from);
                let text = resolved.as_deref().or_else(|| predefined(&reference)).ok_or_else(|| {
                    ContentError::malformed("its XML uses an entity that is not allowed in Word documents")
                })?;
                if in_text && skipped_from.is_none() {
                    out.push(text)?;
                }
            }
            Event::DocType(_) => return Err(ContentError::malformed("its XML has a DOCTYPE")),
            Event::Eof if depth > 0 => return Err(ContentError::Truncated),
            Event::Eof => return Ok(out),
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    Err(ContentError::TooComplex)
}

fn predefined(name: &str) -> Option<&'static str> {
    quick_xml::escape::resolve_predefined_entity(name)
}

pub(super) fn xml_error(error: &quick_xml::Error) -> ContentError {
    match error {
        quick_xml::Error::Io(error) => read_error(error),
        quick_xml::Error::Encoding(_) => ContentError::NotUtf8,
        quick_xml::Error::IllFormed(IllFormedError::MissingEndTag(_)) => ContentError::Truncated,
        quick_xml::Error::Syntax(_)
        | quick_xml::Error::IllFormed(_)
        | quick_xml::Error::InvalidAttr(_)
        | quick_xml::Error::Escape(_)
        | quick_xml::Error::Namespace(_) => ContentError::malformed("its XML is broken"),
    }
}

impl Body {
    /// Adds the character that an element stands for.
    fn element(&mut self, name: &str) -> Result<(), ContentError> {
        match name {
            "tab" | "ptab" => self.push("\t"),
            "br" | "cr" => self.push("\n"),
            "noBreakHyphen" => self.push("\u{2011}"),
            _ => Ok(()),
        }
    }

    fn push(&mut self, text: &str) -> Result<(), ContentError> {
        self.chars += text.chars().count();
        if self.chars > Limits::EXTRACTED_CHARS {
            return Err(ContentError::TooComplex);
        }
        self.text.push_str(text);
        Ok(())
    }

    /// Notes an embedded document.
    fn chunk(&mut self, tag: &BytesStart<'_>) -> Result<(), ContentError> {
        if tag.local_name().as_ref() == "altChunk"
            && let Some(id) = attribute(tag, "id")?
        {
            if self.chunks.len() >= Limits::EMBEDDED_DOCUMENTS {
                return Err(ContentError::TooComplex);
            }
            self.chunks.push((self.text.len(), id));
        }
        Ok(())
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
        assert_eq!(extract(body(xml).as_bytes()).unwrap().text.trim_end(), text);
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
        assert_eq!(extract(xml.as_bytes()), Err(ContentError::TooComplex));
    }

    #[test]
    fn xml_that_ends_early_is_truncated_and_other_xml_is_no_document() {
        assert_eq!(extract(&b"<w:document><w:body>"[..]), Err(ContentError::Truncated));
        assert_eq!(extract(&b"<html></html>"[..]).unwrap_err().code(), "malformed");
        assert_eq!(extract(&b"<w:document>\xFF</w:document>"[..]), Err(ContentError::NotUtf8));
    }

    proptest! {
        #[test]
        fn any_xml_is_text_or_a_typed_error(xml in "(<w:t>|</w:t>|<w:p/>|<!--|-->|<!\\[CDATA\\[|\\]\\]>|&#|;|[<>&a0x;/!?\"= ]){0,60}") {
            let _ = extract(body(&xml).as_bytes());
            let _ = extract(xml.as_bytes());
        }
    }
}
