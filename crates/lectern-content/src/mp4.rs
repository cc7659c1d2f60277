//! MP4, `QuickTime`, 3GP and M4A (ISO base media, ISO/IEC 14496-12): the facts of a video or a recording.
//!
//! `re_mp4` is not used here: it allocates a table of as many samples as the file declares, and it panics if tables
//! disagree. The tests compare this parser with it.

mod boxes;
mod fragments;

use std::io::{Read, Seek, SeekFrom};

use time::OffsetDateTime;

use self::{
    boxes::{Fields, children, entries, find, require},
    fragments::Fragments,
};
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
/// The function holds the `moov` box in memory, at most [`Limits::MOOV_BYTES`], and one `moof` box at a time, at most
/// that much of all together; of all other boxes it reads only the headers. Time is linear in these boxes and in the
/// number of top-level boxes, at most [`Limits::TOP_LEVEL_BOXES`].
///
/// - `Truncated`: a box or a chunk that reaches beyond the end of the file, media without `moov`, a failing reader.
/// - `Malformed`: neither `ftyp` nor a box of an old `QuickTime` movie at the start, a box that is larger than its parent, or a table that is larger than its box.
/// - `Encrypted`: protected media.
///
/// Players ignore what follows the last box; so does this function. The duration of a fragmented video is that of
/// `mehd`, or otherwise of its fragments. It is left out if the fragments do not tell it.
pub fn facts(mut reader: impl Read + Seek, size_bytes: u64) -> Result<VideoFacts, ContentError> {
    if size_bytes == 0 {
        return Err(ContentError::Empty);
    }
    let (mut moov, mut fragments) = (None, Fragments::default());
    let (mut has_type, mut has_media) = (false, false);
    let mut at = 0;
    for count in 0.. {
        if at == size_bytes {
            break;
        }
        if count >= Limits::TOP_LEVEL_BOXES {
            return Err(ContentError::TooComplex);
        }
        let is_complete = moov.is_some() && has_media;
        let header = match read_header(&mut reader, at, size_bytes) {
            Err(_) if is_complete => break,
            header => header?,
        };
        match &header.kind {
            b"free" | b"skip" | b"wide" | b"pdin" => {}
            // Old QuickTime movies have no brand.
            b"ftyp" | b"moov" | b"mdat" | b"pnot" => has_type = true,
            _ if !has_type => return Err(ContentError::malformed("it does not start like an MP4 file")),
            _ => {}
        }
        if header.end > size_bytes {
            if is_complete && !matches!(&header.kind, b"moov" | b"moof" | b"mdat") {
                break;
            }
            return Err(ContentError::Truncated);
        }
        match &header.kind {
            b"moov" if moov.is_some() => {
                return Err(ContentError::malformed("it contains two indexes (moov boxes)"));
            }
            b"moov" => moov = Some(read_body(&mut reader, &header)?),
            b"moof" => {
                has_media = true;
                fragments.add(header.end - header.body, || read_body(&mut reader, &header))?;
            }
            b"mdat" => has_media = true,
            _ => {}
        }
        at = header.end;
    }
    match moov {
        Some(moov) if has_media => Movie::read(&moov, size_bytes)?.facts(&fragments),
        // `moov` and `mdat` may come in either order, so the missing one should have followed.
        Some(_) => Err(ContentError::Truncated),
        None if has_media => Err(ContentError::Truncated),
        None => Err(ContentError::malformed("it has neither video nor audio")),
    }
}

struct Header {
    kind: [u8; 4],
    body: u64,
    /// May lie beyond the end of the file.
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
    Ok(Header { kind, body: at + header_bytes, end: at.saturating_add(size) })
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
    /// Of all fragments, from `mehd`.
    fragments_duration: Option<u64>,
    /// The duration of a fragment's sample by track, unless the fragment has its own.
    sample_durations: Vec<(u32, u32)>,
    created: u64,
    tracks: Vec<Track>,
}

#[derive(Default)]
struct Track {
    id: u32,
    handler: [u8; 4],
    timescale: u32,
    /// Of the samples that `moov` itself lists. A fragmented video may list some or none there.
    listed_duration: u64,
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
                    movie.sample_durations = fragments::sample_durations(body)?;
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

    fn facts(&self, fragments: &Fragments) -> Result<VideoFacts, ContentError> {
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
            duration_ms: self.duration_ms(fragments),
            width_px: size.map(|(width, _)| width).filter(|width| *width > 0),
            height_px: size.map(|(_, height)| height).filter(|height| *height > 0),
            video_codec: video.and_then(Track::codec),
            audio_codec: audio.and_then(Track::codec),
            recorded_at: self.recorded_at(),
        })
    }

    fn duration_ms(&self, fragments: &Fragments) -> Option<u64> {
        let known = |duration: Option<u64>| duration.filter(|duration| *duration > 0);
        let duration = if fragments.is_empty() {
            known(self.duration).or(self.fragments_duration)?
        } else if let Some(duration) = known(self.fragments_duration) {
            duration
        } else {
            // The header of a fragmented video tells the duration of its beginning, or none.
            return fragments.duration_ms(&self.tracks, &self.sample_durations);
        };
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
        if let Some(mdhd) = find(mdia, *b"mdhd")? {
            found.read_mdhd(mdhd)?;
        }
        let mut fields = Fields::of(require(mdia, *b"hdlr")?)?;
        fields.skip(4)?;
        found.handler = fields.take()?;
        let stbl = require(require(mdia, *b"minf")?, *b"stbl")?;
        found.read_stsd(require(stbl, *b"stsd")?)?;
        if let Some(stts) = find(stbl, *b"stts")? {
            found.listed_duration = fragments::listed_duration(stts)?;
        }
        check_chunks(stbl, size_bytes)?;
        Ok(found)
    }

    fn read_tkhd(&mut self, tkhd: &[u8]) -> Result<(), ContentError> {
        let mut fields = Fields::of(tkhd)?;
        fields.number()?;
        fields.number()?;
        self.id = fields.u32()?;
        fields.skip(4)?; // reserved
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

    fn read_mdhd(&mut self, mdhd: &[u8]) -> Result<(), ContentError> {
        let mut fields = Fields::of(mdhd)?;
        fields.number()?;
        fields.number()?;
        self.timescale = fields.u32()?;
        Ok(())
    }

    /// The first sample entry names the codec. A video's entry also has the picture size, in case `tkhd` has none.
    fn read_stsd(&mut self, stsd: &[u8]) -> Result<(), ContentError> {
        let mut fields = Fields::of(stsd)?;
        fields.skip(4)?;
        let Some((kind, entry)) = children(fields.rest).next().transpose()? else { return Ok(()) };
        self.codec = *kind;
        if self.handler == *b"vide" && (self.width_px == 0 || self.height_px == 0) {
            let mut fields = Fields::plain(entry);
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

#[cfg(test)]
mod tests;
