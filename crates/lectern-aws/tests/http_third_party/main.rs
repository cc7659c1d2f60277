//! The adapter of the third_party contract against the reference third party, over real HTTP.

#![cfg(test)]

mod answers;
mod fetching;
mod submitting;
mod support;
