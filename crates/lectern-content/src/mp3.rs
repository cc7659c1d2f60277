//! MP3 (ISO/IEC 11172-3 and 13818-3, layer III): the length of a recording.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::{ContentError, Limits};

const HEADER_BYTES: usize = 4;
const TAG_HEADER_BYTES: usize = 10;

/// The length of a recording of `size_bytes` bytes in milliseconds: the sum of its frames.
///
/// The headers that tell the number of frames (`Xing`, `VBRI`) are not believed. The function skips tags without reading
/// them, reads the headers of at most [`Limits::MP3_FRAMES`] frames, and holds no more than a buffer in memory. A
/// recording ends where no frame of the same kind follows, and players ignore what comes then.
///
/// - `Truncated`: a tag that reaches beyond the end of the file, or a failing reader.
/// - `Malformed`: no frame behind the tags.
pub fn duration_ms(reader: impl Read + Seek, size_bytes: u64) -> Result<u64, ContentError> {
    if size_bytes == 0 {
        return Err(ContentError::Empty);
    }
    let mut reader = BufReader::new(reader);
    let mut at = 0;
    while let Some(tag) = Tag::read(&mut reader)? {
        at += tag.bytes;
        if at > size_bytes {
            return Err(ContentError::Truncated);
        }
        seek(&mut reader, at)?;
    }
    at += skip_padding(&mut reader)?;
    seek(&mut reader, at)?;

    let mut first: Option<Frame> = None;
    let mut samples = 0_u64;
    for count in 0.. {
        if count >= Limits::MP3_FRAMES {
            return Err(ContentError::TooComplex);
        }
        let Some(frame) = read_up_to::<HEADER_BYTES>(&mut reader)?.as_ref().and_then(Frame::parse) else {
            break;
        };
        if !first.get_or_insert(frame).is_same_kind(&frame) {
            break;
        }
        samples += u64::from(frame.samples);
        let rest = i64::from(frame.bytes) - 4;
        reader.seek_relative(rest).map_err(|_| ContentError::Truncated)?;
    }
    let Some(first) = first else { return Err(ContentError::malformed("it has no MP3 sound")) };
    Ok(samples * 1000 / u64::from(first.samples_per_second))
}

/// Whether a file that starts with these bytes is an MP3: an ID3 tag, or two frames of the same kind. Pass at least 4 KiB,
/// or the whole file. A frame must follow the tag if the tag ends within the bytes.
pub(crate) fn is_start(first_bytes: &[u8]) -> bool {
    let mut rest = first_bytes;
    let mut has_tag = false;
    while let Some(tag) = rest.first_chunk().and_then(Tag::parse) {
        has_tag = true;
        let after = usize::try_from(tag.bytes).ok().and_then(|bytes| rest.get(bytes..));
        let Some(after) = after.filter(|after| after.len() >= HEADER_BYTES) else { return true };
        rest = after;
    }
    let padding = if has_tag { rest.iter().take_while(|byte| **byte == 0).count() } else { 0 };
    let rest = &rest[padding..];
    if has_tag && rest.len() < HEADER_BYTES {
        return true;
    }
    let Some(frame) = rest.first_chunk().and_then(Frame::parse) else { return false };
    let next = usize::try_from(frame.bytes).ok().and_then(|bytes| rest.get(bytes..));
    match next.and_then(<[u8]>::first_chunk) {
        Some(next) => Frame::parse(next).is_some_and(|next| next.is_same_kind(&frame)),
        None => has_tag,
    }
}

fn seek(reader: &mut impl Seek, at: u64) -> Result<(), ContentError> {
    reader.seek(SeekFrom::Start(at)).map(drop).map_err(|_| ContentError::Truncated)
}

/// The next `N` bytes; `None` if the file ends before.
fn read_up_to<const N: usize>(reader: &mut impl Read) -> Result<Option<[u8; N]>, ContentError> {
    let mut bytes = [0; N];
    match reader.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(_) => Err(ContentError::Truncated),
    }
}

/// How many NULs follow; some programs write them behind a tag.
fn skip_padding(reader: &mut impl Read) -> Result<u64, ContentError> {
    const MOST: u64 = 64 * 1024;

    let mut padding = 0;
    while padding < MOST && read_up_to::<1>(reader)? == Some([0]) {
        padding += 1;
    }
    Ok(padding)
}

/// An `ID3v2` tag (<https://id3.org/id3v2.4.0-structure>).
struct Tag {
    /// With its header and footer.
    bytes: u64,
}

impl Tag {
    /// The tag at the reader's position; `None` if there is none. The position is then the same as before.
    fn read(reader: &mut (impl Read + Seek)) -> Result<Option<Self>, ContentError> {
        let start = reader.stream_position().map_err(|_| ContentError::Truncated)?;
        let tag = read_up_to(reader)?.as_ref().and_then(Self::parse);
        if tag.is_none() {
            seek(reader, start)?;
        }
        Ok(tag)
    }

    fn parse(header: &[u8; TAG_HEADER_BYTES]) -> Option<Self> {
        const HAS_FOOTER: u8 = 0x10;

        let [b'I', b'D', b'3', 2..=4, revision, flags, size @ ..] = header else { return None };
        if *revision == 0xFF || size.iter().any(|byte| *byte >= 0x80) {
            return None;
        }
        let size = size.iter().fold(0, |size, byte| (size << 7) | u64::from(*byte));
        let footer = if flags & HAS_FOOTER == 0 { 0 } else { TAG_HEADER_BYTES as u64 };
        Some(Self { bytes: TAG_HEADER_BYTES as u64 + size + footer })
    }
}

/// The header of a frame of layer III.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    version: u8,
    samples_per_second: u32,
    /// Samples of each channel.
    samples: u32,
    /// With the header.
    bytes: u32,
}

impl Frame {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the callers have slices")]
    fn parse(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        const KBIT_PER_S: [[u32; 16]; 2] = [
            [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0],
            [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0],
        ];
        const SAMPLES_PER_S: [u32; 3] = [44_100, 48_000, 32_000];
        const VERSION_1: u8 = 3;
        const VERSION_2: u8 = 2;
        const VERSION_2_5: u8 = 0;
        const LAYER_III: u8 = 1;

        let [0xFF, kind, format, _] = *header else { return None };
        let (sync, version, layer) = (kind >> 5, (kind >> 3) & 3, (kind >> 1) & 3);
        if sync != 7 || layer != LAYER_III {
            return None;
        }
        let (table, divisor, samples) = match version {
            VERSION_1 => (0, 1, 1152),
            VERSION_2 => (1, 2, 576),
            VERSION_2_5 => (1, 4, 576),
            _ => return None,
        };
        let samples_per_second = SAMPLES_PER_S.get(usize::from((format >> 2) & 3))? / divisor;
        // The bit rate 0 is "free": the header does not tell the length of the frame.
        let kbit_per_s = Some(KBIT_PER_S[table][usize::from(format >> 4)]).filter(|rate| *rate > 0)?;
        let padding = u32::from((format >> 1) & 1);
        let bytes = samples / 8 * kbit_per_s * 1000 / samples_per_second + padding;
        Some(Self { version, samples_per_second, samples, bytes })
    }

    /// Whether two frames can belong to one recording. The bit rate may change from frame to frame.
    fn is_same_kind(&self, other: &Self) -> bool {
        (self.version, self.samples_per_second) == (other.version, other.samples_per_second)
    }
}

#[cfg(test)]
mod tests;
