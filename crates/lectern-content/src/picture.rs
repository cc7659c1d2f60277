//! JPEG (ITU-T T.81) and PNG (ISO/IEC 15948): the size of a picture, and whether it is complete. No pixel is decoded.

use crate::ContentError;

/// The size of a picture as it is stored. A viewer may turn a JPEG as its EXIF data say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureFacts {
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
}

/// Reads the facts of a JPEG or PNG. Time is linear in the bytes. What follows the picture's end is ignored.
///
/// - `Truncated`: the picture's end is missing.
/// - `Malformed`: neither JPEG nor PNG, a part of impossible size, or a picture without pixels.
pub fn facts(bytes: &[u8]) -> Result<PictureFacts, ContentError> {
    if bytes.is_empty() {
        return Err(ContentError::Empty);
    }
    let facts = if let Some(rest) = bytes.strip_prefix(PNG) {
        png(rest)?
    } else if let Some(rest) = bytes.strip_prefix(JPEG) {
        jpeg(rest)?
    } else {
        return Err(ContentError::malformed("it is neither a JPEG nor a PNG"));
    };
    if facts.width_px == 0 || facts.height_px == 0 {
        return Err(ContentError::malformed("the picture has no pixels"));
    }
    Ok(facts)
}

const PNG: &[u8] = b"\x89PNG\r\n\x1A\n";
const JPEG: &[u8] = b"\xFF\xD8";

/// Whether a PNG starts with these bytes: its signature and its header.
pub(crate) fn is_png_start(first_bytes: &[u8]) -> bool {
    first_bytes.strip_prefix(PNG).is_some_and(|rest| rest.starts_with(b"\0\0\0\x0DIHDR"))
}

/// Whether a JPEG starts with these bytes: its signature and well-formed segments, as far as the bytes reach.
pub(crate) fn is_jpeg_start(first_bytes: &[u8]) -> bool {
    let Some(mut rest) = first_bytes.strip_prefix(JPEG) else { return false };
    if !matches!(rest, [0xFF, 0xC0..=0xFE, ..]) {
        return false;
    }
    loop {
        match Segment::split(rest) {
            Ok((segment, _)) if segment.marker == START_OF_SCAN => return true,
            Ok((_, after)) => rest = after,
            Err(error) => return error == ContentError::Truncated,
        }
    }
}

fn png(mut rest: &[u8]) -> Result<PictureFacts, ContentError> {
    let mut facts = None;
    loop {
        let (size, after) = rest.split_first_chunk().ok_or(ContentError::Truncated)?;
        let (kind, after) = after.split_first_chunk::<4>().ok_or(ContentError::Truncated)?;
        let size = usize::try_from(u32::from_be_bytes(*size)).map_err(|_| ContentError::Truncated)?;
        let content = after.get(..size).ok_or(ContentError::Truncated)?;
        match (kind, facts) {
            (b"IHDR", None) => facts = Some(png_size(content)?),
            (_, None) => return Err(ContentError::malformed("the PNG does not start with its header")),
            (b"IEND", Some(facts)) => return Ok(facts),
            (_, Some(_)) => {}
        }
        // A checksum of four bytes follows.
        rest = after.get(size + 4..).ok_or(ContentError::Truncated)?;
    }
}

fn png_size(header: &[u8]) -> Result<PictureFacts, ContentError> {
    let (width, rest) = header.split_first_chunk().ok_or_else(short_header)?;
    let (height, _) = rest.split_first_chunk().ok_or_else(short_header)?;
    Ok(PictureFacts { width_px: u32::from_be_bytes(*width), height_px: u32::from_be_bytes(*height) })
}

fn short_header() -> ContentError {
    ContentError::malformed("the picture's header is too short")
}

const START_OF_SCAN: u8 = 0xDA;
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

fn jpeg(mut rest: &[u8]) -> Result<PictureFacts, ContentError> {
    let mut facts = None;
    loop {
        let (segment, after) = Segment::split(rest)?;
        match segment.marker {
            // All frame headers but the tables and the extension that share their range.
            0xC0..=0xCF if !matches!(segment.marker, 0xC4 | 0xC8 | 0xCC) => {
                facts = Some(jpeg_size(segment.content)?);
            }
            START_OF_SCAN => {
                let facts = facts.ok_or_else(|| ContentError::malformed("the JPEG has no frame"))?;
                let is_complete = after.windows(2).any(|window| window == END_OF_IMAGE);
                return if is_complete { Ok(facts) } else { Err(ContentError::Truncated) };
            }
            _ => {}
        }
        rest = after;
    }
}

fn jpeg_size(frame: &[u8]) -> Result<PictureFacts, ContentError> {
    let [_, height @ ..] = frame.first_chunk::<5>().ok_or_else(short_header)?;
    let [high, low, wide, narrow] = *height;
    Ok(PictureFacts {
        width_px: u16::from_be_bytes([wide, narrow]).into(),
        height_px: u16::from_be_bytes([high, low]).into(),
    })
}

/// A segment of a JPEG before its pixels.
struct Segment<'b> {
    marker: u8,
    content: &'b [u8],
}

impl<'b> Segment<'b> {
    /// Splits the first segment off. `Truncated` if the bytes end within it.
    fn split(bytes: &'b [u8]) -> Result<(Self, &'b [u8]), ContentError> {
        // Any number of 0xFF may stand before a marker.
        let fill = bytes.iter().take_while(|byte| **byte == 0xFF).count();
        let rest = &bytes[fill..];
        let Some((marker, rest)) = rest.split_first() else { return Err(ContentError::Truncated) };
        if fill == 0 || *marker < 0xC0 {
            return Err(ContentError::malformed("a part of the JPEG does not start with a marker"));
        }
        let (size, after) = rest.split_first_chunk().ok_or(ContentError::Truncated)?;
        let size = usize::from(u16::from_be_bytes(*size));
        let size =
            size.checked_sub(2).ok_or_else(|| ContentError::malformed("a part of the JPEG has no size"))?;
        let (content, after) = after.split_at_checked(size).ok_or(ContentError::Truncated)?;
        Ok((Self { marker: *marker, content }, after))
    }
}

#[cfg(test)]
mod tests;
