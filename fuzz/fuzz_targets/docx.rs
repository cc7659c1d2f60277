//! Fuzzes DOCX: any bytes give a text or a typed error, within the limits. Each text is also proofread.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = lectern_content::docx::extract_text(data) {
        let length = text.chars().count() as u64;
        for finding in third_party::proofread::proofread(&text) {
            assert!(finding.start < finding.end && finding.end <= length);
        }
    }
});
