//! Fuzzes JPEG and PNG: any bytes give a size or a typed error.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = lectern_content::picture::facts(data);
});
