//! The HTTP contract with the third party (`docs/third-party.openapi.yaml`): the types of requests and answers, the
//! mapping of answers to workflow errors, the verification of callbacks, and the addresses that Lectern may
//! connect to.

pub mod callback;
pub mod json;
pub mod network;
pub mod response;
pub mod webhook;
pub mod wire;
