//! Returned files at forbidden addresses, files that differ from their declaration, and large files.

use lectern::{
    contract::wire::FileRole,
    document::{DocumentState, keys},
};
use third_party::{FaultRule, FileFault};

use crate::{
    case::{Case, Upload},
    command::FETCHES,
    content::{text, text_of},
    stack::Stack,
    third_party_admin::for_content,
};

impl Stack {
    /// The keys of all objects of one document in the bucket of returned files.
    async fn returned_objects(&self, prefix: &str, upload: &Upload) -> Vec<String> {
        let prefix = format!("{prefix}/{}/{}", upload.document.submission_id, upload.id());
        let request = self.s3.list_objects_v2().bucket(&self.is.returned_bucket).prefix(prefix);
        let found = request.send().await.unwrap().contents.unwrap_or_default();
        found.into_iter().filter_map(|object| object.key).collect()
    }
}

async fn refused(name: &str, fault: FileFault, reason: &str) -> (Case, Upload) {
    let case = Case::begin();
    let upload = case.upload_with_lasting(name, text(), fault.clone()).await;
    // Another fetch cannot change the name or the type.
    let is_final = matches!(reason, "unsafeName" | "wrongType");
    let expected = if is_final { "Record.Invalid" } else { "Returned.Mismatch" };
    assert_eq!(case.stack.failed(&upload, reason).await, expected, "{fault:?}");
    for prefix in ["returned", "records"] {
        let readable = case.stack.returned_objects(prefix, &upload).await;
        assert!(readable.is_empty(), "{fault:?}: {readable:?}");
    }
    (case, upload)
}

/// Checks that the document fails and that its fetched bytes stay in quarantine, where an operator finds them.
async fn quarantined(name: &str, fault: FileFault, reason: &str) {
    let (case, upload) = refused(name, fault, reason).await;
    let kept = case.stack.returned_objects("quarantine", &upload).await;
    assert!(!kept.is_empty());
    assert!(
        kept.iter().all(|key| (0..9).any(|index| *key == keys::quarantined_file(&upload.document, index)))
    );
}

#[tokio::test]
async fn case_41_url_of_a_returned_file_that_leads_inside_is_refused() {
    for url in ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "file:///etc/passwd"] {
        let (case, upload) =
            refused("url.txt", FileFault::FileUrl { url: url.to_owned() }, "forbiddenUrl").await;
        assert!(case.stack.returned_objects("quarantine", &upload).await.is_empty(), "{url} was fetched");
    }
}

#[tokio::test]
async fn case_41_redirect_of_a_returned_file_is_not_followed() {
    let location = "http://169.254.169.254/latest/meta-data/".to_owned();
    let (case, upload) = refused("redirect.txt", FileFault::FileRedirect { location }, "redirected").await;
    assert!(case.stack.returned_objects("quarantine", &upload).await.is_empty());
}

/// The download breaks off more often than a file that does not match is fetched.
#[tokio::test]
async fn case_42_d02_download_that_breaks_off_is_an_outage_and_no_mismatch() {
    let case = Case::begin();
    let bytes = text();
    let truncated = FileFault::FileTruncated { keep_bytes: Some(1) };
    case.stack.add_fault(&for_content(&bytes, truncated).times(FETCHES + 1).role(FileRole::Text)).await;
    let upload = case.upload("truncated.txt", bytes).await;
    assert_eq!(case.stack.ended(&upload).await.state, DocumentState::Ready);
}

#[tokio::test]
async fn case_42_altered_file_is_quarantined() {
    quarantined("altered.txt", FileFault::FileAltered, "wrongHash").await;
}

#[tokio::test]
async fn case_42_oversized_file_is_quarantined() {
    quarantined("oversized.txt", FileFault::FileOversized { factor: 10 }, "wrongSize").await;
}

#[tokio::test]
async fn case_42_file_of_another_size_than_declared_is_quarantined() {
    quarantined("size.txt", FileFault::DeclaredSize { extra_bytes: 7 }, "wrongSize").await;
}

#[tokio::test]
async fn case_42_file_of_another_hash_than_declared_is_quarantined() {
    quarantined("hash.txt", FileFault::DeclaredSha256 { sha256: None }, "wrongHash").await;
}

#[tokio::test]
async fn case_42_file_of_another_type_than_declared_is_quarantined() {
    let fault = FileFault::DeclaredMediaType { media_type: "application/pdf".to_owned() };
    quarantined("type.txt", fault, "wrongType").await;
}

#[tokio::test]
async fn case_42_missing_file_fails_the_document() {
    refused("missing.txt", FileFault::FileMissing, "missing").await;
}

#[tokio::test]
async fn case_42_file_with_a_path_as_its_name_is_refused() {
    refused("path.txt", FileFault::FileName { name: "../../x".to_owned() }, "unsafeName").await;
}

#[tokio::test]
async fn case_42_file_that_is_wrong_only_once_is_fetched_again() {
    let case = Case::begin();
    let faults = [
        FileFault::FileTruncated { keep_bytes: Some(3) },
        FileFault::FileAltered,
        FileFault::FileMissing,
        FileFault::FileUnavailable { status: 503 },
    ];
    let mut uploads = Vec::new();
    for (index, fault) in faults.into_iter().enumerate() {
        let bytes = text();
        let rule: FaultRule = for_content(&bytes, fault).times(1).role(FileRole::Text);
        case.stack.add_fault(&rule).await;
        uploads.push(case.upload(&format!("once-{index}.txt"), bytes).await);
    }
    for upload in uploads {
        case.stack.ready(&upload).await;
        assert!(
            case.stack.returned_objects("quarantine", &upload).await.is_empty(),
            "the file leaves the quarantine"
        );
        assert!(!case.stack.returned_objects("returned", &upload).await.is_empty());
        case.stack.only_job(&upload).await;
    }
}

#[tokio::test]
async fn case_44_record_is_an_object_in_s3_and_the_api_returns_it_whole() {
    let case = Case::begin();
    let bytes = text_of(400_000);
    let upload = case.upload("long.txt", bytes.clone()).await;
    case.stack.ready(&upload).await;
    let objects = case.stack.returned_objects("records", &upload).await;
    let document = case.stack.load(&upload).await.unwrap();
    assert_eq!(objects, [document.record_key.unwrap()]);
    let record = case.stack.record(&upload).await;
    let text = record["text"].as_str().unwrap();
    assert_eq!(text.trim(), std::str::from_utf8(&bytes).unwrap().trim());
}
