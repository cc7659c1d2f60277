//! The adapter of the contract against the reference third party, over real HTTP.

#![cfg(test)]

mod answers;
mod fetching;
mod submitting;
mod support;
