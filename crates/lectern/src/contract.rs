//! The HTTP contract with the third party (`docs/third-party.openapi.yaml`): what goes over the wire, how answers become
//! workflow errors, how a callback's signature is verified, and which addresses may be reached.

pub mod network;
pub mod response;
pub mod webhook;
pub mod wire;
