//! The errors of the workflow, named by what the state machine does next.
//!
//! [`Error::name`] is an API: `statemachines/document.asl.json` matches these names in `ErrorEquals`, and a contract
//! test checks that the two lists are equal. The `Display` text is for the operator's logs; a [`Reason`] is for the
//! teacher.

use time::OffsetDateTime;

use crate::{contract::response::NOT_ACCEPTED, document::Reason};

/// Why a step failed. The variant decides what the state machine does next. No function retries.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The third party answered 429 with a time before which it accepts no request. The document requests another
    /// permit.
    #[error("the third party asks to wait until {retry_at}")]
    RateLimited {
        /// When the next attempt may be made, already bounded by [`crate::limits::MAX_RATE_LIMIT_WAIT`].
        retry_at: OffsetDateTime,
    },
    /// The third party could not be reached or answered with a server error, and certainly has no job. The document
    /// requests another permit after exponential backoff with jitter. Consecutive failures open the circuit breaker.
    #[error("the third party is unavailable: {0}")]
    Unavailable(String),
    /// The third party did not answer after the whole document was sent, or a gateway answered in its place, so the
    /// third party may have a job. The state machine probes the job.
    #[error("it is unknown whether the third party took the document: {0}")]
    OutcomeUnknown(String),
    /// The third party permanently rejects this document. The document fails with this reason.
    #[error("the third party rejected the document: {0}")]
    Rejected(Reason),
    /// The third party could not fetch the document from its presigned URL, which may end earlier than it says. The
    /// document is submitted once more, as a new round with a new URL.
    #[error("the third party could not fetch the document")]
    SourceUnreadable,
    /// The third party does not accept our credentials. The circuit breaker opens.
    #[error("the third party refuses our credentials")]
    Unauthorized,
    /// The workflow waited as often as it is configured to, and the job has no result.
    #[error("the third party never finished the job")]
    Overdue,
    /// The uploaded object was deleted or replaced by a newer version. The document fails.
    #[error("the uploaded object is gone: {0}")]
    SourceGone(String),
    /// Reading the uploads bucket failed during a transfer, so the third party does not have the whole document. The
    /// document requests another permit. This error does not count against the third party.
    #[error("the uploaded object could not be read: {0}")]
    SourceUnavailable(String),
    /// The document was still being sent when the request's time was over, so the third party does not have the whole
    /// document. It is sent again only twice, because each attempt sends gigabytes. This error does not count against
    /// the third party.
    #[error("sending the document takes longer than a request may")]
    TooSlow,
    /// A returned file does not match the callback's declaration. The state machine fetches the file again a few times,
    /// then the document fails.
    #[error("a returned file does not match its declaration: {0}")]
    ReturnedMismatch(Reason),
    /// The returned content cannot be turned into a record, or a returned file can never match its declaration. The
    /// document fails with this reason.
    #[error("the returned content cannot be normalised: {0}")]
    RecordInvalid(Reason),
    /// The permit could not be used in time, and nothing was sent. The document requests another permit.
    #[error("the permit expired: {0}")]
    PermitExpired(&'static str),
    /// The permit was used, and the outcome is unknown: an earlier delivery of the same message died, the third party
    /// is still reading an earlier request, or the third party's answer could not be stored. The state machine probes
    /// the job.
    #[error("the permit was used: {0}")]
    PermitAlreadyUsed(&'static str),
    /// Newer code wrote the message or the input, so this code was deployed in place of newer code. The state machine
    /// repeats the step for some days, until the newer code is back. The number is the schema version.
    #[error("newer code wrote the input, with schema version {0}")]
    InputNewer(u64),
    /// A call to our own store or to another AWS service failed. If the function has reported the error, the state
    /// machine retries the step; otherwise SQS delivers the message again.
    #[error("our own store failed: {0}")]
    Store(#[from] StoreError),
}

/// An error that a function reports to the state machine that invoked it.
pub trait TaskError: std::fmt::Display {
    /// The name that `ErrorEquals` matches.
    fn name(&self) -> &'static str;

    /// The `cause` for Step Functions: a small JSON object without names and secrets.
    fn cause(&self) -> serde_json::Value;
}

impl TaskError for Error {
    fn name(&self) -> &'static str {
        self.name()
    }

    fn cause(&self) -> serde_json::Value {
        self.cause()
    }
}

/// Why a call to our own store or to another AWS service failed. The state machine retries all three variants in the
/// same way, so they share the name `Store.Unavailable`; they differ in whether a person has to act. The text contains
/// only the call and AWS's error code, because AWS quotes keys, tokens and names in its messages. `source` holds the
/// whole error and is never logged.
#[derive(thiserror::Error)]
pub enum StoreError {
    /// AWS did not answer or throttled the call. The condition passes without intervention.
    #[error("{what}")]
    Unavailable {
        /// The call, and what happened to it.
        what: String,
        /// What the adapter met.
        #[source]
        source: Option<BoxError>,
    },
    /// A concurrent writer changed the same items first, and nothing was written. The next attempt reads the new items.
    #[error("another writer came first")]
    Conflict,
    /// Wrong code, wrong data or missing permissions: the call fails until a person corrects the cause.
    #[error("{what}")]
    Defect {
        /// The call or the data, and what is wrong with it.
        what: String,
        /// What the adapter met.
        #[source]
        source: Option<BoxError>,
    },
}

/// Omits the source, because its text may quote secrets or names that must not be logged.
impl std::fmt::Debug for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unavailable { what, .. } => f.debug_tuple("Unavailable").field(what).finish(),
            Self::Conflict => f.write_str("Conflict"),
            Self::Defect { what, .. } => f.debug_tuple("Defect").field(what).finish(),
        }
    }
}

