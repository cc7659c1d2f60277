//! Boxes in memory, and the fields in them.

use crate::ContentError;

/// The entries of a table that starts with their count.
pub(super) fn entries<const N: usize>(body: &[u8]) -> Result<&[[u8; N]], ContentError> {
    let mut fields = Fields::of(body)?;
    let count = usize::try_from(fields.u32()?).unwrap_or(usize::MAX);
    let (entries, _) = fields.rest.as_chunks::<N>();
    entries.get(..count).ok_or_else(|| ContentError::malformed("a table is larger than its box"))
}

pub(super) fn require(parent: &[u8], kind: [u8; 4]) -> Result<&[u8], ContentError> {
    find(parent, kind)?.ok_or_else(|| ContentError::malformed("a box that every track must have is missing"))
}

pub(super) fn find(parent: &[u8], kind: [u8; 4]) -> Result<Option<&[u8]>, ContentError> {
    children(parent)
        .find_map(|child| match child {
            Ok((found, body)) => (*found == kind).then_some(Ok(body)),
            Err(error) => Some(Err(error)),
        })
        .transpose()
}

/// The child boxes. The iterator ends after the first child that is larger than its parent, and where no box is left:
/// `QuickTime` ends a list of boxes with a size of zero, and players ignore what follows the last box.
pub(super) fn children(parent: &[u8]) -> impl Iterator<Item = Result<(&[u8; 4], &[u8]), ContentError>> {
    let mut rest = parent;
    std::iter::from_fn(move || {
        if rest.len() < 8 || rest.starts_with(&[0; 4]) {
            return None;
        }
        let child = split_child(rest);
        rest = child.as_ref().map_or(&[], |(_, _, rest)| rest);
        Some(child.map(|(kind, body, _)| (kind, body)))
    })
}

type Child<'a> = (&'a [u8; 4], &'a [u8], &'a [u8]);

fn split_child(bytes: &[u8]) -> Result<Child<'_>, ContentError> {
    let broken = || ContentError::malformed("a box is larger than its parent box");
    let (size, after) = bytes.split_first_chunk().ok_or_else(broken)?;
    let (kind, after) = after.split_first_chunk().ok_or_else(broken)?;
    let (size, header_bytes) = match u32::from_be_bytes(*size) {
        1 => {
            let size = after.first_chunk().ok_or_else(broken)?;
            (usize::try_from(u64::from_be_bytes(*size)).map_err(|_| broken())?, 16)
        }
        size => (usize::try_from(size).map_err(|_| broken())?, 8),
    };
    let body = bytes.get(header_bytes..size).ok_or_else(broken)?;
    Ok((kind, body, &bytes[size..]))
}

/// Reads the fields of a full box (one with a version and flags) in order.
pub(super) struct Fields<'a> {
    version: u8,
    pub(super) flags: u32,
    pub(super) rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(body: &'a [u8]) -> Result<Self, ContentError> {
        let mut fields = Self::plain(body);
        let [version, high, middle, low] = fields.take()?;
        fields.version = version;
        fields.flags = u32::from_be_bytes([0, high, middle, low]);
        Ok(fields)
    }

    /// The fields of a box without version and flags.
    pub(super) fn plain(body: &'a [u8]) -> Self {
        Self { version: 0, flags: 0, rest: body }
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], ContentError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| ContentError::malformed("a box is smaller than its fields"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), ContentError> {
        let rest = self.rest.get(count..);
        self.rest = rest.ok_or_else(|| ContentError::malformed("a box is smaller than its fields"))?;
        Ok(())
    }

    pub(super) fn u32(&mut self) -> Result<u32, ContentError> {
        self.take().map(u32::from_be_bytes)
    }

    /// A 64-bit number in version 1, a 32-bit number in other versions.
    pub(super) fn number(&mut self) -> Result<u64, ContentError> {
        if self.version == 1 { self.take().map(u64::from_be_bytes) } else { self.u32().map(u64::from) }
    }

    /// A duration. A number with all bits set means that the duration is unknown.
    pub(super) fn duration(&mut self) -> Result<Option<u64>, ContentError> {
        let unknown = if self.version == 1 { u64::MAX } else { u32::MAX.into() };
        self.number().map(|duration| (duration != unknown).then_some(duration))
    }
}
