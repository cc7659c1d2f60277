//! The facts of a `WebM`, from the EBML elements of its first megabyte.
//!
//! Element ids: <https://www.matroska.org/technical/elements.html>.

use std::io::Read;

use lectern::{
    contract::wire::{JobError, MediaFile},
    error::rfc3339,
};
use lectern_content::ebml::{self, elements};
use time::{Duration, OffsetDateTime, macros::datetime};

use super::{disk_error, error};

const HEAD_BYTES: u64 = 1024 * 1024;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_A966;
const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
const DURATION: u32 = 0x4489;
const DATE_UTC: u32 = 0x4461;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_TYPE: u32 = 0x83;
const CODEC_ID: u32 = 0x86;
const VIDEO: u32 = 0xE0;
const PIXEL_WIDTH: u32 = 0xB0;
const PIXEL_HEIGHT: u32 = 0xBA;
const CLUSTER: u32 = 0x1F43_B675;
const DATE_ORIGIN: OffsetDateTime = datetime!(2001-01-01 00:00 UTC);

/// Reads the facts. A fact that is not in the first megabyte is left out.
pub(super) fn facts(file: impl Read) -> Result<MediaFile, JobError> {
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| disk_error(&error))?;
    let mut found = Found { scale_ns: 1_000_000, ..Found::default() };
    let mut elements = elements(&head);
    if elements.next().is_none_or(|(id, _)| id != ebml::HEADER) {
        return Err(error("malformed", "The file is not a WebM video."));
    }
    for (id, content) in elements {
        if id == SEGMENT {
            segment(content, &mut found);
        }
    }
    if let Some(ticks) = found.duration_ticks {
        found.media.duration_ms = milliseconds(ticks, found.scale_ns);
    }
    Ok(found.media)
}

#[derive(Default)]
struct Found {
    media: MediaFile,
    scale_ns: u64,
    duration_ticks: Option<f64>,
}

fn segment(content: &[u8], found: &mut Found) {
    for (id, content) in elements(content) {
        match id {
            INFO => info(content, found),
            TRACKS => tracks(content, &mut found.media),
            CLUSTER => return,
            _ => {}
        }
    }
}

fn info(content: &[u8], found: &mut Found) {
    for (id, content) in elements(content) {
        match id {
            TIMESTAMP_SCALE => found.scale_ns = unsigned(content).unwrap_or(found.scale_ns),
            DURATION => found.duration_ticks = float(content),
            DATE_UTC => found.media.recorded_at = date(content),
            _ => {}
        }
    }
}

fn tracks(content: &[u8], media: &mut MediaFile) {
    for (_, entry) in elements(content).filter(|(id, _)| *id == TRACK_ENTRY) {
        let (mut kind, mut codec, mut width, mut height) = (None, None, None, None);
        for (id, content) in elements(entry) {
            match id {
                TRACK_TYPE => kind = unsigned(content),
                CODEC_ID => {
                    codec = std::str::from_utf8(ebml::text(content)).ok().map(str::to_owned);
                }
                VIDEO => {
                    for (id, content) in elements(content) {
                        let pixels = || unsigned(content).and_then(|pixels| u32::try_from(pixels).ok());
                        match id {
                            PIXEL_WIDTH => width = pixels(),
                            PIXEL_HEIGHT => height = pixels(),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        match kind {
            Some(1) if media.video_codec.is_none() => {
                media.video_codec = codec.map(Into::into);
                media.width_px = width;
                media.height_px = height;
            }
            Some(2) if media.audio_codec.is_none() => media.audio_codec = codec.map(Into::into),
            _ => {}
        }
    }
}

fn unsigned(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
}

fn float(bytes: &[u8]) -> Option<f64> {
    match bytes.len() {
        4 => Some(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
        8 => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

fn milliseconds(ticks: f64, scale_ns: u64) -> Option<u64> {
    // Usual scales are below a second, so a scale beyond 32 bits is not supported.
    let scale_ns = f64::from(u32::try_from(scale_ns).ok()?);
    let duration = std::time::Duration::try_from_secs_f64(ticks * scale_ns / 1e9).ok()?;
    u64::try_from(duration.as_millis()).ok()
}

fn date(bytes: &[u8]) -> Option<String> {
    let ns = i64::from_be_bytes(bytes.try_into().ok()?);
    DATE_ORIGIN.checked_add(Duration::nanoseconds(ns)).map(rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len()).unwrap() | 0x1000_0000;
        [id, &size.to_be_bytes(), content].concat()
    }

    fn sample() -> Vec<u8> {
        let info = [
            element(&[0x2A, 0xD7, 0xB1], &[0x0F, 0x42, 0x40]),
            element(&[0x44, 0x89], &4000_f64.to_be_bytes()),
            element(&[0x44, 0x61], &86_400_000_000_000_i64.to_be_bytes()),
        ]
        .concat();
        let picture = [element(&[0xB0], &[0x01, 0x40]), element(&[0xBA], &[0xF0])].concat();
        let video = [element(&[0x83], &[1]), element(&[0x86], b"V_VP9"), element(&[0xE0], &picture)].concat();
        let audio = [element(&[0x83], &[2]), element(&[0x86], b"A_OPUS")].concat();
        let tracks = [element(&[0xAE], &video), element(&[0xAE], &audio)].concat();
        let segment =
            [element(&[0x15, 0x49, 0xA9, 0x66], &info), element(&[0x16, 0x54, 0xAE, 0x6B], &tracks)].concat();
        let unknown_size = [0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        [element(&[0x1A, 0x45, 0xDF, 0xA3], b"webm"), unknown_size.to_vec(), segment].concat()
    }

    #[test]
    fn facts_are_read_out_of_a_live_stream_with_an_unknown_size() {
        let expected = MediaFile {
            duration_ms: Some(4000),
            width_px: Some(320),
            height_px: Some(240),
            video_codec: Some("V_VP9".into()),
            audio_codec: Some("A_OPUS".into()),
            recorded_at: Some("2001-01-02T00:00:00.000Z".to_owned()),
        };
        assert_eq!(facts(sample().as_slice()).unwrap(), expected);
    }

    #[test]
    fn every_prefix_is_read_without_a_panic() {
        let sample = sample();
        for end in 0..sample.len() {
            let _ = facts(&sample[..end]);
        }
        assert_eq!(facts(&b"no video"[..]).unwrap_err().code, "malformed");
    }
}
