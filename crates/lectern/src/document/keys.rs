//! Object keys: parses the keys of uploads, which uploaders choose, and builds all keys that Lectern chooses.

use lectern_content::MediaType;
use percent_encoding::percent_decode;

use crate::document::{DocumentRef, Reason, SubmissionId, UploadId};

/// The prefix of uploads.
pub const UPLOADS_PREFIX: &str = "submissions/";
const MAX_KEY_BYTES: usize = 1024;

/// The parsed key of a new object.
#[derive(Clone, PartialEq, Eq)]
pub enum UploadKey {
    /// A document of a submission.
    Document {
        /// The submission.
        submission_id: SubmissionId,
        /// The key, decoded.
        key: String,
    },
    /// Not under the prefix of uploads, a folder marker, or a companion file (`is_companion`). Lectern ignores the
    /// object.
    Foreign,
    /// Under our prefix, but not a document's key.
    Invalid {
        /// The key as percent-decoded bytes.
        key: Vec<u8>,
        /// What is wrong with it.
        reason: Reason,
    },
}

impl std::fmt::Debug for UploadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Document { .. } => "Document(…)",
            Self::Foreign => "Foreign",
            Self::Invalid { .. } => "Invalid(…)",
        })
    }
}

impl UploadKey {
    /// Parses a key from an S3 event. S3 form-encodes the key: `+` is a space and the rest is percent-encoded. The
    /// decoded key must be UTF-8.
    pub fn from_event(encoded: &str) -> Self {
        let bytes: Vec<u8> = percent_decode(encoded.replace('+', " ").as_bytes()).collect();
        if !bytes.starts_with(UPLOADS_PREFIX.as_bytes()) {
            return Self::Foreign;
        }
        let invalid =
            |message: &str| Self::Invalid { key: bytes.clone(), reason: Reason::new("invalidKey", message) };
        let Ok(key) = std::str::from_utf8(&bytes) else {
            return invalid("The object's key is not UTF-8. Upload the file again under another name.");
        };
        if key.ends_with('/') || is_companion(key) {
            return Self::Foreign;
        }
        if key.len() > MAX_KEY_BYTES {
            return invalid("The object's key is too long. Upload the file again under a shorter name.");
        }
        if key.chars().any(char::is_control) {
            return invalid("The file's name holds control characters. Upload it again under another name.");
        }
        let parts: Vec<&str> = key.split('/').collect();
        let [_, submission, file_name] = parts.as_slice() else {
            return invalid(
                "The key must be submissions/<submission id>/<file name>, with no further folders.",
            );
        };
        let Ok(submission_id) = submission.parse() else {
            return invalid(
                "The submission id must be 1 to 64 letters, digits, _ or -, starting with a letter or digit.",
            );
        };
        if matches!(*file_name, "." | "..") || file_name.contains('\\') {
            return invalid("The file's name is a path. Upload it again under another name.");
        }
        Self::Document { submission_id, key: key.to_owned() }
    }
}

/// Whether a program wrote the object beside the files of a teacher: metadata of the operating system, lock files of an
/// open document, or a file that is still being downloaded or transferred. A file's name stands for its key.
pub fn is_companion(key: &str) -> bool {
    const NAMES: [&str; 8] = [
        ".ds_store",
        ".localized",
        "desktop.ini",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "icon\r",
        "thumbs.db",
        "thumbs.db:encryptable",
    ];
    const STARTS: [&str; 4] = ["._", "~$", ".~lock.", ".goutputstream-"];
    const ENDS: [&str; 9] = [
        ".crdownload",
        ".download",
        ".filepart",
        ".opdownload",
        ".part",
        ".partial",
        ".swp",
        ".temp",
        ".tmp",
    ];
    let name = key.rsplit('/').next().unwrap_or(key).to_lowercase();
    NAMES.contains(&name.as_str())
        || STARTS.iter().any(|start| name.starts_with(start))
        || ENDS.iter().any(|end| name.ends_with(end))
        || key.split('/').any(|folder| folder == "__MACOSX")
}

/// The prefix of all uploads of a submission.
pub fn uploads_of(submission: &SubmissionId) -> String {
    format!("{UPLOADS_PREFIX}{submission}/")
}

/// The key of a file that is handed in through the API. It contains no name.
pub fn upload(submission: &SubmissionId, upload: UploadId, media_type: MediaType) -> String {
    let extension = media_type.file_type().extensions.first().unwrap_or(&"bin");
    format!("{UPLOADS_PREFIX}{submission}/{upload}.{extension}")
}

/// The prefixes of all other objects of a submission, in the bucket of returned files.
pub fn returned_of(submission: &SubmissionId) -> [String; 3] {
    ["returned", "records", "quarantine"].map(|kind| format!("{kind}/{submission}/"))
}

/// The key of a verified returned file. The key never contains the file name that the third party gave.
pub fn returned_file(document: &DocumentRef, index: usize) -> String {
    format!("returned/{}/{}/{index}", document.submission_id, document.document_id)
}

