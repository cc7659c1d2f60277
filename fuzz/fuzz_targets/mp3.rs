//! Fuzzes MP3: any bytes give a length or a typed error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = lectern_content::mp3::duration_ms(std::io::Cursor::new(data), data.len() as u64);
});
