//! Tests the third party's adapter with the reference third party, over real HTTP.

#![cfg(test)]

mod answers;
mod erasing;
mod fetching;
mod stub;
mod submitting;
mod support;
