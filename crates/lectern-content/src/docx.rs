//! DOCX: a package of XML parts in a ZIP, by the Open Packaging Conventions (ECMA-376, part 2).

mod alt_chunk;
mod package;
mod relationships;
mod word_xml;

use self::{alt_chunk::Chunk, package::Package, word_xml::Body};
use crate::{
    CompoundFile, ContentError, Limits,
    sniff::{compound_file, is_compound_file},
};

/// Extracts the paragraphs of the body, separated by `\n`. Tables, text boxes and embedded HTML, text and Word documents
/// (`altChunk`) are part of the body; deleted text, ruby text, headers, footnotes and comments are not.
///
/// The function reads the ZIP's directory and inflates the main part, which the package's relationships name, and the
/// embedded documents. It counts inflated bytes as they come out of the inflater and compares them with
/// [`Limits::ZIP_INFLATED_BYTES`] and [`Limits::ZIP_RATIO`]. It refuses a `DOCTYPE`, so no entity can expand. Besides the
/// text, it holds one run of the document, embedded documents and buffers in memory.
pub fn extract_text(bytes: &[u8]) -> Result<String, ContentError> {
    let mut text = Text::default();
    read_body(bytes, &mut text, Depth::Document)?;
    Ok(text.finish())
}

/// Whether a document is embedded in another one. An embedded document cannot have documents of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Document,
    Embedded,
}

fn read_body(bytes: &[u8], text: &mut Text, depth: Depth) -> Result<(), ContentError> {
    check_container(bytes)?;
    let mut package = Package::open(bytes)?;
    let main = package.main_part()?;
    let part = package
        .part(&main)?
        .ok_or_else(|| ContentError::malformed("it is a ZIP, but not a Word document"))?;
    let Body { text: own, chunks, .. } = package.read(part, |xml| word_xml::extract(xml))?;
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

/// The extracted text, within [`Limits::EXTRACTED_CHARS`].
#[derive(Default)]
struct Text {
    text: String,
    chars: usize,
}

impl Text {
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

/// Checks the signature and the end of the file.
fn check_container(bytes: &[u8]) -> Result<(), ContentError> {
    const END_OF_DIRECTORY: &[u8] = b"PK\x05\x06";
    /// The length of that record with the longest comment.
    const END_BYTES: usize = 22 + 65_535;

    if bytes.is_empty() {
        return Err(ContentError::Empty);
    }
    if bytes.len() > Limits::ZIP_BYTES {
        return Err(ContentError::TooComplex);
    }
    if is_compound_file(bytes) {
        return Err(match compound_file(bytes) {
            CompoundFile::Encrypted => ContentError::Encrypted,
            CompoundFile::OldWord | CompoundFile::Unclear => ContentError::Unsupported(
                "it is in the format of an old version of Word; please save it as .docx",
            ),
        });
    }
    if !bytes.starts_with(b"PK") {
        return Err(ContentError::malformed("it is not a Word document"));
    }
    let end = &bytes[bytes.len().saturating_sub(END_BYTES)..];
    if end.windows(END_OF_DIRECTORY.len()).any(|window| window == END_OF_DIRECTORY) {
        Ok(())
    } else {
        Err(ContentError::Truncated)
    }
}

#[cfg(test)]
mod tests;
