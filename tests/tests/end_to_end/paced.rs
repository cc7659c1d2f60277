//! Tests with real waits and limits: the limits under load, and chaos. `make e2e` runs them with few documents, `make
//! chaos` with many, both on another stack than the other tests.

mod chaos;
mod limits;
mod load;
