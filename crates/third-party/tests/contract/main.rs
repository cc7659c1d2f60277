//! The reference third party over real HTTP: what it promises, and each fault it can be asked for.

#![cfg(test)]

mod callbacks;
mod command;
mod contract;
mod faults;
mod files;
mod limits;
mod submissions;
mod support;
mod traces;
mod usage;
mod work;
