//! All metrics with their names, units and dimensions. Tests compare the adapter, the alarms and the dashboard with
//! this list.

/// The target of all events that are metrics, and of no other events.
pub const TARGET: &str = "lectern::telemetry::metrics";

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, and the event's field.
    pub name: &'static str,
    /// The unit of its values.
    pub unit: Unit,
    /// The dimension sets of the metric. An event that lacks a field of a set is not counted in that set.
    pub dimensions: &'static [&'static [&'static str]],
}

/// The unit of a metric's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A count.
    Count,
    /// Seconds, with fractions.
    Seconds,
    /// Bytes.
    Bytes,
    /// A plain number.
    None,
}

impl Unit {
    /// The unit's name in `CloudWatch`.
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

/// No dimensions.
const WHOLE: &[&[&str]] = &[&[]];

/// In all, and by subscriber. There are at most [`crate::api::MAX_SUBSCRIBERS`] subscribers.
const BY_SUBSCRIBER: &[&[&str]] = &[&[], &["Subscriber"]];

/// All metrics.
pub const ALL: [Metric; 33] = [
    // Documents that were registered or have ended: by state, and by reason if there is one.
    metric("Documents", Unit::Count, &[&["State"], &["State", "Reason"]]),
    // Files that were uploaded to an erased submission.
    metric("UploadsToErased", Unit::Count, WHOLE),
    // How long an ended document was in each state, and in total.
    metric("ReceivedSeconds", Unit::Seconds, WHOLE),
    metric("TransferringSeconds", Unit::Seconds, WHOLE),
    metric("ProcessingSeconds", Unit::Seconds, WHOLE),
    metric("VerifyingSeconds", Unit::Seconds, WHOLE),
    metric("NormalizingSeconds", Unit::Seconds, WHOLE),
    metric("TotalSeconds", Unit::Seconds, WHOLE),
    // Records written, by the type of their upload.
    metric("Normalizations", Unit::Count, &[&["MediaType"]]),
    // Documents that the third party accepted.
    metric("TransferBytes", Unit::Bytes, WHOLE),
    metric("TransferSeconds", Unit::Seconds, WHOLE),
    // Failed requests to the third party, by the error's name.
    metric("ThirdPartyErrors", Unit::Count, &[&["Error"]]),
    // From the third party's first acceptance of a document to its result.
    metric("ThirdPartySeconds", Unit::Seconds, WHOLE),
    metric("Callbacks", Unit::Count, &[&["Outcome"]]),
    // 1 for a missing callback: the job has ended or is unknown to the third party, and no callback came. 0 for a
    // callback that came. So the minimum is 1 only if callbacks are missing and none has come, and the average is the
    // share of missing callbacks.
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
    // Deliveries of messages and inputs that newer code wrote and that wait for it.
    metric("NewerInputs", Unit::Count, WHOLE),
    // Domain events: in all, and by subscriber.
    metric("EventsDelivered", Unit::Count, BY_SUBSCRIBER),
    // From the change of the table to the delivery, of the oldest event of a round.
    metric("EventDeliverySeconds", Unit::Seconds, BY_SUBSCRIBER),
    metric("EventDeliveryFailures", Unit::Count, BY_SUBSCRIBER),
    metric("EventsGivenUp", Unit::Count, BY_SUBSCRIBER),
    metric("EventsWaiting", Unit::Count, &[&["Subscriber"]]),
    // The age of the oldest event that waits for an active subscriber, from the change of the table on.
    metric("OldestEventSeconds", Unit::Seconds, BY_SUBSCRIBER),
    metric("SubscribersDisabled", Unit::Count, BY_SUBSCRIBER),
    metric("UnreadableChanges", Unit::Count, WHOLE),
];

/// The codes of Lectern's own reasons. A code of the third party that is not in this list is counted as [`OTHER`].
pub const REASONS: [&str; 50] = [
    "badJson",
    "badTime",
    "contractBroken",
    "empty",
    "encrypted",
    "erased",
    "findingOutsideText",
    "forbiddenUrl",
    "internal",
    "invalidKey",
    "malformed",
    "malware",
    "missing",
    "noCues",
    "noResult",
    "noSuchFile",
    "notScannable",
    "notUtf8",
    "nothingReturned",
    "outcomeUnknown",
    "overdue",
    "rateLimited",
    "recordTooLarge",
    "redirected",
    "rejected",
    "scanFailed",
    "sourceGone",
    "sourceUnreadable",
    "superseded",
    "thirdPartyUnauthorized",
    "thirdPartyUnavailable",
    "timeout",
    "tooComplex",
    "tooLarge",
    "tooManyFindings",
    "tooManySegments",
    "tooSlow",
    "truncated",
    "typeMismatch",
    "unknownFindingsType",
    "unknownMediaFactsType",
    "unknownTextType",
    "unknownTranscriptType",
    "unreadableUpload",
    "unsafeName",
    "unsupported",
    "unsupportedType",
    "wrongHash",
    "wrongSize",
    "wrongType",
];

/// The dimension value for all other codes of the third party.
pub const OTHER: &str = "other";