/// The key of a returned file in quarantine. A file that does not match its declaration stays there.
pub fn quarantined_file(document: &DocumentRef, index: usize) -> String {
    format!("quarantine/{}/{}/{index}", document.submission_id, document.document_id)
}

/// The key of the record with this SHA-256. Different content has a different key and never replaces this object.
pub fn record(document: &DocumentRef, sha256: &str) -> String {
    format!("records/{}/{}/{sha256}.json", document.submission_id, document.document_id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("submissions/s1/a%2Bb+c%25.mp4", "submissions/s1/a+b c%.mp4")]
    #[case("submissions/s1/%E6%95%99%E6%A1%88.docx", "submissions/s1/教案.docx")]
    #[case("submissions/s1/%F0%9F%8E%93.pdf", "submissions/s1/🎓.pdf")]
    fn case_04_key_is_decoded_to_the_exact_object(#[case] encoded: &str, #[case] decoded: &str) {
        let expected = UploadKey::Document { submission_id: "s1".parse().unwrap(), key: decoded.to_owned() };
        assert!(UploadKey::from_event(encoded) == expected);
    }

    #[rstest]
    #[case::not_utf8("submissions/s1/%FF%FE.pdf")]
    #[case::nul("submissions/s1/a%00b.pdf")]
    #[case::parent("submissions/../secret.pdf")]
    #[case::parent_as_file("submissions/s1/..")]
    #[case::deeper("submissions/s1/../../x.pdf")]
    #[case::backslash("submissions/s1/..%5Cx.pdf")]
    #[case::no_file("submissions/x.pdf")]
    #[case::bad_submission("submissions/_unassigned/x.pdf")]
    #[case::newline("submissions/s1/a%0Ab.pdf")]
    fn case_05_bad_key_is_rejected_and_never_a_path(#[case] encoded: &str) {
        assert!(matches!(UploadKey::from_event(encoded), UploadKey::Invalid { .. }));
    }

    #[rstest]
    #[case("submissions/s1/")]
    #[case("submissions/")]
    #[case("elsewhere/s1/x.pdf")]
    #[case("")]
    fn case_07_folder_marker_and_foreign_prefix_are_none_of_our_business(#[case] encoded: &str) {
        assert_eq!(format!("{:?}", UploadKey::from_event(encoded)), "Foreign");
    }

    #[rstest]
    fn f07_companion_files_are_none_of_our_business(
        #[values(
            "._lesson.mp4",
            ".DS_Store",
            "Thumbs.db",
            "THUMBS.DB",
            "desktop.ini",
            "~$plan.docx",
            ".~lock.plan.docx%23",
            "Icon%0D",
            "lesson.mp4.filepart",
            "lesson.mp4.crdownload",
            "lesson.mp4.part",
            "~WRL0001.tmp",
            "lesson.mp4.download",
            "__MACOSX/._lesson.mp4",
            "folder/.DS_Store"
        )]
        name: &str,
    ) {
        let key = UploadKey::from_event(&format!("submissions/s1/{name}"));
        assert_eq!(format!("{key:?}"), "Foreign");
    }

    #[rstest]
    fn f07_other_files_are_not_taken_for_companions(
        #[values("part.mp4", "download.pdf", "tmp.txt", "~plan.docx", ".hidden.txt", "my.temp.docx")]
        name: &str,
    ) {
        let key = UploadKey::from_event(&format!("submissions/s1/{name}"));
        assert_eq!(format!("{key:?}"), "Document(…)");
    }

    #[test]
    fn a08_every_key_of_a_submission_is_under_a_prefix_of_the_submission_and_of_no_other() {
        let of = |submission: &str| DocumentRef {
            submission_id: submission.parse().unwrap(),
            document_id: "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f".parse().unwrap(),
        };
        let (document, other) = (of("s1"), of("s10"));
        let prefixes = returned_of(&document.submission_id);
        let keys =
            |document| [returned_file(document, 0), record(document, "hash"), quarantined_file(document, 0)];
        for (key, prefix) in keys(&document).iter().zip(&prefixes) {
            assert!(key.starts_with(prefix), "{key}");
        }
        for key in keys(&other) {
            assert!(!prefixes.iter().any(|prefix| key.starts_with(prefix)), "{key}");
        }
        assert_eq!(uploads_of(&document.submission_id), "submissions/s1/");
    }

    proptest! {
        #[test]
        fn any_key_round_trips_through_the_event_encoding(file in "[^/\\\\\\p{C}]{1,40}") {
            let key = format!("submissions/s1/{file}");
            prop_assume!(file != "." && file != ".." && !is_companion(&key));
            let encoded = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC).to_string();
            let expected = UploadKey::Document { submission_id: "s1".parse().unwrap(), key };
            prop_assert!(UploadKey::from_event(&encoded) == expected);
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = UploadKey::from_event(&text);
        }
    }
}