/// Any error of an adapter.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// An outage without a source.
    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable { what: what.into(), source: None }
    }

    /// A defect without a source.
    pub fn defect(what: impl Into<String>) -> Self {
        Self::Defect { what: what.into(), source: None }
    }

    /// A defect with the error that revealed it.
    pub fn defect_of(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Defect { what: what.into(), source: Some(source.into()) }
    }
}

impl Error {
    /// The name that `ErrorEquals` matches.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "ThirdParty.RateLimited",
            Self::Unavailable(_) => "ThirdParty.Unavailable",
            Self::OutcomeUnknown(_) => "ThirdParty.OutcomeUnknown",
            Self::Rejected(_) => "ThirdParty.Rejected",
            Self::SourceUnreadable => "ThirdParty.SourceUnreadable",
            Self::Unauthorized => "ThirdParty.Unauthorized",
            Self::Overdue => "ThirdParty.Overdue",
            Self::SourceGone(_) => "Source.Gone",
            Self::SourceUnavailable(_) => "Source.Unavailable",
            Self::TooSlow => "Transfer.TooSlow",
            Self::ReturnedMismatch(_) => "Returned.Mismatch",
            Self::RecordInvalid(_) => "Record.Invalid",
            Self::PermitExpired(_) => "Permit.Expired",
            Self::PermitAlreadyUsed(_) => "Permit.AlreadyUsed",
            Self::InputNewer(_) => "Input.Newer",
            Self::Store(_) => "Store.Unavailable",
        }
    }

    /// All names that [`Error::name`] returns, for the contract test.
    pub const NAMES: [&'static str; 16] = [
        "ThirdParty.RateLimited",
        "ThirdParty.Unavailable",
        "ThirdParty.OutcomeUnknown",
        "ThirdParty.Rejected",
        "ThirdParty.SourceUnreadable",
        "ThirdParty.Unauthorized",
        "ThirdParty.Overdue",
        "Source.Gone",
        "Source.Unavailable",
        "Transfer.TooSlow",
        "Returned.Mismatch",
        "Record.Invalid",
        "Permit.Expired",
        "Permit.AlreadyUsed",
        "Input.Newer",
        "Store.Unavailable",
    ];

    /// Why the document failed, in words a teacher can act on. The reason never contains a file name, a URL or a token.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Rejected(reason) | Self::ReturnedMismatch(reason) | Self::RecordInvalid(reason) => {
                reason.clone()
            }
            Self::RateLimited { .. } | Self::PermitExpired(_) => Reason::new(
                "rateLimited",
                "The processing service had no room for this file. It can be sent again.",
            ),
            Self::Unavailable(_) => Reason::new(
                "thirdPartyUnavailable",
                "The processing service could not be reached for a long time. The file can be sent again.",
            ),
            Self::OutcomeUnknown(_) | Self::PermitAlreadyUsed(_) => Reason::new(
                "outcomeUnknown",
                "The processing service was sent this file many times and never confirmed it. An operator has to look at it.",
            ),
            Self::Unauthorized => Reason::new(
                "thirdPartyUnauthorized",
                "The processing service refuses our credentials. An operator has to renew them.",
            ),
            Self::Overdue => Reason::new(
                "overdue",
                "The processing service accepted the file and never returned a result. It can be sent again.",
            ),
            Self::SourceUnreadable => Reason::new(
                "sourceUnreadable",
                "The processing service could not fetch this file. It can be sent again.",
            ),
            Self::TooSlow => Reason::new(
                "tooSlow",
                "This file is too large to be sent to the processing service in time. An operator has to look at it.",
            ),
            Self::SourceGone(_) => Reason::new(
                "sourceGone",
                "The uploaded file was deleted or replaced before it could be processed.",
            ),
            Self::InputNewer(_) => Reason::new(
                "internal",
                "Lectern was changed while the file was processed. The file can be sent again.",
            ),
            Self::SourceUnavailable(_) | Self::Store(_) => {
                Reason::new("internal", "Lectern's own store did not answer. The file can be sent again.")
            }
        }
    }

    /// The `cause` for Step Functions: a small JSON object. A workflow error carries data only in this object.
    ///
    /// Shape: `{"reason": {"code", "message"}}`, with `"retryAt"` (RFC 3339) for `ThirdParty.RateLimited`. The third
    /// party's own words are not in it, because the execution's history keeps it; they are stored with the document.
    pub fn cause(&self) -> serde_json::Value {
        let reason = if let Self::Rejected(Reason { code, .. }) = self {
            Reason::new(code.clone(), NOT_ACCEPTED)
        } else {
            self.reason()
        };
        let mut cause = serde_json::json!({ "reason": reason });
        if let Self::RateLimited { retry_at } = self {
            cause["retryAt"] = serde_json::Value::String(rfc3339(*retry_at));
        }
        cause
    }
}

