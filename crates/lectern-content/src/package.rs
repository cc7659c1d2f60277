//! The ZIP of a DOCX and its parts, within the limits on inflated bytes.

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

use super::relationships::{self, Relationship};
use crate::{ContentError, Limits, sniff::part_name};

/// A package whose entries have been counted.
pub(super) struct Package<'b> {
    bytes: &'b [u8],
    archive: ZipIterable<Cursor<&'b [u8]>>,
    /// How many bytes may still be inflated.
    left: Cell<u64>,
}

impl<'b> Package<'b> {
    pub(super) fn open(bytes: &'b [u8]) -> Result<Self, ContentError> {
        let archive = ZipIterable::try_new(Cursor::new(bytes), Config::default()).map_err(zip_error)?;
        if archive.len() > Limits::ZIP_ENTRIES {
            return Err(ContentError::TooComplex);
        }
        Ok(Self { bytes, archive, left: Cell::new(Limits::ZIP_INFLATED_BYTES) })
    }

    /// The name of the main part: the target of the package's relationship for Office documents. Word Online names it
    /// `word/document2.xml`.
    pub(super) fn main_part(&mut self) -> Result<String, ContentError> {
        const USUAL: &str = "word/document.xml";

        let found = self.relationships("")?.into_iter().find(|found| found.kind.ends_with("/officeDocument"));
        let target = found.and_then(|found| found.target);
        Ok(match target {
            Some(target) if self.part(&target)?.is_some() => target,
            Some(_) | None => USUAL.to_owned(),
        })
    }

    /// The relationships of a part, or of the package if the name is empty.
    pub(super) fn relationships(&mut self, part: &str) -> Result<Vec<Relationship>, ContentError> {
        let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
        let file = format!("{folder}/_rels/{name}.rels");
        let Some(part) = self.part(&file)? else { return Ok(Vec::new()) };
        self.read(part, |inflated| relationships::read(inflated, folder))
    }

    /// The part of this name.
    pub(super) fn part(&mut self, name: &str) -> Result<Option<ZipFileEntry<'static>>, ContentError> {
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
    pub(super) fn read<T>(
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
    pub(super) fn content(&self, part: ZipFileEntry<'_>) -> Result<Vec<u8>, ContentError> {
        self.read(part, |mut inflated| {
            let mut content = Vec::new();
            inflated.read_to_end(&mut content).map_err(|error| read_error(&error))?;
            Ok(content)
        })
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
pub(super) fn read_error(error: &io::Error) -> ContentError {
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
pub(super) struct Inflated<'r> {
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
