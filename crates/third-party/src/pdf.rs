//! PDF: the text of the pages. `lopdf` parses; this module limits its time and memory.

mod decrypt;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use lectern_content::{ContentError, Limits};
use lopdf::{DecompressError, Document, Error, LoadOptions, Object, ObjectId, Stream};

const MAX_BYTES: usize = 256 * 1024 * 1024;
const MAX_PAGES: usize = 2_000;
const MAX_OBJECTS: usize = 500_000;
/// Bytes that one stream, or the content of one page, may inflate to.
const MAX_STREAM_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that all object streams together may inflate to.
const MAX_OBJECT_STREAMS_BYTES: usize = 64 * 1024 * 1024;
/// How long the caller waits for the parser.
const DEADLINE: Duration = Duration::from_secs(20);

/// The text of a PDF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PdfText {
    /// The text of the pages, with a form feed between pages. Empty if all pages are pictures.
    pub text: String,
    /// The number of pages, also of those without text.
    pub pages: usize,
}

/// Extracts the text of all pages.
///
/// Limits: the function returns within `DEADLINE`. A panic of the parser is `Malformed`. Inflating any one stream
/// stops at `MAX_STREAM_BYTES`, through all of its filters; inflating all object streams stops at
/// `MAX_OBJECT_STREAMS_BYTES`, and an object stream may not list one object twice. Objects, pages and characters are
/// counted. Pictures are not inflated.
///
/// Not limited: a parser that hangs keeps its thread and one core until it ends, because a thread cannot be killed.
/// Parsed objects and operators take about 50 times the memory of their text, and an object stream that `lopdf` opens
/// early, to find the length of another stream, counts only by itself. A process that parses untrusted PDFs therefore
/// needs a CPU limit and a memory limit. Lectern's functions parse no PDFs.
///
/// A page whose text cannot be read is left out if another page can be read. A file that needs a password to be opened is
/// `Encrypted`; one with only an owner password is read. `lopdf` repairs damage, but a file that needs repair and has no end is `Truncated`, because
/// the repair would silently drop its last pages.
pub fn extract_text(bytes: &[u8]) -> Result<PdfText, ContentError> {
    check_container(bytes)?;
    let bytes: Arc<[u8]> = bytes.into();
    within_deadline(move || parse(&bytes))
}

