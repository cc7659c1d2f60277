//! Relationships of a package or of a part: XML that names other parts.

use std::io::Read;

use quick_xml::events::BytesStart;

use crate::{
    ContentError, Limits,
    xml::{self, Node, attribute},
};

/// A relationship to another part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relationship {
    pub(crate) id: String,
    /// A URL that ends with the kind, such as `…/officeDocument`.
    pub(crate) kind: String,
    /// The name of the other part; `None` if the target is outside of the package.
    pub(crate) target: Option<String>,
}

/// Reads the relationships of a part in this folder.
pub(super) fn read(xml: impl Read, folder: &str) -> Result<Vec<Relationship>, ContentError> {
    let mut found = Vec::new();
    xml::visit(xml, "Relationships", |node| {
        if let Node::Open("Relationship", tag) = node {
            if found.len() >= Limits::ZIP_ENTRIES {
                return Err(ContentError::TooComplex);
            }
            found.push(relationship(tag, folder)?);
        }
        Ok(())
    })?;
    Ok(found)
}

fn relationship(tag: &BytesStart<'_>, folder: &str) -> Result<Relationship, ContentError> {
    let value = |name: &str| attribute(tag, name).map(Option::unwrap_or_default);
    let is_external = value("TargetMode")?.eq_ignore_ascii_case("External");
    let target = (!is_external).then_some(value("Target")?).map(|target| resolved(folder, &target));
    Ok(Relationship { id: value("Id")?, kind: value("Type")?, target })
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
