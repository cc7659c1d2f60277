//! ODT: the text of an `OpenDocument` text (ISO/IEC 26300).

use std::io::Read;

use quick_xml::events::BytesStart;

use crate::{
    ContentError,
    package::Package,
    xml::{self, Extracted, Node},
};

/// Elements whose content is not part of the text: what was deleted, comments, notes, ruby text, the titles and
/// descriptions of pictures, and forms.
const SKIPPED: [&str; 7] = ["tracked-changes", "annotation", "note", "ruby-text", "title", "desc", "forms"];

/// `text:s` stands for this many spaces at most.
const MOST_SPACES: usize = 1000;

/// Extracts the paragraphs and headings, each followed by `\n`. Tables, lists and text boxes are part of the text;
/// deleted text, ruby text, headers, footnotes and comments are not.
///
/// The limits are those of [`crate::docx`].
pub fn extract_text(bytes: &[u8]) -> Result<String, ContentError> {
    let mut package = Package::open(bytes, "it is not an OpenDocument text")?;
    if is_encrypted(&mut package)? {
        return Err(ContentError::Encrypted);
    }
    let part = package.part("content.xml")?.ok_or_else(not_a_text)?;
    package.read(part, |xml| read_content(xml))
}

fn not_a_text() -> ContentError {
    ContentError::malformed("it is a ZIP, but not an OpenDocument text")
}

/// Whether the document has a password. The manifest then tells for each part how it is encrypted. Since version 24.8,
/// `LibreOffice` encrypts all parts together.
fn is_encrypted(package: &mut Package<'_>) -> Result<bool, ContentError> {
    const MARK: &[u8] = b"encryption-data";

    if package.part("encrypted-package")?.is_some() {
        return Ok(true);
    }
    let Some(manifest) = package.part("META-INF/manifest.xml")? else { return Ok(false) };
    let manifest = package.content(manifest)?;
    Ok(manifest.windows(MARK.len()).any(|window| window == MARK))
}

fn read_content(xml: impl Read) -> Result<String, ContentError> {
    let mut text = Extracted::default();
    let (mut skipped, mut paragraphs, mut is_text) = (0_usize, 0_usize, false);
    xml::visit(xml, "document-content", |node| {
        match node {
            Node::Open(name, _) if skipped > 0 || SKIPPED.contains(&name) => skipped += 1,
            Node::Close(_) if skipped > 0 => skipped -= 1,
            Node::Open("text", _) => is_text = true,
            Node::Open("p" | "h", _) => {
                // A text box stands inside of the paragraph that it belongs to.
                if paragraphs > 0 {
                    end_line(&mut text)?;
                }
                paragraphs += 1;
            }
            Node::Close("p" | "h") => {
                paragraphs -= 1;
                text.push("\n")?;
            }
            Node::Open("s", tag) => text.push(&" ".repeat(spaces(tag)?))?,
            Node::Open("tab", _) => text.push("\t")?,
            Node::Open("line-break", _) => text.push("\n")?,
            Node::Text(content) if paragraphs > 0 && skipped == 0 => push_collapsed(&mut text, content)?,
            Node::Open(..) | Node::Close(_) | Node::Text(_) => {}
        }
        Ok(())
    })?;
    if is_text { Ok(text.finish()) } else { Err(not_a_text()) }
}

fn end_line(text: &mut Extracted) -> Result<(), ContentError> {
    if text.as_str().is_empty() || text.as_str().ends_with('\n') { Ok(()) } else { text.push("\n") }
}

fn spaces(tag: &BytesStart<'_>) -> Result<usize, ContentError> {
    let count = xml::attribute(tag, "c")?.and_then(|count| count.parse().ok());
    Ok(count.unwrap_or(1).min(MOST_SPACES))
}

/// Adds text in which a run of blanks is one space, and none begins a line (ISO/IEC 26300, part 3, 6.1.2).
fn push_collapsed(text: &mut Extracted, content: &str) -> Result<(), ContentError> {
    let mut collapsed = String::with_capacity(content.len());
    for character in content.chars() {
        if !matches!(character, ' ' | '\t' | '\r' | '\n') {
            collapsed.push(character);
            continue;
        }
        let last = collapsed.chars().next_back().or_else(|| text.as_str().chars().next_back());
        if !matches!(last, None | Some(' ' | '\t' | '\n')) {
            collapsed.push(' ');
        }
    }
    text.push(&collapsed)
}

#[cfg(test)]
mod tests;
