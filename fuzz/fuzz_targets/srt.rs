//! Fuzzes SubRip captions: any bytes give sorted cues or a typed error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(captions) = lectern_content::srt::parse(data) {
        assert!(captions.cues.is_sorted_by_key(|cue| cue.start_ms));
        assert!(captions.cues.iter().all(|cue| cue.start_ms <= cue.end_ms && !cue.text.is_empty()));
        assert!(captions.dropped == 0 || !captions.cues.is_empty());
    }
});
