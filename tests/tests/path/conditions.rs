//! The conditions of a simulated run: its random numbers, its faults, and when callbacks come.

/// A small random number generator: the same seed gives the same run.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound` (splitmix64).
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((bits ^ (bits >> 31)) % bound as u64).unwrap()
    }

    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// The faults of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Roughness {
    /// The maximum number of calls that are cut off.
    pub(crate) cuts: usize,
    /// The maximum number of writes that meet another transaction on one of their items.
    pub(crate) conflicts: usize,
    /// The maximum number of submissions and probes that the third party refuses.
    pub(crate) refusals: usize,
    /// Whether handled messages are delivered again.
    pub(crate) redeliveries: bool,
    /// The number of tasks that time out before their answer comes.
    pub(crate) timeouts: usize,
}

/// When callbacks come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallbackTime {
    /// At a random time.
    Any,
    /// As soon as there is a job.
    First,
    /// When nothing else is left to do, so the execution is already waiting.
    WhenAwaited,
    /// Only after the wait for the callback has timed out.
    Late,
}

/// The writes that may meet another transaction.
pub(crate) const WRITES: [&str; 7] =
    ["register", "commit", "begin_transfer", "record_job", "record_result", "begin_normalize", "finish"];

/// The calls that may be cut off.
pub(crate) const CALLS: [&str; 27] = [
    "head",
    "first_bytes",
    "register",
    "start",
    "admission_state",
    "queue_position",
    "waiting_document",
    "commit",
    "is_awaited",
    "begin_transfer",
    "current_version",
    "open",
    "prepare",
    "submit",
    "record_job",
    "succeed",
    "fail",
    "resolve",
    "record_result",
    "release",
    "load",
    "status",
    "fetch",
    "quarantine",
    "promote",
    "begin_normalize",
    "finish",
];