/// `time` as RFC 3339 in UTC with whole milliseconds: the only format in messages, in API responses and in the table.
pub fn rfc3339(time: OffsetDateTime) -> String {
    let utc = time.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        utc.year(),
        u8::from(utc.month()),
        utc.day(),
        utc.hour(),
        utc.minute(),
        utc.second(),
        utc.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_is_utc_with_milliseconds() {
        let time = time::macros::datetime!(2026-11-20 18:04:05.006_7 +02:00);
        assert_eq!(rfc3339(time), "2026-11-20T16:04:05.006Z");
    }

    #[test]
    fn every_variant_has_its_name_in_the_list() {
        let reason = Reason::new("x", "y");
        let all = [
            Error::RateLimited { retry_at: OffsetDateTime::UNIX_EPOCH },
            Error::Unavailable(String::new()),
            Error::OutcomeUnknown(String::new()),
            Error::Rejected(reason.clone()),
            Error::SourceUnreadable,
            Error::Unauthorized,
            Error::Overdue,
            Error::SourceGone(String::new()),
            Error::SourceUnavailable(String::new()),
            Error::TooSlow,
            Error::ReturnedMismatch(reason.clone()),
            Error::RecordInvalid(reason),
            Error::PermitExpired(""),
            Error::PermitAlreadyUsed(""),
            Error::InputNewer(3),
            StoreError::Conflict.into(),
        ];
        assert_eq!(all.each_ref().map(Error::name), Error::NAMES);
    }
}
