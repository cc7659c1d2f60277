//! Runs with real waits and limits: the limits under load, and bad days.
//! `make e2e` runs them small, `make chaos` large. Ignored among the others, which have a stack of their own.

mod chaos;
mod limits;
mod load;
