//! Fuzzes the body of a callback, behind its signature.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = lectern::steps::receive_callback::parse(body);
});
