//! A callback's body: verifies its signature, parses it, and checks the contract's limits. The checks hold for answers to
//! probes as well.

use http::HeaderMap;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::{
    contract::json::{self, BadJson},
    contract::webhook::{self, SigningSecrets, VerifyError},
    contract::wire::{
        CONTRACT_BROKEN, Callback, CallbackEvent, JobError, JobFailed, ReturnedFile, is_job_id,
    },
    document::JobResult,
    limits::{
        MAX_CALLBACK_BYTES, MAX_FILE_NAME_BYTES, MAX_MEDIA_TYPE_BYTES, MAX_RETURNED_FILES,
        MAX_RETURNED_JOB_BYTES, MAX_URL_BYTES,
    },
};

/// A callback whose signature is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCallback {
    /// The event's id, the same for all its deliveries.
    pub event_id: String,
    /// The reported result, or how the body violates the contract.
    pub result: Result<JobResult, CallbackError>,
}

/// Why a callback with a valid signature cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// Not JSON of the contract's shape.
    #[error("the body is not of the contract's form ({0})")]
    Form(BadJson),
    /// The event has an unknown type.
    #[error("the event is of an unknown type")]
    UnknownType,
    /// A limit of the contract is exceeded.
    #[error("the body exceeds the contract's limit on {0}")]
    Limit(&'static str),
    /// A value is not of the form that the contract gives.
    #[error("the body holds {0} of another form than the contract's")]
    Value(&'static str),
}

/// Verifies a callback as the contract requires: Standard Webhooks over the raw body, then [`parse`].
///
/// # Errors
/// [`VerifyError`] if the signature is not valid.
pub fn verify_callback_body(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &SigningSecrets,
    now: OffsetDateTime,
) -> Result<VerifiedCallback, VerifyError> {
    let verified = webhook::verify(headers, body, secrets, now)?;
    Ok(VerifiedCallback { event_id: verified.id, result: parse(body) })
}

/// Parses a callback's body.
///
/// # Errors
/// [`CallbackError`] if the body violates the contract.
pub fn parse(body: &[u8]) -> Result<JobResult, CallbackError> {
    if body.len() > MAX_CALLBACK_BYTES {
        return Err(CallbackError::Limit("bytes"));
    }
    let callback: Callback = json::from_slice(body).map_err(|error| unreadable(body, error))?;
    let result = match callback.event {
        CallbackEvent::Succeeded(job) => JobResult::Succeeded(job),
        CallbackEvent::Failed(job) => JobResult::Failed(job),
    };
    check(&result).map(|()| result)
}

/// Checks what the types of a result do not: its job's id, and the number, lengths, sizes and forms of its files. The
/// result comes from a callback or from an answer to a probe.
///
/// # Errors
/// [`CallbackError`] with the first rule that is violated.
pub fn check(result: &JobResult) -> Result<(), CallbackError> {
    if !is_job_id(result.job_id()) {
        return Err(CallbackError::Value("a job id"));
    }
    let JobResult::Succeeded(job) = result else { return Ok(()) };
    if job.files.len() > MAX_RETURNED_FILES {
        return Err(CallbackError::Limit("the number of files"));
    }
    job.files.iter().try_for_each(check_file)?;
    let sum = job.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size_bytes));
    if sum > MAX_RETURNED_JOB_BYTES {
        return Err(CallbackError::Limit("the size of all files together"));
    }
    Ok(())
}

fn check_file(file: &ReturnedFile) -> Result<(), CallbackError> {
    if file.url.len() > MAX_URL_BYTES {
        return Err(CallbackError::Limit("the length of a URL"));
    }
    if file.name.len() > MAX_FILE_NAME_BYTES {
        return Err(CallbackError::Limit("the length of a name"));
    }
    if file.sha256.len() != 64 || !file.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(CallbackError::Value("a hash"));
    }
    if !is_media_type(&file.media_type) {
        return Err(CallbackError::Value("a media type"));
    }
    Ok(())
}

