//! The ZIP of an office document and its parts, within the limits on inflated bytes: a package of XML parts by the Open
//! Packaging Conventions (ECMA-376, part 2), or an `OpenDocument` (ISO/IEC 26300, part 2).

mod relationships;

use std::{
    cell::Cell,
    io::{self, Cursor, Read},
};

// `ZipArchive` allocates by the number of entries that the file declares; `ZipIterable` reads one after the other.
use zip::unstable::read::ZipIterable;
use zip::{
    read::{Config, ZipFileEntry, ZipReadOptions},
    result::ZipError,
};

pub(crate) use self::relationships::Relationship;
use crate::{
    CompoundFile, ContentError, Limits,
    sniff::{compound_file, is_compound_file, part_name},
};

/// A package whose entries have been counted.
pub(crate) struct Package<'b> {
    bytes: &'b [u8],
    archive: ZipIterable<Cursor<&'b [u8]>>,
    /// How many bytes may still be inflated.
    left: Cell<u64>,
}

impl<'b> Package<'b> {
    /// Opens the package. `old_format` says what a file of an old Office is instead, which is no ZIP: see
    /// [`ContentError::Unsupported`].
    pub(crate) fn open(bytes: &'b [u8], old_format: &'static str) -> Result<Self, ContentError> {
        check_container(bytes, old_format)?;
        let archive = ZipIterable::try_new(Cursor::new(bytes), Config::default()).map_err(zip_error)?;
        if archive.len() > Limits::ZIP_ENTRIES {
            return Err(ContentError::TooComplex);
        }
        Ok(Self { bytes, archive, left: Cell::new(Limits::ZIP_INFLATED_BYTES) })
    }

    /// The name of the main part: the target of the package's relationship for Office documents, or otherwise the usual
    /// name. Word Online names it `word/document2.xml`.
    pub(crate) fn main_part(&mut self, usual: &str) -> Result<String, ContentError> {
        let found = self.relationships("")?.into_iter().find(|found| found.kind.ends_with("/officeDocument"));
        let target = found.and_then(|found| found.target);
        Ok(match target {
            Some(target) if self.part(&target)?.is_some() => target,
            Some(_) | None => usual.to_owned(),
        })
    }

    /// The relationships of a part, or of the package if the name is empty.
    pub(crate) fn relationships(&mut self, part: &str) -> Result<Vec<Relationship>, ContentError> {
        let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
        let file = format!("{folder}/_rels/{name}.rels");
        let Some(part) = self.part(&file)? else { return Ok(Vec::new()) };
        self.read(part, |inflated| relationships::read(inflated, folder))
    }

    /// The part of this name.
    pub(crate) fn part(&mut self, name: &str) -> Result<Option<ZipFileEntry<'static>>, ContentError> {
        let name = part_name(name.as_bytes());
        let mut found = None;
        for entry in self.archive.files().map_err(zip_error)? {
            let entry = entry.map_err(zip_error)?;
            if part_name(entry.name_raw()) == name && found.replace(entry).is_some() {
                // Two programs could show different documents for the same file.
                return Err(ContentError::malformed("it contains two documents with the same name"));
            }
        }
        Ok(found)
    }

    /// Reads the inflated content of a part. The reader fails with [`OverBudget`] at the limits.
    pub(crate) fn read<T>(
        &self,
        part: ZipFileEntry<'_>,
        read: impl FnOnce(Inflated<'_>) -> Result<T, ContentError>,
    ) -> Result<T, ContentError> {
        if part.encrypted() {
            return Err(ContentError::Encrypted);
        }
        let packed_bytes = part.compressed_size().min(self.bytes.len() as u64);
        let ratio_bytes = packed_bytes.saturating_mul(Limits::ZIP_RATIO).max(Limits::ZIP_RATIO_FROM_BYTES);
        let mut packed = Cursor::new(self.bytes);
        let mut inflated = part.with_reader(&mut packed, ZipReadOptions::new()).map_err(zip_error)?;
        read(Inflated { content: &mut inflated, left: ratio_bytes, left_of_package: &self.left })
    }

    /// The whole content of a part.
    pub(crate) fn content(&self, part: ZipFileEntry<'_>) -> Result<Vec<u8>, ContentError> {
        self.read(part, |mut inflated| {
            let mut content = Vec::new();
            inflated.read_to_end(&mut content).map_err(|error| read_error(&error))?;
            Ok(content)
        })
    }
}

/// Checks the signature and the end of the file.
fn check_container(bytes: &[u8], old_format: &'static str) -> Result<(), ContentError> {
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
            CompoundFile::OldWord | CompoundFile::OldPowerPoint | CompoundFile::Unclear => {
                ContentError::Unsupported(old_format)
            }
        });
    }
    if !bytes.starts_with(b"PK") {
        return Err(ContentError::malformed("it is not an office document"));
    }
    let end = &bytes[bytes.len().saturating_sub(END_BYTES)..];
    if end.windows(END_OF_DIRECTORY.len()).any(|window| window == END_OF_DIRECTORY) {
        Ok(())
    } else {
        Err(ContentError::Truncated)
    }
}

fn zip_error(error: ZipError) -> ContentError {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => {
            ContentError::Encrypted
        }
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            ContentError::Unsupported("it uses an unusual compression method")
        }
        ZipError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => ContentError::Truncated,
        ZipError::Io(_) | ZipError::InvalidArchive(_) | ZipError::FileNotFound | _ => {
            ContentError::malformed("its ZIP directory is broken")
        }
    }
}

/// Why the content of a part could not be read.
pub(crate) fn read_error(error: &io::Error) -> ContentError {
    if error.get_ref().and_then(|inner| inner.downcast_ref::<OverBudget>()).is_some() {
        ContentError::TooComplex
    } else if error.kind() == io::ErrorKind::UnexpectedEof {
        ContentError::Truncated
    } else {
        ContentError::malformed("its compressed content is damaged")
    }
}

/// The error inside the [`io::Error`] that [`Inflated`] returns.
#[derive(Debug, thiserror::Error)]
#[error("over the budget")]
struct OverBudget;

/// A reader that fails with [`OverBudget`] when the part or the package exceeds its limit.
pub(crate) struct Inflated<'r> {
    content: &'r mut dyn Read,
    left: u64,
    left_of_package: &'r Cell<u64>,
}

impl Read for Inflated<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        let spend = |left: u64| left.checked_sub(count as u64).ok_or_else(|| io::Error::other(OverBudget));
        self.left = spend(self.left)?;
        self.left_of_package.set(spend(self.left_of_package.get())?);
        Ok(count)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Packages for tests.

    use std::io::{Cursor, Write};

    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    /// A ZIP of these parts, stored.
    pub(crate) fn zip(parts: &[(&str, &str)]) -> Vec<u8> {
        packed(parts, CompressionMethod::Stored)
    }

    /// A ZIP of these parts, compressed.
    pub(crate) fn deflated(parts: &[(&str, &str)]) -> Vec<u8> {
        packed(parts, CompressionMethod::Deflated)
    }

    fn packed(parts: &[(&str, &str)], method: CompressionMethod) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in parts {
            zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }
}
