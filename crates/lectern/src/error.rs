//! The errors of the workflow, named by what the state machine does next.
//!
//! [`Error::name`] is an API: `statemachines/document.asl.json` matches these names in `ErrorEquals`, and a
//! contract test holds the two lists equal. What an operator reads in a log is the `Display` text; what a teacher
//! reads is a [`Reason`].

use time::OffsetDateTime;

use crate::document::Reason;

/// Why a step could not do its work. The variant decides what the state machine does; nothing here retries.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The third party gives a time: all of us wait until then, and the document asks for another turn.
    #[error("the third party asks to wait until {retry_at}")]
    RateLimited {
        /// When the next attempt may be made, already bounded by [`crate::limits::MAX_RATE_LIMIT_WAIT`].
        retry_at: OffsetDateTime,
    },
    /// The third party could not be reached or answered 5xx: another turn, after exponential backoff with jitter; if it
    /// happens again and again the breaker opens.
    #[error("the third party is unavailable: {0}")]
    Unavailable(String),
    /// The same, and it certainly has not taken the document: nothing was sent, or it answered that it cannot.
    #[error("the third party is down: {0}")]
    Down(String),
    /// The third party refuses this document for good: the document fails with this reason.
    #[error("the third party rejected the document: {0}")]
    Rejected(Reason),
    /// The third party does not accept our credentials: the breaker opens, one document at a time tries again.
    #[error("the third party refuses our credentials")]
    Unauthorized,
    /// The third party neither called back nor knows the job, as often as the workflow was willing to wait.
    #[error("the third party never finished the job")]
    Overdue,
    /// The uploaded object was deleted or replaced by a newer version: the document fails.
    #[error("the uploaded object is gone: {0}")]
    SourceGone(String),
    /// The uploads bucket could not be read in the middle of a transfer, so that the third party has no whole document.
    /// The document takes another turn after backoff; this says nothing of the third party.
    #[error("the uploaded object could not be read: {0}")]
    SourceUnavailable(String),
    /// A returned file is not what the callback declared: refetched a few times, then the document fails.
    #[error("a returned file does not match its declaration: {0}")]
    ReturnedMismatch(Reason),
    /// The returned content cannot be turned into a record: the document fails with this reason.
    #[error("the returned content cannot be normalised: {0}")]
    RecordInvalid(Reason),
    /// The time of the attempt's turn has passed, and nothing was sent. Another turn is asked for.
    #[error("the turn is over: {0}")]
    TurnOver(&'static str),
    /// The attempt's turn was used before, by a delivery that died or that the third party is still reading: there may
    /// be a job. Another turn is asked for, which adopts it.
    #[error("the turn was used before")]
    TurnUsed,
    /// Our own store or AWS did not answer, or two writers met: retried soon, then by queue redelivery.
    #[error("our own store is unavailable: {0}")]
    StoreUnavailable(String),
}

