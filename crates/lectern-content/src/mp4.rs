//! MP4 (ISO base media, ISO/IEC 14496-12): the facts of a video.
//!
//! `re_mp4` is not used here: it allocates a table of as many samples as the file declares, and it panics if tables
//! disagree. The tests compare this parser with it.

use std::io::{Read, Seek, SeekFrom};

use time::OffsetDateTime;

use crate::{ContentError, Limits};

/// The facts of a video. A fact that is missing from the file or has an absurd value is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VideoFacts {
    /// Length in milliseconds.
    pub duration_ms: Option<u64>,
    /// Width in pixels, as shown: after a rotation by 90°.
    pub width_px: Option<u32>,
    /// Height in pixels, as shown: after a rotation by 90°.
    pub height_px: Option<u32>,
    /// Codec of the first video track, such as `avc1`.
    pub video_codec: Option<String>,
    /// Codec of the first audio track, such as `mp4a`.
    pub audio_codec: Option<String>,
    /// When the video was recorded.
    pub recorded_at: Option<OffsetDateTime>,
}

/// Reads the facts of a video of `size_bytes` bytes.
///
/// The function holds the `moov` box in memory, at most [`Limits::MOOV_BYTES`]; of all other boxes it reads only the
/// headers. Time is linear in `moov` and in the number of top-level boxes, at most [`Limits::TOP_LEVEL_BOXES`].
///
/// - `Truncated`: a box or a chunk that reaches beyond the end of the file, media without `moov`, a failing reader.
/// - `Malformed`: a box that is larger than its parent, or a table that is larger than its box.
/// - `Encrypted`: protected media.
///
/// The duration of a fragmented video without `mehd` is unknown.
pub fn facts(mut reader: impl Read + Seek, size_bytes: u64) -> Result<VideoFacts, ContentError> {
    if size_bytes == 0 {
        return Err(ContentError::Empty);
    }
    check_signature(&mut reader)?;
    let mut moov = None;
    let mut has_media = false;
    let mut at = 0;
    for count in 0.. {
        if at == size_bytes {
            break;
        }
        if count >= Limits::TOP_LEVEL_BOXES {
            return Err(ContentError::TooComplex);
        }
        let header = read_header(&mut reader, at, size_bytes)?;
        match &header.kind {
            b"moov" if moov.is_some() => {
                return Err(ContentError::malformed("it contains two indexes (moov boxes)"));
            }
            b"moov" => moov = Some(read_body(&mut reader, &header)?),
            b"mdat" | b"moof" => has_media = true,
            _ => {}
        }
        at = header.end;
    }
    match moov {
        Some(moov) if has_media => Movie::read(&moov, size_bytes)?.facts(),
        // `moov` and `mdat` may come in either order, so the missing one should have followed.
        Some(_) => Err(ContentError::Truncated),
        None if has_media => Err(ContentError::Truncated),
        None => Err(ContentError::malformed("it has neither video nor audio")),
    }
}

fn check_signature(reader: &mut (impl Read + Seek)) -> Result<(), ContentError> {
    reader.seek(SeekFrom::Start(4)).map_err(|_| ContentError::Truncated)?;
    if read_array(reader)? == *b"ftyp" {
        Ok(())
    } else {
        Err(ContentError::malformed("it does not start like an MP4 file"))
    }
}

struct Header {
    kind: [u8; 4],
    body: u64,
    end: u64,
}

fn read_header(reader: &mut (impl Read + Seek), at: u64, size_bytes: u64) -> Result<Header, ContentError> {
    reader.seek(SeekFrom::Start(at)).map_err(|_| ContentError::Truncated)?;
    let size = u32::from_be_bytes(read_array(reader)?);
    let kind = read_array(reader)?;
    let (size, header_bytes) = match size {
        0 => (size_bytes - at, 8),
        1 => (u64::from_be_bytes(read_array(reader)?), 16),
        size => (u64::from(size), 8),
    };
    if size < header_bytes {
        return Err(ContentError::malformed("a box is smaller than its own header"));
    }
    let end = at.checked_add(size).filter(|end| *end <= size_bytes).ok_or(ContentError::Truncated)?;
    Ok(Header { kind, body: at + header_bytes, end })
}

fn read_array<const N: usize>(reader: &mut impl Read) -> Result<[u8; N], ContentError> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).map_err(|_| ContentError::Truncated)?;
    Ok(bytes)
}

