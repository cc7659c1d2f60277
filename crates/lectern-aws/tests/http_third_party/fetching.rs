//! Tests fetching returned files from allowed and forbidden addresses.

use std::{io::ErrorKind, time::Duration};

use axum::{Router, routing::any};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use lectern::{
    contract::network::Network,
    contract::wire::{FileRole, ReturnedFile},
    error::Error,
    ports::Fetch as _,
};
use lectern_aws::http_third_party::ReturnedFileFetcher;
use rstest::rstest;
use third_party::FileFault;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{ReferenceThirdParty, assert_silent, collect, listener, server, sha256};

const PATIENCE: Duration = Duration::from_secs(20);

fn local(url: &str) -> ReturnedFileFetcher {
    ReturnedFileFetcher::new(url, Vec::new(), Network::Loopback, PATIENCE)
}

fn at(url: impl Into<String>) -> ReturnedFile {
    ReturnedFile {
        name: "text.txt".into(),
        role: FileRole::Text,
        url: url.into(),
        size_bytes: 5,
        sha256: "0".repeat(64),
        media_type: "text/plain".to_owned(),
    }
}

/// A third party with this fault for one download, and the text file that it returned.
async fn with_fault(fault: FileFault) -> (ReferenceThirdParty, ReturnedFileFetcher, ReturnedFile) {
    let third_party = ReferenceThirdParty::start().await;
    third_party.fault_once(fault);
    let files = third_party.notes_result().await.files;
    let fetcher = local(third_party.server.url());
    (third_party, fetcher, files.into_iter().find(|file| file.role == FileRole::Text).unwrap())
}

async fn refusal(fetcher: &ReturnedFileFetcher, file: &ReturnedFile) -> (&'static str, String) {
    let Err(error) = fetcher.fetch(file).await else { panic!("it was fetched") };
    assert_silent(&error);
    (error.name(), error.reason().code)
}

#[tokio::test]
async fn returned_files_are_streamed_as_they_were_declared() {
    let third_party = ReferenceThirdParty::start().await;
    let fetcher = local(third_party.server.url());
    for file in third_party.notes_result().await.files {
        let (bytes, whole) = collect(fetcher.fetch(&file).await.unwrap()).await;
        assert!(whole);
        assert_eq!((bytes.len() as u64, sha256(&bytes)), (file.size_bytes, file.sha256));
    }
}

#[tokio::test]
async fn body_is_streamed_and_not_collected() {
    let endless = || async {
        axum::body::Body::from_stream(stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from_static(&[7; 16384]))
        }))
    };
    let url = server(Router::new().fallback(any(endless))).await;
    let mut body = local(&url).fetch(&at(format!("{url}/x"))).await.unwrap();
    let mut received = 0;
    while received < 10_000_000 {
        received += body.next().await.unwrap().unwrap().len();
    }
}

#[rstest]
#[case(
    "/a/%2e%2e/b/../c//d;p=1?name='O%27Neil'&x={1}&y=%7E%7e&z=a+b%20|",
    "/a/%2e%2e/b/../c//d;p=1?name='O%27Neil'&x={1}&y=%7E%7e&z=a+b%20|"
)]
#[case("?token=a%2Fb#part", "/?token=a%2Fb")]
#[case("/%E6%95%99%e6%a1%88.docx", "/%E6%95%99%e6%a1%88.docx")]
#[tokio::test]
async fn v05_declared_url_is_requested_byte_for_byte(#[case] declared: &str, #[case] requested: &str) {
    let listener = listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    let head = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let body = local(&url).fetch(&at(format!("{url}{declared}"))).await.unwrap();
    assert_eq!(collect(body).await, (b"hello".to_vec(), true));
    let head = head.await.unwrap();
    assert_eq!(head.lines().next(), Some(format!("GET {requested} HTTP/1.1").as_str()));
    let host = format!("host: {}", url.trim_start_matches("http://"));
    assert_eq!(head.lines().filter(|line| line.to_ascii_lowercase() == host).count(), 1, "{head}");
}