impl Error {
    /// The name by which `ErrorEquals` matches this error.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "ThirdParty.RateLimited",
            Self::Unavailable(_) | Self::Down(_) => "ThirdParty.Unavailable",
            Self::Rejected(_) => "ThirdParty.Rejected",
            Self::Unauthorized => "ThirdParty.Unauthorized",
            Self::Overdue => "ThirdParty.Overdue",
            Self::SourceGone(_) => "Source.Gone",
            Self::SourceUnavailable(_) => "Source.Unavailable",
            Self::ReturnedMismatch(_) => "Returned.Mismatch",
            Self::RecordInvalid(_) => "Record.Invalid",
            Self::TurnOver(_) | Self::TurnUsed => "Turn.Over",
            Self::StoreUnavailable(_) => "Store.Unavailable",
        }
    }

    /// Every name that [`Error::name`] can give, for the contract test.
    pub const NAMES: [&'static str; 11] = [
        "ThirdParty.RateLimited",
        "ThirdParty.Unavailable",
        "ThirdParty.Rejected",
        "ThirdParty.Unauthorized",
        "ThirdParty.Overdue",
        "Source.Gone",
        "Source.Unavailable",
        "Returned.Mismatch",
        "Record.Invalid",
        "Turn.Over",
        "Store.Unavailable",
    ];

    /// Why the document failed, in words a teacher can act on. Never holds a name, a URL or a token.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Rejected(reason) | Self::ReturnedMismatch(reason) | Self::RecordInvalid(reason) => {
                reason.clone()
            }
            Self::RateLimited { .. } | Self::TurnOver(_) | Self::TurnUsed => Reason::new(
                "rateLimited",
                "The processing service had no room for this file. It can be sent again.",
            ),
            Self::Unavailable(_) | Self::Down(_) => Reason::new(
                "thirdPartyUnavailable",
                "The processing service could not be reached for a long time. The file can be sent again.",
            ),
            Self::Unauthorized => Reason::new(
                "thirdPartyUnauthorized",
                "The processing service refuses our credentials. An operator has to renew them.",
            ),
            Self::Overdue => Reason::new(
                "overdue",
                "The processing service accepted the file and never returned a result. It can be sent again.",
            ),
            Self::SourceGone(_) => Reason::new(
                "sourceGone",
                "The uploaded file was deleted or replaced before it could be processed.",
            ),
            Self::SourceUnavailable(_) | Self::StoreUnavailable(_) => {
                Reason::new("internal", "Lectern's own store did not answer. The file can be sent again.")
            }
        }
    }

    /// The `cause` given to Step Functions: a small JSON object, the only place where a workflow error carries data.
    ///
    /// Shape: `{"reason": {"code", "message"}}`, with `"retryAt"` (RFC 3339) for `ThirdParty.RateLimited` and with
    /// `"jobPossible"` (whether the third party may have taken the document) for `ThirdParty.Unavailable`,
    /// `Source.Unavailable` and `Turn.Over`.
    pub fn cause(&self) -> serde_json::Value {
        let mut cause = serde_json::json!({ "reason": self.reason() });
        if let Self::Unavailable(_) | Self::TurnUsed = self {
            cause["jobPossible"] = true.into();
        }
        if let Self::Down(_) | Self::SourceUnavailable(_) | Self::TurnOver(_) = self {
            cause["jobPossible"] = false.into();
        }
        if let Self::RateLimited { retry_at } = self {
            cause["retryAt"] = serde_json::Value::String(rfc3339(*retry_at));
        }
        cause
    }
}

/// `time` as RFC 3339 in UTC with whole milliseconds, the one form used on every wire and in every item.
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
            Error::Rejected(reason.clone()),
            Error::Unauthorized,
            Error::Overdue,
            Error::SourceGone(String::new()),
            Error::SourceUnavailable(String::new()),
            Error::ReturnedMismatch(reason.clone()),
            Error::RecordInvalid(reason),
            Error::TurnOver(""),
            Error::StoreUnavailable(String::new()),
        ];
        assert_eq!(all.each_ref().map(Error::name), Error::NAMES);
        assert_eq!(Error::Down(String::new()).name(), "ThirdParty.Unavailable");
        assert_eq!(Error::TurnUsed.name(), "Turn.Over");
    }

    /// The state machine looks for this very text.
    #[test]
    fn cause_says_whether_there_may_be_a_job_as_the_state_machine_reads_it() {
        let said = r#""jobPossible":true"#;
        for (error, possible) in [
            (Error::Unavailable(String::new()), true),
            (Error::TurnUsed, true),
            (Error::Down(String::new()), false),
            (Error::TurnOver(""), false),
            (Error::SourceUnavailable(String::new()), false),
            (Error::RateLimited { retry_at: OffsetDateTime::UNIX_EPOCH }, false),
            (Error::Unauthorized, false),
            (Error::Rejected(Reason::new("x", said)), false),
        ] {
            assert_eq!(error.cause().to_string().contains(said), possible, "{error:?}");
        }
        let definition = include_str!("../../../statemachines/document.asl.json");
        assert!(definition.contains(&said.replace('"', "\\\"")));
    }
}
