//! The reference third party over real HTTP: the contract, and each fault.

#![cfg(test)]

mod callbacks;
mod command;
mod contract;
mod erasures;
mod faults;
mod files;
mod limits;
mod submissions;
mod support;
mod traces;
mod usage;
mod work;