/// Checks what the bytes show before `lopdf` parses them.
fn check_container(bytes: &[u8]) -> Result<(), ContentError> {
    /// PDF readers accept this many bytes before the signature.
    const SIGNATURE_WITHIN: usize = 1024;

    if bytes.is_empty() {
        return Err(ContentError::Empty);
    }
    if bytes.len() > MAX_BYTES {
        return Err(ContentError::TooComplex);
    }
    let start = &bytes[..bytes.len().min(SIGNATURE_WITHIN)];
    if !start.windows(5).any(|window| window == b"%PDF-") {
        return Err(ContentError::malformed("it is not a PDF"));
    }
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn has_end(bytes: &[u8]) -> bool {
    let end = &bytes[bytes.len().saturating_sub(2048)..];
    end.windows(5).any(|window| window == b"%%EOF")
}

/// Runs the parser on its own thread, whose large stack serves the recursion into nested objects.
fn within_deadline(
    parser: impl FnOnce() -> Result<PdfText, ContentError> + Send + 'static,
) -> Result<PdfText, ContentError> {
    const STACK_BYTES: usize = 64 * 1024 * 1024;

    let (sender, receiver) = mpsc::sync_channel(1);
    let guarded = move || {
        let result = catch_unwind(AssertUnwindSafe(parser));
        let result = result.unwrap_or_else(|_| Err(ContentError::malformed("the PDF parser failed on it")));
        // The receiver is gone after the deadline.
        let _ = sender.send(result);
    };
    thread::Builder::new()
        .name("pdf".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(guarded)
        .map_err(|_| ContentError::TooComplex)?;
    receiver.recv_timeout(DEADLINE).unwrap_or(Err(ContentError::TooComplex))
}

fn parse(bytes: &[u8]) -> Result<PdfText, ContentError> {
    let deadline = Instant::now() + DEADLINE;
    let options = LoadOptions {
        filter: Some(charge),
        max_decompressed_size: Some(MAX_STREAM_BYTES),
        ..LoadOptions::default()
    };
    BUDGET.set(Budget {
        objects: MAX_OBJECTS,
        inflated_bytes: MAX_OBJECT_STREAMS_BYTES,
        deadline: Some(deadline),
    });
    // A trailer is never compressed, so its bytes show whether the file is encrypted.
    let hidden = decrypt::hidden(bytes);
    let document = Document::load_mem_with_options(hidden.as_deref().unwrap_or(bytes), options);
    if BUDGET.get().is_used_up() {
        return Err(ContentError::TooComplex);
    }
    let mut document = match document.map_err(|error| typed(&error)) {
        Err(ContentError::Malformed(_)) if !has_end(bytes) => return Err(ContentError::Truncated),
        document => document?,
    };
    if document.xref_recovery.is_some() && !has_end(bytes) {
        return Err(ContentError::Truncated);
    }
    if hidden.is_some() {
        decrypt::decrypt(&mut document)?;
    }
    if document.is_encrypted() || document.was_encrypted() {
        return Err(ContentError::Encrypted);
    }
    text_of(&document, deadline)
}

fn text_of(document: &Document, deadline: Instant) -> Result<PdfText, ContentError> {
    let pages = document.page_iter().take(MAX_PAGES + 1).count();
    if pages > MAX_PAGES {
        return Err(ContentError::TooComplex);
    }
    if pages == 0 {
        return Err(ContentError::malformed("it has no pages"));
    }
    let (mut text, mut chars) = (String::new(), 0);
    let (mut readable, mut failure) = (false, None);
    for page in (1..).take(pages) {
        if Instant::now() > deadline {
            return Err(ContentError::TooComplex);
        }
        if page > 1 {
            text.push('\u{C}');
        }
        for chunk in document.extract_text_chunks_with_limit(&[page], MAX_STREAM_BYTES) {
            match chunk.map_err(|error| typed(&error)) {
                Ok(chunk) => {
                    readable = true;
                    chars += chunk.chars().count();
                    text.push_str(&chunk);
                }
                Err(ContentError::TooComplex) => return Err(ContentError::TooComplex),
                Err(error) => failure = Some(error),
            }
            if chars > Limits::EXTRACTED_CHARS {
                return Err(ContentError::TooComplex);
            }
        }
    }
    match failure {
        Some(error) if !readable => Err(error),
        _ => Ok(PdfText { text: text.replace('\0', "\u{FFFD}"), pages }),
    }
}

fn typed(error: &Error) -> ContentError {
    if let Error::Decompress(
        DecompressError::MemoryLimitExceeded { .. } | DecompressError::TooManyFilters { .. },
    )
    | Error::RecursionLimit
    | Error::ReferenceLimit = error
    {
        return ContentError::TooComplex;
    }
    if let Error::Decryption(_)
    | Error::AlreadyEncrypted
    | Error::InvalidPassword
    | Error::UnsupportedSecurityHandler(_) = error
    {
        return ContentError::Encrypted;
    }
    ContentError::malformed("its structure is broken")
}

/// What the parser may still load. A thread-local, because `lopdf` takes a plain function as its filter.
#[derive(Clone, Copy)]
struct Budget {
    objects: usize,
    inflated_bytes: usize,
    deadline: Option<Instant>,
}

thread_local! {
    static BUDGET: Cell<Budget> = const { Cell::new(Budget { objects: 0, inflated_bytes: 0, deadline: None }) };
}

impl Budget {
    fn is_used_up(&self) -> bool {
        self.objects == 0 || self.inflated_bytes == 0 || self.deadline.is_some_and(|end| Instant::now() > end)
    }
}

/// `lopdf` calls this for each object before it keeps the object, and for each object stream before it unpacks it.
fn charge(id: ObjectId, object: &mut Object) -> Option<(ObjectId, Object)> {
    let mut budget = BUDGET.get();
    if budget.is_used_up() {
        return None;
    }
    budget.objects -= 1;
    if let Object::Stream(stream) = object
        && stream.dict.has_type(b"ObjStm")
    {
        let size_bytes = object_stream_bytes(stream).unwrap_or(budget.inflated_bytes);
        budget.inflated_bytes = budget.inflated_bytes.saturating_sub(size_bytes);
    }
    BUDGET.set(budget);
    // For a stream, `lopdf` uses only whether it is kept; for an object of an object stream, the returned object.
    let kept = if matches!(object, Object::Stream(_)) { Object::Null } else { object.clone() };
    (!budget.is_used_up()).then_some((id, kept))
}

/// The inflated size of an object stream; `None` if it is over the limit or lists one offset twice. Thousands of
/// entries with one offset would make `lopdf` parse and keep a large object thousands of times.
fn object_stream_bytes(stream: &Stream) -> Option<usize> {
    let content = match stream.get_plain_content_with_limit(MAX_STREAM_BYTES) {
        Ok(content) => content,
        Err(Error::Decompress(DecompressError::MemoryLimitExceeded { .. })) => return None,
        // `lopdf` skips a damaged stream.
        Err(_) => return Some(stream.content.len()),
    };
    let first = stream.dict.get(b"First").and_then(Object::as_i64).ok();
    let index = first.and_then(|first| content.get(..usize::try_from(first).ok()?));
    let index = index.and_then(|index| std::str::from_utf8(index).ok()).unwrap_or_default();
    let numbers = index
        .split(['\r', '\n'])
        .flat_map(|line| line.split('%').next().unwrap_or_default().split_whitespace());
    let mut offsets: Vec<u32> = numbers.skip(1).step_by(2).filter_map(|offset| offset.parse().ok()).collect();
    offsets.sort_unstable();
    offsets.is_sorted_by(|one, next| one < next).then_some(content.len())
}

#[cfg(test)]
mod tests;