fn read_body(reader: &mut impl Read, header: &Header) -> Result<Vec<u8>, ContentError> {
    let size = header.end - header.body;
    if size > Limits::MOOV_BYTES {
        return Err(ContentError::TooComplex);
    }
    // The buffer grows with the bytes read, not with the declared size.
    let mut body = Vec::new();
    let count = reader.take(size).read_to_end(&mut body).map_err(|_| ContentError::Truncated)?;
    if count as u64 == size { Ok(body) } else { Err(ContentError::Truncated) }
}

/// The content of `moov`.
#[derive(Default)]
struct Movie {
    timescale: u32,
    duration: Option<u64>,
    fragments_duration: Option<u64>,
    created: u64,
    tracks: Vec<Track>,
}

#[derive(Default)]
struct Track {
    handler: [u8; 4],
    codec: [u8; 4],
    width_px: u32,
    height_px: u32,
    is_rotated: bool,
}

impl Movie {
    fn read(moov: &[u8], size_bytes: u64) -> Result<Self, ContentError> {
        let mut movie = Self::default();
        for child in children(moov) {
            match child? {
                (b"mvhd", body) => {
                    let mut fields = Fields::of(body)?;
                    movie.created = fields.number()?;
                    fields.number()?;
                    movie.timescale = fields.u32()?;
                    movie.duration = fields.duration()?;
                }
                (b"mvex", body) => {
                    if let Some(mehd) = find(body, *b"mehd")? {
                        movie.fragments_duration = Fields::of(mehd)?.duration()?;
                    }
                }
                (b"trak", body) => {
                    if movie.tracks.len() >= Limits::TRACKS {
                        return Err(ContentError::TooComplex);
                    }
                    movie.tracks.push(Track::read(body, size_bytes)?);
                }
                _ => {}
            }
        }
        Ok(movie)
    }

    fn facts(&self) -> Result<VideoFacts, ContentError> {
        let first = |handler: &[u8; 4]| self.tracks.iter().find(|track| track.handler == *handler);
        let (video, audio) = (first(b"vide"), first(b"soun"));
        if video.is_none() && audio.is_none() {
            return Err(ContentError::malformed("it has neither video nor audio"));
        }
        if self.tracks.iter().any(|track| matches!(&track.codec, b"encv" | b"enca")) {
            return Err(ContentError::Encrypted);
        }
        let size = video.map(|video| (video.width_px, video.height_px, video.is_rotated));
        let size = size.map(|(width, height, turned)| if turned { (height, width) } else { (width, height) });
        Ok(VideoFacts {
            duration_ms: self.duration_ms(),
            width_px: size.map(|(width, _)| width).filter(|width| *width > 0),
            height_px: size.map(|(_, height)| height).filter(|height| *height > 0),
            video_codec: video.and_then(Track::codec),
            audio_codec: audio.and_then(Track::codec),
            recorded_at: self.recorded_at(),
        })
    }

    fn duration_ms(&self) -> Option<u64> {
        let duration = self.duration.filter(|duration| *duration > 0).or(self.fragments_duration)?;
        let ms = (u128::from(duration) * 1000).checked_div(u128::from(self.timescale))?;
        u64::try_from(ms).ok()
    }

    /// Some cameras write zero, and some count from 1970 instead of 1904. Such times are left out.
    fn recorded_at(&self) -> Option<OffsetDateTime> {
        const FROM_1904_TO_1970_S: i64 = 2_082_844_800;
        let seconds = i64::try_from(self.created).ok()?.checked_sub(FROM_1904_TO_1970_S)?;
        let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        (1990..2200).contains(&time.year()).then_some(time)
    }
}

impl Track {
    fn read(body: &[u8], size_bytes: u64) -> Result<Self, ContentError> {
        let mut found = Self::default();
        found.read_tkhd(require(body, *b"tkhd")?)?;
        let mdia = require(body, *b"mdia")?;
        let mut fields = Fields::of(require(mdia, *b"hdlr")?)?;
        fields.skip(4)?;
        found.handler = fields.take()?;
        let stbl = require(require(mdia, *b"minf")?, *b"stbl")?;
        found.read_stsd(require(stbl, *b"stsd")?)?;
        check_chunks(stbl, size_bytes)?;
        Ok(found)
    }

    fn read_tkhd(&mut self, tkhd: &[u8]) -> Result<(), ContentError> {
        let mut fields = Fields::of(tkhd)?;
        fields.number()?;
        fields.number()?;
        fields.skip(8)?; // track id, reserved
        fields.number()?;
        fields.skip(16)?; // reserved, layer, alternate group, volume, reserved
        let mut matrix = [0; 9];
        for value in &mut matrix {
            *value = fields.u32()?;
        }
        let [a, b, _, c, d, ..] = matrix;
        self.is_rotated = a == 0 && d == 0 && b != 0 && c != 0;
        self.width_px = fields.u32()? >> 16;
        self.height_px = fields.u32()? >> 16;
        Ok(())
    }

