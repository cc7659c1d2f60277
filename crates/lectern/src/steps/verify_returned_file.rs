//! `verify-returned-file`: fetches one returned file and keeps it only if it matches the callback's declaration.
//!
//! The state machine invokes the function once for each file. The function streams the bytes into quarantine and hashes
//! them on the way. Only a file whose size, SHA-256 and detected type match is copied to `returned/`, from where other
//! components read.

use lectern_content::fits_declared_type;
use serde::{Deserialize, Serialize};

use crate::{
    contract::wire::ReturnedFile,
    document::keys,
    document::{JobResult, Reason},
    error::Error,
    limits::MAX_RETURNED_FILE_BYTES,
    message::Envelope,
    ports::{Fetch, Load, Promoted, ReturnedFiles, StreamFacts},
    safe_file::SafeFile,
};

/// The task's input: the [`Envelope`] with `{"index"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The fields of every message.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The file's index among the files that the result declares.
    pub index: usize,
}

/// The ports of the step.
#[derive(Debug)]
pub struct Ports<'p, S, P, F> {
    /// The documents.
    pub store: &'p S,
    /// The third party's files.
    pub third_party: &'p P,
    /// The bucket of returned files.
    pub files: &'p F,
}

/// The answer: `{"sizeBytes": 123}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The size of the verified file.
    pub size_bytes: u64,
}

impl<S: Load, P: Fetch, F: ReturnedFiles> Ports<'_, S, P, F> {
    /// Fetches and checks one file. A file that was promoted before is not fetched again. A file of an earlier job
    /// under the same key is replaced.
    ///
    /// # Errors
    /// `Returned.Mismatch` with a reason if another fetch may bring another file, `Record.Invalid` if it cannot:
    /// the declaration is wrong, or bytes that match their hash have another type. Otherwise `ThirdParty.Unavailable` or
    /// `Store.Unavailable`.
    pub async fn handle(&self, input: Input) -> Result<Output, Error> {
        let document = self.store.load(&input.envelope.document).await?;
        let result = document.and_then(|document| document.result);
        let Some(JobResult::Succeeded(job)) = &result else {
            return Err(mismatch("noResult", "The job has no files."));
        };
        let file =
            job.files.get(input.index).ok_or_else(|| mismatch("noSuchFile", "The job has fewer files."))?;
        let key = keys::returned_file(&input.envelope.document, input.index);
        if self.files.promoted(&key).await?.is_some_and(|promoted| is_declared(file, &promoted)) {
            tracing::info!(index = input.index, "The returned file had been checked before.");
            return Ok(Output { size_bytes: file.size_bytes });
        }
        check_declaration(file)?;
        let body = self.third_party.fetch(file).await?;
        let quarantine_key = keys::quarantined_file(&input.envelope.document, input.index);
        let facts = self.files.quarantine(&quarantine_key, body, file.size_bytes).await?;
        tracing::debug!(
            index = input.index,
            declaredBytes = file.size_bytes,
            sizeBytes = facts.size_bytes,
            "The returned file is in quarantine."
        );
        check_content(file, &facts)?;
        // The document may have been redriven in the meantime and have another job's files.
        if self.store.load(&input.envelope.document).await?.and_then(|document| document.result) != result {
            return Err(mismatch("noResult", "The document does not have this result any more."));
        }
        self.files.promote(&quarantine_key, &facts, &key, safe_type(file)).await?;
        tracing::info!(
            index = input.index,
            sizeBytes = facts.size_bytes,
            "The returned file is what was declared."
        );
        Ok(Output { size_bytes: facts.size_bytes })
    }
}

/// Whether the promoted object is this file.
fn is_declared(file: &ReturnedFile, promoted: &Promoted) -> bool {
    promoted.size_bytes == file.size_bytes
        && promoted.sha256.eq_ignore_ascii_case(&file.sha256)
        && promoted.media_type == safe_type(file)
}

/// The media type with which the file is stored and served.
fn safe_type(file: &ReturnedFile) -> &'static str {
    SafeFile::returned(&file.name, &file.media_type).media_type
}

fn check_declaration(file: &ReturnedFile) -> Result<(), Error> {
    let name = file.name.as_str();
    let path_like = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\']);
    if path_like {
        return Err(invalid("unsafeName", "The processing service returned a file whose name is a path."));
    }
    if file.size_bytes > MAX_RETURNED_FILE_BYTES {
        return Err(invalid("tooLarge", "The processing service returned a file that is too large to keep."));
    }
    Ok(())
}

fn check_content(file: &ReturnedFile, facts: &StreamFacts) -> Result<(), Error> {
    if facts.size_bytes != file.size_bytes {
        return Err(mismatch(
            "wrongSize",
            "The processing service returned a file of another size than it declared.",
        ));
    }
    if !facts.sha256.eq_ignore_ascii_case(&file.sha256) {
        return Err(mismatch("wrongHash", "The processing service returned other bytes than it declared."));
    }
    if !fits_declared_type(&file.media_type, &facts.first_bytes) {
        return Err(invalid(
            "wrongType",
            "The processing service returned a file of another type than it declared. The file can be sent again.",
        ));
    }
    Ok(())
}

/// A mismatch that stays the same however often the file is fetched.
fn invalid(code: &str, message: &str) -> Error {
    Error::RecordInvalid(Reason::new(code, message))
}

fn mismatch(code: &str, message: &str) -> Error {
    Error::ReturnedMismatch(Reason::new(code, message))
}

#[cfg(test)]
mod tests;
