//! `WordprocessingML`: reads the text of `word/document.xml` as a stream.

use std::io::{BufReader, Read};

use quick_xml::{Reader, XmlVersion, errors::IllFormedError, events::Event};

use super::OverBudget;
use crate::{ContentError, Limits};

/// Elements whose content is not part of the text: properties, deleted and moved-away runs, field codes, and the
/// second rendering for old readers in `mc:AlternateContent`.
const SKIPPED: [&str; 9] =
    ["pPr", "rPr", "tblPr", "sectPr", "del", "moveFrom", "delText", "instrText", "Fallback"];

/// Extracts the text. Compares names without their namespace prefix, because each program chooses its own prefix.
pub(super) fn extract(xml: impl Read) -> Result<String, ContentError> {
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
                }
            }
            Event::Empty(tag) => {
                if skipped_from.is_none() {
                    out.element(tag.local_name().as_ref())?;
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
            Event::Eof => return Ok(out.finish()),
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    Err(ContentError::TooComplex)
}

fn predefined(name: &str) -> Option<&'static str> {
    quick_xml::escape::resolve_predefined_entity(name)
}

fn xml_error(error: &quick_xml::Error) -> ContentError {
    match error {
        quick_xml::Error::Io(error) if is_over_budget(error) => ContentError::TooComplex,
        quick_xml::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ContentError::Truncated
        }
        quick_xml::Error::Io(_) => ContentError::malformed("its compressed content is damaged"),
        quick_xml::Error::Encoding(_) => ContentError::NotUtf8,
        quick_xml::Error::IllFormed(IllFormedError::MissingEndTag(_)) => ContentError::Truncated,
        quick_xml::Error::Syntax(_)
        | quick_xml::Error::IllFormed(_)
        | quick_xml::Error::InvalidAttr(_)
        | quick_xml::Error::Escape(_)
        | quick_xml::Error::Namespace(_) => ContentError::malformed("its XML is broken"),
    }
}

fn is_over_budget(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<OverBudget>()).is_some()
}

#[derive(Default)]
struct Body {
    text: String,
    chars: usize,
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

    fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
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
    #[case("\n <w:p>\n <w:r>\n <w:t>a</w:t> </w:r>\n</w:p>\n", "a")]
    fn text_is_extracted_as_it_is_read(#[case] xml: &str, #[case] text: &str) {
        assert_eq!(extract(body(xml).as_bytes()).unwrap(), text);
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
