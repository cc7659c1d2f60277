//! Reads an XML part of an office document as a stream, within the limits on depth and events.

use std::io::{BufReader, Read};

use quick_xml::{
    Reader, XmlVersion,
    errors::IllFormedError,
    events::{BytesStart, Event},
    name::QName,
};

use crate::{ContentError, Limits, package::read_error};

/// One step through the XML. Names have no namespace prefix, because each program chooses its own prefix.
#[derive(Debug)]
pub(crate) enum Node<'x, 'e> {
    /// An element begins.
    Open(&'x str, &'x BytesStart<'e>),
    /// An element ends; this also follows the beginning of an empty element.
    Close(&'x str),
    /// Text, with references resolved.
    Text(&'x str),
}

/// Visits everything below and including the root element, which must have the name `root`.
///
/// A `DOCTYPE` is refused, so no entity can expand. Comments and processing instructions are left out.
pub(crate) fn visit(
    xml: impl Read,
    root: &str,
    mut visitor: impl FnMut(Node<'_, '_>) -> Result<(), ContentError>,
) -> Result<(), ContentError> {
    let mut reader = Reader::from_reader(BufReader::new(xml));
    let mut buffer = Vec::new();
    let mut depth = 0_usize;
    for _ in 0..Limits::XML_EVENTS {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(|error| xml_error(&error))? {
            Event::Start(tag) => {
                let name = tag.local_name();
                check_root(depth, name.as_ref(), root)?;
                depth += 1;
                if depth > Limits::XML_DEPTH {
                    return Err(ContentError::TooComplex);
                }
                visitor(Node::Open(name.as_ref(), &tag))?;
            }
            Event::Empty(tag) => {
                let name = tag.local_name();
                check_root(depth, name.as_ref(), root)?;
                visitor(Node::Open(name.as_ref(), &tag))?;
                visitor(Node::Close(name.as_ref()))?;
                if depth == 0 {
                    return Ok(());
                }
            }
            Event::End(tag) => {
                visitor(Node::Close(tag.local_name().as_ref()))?;
                depth = depth.saturating_sub(1);
            }
            Event::Text(text) => visitor(Node::Text(&text.xml_content(XmlVersion::Explicit1_0)))?,
            Event::CData(text) => visitor(Node::Text(&text))?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| xml_error(&error))?;
                let resolved = character.map(String::from);
                let text = resolved.as_deref().or_else(|| predefined(&reference)).ok_or_else(|| {
                    ContentError::malformed("its XML uses an entity that is not allowed in office documents")
                })?;
                visitor(Node::Text(text))?;
            }
            Event::DocType(_) => return Err(ContentError::malformed("its XML has a DOCTYPE")),
            Event::Eof if depth > 0 => return Err(ContentError::Truncated),
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    Err(ContentError::TooComplex)
}

fn check_root(depth: usize, name: &str, root: &str) -> Result<(), ContentError> {
    if depth == 0 && name != root {
        return Err(ContentError::malformed("it is XML of another kind of document"));
    }
    Ok(())
}

fn predefined(name: &str) -> Option<&'static str> {
    quick_xml::escape::resolve_predefined_entity(name)
}

/// The value of an attribute, whatever its namespace prefix.
pub(crate) fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, ContentError> {
    find_attribute(tag, |key| key.local_name().as_ref() == name)
}

/// The value of the attribute `r:id`, which names a relationship. Some elements have an `id` without a prefix beside it.
pub(crate) fn relationship_id(tag: &BytesStart<'_>) -> Result<Option<String>, ContentError> {
    find_attribute(tag, |key| key.prefix().is_some() && key.local_name().as_ref() == "id")
}

fn find_attribute(
    tag: &BytesStart<'_>,
    is_wanted: impl Fn(QName<'_>) -> bool,
) -> Result<Option<String>, ContentError> {
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| ContentError::malformed("its XML is broken"))?;
        if is_wanted(attribute.key) {
            let value = attribute.normalized_value(XmlVersion::Explicit1_0);
            return Ok(Some(value.map_err(|error| xml_error(&error))?.into_owned()));
        }
    }
    Ok(None)
}

fn xml_error(error: &quick_xml::Error) -> ContentError {
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

/// Text that grows up to [`Limits::EXTRACTED_CHARS`].
#[derive(Debug, Default)]
pub(crate) struct Extracted {
    text: String,
    chars: usize,
}

impl Extracted {
    pub(crate) fn push(&mut self, text: &str) -> Result<(), ContentError> {
        self.chars += text.chars().count();
        if self.chars > Limits::EXTRACTED_CHARS {
            return Err(ContentError::TooComplex);
        }
        self.text.push_str(text);
        Ok(())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The text without blanks at its end.
    pub(crate) fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }
}
