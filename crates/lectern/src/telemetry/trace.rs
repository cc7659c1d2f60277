//! One trace from the upload to the record: W3C Trace Context, level 1, and its equivalent in X-Ray.
//!
//! A document's trace is chosen once, when the document is registered, and is part of every message, every request to
//! the third party and every log line. Traces are for diagnosis only: a malformed trace is ignored and never stops a
//! document.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ports::Random;

/// The name of the header, and of the field in messages.
pub const TRACEPARENT: &str = "traceparent";

/// A trace and a span in it, `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`. Neither id is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceParent {
    trace_id: u128,
    parent_id: u64,
    sampled: bool,
}

/// The text is not a valid `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// The trace of a new document: the trace of the X-Ray header, so that both tools show the same trace, or a new
    /// trace if there is none.
    pub fn begin(xray_header: Option<&str>, random: &impl Random) -> Self {
        xray_header.and_then(|header| Self::from_xray(header, random)).unwrap_or_else(|| Self::new(random))
    }

    /// A new trace. It is sampled, because the logs contain every step.
    pub fn new(random: &impl Random) -> Self {
        Self { trace_id: random.bits().max(1), parent_id: new_span(random), sampled: true }
    }

    /// The trace of an X-Ray header such as `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
    /// A header without a parent gets a new one; `None` if there is no root.
    pub fn from_xray(header: &str, random: &impl Random) -> Option<Self> {
        let field =
            |name: &str| header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        Some(Self {
            trace_id: xray_trace_id(field("Root")?)?,
            parent_id: field("Parent").and_then(span_id).unwrap_or_else(|| new_span(random)),
            sampled: field("Sampled") == Some("1"),
        })
    }

    /// The same trace as an X-Ray header.
    pub fn to_xray(self) -> String {
        let Self { parent_id, sampled, .. } = self;
        format!("Root={};Parent={parent_id:016x};Sampled={}", self.xray_root(), u8::from(sampled))
    }

    /// The trace's id as X-Ray writes it: `1-<8 hex digits>-<24 hex digits>`.
    pub fn xray_root(self) -> String {
        let digits = self.trace_id();
        let (time, unique) = digits.split_at(8);
        format!("1-{time}-{unique}")
    }

    /// The trace's id, 32 hex digits: the `traceId` of every log line.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// Whether both belong to the same trace.
    pub fn is_of_the_trace_of(self, other: Self) -> bool {
        self.trace_id == other.trace_id
    }

    /// A child span. The same name gives the same span, so that a repeated call does not create a new span.
    #[must_use]
    pub fn child(self, name: &str) -> Self {
        let hash = Sha256::new().chain_update(self.to_string()).chain_update(name).finalize();
        let parent_id = hash.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte));
        Self { parent_id: parent_id.max(1), ..self }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Parses version 00, and of later versions the fields that level 1 specifies.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or(InvalidTraceParent)
    }
}

impl TryFrom<String> for TraceParent {
    type Error = InvalidTraceParent;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TraceParent> for String {
    fn from(trace: TraceParent) -> Self {
        trace.to_string()
    }
}

/// Parses a `traceparent` field. An absent, empty (the execution was started without one) or malformed field is `None`.
///
/// # Errors
/// If the field is not a string.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceParent>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// The root of an X-Ray header in the form of a `traceId`; `None` if it has none.
pub fn trace_id_of_xray(header: &str) -> Option<String> {
    let root = header.split(';').find_map(|part| part.trim().strip_prefix("Root="))?;
    xray_trace_id(root).map(|id| format!("{id:032x}"))
}

fn parse(text: &str) -> Option<TraceParent> {
    let mut parts = text.splitn(5, '-');
    let (version, trace, parent, flags, more) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next());
    let version = hex(version, 2)?;
    if version == 0xff || (version == 0 && more.is_some()) {
        return None;
    }
    let sampled = hex(flags, 2)? & 1 == 1;
    Some(TraceParent {
        trace_id: hex(trace, 32).filter(|id| *id != 0)?,
        parent_id: span_id(parent)?,
        sampled,
    })
}

fn xray_trace_id(root: &str) -> Option<u128> {
    let (time, unique) = root.strip_prefix("1-")?.split_once('-')?;
    let id = hex(time, 8)? << 96 | hex(unique, 24)?;
    (id != 0).then_some(id)
}

fn span_id(text: &str) -> Option<u64> {
    hex(text, 16).and_then(|id| u64::try_from(id).ok()).filter(|id| *id != 0)
}

/// Parses exactly this many lower-case hex digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let valid = text.len() == digits && text.bytes().all(lower);
    valid.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

fn new_span(random: &impl Random) -> u64 {
    u64::try_from(random.bits() >> 64).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests;
