//! All limits on input from outside. Sizes are in bytes, times are [`Duration`]s.

use std::time::Duration;

/// Bytes of an upload that `receive-upload` reads to detect its media type.
pub const SNIFF_BYTES: u64 = 64 * 1024;
/// Bytes that it also reads of the end of a ZIP: the directory of some 2,000 entries.
pub const ZIP_END_BYTES: u64 = 256 * 1024;
/// Size of a callback's body. API Gateway's own limit is 10 MiB.
pub const MAX_CALLBACK_BYTES: usize = 192 * 1024;
/// Number of files that one callback may declare.
pub const MAX_RETURNED_FILES: usize = 50;
/// Length of a job's id in bytes.
pub const MAX_JOB_ID_BYTES: usize = 256;
/// Length of a returned file's media type in bytes.
pub const MAX_MEDIA_TYPE_BYTES: usize = 255;
/// Length of a returned file's URL in bytes.
pub const MAX_URL_BYTES: usize = 2048;
/// Length in bytes of the presigned URL from which the third party fetches a document (pull delivery). The URL contains
/// the percent-encoded object key and the session token of the role that signed the URL.
pub const MAX_SOURCE_URL_BYTES: usize = 8192;
/// Length of a returned file's name in bytes.
pub const MAX_FILE_NAME_BYTES: usize = 255;
/// Length in characters of a name or a word that is displayed. No object key has a longer file name.
pub const MAX_LABEL_CHARS: usize = 1024;
/// Length in characters of a sentence for the teacher, such as the reason of a failure.
pub const MAX_SENTENCE_CHARS: usize = 300;
/// Length in characters of a finding's message, and of its suggestion.
pub const MAX_REMARK_CHARS: usize = 1000;
/// Size of a returned file: the largest object that one S3 `CopyObject` can copy out of quarantine.
pub const MAX_RETURNED_FILE_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Size of all files of one job together: as much as the largest upload, by default. Without this limit a job could
/// return 50 files of 5 GiB each.
pub const MAX_RETURNED_JOB_BYTES: u64 = 20 * 1024 * 1024 * 1024;
/// Size of a returned file that is parsed into the record (transcript, findings, facts, text).
pub const MAX_PARSED_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// The longest wait that a `Retry-After` can cause. A longer wait is cut to this limit; [`DEFAULT_RATE_LIMIT_WAIT`]
/// replaces a value that cannot be parsed.
pub const MAX_RATE_LIMIT_WAIT: Duration = Duration::from_mins(15);
/// The wait after a 429 without a usable `Retry-After`.
pub const DEFAULT_RATE_LIMIT_WAIT: Duration = Duration::from_secs(5);
/// The longest wait that a subscriber's `Retry-After` can cause.
pub const MAX_SUBSCRIBER_WAIT: Duration = Duration::from_hours(24);
/// How long an event waits for its subscriber at most: longer than the three days of attempts, and than a long pause.
pub const WAITING_EVENT_LIFETIME: Duration = Duration::from_hours(30 * 24);
/// How far a callback's timestamp may differ from the present time, in both directions (Standard Webhooks).
pub const WEBHOOK_TOLERANCE: Duration = Duration::from_mins(5);
/// How long a callback for an unknown document, or an unusable one, is kept for an operator.
pub const UNKNOWN_CALLBACK_LIFETIME: Duration = Duration::from_hours(30 * 24);
/// How long the mark of an erased document's callback id is kept. An execution lives for 60 days at most, and the third
/// party sends a callback for days.
pub const ERASED_CALLBACK_LIFETIME: Duration = Duration::from_hours(90 * 24);
/// Number of segments of a record's transcript.
pub const MAX_RECORD_SEGMENTS: usize = 50_000;
/// Number of findings of a record.
pub const MAX_RECORD_FINDINGS: usize = 10_000;
/// Size of a record as JSON, and of the text that it is built from, before normalisation. A Lambda response is limited to 6 MB, and escaping the JSON into that response can double
/// its size.
pub const MAX_RECORD_BYTES: usize = 3_000_000;
/// How long a connection to the third party may take: name resolution, TCP and TLS. A transfer does not use a permit
/// that expires sooner.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a presigned URL for the third party is valid (pull delivery).
pub const PULL_URL_LIFETIME: Duration = Duration::from_hours(6);
/// How long a presigned URL for an evaluator is valid.
pub const READ_URL_LIFETIME: Duration = Duration::from_mins(5);
/// Default number of submissions on one page of the API.
pub const DEFAULT_PAGE: usize = 25;
/// Largest number of submissions on one page of the API.
pub const MAX_PAGE: usize = 100;
/// Default number of documents on one page of a submission.
pub const DEFAULT_DOCUMENTS_PAGE: usize = 50;
/// How long a declared file waits for its upload, and a submission for its first file. S3 ends an upload in parts after as
/// many days.
pub const PENDING_LIFETIME: Duration = Duration::from_hours(7 * 24);
/// How long a form or the request for a part that the API has signed is valid. Each part is signed when it is sent.
pub const UPLOAD_SIGNATURE_LIFETIME: Duration = Duration::from_mins(15);
