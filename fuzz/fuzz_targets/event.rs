//! Fuzzes the parser of S3 events in SQS messages.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &str| {
    let _ = lectern::steps::receive_upload::parse_event(body);
});
