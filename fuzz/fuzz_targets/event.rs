//! Fuzzes the events of S3, as they come out of the queue.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &str| {
    let _ = lectern::steps::receive_upload::parse_event(body);
});