    /// The first sample entry names the codec. A video's entry also has the picture size, in case `tkhd` has none.
    fn read_stsd(&mut self, stsd: &[u8]) -> Result<(), ContentError> {
        let mut fields = Fields::of(stsd)?;
        fields.skip(4)?;
        let Some((kind, entry)) = children(fields.rest).next().transpose()? else { return Ok(()) };
        self.codec = *kind;
        if self.handler == *b"vide" && (self.width_px == 0 || self.height_px == 0) {
            let mut fields = Fields { version: 0, rest: entry };
            fields.skip(24)?;
            self.width_px = u16::from_be_bytes(fields.take()?).into();
            self.height_px = u16::from_be_bytes(fields.take()?).into();
        }
        Ok(())
    }

    fn codec(&self) -> Option<String> {
        let printable = self.codec.iter().all(|byte| (b' '..=b'~').contains(byte));
        let codec = std::str::from_utf8(&self.codec).ok()?.trim();
        (printable && !codec.is_empty()).then(|| codec.to_owned())
    }
}

/// Checks that every chunk starts within the file.
fn check_chunks(stbl: &[u8], size_bytes: u64) -> Result<(), ContentError> {
    let beyond = |offset: u64| offset >= size_bytes;
    let truncated = if let Some(stco) = find(stbl, *b"stco")? {
        entries::<4>(stco)?.iter().any(|offset| beyond(u32::from_be_bytes(*offset).into()))
    } else if let Some(co64) = find(stbl, *b"co64")? {
        entries::<8>(co64)?.iter().any(|offset| beyond(u64::from_be_bytes(*offset)))
    } else {
        false
    };
    if truncated { Err(ContentError::Truncated) } else { Ok(()) }
}

/// The entries of a table that starts with their count.
fn entries<const N: usize>(body: &[u8]) -> Result<&[[u8; N]], ContentError> {
    let mut fields = Fields::of(body)?;
    let count = usize::try_from(fields.u32()?).unwrap_or(usize::MAX);
    let (entries, _) = fields.rest.as_chunks::<N>();
    entries.get(..count).ok_or_else(|| ContentError::malformed("a table is larger than its box"))
}

fn require(parent: &[u8], kind: [u8; 4]) -> Result<&[u8], ContentError> {
    find(parent, kind)?.ok_or_else(|| ContentError::malformed("a box that every track must have is missing"))
}

fn find(parent: &[u8], kind: [u8; 4]) -> Result<Option<&[u8]>, ContentError> {
    children(parent)
        .find_map(|child| match child {
            Ok((found, body)) => (*found == kind).then_some(Ok(body)),
            Err(error) => Some(Err(error)),
        })
        .transpose()
}

/// The child boxes. The iterator ends after the first child that is larger than its parent.
fn children(parent: &[u8]) -> impl Iterator<Item = Result<(&[u8; 4], &[u8]), ContentError>> {
    let mut rest = parent;
    std::iter::from_fn(move || {
        // QuickTime ends a list of boxes with four zero bytes.
        if rest.len() < 8 && rest.iter().all(|byte| *byte == 0) {
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
struct Fields<'a> {
    version: u8,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(body: &'a [u8]) -> Result<Self, ContentError> {
        let mut fields = Self { version: 0, rest: body };
        let [version, ..] = fields.take::<4>()?;
        fields.version = version;
        Ok(fields)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ContentError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| ContentError::malformed("a box is smaller than its fields"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), ContentError> {
        let rest = self.rest.get(count..);
        self.rest = rest.ok_or_else(|| ContentError::malformed("a box is smaller than its fields"))?;
        Ok(())
    }

    fn u32(&mut self) -> Result<u32, ContentError> {
        self.take().map(u32::from_be_bytes)
    }

    /// A 64-bit number in version 1, a 32-bit number in other versions.
    fn number(&mut self) -> Result<u64, ContentError> {
        if self.version == 1 { self.take().map(u64::from_be_bytes) } else { self.u32().map(u64::from) }
    }

    /// A duration. A number with all bits set means that the duration is unknown.
    fn duration(&mut self) -> Result<Option<u64>, ContentError> {
        let unknown = if self.version == 1 { u64::MAX } else { u32::MAX.into() };
        self.number().map(|duration| (duration != unknown).then_some(duration))
    }
}

#[cfg(test)]
mod tests;
