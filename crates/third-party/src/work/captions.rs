//! `WebVTT` captions made from the facts of a video or a recording: one cue for each second.

use lectern::contract::wire::MediaFile;
use lectern_content::{Cue, MediaKind, vtt::write_vtt};

/// Longer ones get cues for their first six hours.
const MAX_CUES: u64 = 6 * 60 * 60;

/// One cue for each second, or a single cue if the length is unknown.
pub(super) fn vtt(kind: MediaKind, facts: &MediaFile, size_bytes: u64) -> String {
    let what = if kind == MediaKind::Audio { "Recording" } else { "Video" };
    let picture = match (facts.width_px, facts.height_px) {
        (Some(width), Some(height)) => format!("; {width}×{height}"),
        _ => String::new(),
    };
    let Some(duration_ms) = facts.duration_ms.filter(|duration_ms| *duration_ms > 0) else {
        let text = format!("{what} of unknown length, {size_bytes} bytes{picture}");
        return write_vtt(&[cue(0, 1000, text)]);
    };
    let seconds = duration_ms.div_ceil(1000);
    let cues: Vec<Cue> = (1..=seconds.min(MAX_CUES))
        .map(|second| {
            let text = format!("{what}, second {second} of {seconds}{picture}");
            cue((second - 1) * 1000, (second * 1000).min(duration_ms), text)
        })
        .collect();
    write_vtt(&cues)
}

fn cue(start_ms: u64, end_ms: u64, text: String) -> Cue {
    Cue { start_ms, end_ms, text, speaker: None }
}

#[cfg(test)]
mod tests {
    use lectern_content::vtt::parse;

    use super::*;

    #[test]
    fn there_is_one_cue_a_second_and_the_last_ends_with_the_video() {
        let facts = MediaFile {
            duration_ms: Some(1_500),
            width_px: Some(320),
            height_px: Some(240),
            ..MediaFile::default()
        };
        let cues = parse(vtt(MediaKind::Video, &facts, 9).as_bytes()).unwrap().cues;
        let expected = [
            cue(0, 1000, "Video, second 1 of 2; 320×240".to_owned()),
            cue(1000, 1500, "Video, second 2 of 2; 320×240".to_owned()),
        ];
        assert_eq!(cues, expected);
    }

    #[test]
    fn a_video_of_unknown_length_has_one_cue() {
        let cues = parse(vtt(MediaKind::Video, &MediaFile::default(), 9).as_bytes()).unwrap().cues;
        assert_eq!(cues, [cue(0, 1000, "Video of unknown length, 9 bytes".to_owned())]);
    }

    #[test]
    fn a_recording_is_called_one() {
        let facts = MediaFile { duration_ms: Some(900), ..MediaFile::default() };
        let cues = parse(vtt(MediaKind::Audio, &facts, 9).as_bytes()).unwrap().cues;
        assert_eq!(cues, [cue(0, 900, "Recording, second 1 of 1".to_owned())]);
    }

    #[test]
    fn an_absurd_length_does_not_make_absurd_captions() {
        let facts = MediaFile { duration_ms: Some(u64::MAX), ..MediaFile::default() };
        assert_eq!(vtt(MediaKind::Video, &facts, 9).matches("-->").count(), 21_600);
    }
}
