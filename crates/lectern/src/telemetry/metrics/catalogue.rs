//! Every metric there is: its name, unit and dimensions. The adapter, the alarms and the dashboard are held to it.

/// The target of the events that are metrics, and of nothing else.
pub const TARGET: &str = "lectern::telemetry::metrics";

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, and the event's field.
    pub name: &'static str,
    /// The unit of its values.
    pub unit: Unit,
    /// The dimension sets that it is counted by; an event without a set's fields is not counted by that set.
    pub dimensions: &'static [&'static [&'static str]],
}

/// The unit of a metric's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// Seconds, with fractions.
    Seconds,
    /// Bytes.
    Bytes,
    /// A plain number.
    None,
}

impl Unit {
    /// The unit's name, as `CloudWatch` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Seconds => "Seconds",
            Self::Bytes => "Bytes",
            Self::None => "None",
        }
    }
}

const fn metric(name: &'static str, unit: Unit, dimensions: &'static [&'static [&'static str]]) -> Metric {
    Metric { name, unit, dimensions }
}

/// Counted as a whole, without a dimension.
const WHOLE: &[&[&str]] = &[&[]];

/// Every metric there is.
pub const ALL: [Metric; 23] = [
    // Documents that came, and that ended: by state, and by reason where there is one.
    metric("Documents", Unit::Count, &[&["State"], &["State", "Reason"]]),
    // How long a document that ended had been in each state, and in all.
    metric("ReceivedSeconds", Unit::Seconds, WHOLE),
    metric("TransferringSeconds", Unit::Seconds, WHOLE),
    metric("ProcessingSeconds", Unit::Seconds, WHOLE),
    metric("VerifyingSeconds", Unit::Seconds, WHOLE),
    metric("NormalizingSeconds", Unit::Seconds, WHOLE),
    metric("TotalSeconds", Unit::Seconds, WHOLE),
    // Records written, by the type of their upload.
    metric("Normalizations", Unit::Count, &[&["MediaType"]]),
    // Documents handed over.
    metric("TransferBytes", Unit::Bytes, WHOLE),
    metric("TransferSeconds", Unit::Seconds, WHOLE),
    // Requests to the third party that it did not grant, by the error's name.
    metric("ThirdPartyErrors", Unit::Count, &[&["Error"]]),
    // From the third party's first acceptance of a document to its result.
    metric("ThirdPartySeconds", Unit::Seconds, WHOLE),
    metric("Callbacks", Unit::Count, &[&["Outcome"]]),
    // 1 for a job whose callback is missing: it is done, or unknown to the third party, and nothing was said. 0 for a
    // callback that came. Its minimum is 1 just when callbacks are missing and not one comes, its average the part that
    // is missing.
    metric("CallbackMissed", Unit::None, WHOLE),
    metric("Probes", Unit::Count, &[&["Status"]]),
    // The limiter.
    metric("PermitsGranted", Unit::Count, WHOLE),
    metric("PermitWaitSeconds", Unit::Seconds, WHOLE),
    metric("DocumentsWaiting", Unit::Count, WHOLE),
    metric("LeasesHeld", Unit::Count, WHOLE),
    metric("BreakerOpen", Unit::None, WHOLE),
    metric("RateSlowdown", Unit::None, WHOLE),
    metric("AdmissionStalledSeconds", Unit::Seconds, WHOLE),
    metric("PermitsMissed", Unit::Count, WHOLE),
];

/// The reasons that Lectern itself gives. A code of the third party that is not among them is counted as [`OTHER`].
pub const REASONS: [&str; 45] = [
    "badJson",
    "badTime",
    "contractBroken",
    "empty",
    "encrypted",
    "findingOutsideText",
    "forbiddenUrl",
    "handoverUnclear",
    "internal",
    "invalidKey",
    "malformed",
    "missing",
    "noResult",
    "noSuchFile",
    "notUtf8",
    "nothingReturned",
    "overdue",
    "rateLimited",
    "recordTooLarge",
    "redirected",
    "rejected",
    "reversedSegment",
    "secondMediaFacts",
    "secondText",
    "sourceGone",
    "superseded",
    "thirdPartyUnauthorized",
    "thirdPartyUnavailable",
    "timeout",
    "tooComplex",
    "tooLarge",
    "tooManyFindings",
    "tooManySegments",
    "truncated",
    "typeMismatch",
    "unknownFindingsType",
    "unknownMediaFactsType",
    "unknownTextType",
    "unknownTranscriptType",
    "unsafeName",
    "unsupported",
    "unsupportedType",
    "wrongHash",
    "wrongSize",
    "wrongType",
];

/// What every reason of the third party's own is counted as.
pub const OTHER: &str = "other";
