//! Fragments (`moof` boxes): how long they are.

use super::{
    Track,
    boxes::{Fields, children, entries, find, require},
};
use crate::{ContentError, Limits};

/// The fragments of a video, as far as they tell its duration.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    of_tracks: Vec<TrackFragment>,
    bytes: u64,
    count: usize,
    /// A fragment could not be read, so the duration is unknown.
    is_unknown: bool,
}

/// The part of a fragment that belongs to one track. Durations are in the track's timescale.
#[derive(Debug, Default)]
struct TrackFragment {
    track: u32,
    start: Option<u64>,
    /// Of the samples that have their own duration.
    duration: u64,
    /// The number of all other samples, and the duration of each.
    other_samples: u64,
    sample_duration: Option<u32>,
}

impl Fragments {
    /// Adds a fragment of `bytes` bytes. `read` is not called beyond the limit for all fragments.
    ///
    /// # Errors
    /// That of `read`. A fragment that makes no sense is no error, because players skip it.
    pub(super) fn add(
        &mut self,
        bytes: u64,
        read: impl FnOnce() -> Result<Vec<u8>, ContentError>,
    ) -> Result<(), ContentError> {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.is_unknown || self.bytes > Limits::MOOV_BYTES {
            self.is_unknown = true;
            return Ok(());
        }
        let moof = read()?;
        for child in children(&moof) {
            match child
                .and_then(|(kind, body)| (kind == b"traf").then(|| TrackFragment::read(body)).transpose())
            {
                Ok(fragment) => self.of_tracks.extend(fragment),
                Err(_) => self.is_unknown = true,
            }
        }
        Ok(())
    }

    /// Whether the video is not fragmented.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The duration of the longest track with its fragments; `None` if a fragment does not tell its duration.
    pub(super) fn duration_ms(&self, tracks: &[Track], sample_durations: &[(u32, u32)]) -> Option<u64> {
        let played = tracks.iter().filter(|track| matches!(&track.handler, b"vide" | b"soun"));
        let mut longest_ms = None;
        for track in played {
            let default =
                sample_durations.iter().find(|(id, _)| *id == track.id).map(|(_, duration)| *duration);
            longest_ms = longest_ms.max(Some(self.track_ms(track, default)?));
        }
        longest_ms.filter(|ms| *ms > 0 && !self.is_unknown)
    }

    fn track_ms(&self, track: &Track, sample_duration: Option<u32>) -> Option<u64> {
        let mut end = track.listed_duration;
        // A recording of a stream may start at any time.
        let mut start = (end > 0).then_some(0);
        for fragment in self.of_tracks.iter().filter(|fragment| fragment.track == track.id) {
            let others = match fragment.other_samples {
                0 => 0,
                count => count.checked_mul(fragment.sample_duration.or(sample_duration)?.into())?,
            };
            let from = fragment.start.unwrap_or(end);
            start = Some(start.map_or(from, |start: u64| start.min(from)));
            end = end.max(from.checked_add(fragment.duration)?.checked_add(others)?);
        }
        let ms = u128::from(end - start.unwrap_or(end)) * 1000;
        u64::try_from(ms.checked_div(track.timescale.into())?).ok()
    }
}

impl TrackFragment {
    fn read(traf: &[u8]) -> Result<Self, ContentError> {
        let mut fragment = Self::default();
        let mut tfhd = Fields::of(require(traf, *b"tfhd")?)?;
        fragment.track = tfhd.u32()?;
        tfhd.skip(if tfhd.flags & 0x1 > 0 { 8 } else { 0 })?; // base data offset
        tfhd.skip(if tfhd.flags & 0x2 > 0 { 4 } else { 0 })?; // sample description
        if tfhd.flags & 0x8 > 0 {
            fragment.sample_duration = Some(tfhd.u32()?);
        }
        if let Some(tfdt) = find(traf, *b"tfdt")? {
            fragment.start = Some(Fields::of(tfdt)?.number()?);
        }
        for child in children(traf) {
            let (kind, body) = child?;
            if kind == b"trun" {
                fragment.add_run(Fields::of(body)?)?;
            }
        }
        Ok(fragment)
    }

    fn add_run(&mut self, mut trun: Fields<'_>) -> Result<(), ContentError> {
        const DURATION: u32 = 0x100;
        const OF_EACH_SAMPLE: u32 = 0xF00;

        let count = u64::from(trun.u32()?);
        if trun.flags & DURATION == 0 {
            self.other_samples = self.other_samples.saturating_add(count);
            return Ok(());
        }
        trun.skip(if trun.flags & 0x1 > 0 { 4 } else { 0 })?; // data offset
        trun.skip(if trun.flags & 0x4 > 0 { 4 } else { 0 })?; // flags of the first sample
        let others_bytes = 4 * ((trun.flags & OF_EACH_SAMPLE).count_ones() as usize - 1);
        for _ in 0..count {
            // The duration stands first; each of the other fields has four bytes.
            self.duration = self.duration.saturating_add(trun.u32()?.into());
            trun.skip(others_bytes)?;
        }
        Ok(())
    }
}

/// The durations that `mvex` gives to the samples of each track.
pub(super) fn sample_durations(mvex: &[u8]) -> Result<Vec<(u32, u32)>, ContentError> {
    let mut durations = Vec::new();
    for child in children(mvex) {
        if let (b"trex", body) = child? {
            if durations.len() >= Limits::TRACKS {
                return Err(ContentError::TooComplex);
            }
            let mut fields = Fields::of(body)?;
            let track = fields.u32()?;
            fields.skip(4)?; // sample description
            durations.push((track, fields.u32()?));
        }
    }
    Ok(durations)
}

/// The duration of the samples in `stts`.
pub(super) fn listed_duration(stts: &[u8]) -> Result<u64, ContentError> {
    let runs = entries::<8>(stts)?.iter().map(|[c0, c1, c2, c3, d0, d1, d2, d3]| {
        let count = u32::from_be_bytes([*c0, *c1, *c2, *c3]);
        u64::from(count) * u64::from(u32::from_be_bytes([*d0, *d1, *d2, *d3]))
    });
    Ok(runs.fold(0, u64::saturating_add))
}
