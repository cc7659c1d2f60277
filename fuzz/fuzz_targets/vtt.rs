//! Fuzzes WebVTT captions: any bytes give cues or a typed error, and written cues can be read back.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(captions) = lectern_content::vtt::parse(data) {
        let written = lectern_content::vtt::write_vtt(&captions.cues);
        let read = lectern_content::vtt::parse(written.as_bytes());
        assert_eq!(read.map(|read| read.cues).as_ref(), Ok(&captions.cues));
    }
});
