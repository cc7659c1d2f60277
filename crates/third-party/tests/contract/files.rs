//! The result files, and their faults.

use http::StatusCode;
use lectern::contract::wire::{FileRole, ReturnedFile};
use third_party::{FaultRule, FileFault};

use crate::support::{Harness, KEY, hex_sha256, problem};

async fn text_file(harness: &Harness) -> ReturnedFile {
    let files = harness.notes_result().await.files;
    files.into_iter().find(|file| file.role == FileRole::Text).unwrap()
}

fn fits(file: &ReturnedFile, bytes: &[u8]) -> bool {
    file.sha256 == hex_sha256(bytes) && file.size_bytes == bytes.len() as u64
}

#[tokio::test]
async fn files_are_what_the_callback_declares_and_need_no_credentials() {
    let harness = Harness::start().await;
    let files = harness.notes_result().await.files;
    assert_eq!(files.len(), 3);
    for file in &files {
        let response = harness.download(file).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], file.media_type.as_str());
        assert_eq!(response.content_length(), Some(file.size_bytes));
        assert!(fits(file, &response.bytes().await.unwrap()));
    }
    let elsewhere = files[0].url.replace("text.txt", "other.txt");
    assert_eq!(problem(harness.client.get(elsewhere).send().await.unwrap()).await.0, 404);
}

#[tokio::test]
async fn declarations_can_be_wrong() {
    let harness = Harness::start().await;
    let only = |fault: FileFault| {
        harness.server.add_fault(FaultRule::for_key(KEY, fault).role(FileRole::Text).times(1));
    };
    only(FileFault::DeclaredSize { extra_bytes: 5 });
    only(FileFault::DeclaredSha256 { sha256: None });
    only(FileFault::DeclaredMediaType { media_type: "text/html".to_owned() });
    only(FileFault::FileName { name: "../../x".to_owned() });
    only(FileFault::FileUrl { url: "http://169.254.169.254/latest/meta-data/".to_owned() });
    let files = harness.notes_result().await.files;
    let text = &files[0];
    assert_eq!(text.size_bytes, crate::support::NOTES.len() as u64 + 5);
    assert_eq!(text.sha256, "0".repeat(64));
    assert_eq!(text.media_type, "text/html");
    assert_eq!(text.name, "../../x");
    assert_eq!(text.url, "http://169.254.169.254/latest/meta-data/");
    assert_eq!(files[1].name, "findings.json", "other roles are unchanged");
    assert!(harness.server.faults().is_empty());
}

#[tokio::test]
async fn a_truncated_file_ends_before_its_length() {
    let harness = Harness::start().await;
    harness.fault_once(FileFault::FileTruncated { keep_bytes: Some(10) });
    let file = text_file(&harness).await;
    let response = harness.download(&file).await;
    assert_eq!(response.content_length(), Some(file.size_bytes));
    assert!(response.bytes().await.is_err());
    assert!(fits(&file, &harness.download(&file).await.bytes().await.unwrap()), "the next download is whole");
}

#[tokio::test]
async fn an_altered_file_has_its_size_and_another_hash() {
    let harness = Harness::start().await;
    harness.fault_once(FileFault::FileAltered);
    let file = text_file(&harness).await;
    let bytes = harness.download(&file).await.bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, file.size_bytes);
    assert!(!fits(&file, &bytes));
    assert!(fits(&file, &harness.download(&file).await.bytes().await.unwrap()));
}

#[tokio::test]
async fn an_oversized_file_is_served_ten_times_over() {
    let harness = Harness::start().await;
    harness.fault_once(FileFault::FileOversized { factor: 10 });
    let file = text_file(&harness).await;
    let response = harness.download(&file).await;
    assert_eq!(response.content_length(), Some(file.size_bytes * 10));
    assert_eq!(response.bytes().await.unwrap().len() as u64, file.size_bytes * 10);
}

#[tokio::test]
async fn files_can_be_missing_unavailable_or_redirected_once() {
    let harness = Harness::start().await;
    harness.server.add_fault(FaultRule::for_key(KEY, FileFault::FileUnavailable { status: 503 }).times(2));
    harness.fault_once(FileFault::FileMissing);
    harness.fault_once(FileFault::FileRedirect { location: "http://169.254.169.254/".to_owned() });
    let file = text_file(&harness).await;
    for status in [503, 503, 404] {
        assert_eq!(problem(harness.download(&file).await).await.0, status);
    }
    let redirect = harness.download(&file).await;
    assert_eq!(redirect.status(), StatusCode::FOUND);
    assert_eq!(redirect.headers()["location"], "http://169.254.169.254/");
    assert!(fits(&file, &harness.download(&file).await.bytes().await.unwrap()));
}