/// Whether the text is `type/subtype` of the tokens of RFC 9110, with or without parameters. It becomes the value of a
/// header.
fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end_matches(' ');
    text.len() <= MAX_MEDIA_TYPE_BYTES
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// The job that a body names which violates the contract elsewhere; empty if it names none.
pub fn named_job(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Named {
        data: Data,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        job_id: String,
    }
    let named = json::from_slice::<Named>(body).map(|named| named.data.job_id);
    named.ok().filter(|job_id| is_job_id(job_id)).unwrap_or_default()
}

/// The result of a job whose answer violates the contract.
pub fn contract_broken(job_id: &str) -> JobResult {
    JobResult::Failed(JobFailed {
        job_id: if is_job_id(job_id) { job_id.to_owned() } else { String::new() },
        error: JobError {
            code: CONTRACT_BROKEN.to_owned(),
            message: "The processing service returned an answer that cannot be used. An operator has to look at it."
                .into(),
        },
    })
}

fn unreadable(body: &[u8], error: BadJson) -> CallbackError {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    match json::from_slice::<Typed>(body) {
        Ok(event) if !matches!(event.r#type.as_str(), "job.succeeded" | "job.failed") => {
            CallbackError::UnknownType
        }
        _ => CallbackError::Form(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::{
        contract::wire::{FileRole, JobSucceeded},
        testing::world::returned_file,
    };

    fn check_files(files: Vec<ReturnedFile>) -> Result<(), CallbackError> {
        check(&JobResult::Succeeded(JobSucceeded { job_id: "job".to_owned(), files }))
    }

    fn file() -> ReturnedFile {
        returned_file("text.txt", FileRole::Text, "text/plain", b"x")
    }

    #[test]
    fn contract_limits_are_kept() {
        assert_eq!(check_files(vec![file(); MAX_RETURNED_FILES]), Ok(()));
        assert!(check_files(vec![file(); MAX_RETURNED_FILES + 1]).is_err());
        let long_url = ReturnedFile { url: "u".repeat(MAX_URL_BYTES + 1), ..file() };
        let long_name = ReturnedFile { name: "n".repeat(MAX_FILE_NAME_BYTES + 1).into(), ..file() };
        let long_hash = ReturnedFile { sha256: "a".repeat(65), ..file() };
        let no_hash = ReturnedFile { sha256: "g".repeat(64), ..file() };
        for bad in [long_url, long_name, long_hash, no_hash] {
            assert!(check_files(vec![file(), bad]).is_err());
        }
    }

    #[test]
    fn s13_files_of_one_job_have_a_limit_together() {
        let of = |size_bytes| ReturnedFile { size_bytes, ..file() };
        let most = vec![of(MAX_RETURNED_JOB_BYTES / 4); 4];
        assert_eq!(check_files(most.clone()), Ok(()));
        for more in [1, u64::MAX] {
            let files = most.iter().cloned().chain([of(more)]).collect();
            assert_eq!(check_files(files), Err(CallbackError::Limit("the size of all files together")));
        }
    }

    #[rstest]
    #[case::longest("m".repeat(127) + "/" + &"m".repeat(127), true)]
    #[case::too_long("m".repeat(127) + "/" + &"m".repeat(128), false)]
    #[case::parameter("text/plain; charset=utf-8".to_owned(), true)]
    #[case::vendor("application/vnd.openxmlformats-officedocument.wordprocessingml.document".to_owned(), true)]
    #[case::empty(String::new(), false)]
    #[case::no_subtype("text/".to_owned(), false)]
    #[case::one_word("text".to_owned(), false)]
    #[case::two_slashes("a/b/c".to_owned(), false)]
    #[case::space("text /plain".to_owned(), false)]
    #[case::line_break("text/plain\r\nx-evil: 1".to_owned(), false)]
    #[case::not_ascii("text/plaín".to_owned(), false)]
    fn s12_media_type_is_a_valid_header_value(#[case] media_type: String, #[case] valid: bool) {
        let expected = if valid { Ok(()) } else { Err(CallbackError::Value("a media type")) };
        assert_eq!(check_files(vec![ReturnedFile { media_type, ..file() }]), expected);
    }

    proptest! {
        #[test]
        fn arbitrary_body_never_panics_and_is_not_quoted(body in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Err(error) = parse(&body) {
                prop_assert!(error.to_string().len() < 120);
            }
        }
    }
}
