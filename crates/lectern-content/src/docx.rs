//! DOCX: a package of XML parts in a ZIP, by the Open Packaging Conventions (ECMA-376, part 2).

mod alt_chunk;
mod word_xml;

use self::{alt_chunk::Chunk, word_xml::Body};
use crate::{ContentError, package::Package, xml::Extracted};

/// Extracts the paragraphs of the body, separated by `\n`. Tables, text boxes and embedded HTML, text and Word documents
/// (`altChunk`) are part of the body; deleted text, ruby text, headers, footnotes and comments are not.
///
/// The function reads the ZIP's directory and inflates the main part, which the package's relationships name, and the
/// embedded documents. It counts inflated bytes as they come out of the inflater and compares them with
/// [`ZIP_INFLATED_BYTES`](crate::Limits::ZIP_INFLATED_BYTES) and [`ZIP_RATIO`](crate::Limits::ZIP_RATIO). It refuses a
/// `DOCTYPE`, so no entity can expand. Besides the text, it holds one run of the document, embedded documents and buffers in
/// memory.
pub fn extract_text(bytes: &[u8]) -> Result<String, ContentError> {
    let mut text = Extracted::default();
    read_body(bytes, &mut text, Depth::Document)?;
    Ok(text.finish())
}

/// Whether a document is embedded in another one. An embedded document cannot have documents of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Document,
    Embedded,
}

fn read_body(bytes: &[u8], text: &mut Extracted, depth: Depth) -> Result<(), ContentError> {
    let mut package =
        Package::open(bytes, "it is in the format of an old version of Word; please save it as .docx")?;
    let main = package.main_part("word/document.xml")?;
    let part = package
        .part(&main)?
        .ok_or_else(|| ContentError::malformed("it is a ZIP, but not a Word document"))?;
    let Body { text: own, chunks } = package.read(part, |xml| word_xml::extract(xml))?;
    let own = own.as_str();
    let mut written = 0;
    for (at, id) in chunks {
        if depth == Depth::Embedded {
            return Err(alt_chunk::unsupported());
        }
        text.push(&own[written..at])?;
        written = at;
        match alt_chunk::read(&mut package, &main, &id)? {
            Chunk::Text(chunk) => text.push(&chunk)?,
            Chunk::Document(chunk) => read_body(&chunk, text, Depth::Embedded)?,
        }
        text.push("\n")?;
    }
    text.push(&own[written..])
}

#[cfg(test)]
mod tests;
