//! Fuzzes WebVTT captions: any bytes give cues or a typed error, and written cues can be read back.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(cues) = lectern_content::vtt::parse(data) {
        let written = lectern_content::vtt::write_vtt(&cues);
        assert_eq!(lectern_content::vtt::parse(written.as_bytes()).as_ref(), Ok(&cues));
    }
});
