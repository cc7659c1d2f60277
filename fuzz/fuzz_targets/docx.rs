//! Fuzzes DOCX: any bytes are a text or a typed error, within the budgets. Its text goes through the proofreading.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(docx) = lectern_content::docx::extract_text(data) {
        let length = docx.text.chars().count() as u64;
        for finding in third_party::proofread::proofread(&docx.text) {
            assert!(finding.start < finding.end && finding.end <= length);
        }
    }
});
