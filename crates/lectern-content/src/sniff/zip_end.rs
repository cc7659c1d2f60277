//! The end of a ZIP: its directory lists the names of all entries, so it says what the ZIP is.

/// What the directory of a ZIP shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZipContent {
    /// A Word document, or an Office document that does not show its kind.
    Word,
    /// A `PowerPoint` presentation.
    Presentation,
    /// A Word document or a presentation with macros.
    WithMacros,
    /// An `OpenDocument`: a text, a table or a presentation. Its start says which: see [`super::sniff_zip_start`].
    OpenDocument,
    /// An `OpenDocument` with a password.
    EncryptedOpenDocument,
    /// Anything else: another Office document, or a ZIP of other files.
    Other,
    /// Nothing: the ZIP's end is missing.
    Truncated,
}

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;

/// What a ZIP with these last bytes is. Pass at least 66 KiB, or the whole file: a comment of up to 64 KiB may follow the
/// directory. If the bytes do not contain the whole directory, its last entries decide.
///
/// Time is linear in the bytes; nothing is decompressed.
pub fn sniff_zip_end(last_bytes: &[u8]) -> ZipContent {
    let Some(end) = last_bytes.windows(END.len()).rposition(|window| window == END) else {
        return ZipContent::Truncated;
    };
    let Some(directory_bytes) = last_bytes.get(end + 12..).and_then(|bytes| bytes.first_chunk()) else {
        return ZipContent::Truncated;
    };
    let directory_bytes = usize::try_from(u32::from_le_bytes(*directory_bytes)).unwrap_or(usize::MAX);
    let listed = match end.checked_sub(directory_bytes) {
        Some(start) if last_bytes[start..].starts_with(ENTRY) => &last_bytes[start..end],
        // The directory is longer than these bytes, or ZIP64 states its size elsewhere.
        _ => &last_bytes[..end],
    };
    let mut seen = Seen::default();
    for name in names(listed) {
        seen.add(&part_name(name));
    }
    seen.content()
}

/// Which telling names a directory contains.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each telling name")]
struct Seen {
    relationships: bool,
    word: bool,
    slides: bool,
    other_office: bool,
    macros: bool,
    manifest: bool,
    content: bool,
    encrypted: bool,
}

impl Seen {
    fn add(&mut self, name: &str) {
        self.relationships |= name == "_rels/.rels";
        self.word |= name.starts_with("word/");
        self.slides |= name.starts_with("ppt/");
        self.other_office |= ["xl/", "visio/"].iter().any(|folder| name.starts_with(folder));
        self.macros |= matches!(name, "word/vbaproject.bin" | "ppt/vbaproject.bin");
        self.manifest |= name == "meta-inf/manifest.xml";
        self.content |= name == "content.xml";
        self.encrypted |= name == "encrypted-package";
    }

    fn content(&self) -> ZipContent {
        if self.macros {
            ZipContent::WithMacros
        } else if self.word {
            ZipContent::Word
        } else if self.slides {
            ZipContent::Presentation
        } else if self.manifest && self.encrypted {
            ZipContent::EncryptedOpenDocument
        } else if self.manifest && self.content {
            ZipContent::OpenDocument
        } else if self.relationships && !self.other_office {
            ZipContent::Word
        } else {
            ZipContent::Other
        }
    }
}

/// The names of the directory's entries, from the first one that is whole.
fn names(directory: &[u8]) -> impl Iterator<Item = &[u8]> {
    let start = directory.windows(ENTRY.len()).position(|window| window == ENTRY);
    let mut rest = start.map_or(&[][..], |start| &directory[start..]);
    std::iter::from_fn(move || {
        let header = rest.get(..ENTRY_BYTES).filter(|header| header.starts_with(ENTRY))?;
        let length = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let [name, extra, comment] = [28, 30, 32].map(length);
        let found = rest.get(ENTRY_BYTES..ENTRY_BYTES + name)?;
        rest = rest.get(ENTRY_BYTES + name + extra + comment..).unwrap_or_default();
        Some(found)
    })
}

/// The name of a part by the rules of the Open Packaging Conventions: without a leading slash, upper and lower case
/// being the same. Some programs on Windows write backslashes.
pub(crate) fn part_name(entry_name: &[u8]) -> String {
    let name = String::from_utf8_lossy(entry_name).replace('\\', "/").to_ascii_lowercase();
    name.trim_start_matches('/').to_owned()
}
