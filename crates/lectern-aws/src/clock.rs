//! The system's clock and randomness.

use lectern::{
    document::CallbackId,
    ports::{Clock, Random},
};
use time::OffsetDateTime;
use uuid::Uuid;

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        OffsetDateTime::now_utc()
    }
}

/// Randomness of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// Two version 4 UUIDs: 244 random bits.
    fn callback_id(&self) -> CallbackId {
        CallbackId::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    /// Two version 4 UUIDs, one of them rotated by half: the random bits of each one cover the six fixed bits of the
    /// other.
    fn bits(&self) -> u128 {
        Uuid::new_v4().as_u128() ^ Uuid::new_v4().as_u128().rotate_left(64)
    }
}
