//! Fuzzes the parser of a callback's body, which runs after the signature check.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = lectern::contract::callback::parse(body);
});
