//! Every limit on what comes from outside, in one place. Sizes are bytes, times are [`Duration`]s.

use std::time::Duration;

/// Bytes of an upload that `receive-upload` reads to see what it is.
pub const SNIFF_BYTES: u64 = 64 * 1024;
/// A callback's body. API Gateway itself stops at 10 MiB.
pub const MAX_CALLBACK_BYTES: usize = 192 * 1024;
/// Files that one callback may declare.
pub const MAX_RETURNED_FILES: usize = 50;
/// Bytes of a returned file's URL.
pub const MAX_URL_BYTES: usize = 2048;
/// Bytes of the URL that a document is fetched from in pull delivery: it holds the object's key, percent-encoded, and
/// the session token of the role that signed it.
pub const MAX_SOURCE_URL_BYTES: usize = 8192;
/// Bytes of a returned file's name.
pub const MAX_FILE_NAME_BYTES: usize = 255;
/// Size of a returned file: what one S3 `CopyObject` can promote out of quarantine.
pub const MAX_RETURNED_FILE_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Size of a returned file that is parsed into the record (transcript, findings, facts, text).
pub const MAX_PARSED_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// The longest that a `Retry-After` is honoured; what is longer, or not understood, becomes this or the default.
pub const MAX_RATE_LIMIT_WAIT: Duration = Duration::from_mins(15);
/// The wait for a 429 that gives no usable time.
pub const DEFAULT_RATE_LIMIT_WAIT: Duration = Duration::from_secs(5);
/// How far a callback's timestamp may lie from now, in both directions (Standard Webhooks).
pub const WEBHOOK_TOLERANCE: Duration = Duration::from_mins(5);
/// Segments of a record's transcript.
pub const MAX_RECORD_SEGMENTS: usize = 50_000;
/// Findings of a record.
pub const MAX_RECORD_FINDINGS: usize = 10_000;
/// Attachments of one job that are opened to see that they are sound; the time for each is bounded.
pub const MAX_OPENED_ATTACHMENTS: usize = 8;
/// A record as JSON. Lambda answers at most 6 MB, and a JSON body may double when it is escaped into that answer.
pub const MAX_RECORD_BYTES: usize = 3_000_000;
/// How long a connection to the third party may take: name, TCP and TLS. A permit that expires sooner is not used.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a presigned URL for the third party lives (pull delivery).
pub const PULL_URL_LIFETIME: Duration = Duration::from_hours(6);
/// How long a presigned URL for an evaluator lives.
pub const READ_URL_LIFETIME: Duration = Duration::from_mins(5);
/// Submissions of one page of the records API, if the caller does not say.
pub const DEFAULT_PAGE: usize = 25;
/// Submissions of one page of the records API.
pub const MAX_PAGE: usize = 100;