#[rstest]
#[case::metadata("https://169.254.169.254/latest/meta-data/")]
#[case::metadata_in_the_clear("http://169.254.169.254/latest/meta-data/")]
#[case::private_v6("https://[fd00::1]/x")]
#[case::loopback_v6("https://[::1]/x")]
#[case::mapped("https://[::ffff:127.0.0.1]/x")]
#[case::other_host("https://other.example.com/x")]
#[case::in_the_clear("http://files.example.com/secret")]
#[case::credentials("https://secret@files.example.com/x")]
#[case::file("file:///etc/passwd")]
#[tokio::test]
async fn case_41_forbidden_url_is_refused(#[case] url: &str) {
    let hosts = ["169.254.169.254", "[fd00::1]", "[::1]", "[::ffff:7f00:1]"].map(str::to_owned).to_vec();
    let fetcher = ReturnedFileFetcher::new("https://files.example.com", hosts, Network::Public, PATIENCE);
    let refused = refusal(&fetcher, &at(url)).await;
    assert_eq!(refused, ("Returned.Mismatch", "forbiddenUrl".to_owned()));
}

#[tokio::test]
async fn case_41_name_that_resolves_to_a_forbidden_address_is_refused_before_connecting() {
    let listener = listener().await.into_std().unwrap();
    let port = listener.local_addr().unwrap().port();
    let hosts = vec!["localhost".to_owned()];
    let fetcher = ReturnedFileFetcher::new("https://files.example.com", hosts, Network::Public, PATIENCE);
    let refused = refusal(&fetcher, &at(format!("https://localhost:{port}/x"))).await;
    assert_eq!(refused, ("Returned.Mismatch", "forbiddenUrl".to_owned()));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody has connected");
}

#[tokio::test]
async fn case_41_allowed_name_in_the_local_cloud_is_fetched() {
    let url = server(Router::new().fallback(any(|| async { "hello" }))).await;
    let hosts = vec!["localhost".to_owned()];
    let fetcher = ReturnedFileFetcher::new("http://127.0.0.1", hosts, Network::Loopback, PATIENCE);
    let file = at(format!("{}/x", url.replace("127.0.0.1", "localhost")));
    assert_eq!(collect(fetcher.fetch(&file).await.unwrap()).await, (b"hello".to_vec(), true));
}

#[rstest]
#[case("http://169.254.169.254/latest/meta-data/")]
#[case("https://files.example.com/secret")]
#[tokio::test]
async fn case_41_redirect_is_not_followed(#[case] location: &str) {
    let (_third_party, fetcher, file) =
        with_fault(FileFault::FileRedirect { location: location.to_owned() }).await;
    let refused = refusal(&fetcher, &file).await;
    assert_eq!(refused, ("Returned.Mismatch", "redirected".to_owned()));
}

#[tokio::test]
async fn case_42_truncated_file_ends_early_and_the_next_fetch_is_whole() {
    let (_third_party, fetcher, file) = with_fault(FileFault::FileTruncated { keep_bytes: Some(10) }).await;
    let (bytes, whole) = collect(fetcher.fetch(&file).await.unwrap()).await;
    assert!(!whole && bytes.len() <= 10, "{} bytes", bytes.len());
    let (bytes, whole) = collect(fetcher.fetch(&file).await.unwrap()).await;
    assert!(whole && sha256(&bytes) == file.sha256);
}

#[tokio::test]
async fn case_42_missing_file_does_not_match_its_declaration() {
    let (_third_party, fetcher, file) = with_fault(FileFault::FileMissing).await;
    assert_eq!(refusal(&fetcher, &file).await, ("Returned.Mismatch", "missing".to_owned()));
}

#[rstest]
#[case(500)]
#[case(503)]
#[case(429)]
#[tokio::test]
async fn case_42_file_that_cannot_be_had_now_is_unavailable(#[case] status: u16) {
    let (_third_party, fetcher, file) = with_fault(FileFault::FileUnavailable { status }).await;
    assert_eq!(refusal(&fetcher, &file).await.0, "ThirdParty.Unavailable");
}

#[tokio::test]
async fn case_42_host_that_is_down_or_silent_is_unavailable() {
    let listener = listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    let hasty = ReturnedFileFetcher::new(&url, Vec::new(), Network::Loopback, Duration::from_secs(2));
    let file = at(format!("{url}/secret"));
    assert_eq!(refusal(&hasty, &file).await.0, "ThirdParty.Unavailable");
    drop(listener);
    let Err(error) = hasty.fetch(&file).await else { panic!("it was fetched") };
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn case_42_body_that_stalls_is_bounded_in_time() {
    let stuck = || async {
        let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"half"))]);
        axum::body::Body::from_stream(begun.chain(stream::pending()))
    };
    let url = server(Router::new().fallback(any(stuck))).await;
    let hasty = ReturnedFileFetcher::new(&url, Vec::new(), Network::Loopback, Duration::from_millis(300));
    let body = hasty.fetch(&at(format!("{url}/x"))).await.unwrap();
    assert_eq!(collect(body).await, (b"half".to_vec(), false));
}
