//! Fuzzes PPTX: any bytes give a text or a typed error, within the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = lectern_content::pptx::extract_text(data);
});
