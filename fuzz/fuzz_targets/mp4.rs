//! Fuzzes MP4: any bytes give facts or a typed error, within the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = lectern_content::mp4::facts(std::io::Cursor::new(data), data.len() as u64);
});
