//! Relationships of a package or of a part: XML that names other parts.

use std::io::{BufReader, Read};

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::word_xml::xml_error;
use crate::{ContentError, Limits};

/// A relationship to another part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relationship {
    pub(super) id: String,
    /// A URL that ends with the kind, such as `…/officeDocument`.
    pub(super) kind: String,
    /// The name of the other part; `None` if the target is outside of the package.
    pub(super) target: Option<String>,
}

/// Reads the relationships of a part in this folder.
pub(super) fn read(xml: impl Read, folder: &str) -> Result<Vec<Relationship>, ContentError> {
    let mut reader = Reader::from_reader(BufReader::new(xml));
    let (mut found, mut buffer) = (Vec::new(), Vec::new());
    for _ in 0..Limits::XML_EVENTS {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(|error| xml_error(&error))? {
            Event::Start(tag) | Event::Empty(tag) if tag.local_name().as_ref() == "Relationship" => {
                if found.len() >= Limits::ZIP_ENTRIES {
                    return Err(ContentError::TooComplex);
                }
                found.push(relationship(&tag, folder)?);
            }
            Event::DocType(_) => return Err(ContentError::malformed("its XML has a DOCTYPE")),
            Event::Eof => return Ok(found),
            Event::Start(_)
            | Event::Empty(_)
            | Event::End(_)
            | Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::GeneralRef(_) => {}
        }
    }
    Err(ContentError::TooComplex)
}

fn relationship(tag: &BytesStart<'_>, folder: &str) -> Result<Relationship, ContentError> {
    let value = |name: &str| attribute(tag, name).map(Option::unwrap_or_default);
    let is_external = value("TargetMode")?.eq_ignore_ascii_case("External");
    let target = (!is_external).then_some(value("Target")?).map(|target| resolved(folder, &target));
    Ok(Relationship { id: value("Id")?, kind: value("Type")?, target })
}

/// The value of an attribute, whatever its namespace prefix.
pub(super) fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, ContentError> {
    let broken = |_| ContentError::malformed("its XML is broken");
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.map_err(broken)?;
        if attribute.key.local_name().as_ref() == name {
            let value = attribute.normalized_value(XmlVersion::Explicit1_0);
            return Ok(Some(value.map_err(|error| xml_error(&error))?.into_owned()));
        }
    }
    Ok(None)
}

/// The name of the part that a relationship in this folder refers to.
fn resolved(folder: &str, target: &str) -> String {
    let target = target.replace('\\', "/");
    let (folder, path) = target.strip_prefix('/').map_or((folder, target.as_str()), |path| ("", path));
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "word/document2.xml", "word/document2.xml")]
    #[case("", "/word/document.xml", "word/document.xml")]
    #[case("", "./word/document.xml", "word/document.xml")]
    #[case("word", "afchunk.mht", "word/afchunk.mht")]
    #[case("word", "../chunks/1.html", "chunks/1.html")]
    #[case("word", "/chunks/1.html", "chunks/1.html")]
    #[case("word", "..\\..\\..\\a.html", "a.html")]
    fn f02_target_is_resolved_in_the_folder_of_its_source(
        #[case] folder: &str,
        #[case] target: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(resolved(folder, target), expected);
    }

    #[test]
    fn relationships_are_read_whatever_their_prefix() {
        let xml = "<a:Relationships xmlns:a='x'><a:Relationship Id='r1' Type='x/aFChunk' Target='a&amp;b.html'/>\
                   <a:Relationship Id='r2' Type='x/hyperlink' Target='https://example.com' TargetMode='External'/>\
                   </a:Relationships>";
        let relationship = |id: &str, kind: &str, target: Option<&str>| Relationship {
            id: id.to_owned(),
            kind: kind.to_owned(),
            target: target.map(str::to_owned),
        };
        let expected =
            [relationship("r1", "x/aFChunk", Some("word/a&b.html")), relationship("r2", "x/hyperlink", None)];
        assert_eq!(read(xml.as_bytes(), "word").unwrap(), expected);
        assert_eq!(read(&b"<!DOCTYPE a><a/>"[..], "").unwrap_err().code(), "malformed");
        assert_eq!(read(&b"<Relationship Id='&bomb;'/>"[..], "").unwrap_err().code(), "malformed");
    }
}
