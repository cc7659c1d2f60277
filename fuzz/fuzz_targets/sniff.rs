//! Fuzzes type detection: any bytes have a kind, and a type that Lectern does not know is never contradicted.

#![no_main]

use lectern_content::{can_be_pdf, fits_declared_type, sniff, sniff_zip_end, sniff_zip_start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = (sniff(data), sniff_zip_end(data), sniff_zip_start(data), can_be_pdf(data));
    for declared in
        ["application/pdf", "video/mp4", "video/webm", "audio/mpeg", "text/vtt", "application/json", "text/plain"]
    {
        let _ = fits_declared_type(declared, data);
    }
    assert!(fits_declared_type("application/vnd.example", data));
});
