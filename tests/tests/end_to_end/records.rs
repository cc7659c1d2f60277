//! What evaluators read through the API, behind the gateway's authorizer.

use std::collections::BTreeSet;

use reqwest::{StatusCode, header};
use uuid::Uuid;

use crate::{
    api::Person,
    case::Case,
    content::{text, video},
};

#[tokio::test]
async fn what_does_not_exist_is_404_and_a_bad_query_is_400() {
    let case = Case::begin();
    let upload = case.upload("empty.txt", []).await;
    case.stack.rejected(&upload, "empty").await;
    let unknown = Uuid::new_v4();
    for (path, status) in [
        (format!("/v1/submissions/{unknown}"), StatusCode::NOT_FOUND),
        (format!("/v1/submissions/{}/documents/{unknown}/record", case.submission), StatusCode::NOT_FOUND),
        (format!("/v1/submissions/{unknown}/documents/{}/files", upload.id()), StatusCode::NOT_FOUND),
        (format!("{}/record", upload.path()), StatusCode::NOT_FOUND),
        ("/v1/submissions?limit=0".to_owned(), StatusCode::BAD_REQUEST),
        ("/v1/submissions?state=Lost".to_owned(), StatusCode::BAD_REQUEST),
        ("/v1/submissions?cursor=x".to_owned(), StatusCode::BAD_REQUEST),
    ] {
        let answer = case.stack.get(Person::Evaluator, &path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store", "{path}");
    }
}

#[tokio::test]
async fn submission_shows_its_documents_with_states_and_reasons() {
    let case = Case::begin();
    let good = case.upload("good.txt", text()).await;
    let empty = case.upload("empty.pdf", []).await;
    case.stack.ready(&good).await;
    case.stack.rejected(&empty, "empty").await;
    case.settled(2).await;
    let read = case.stack.read(&format!("/v1/submissions/{}", case.submission)).await;
    assert_eq!(read["submission"]["state"], "NeedsAttention");
    assert_eq!((&read["submission"]["ready"], &read["submission"]["rejected"]), (&1.into(), &1.into()));
    let documents = read["documents"].as_array().unwrap();
    let shown = |upload: &crate::case::Upload| {
        documents.iter().find(|document| document["documentId"] == upload.id().to_string()).unwrap()
    };
    assert_eq!((&shown(&good)["state"], &shown(&good)["fileName"]), (&"Ready".into(), &"good.txt".into()));
    assert_eq!(
        (&shown(&empty)["state"], &shown(&empty)["reason"]["code"]),
        (&"Rejected".into(), &"empty".into())
    );
    let times = shown(&good)["times"].as_object().unwrap();
    for state in ["Received", "Transferring", "Processing", "Verifying", "Normalizing", "Ready"] {
        assert!(times.contains_key(state), "{times:?}");
    }
}

#[tokio::test]
async fn submissions_are_paged_newest_first_and_none_is_lost_or_shown_twice() {
    let cases = [Case::begin(), Case::begin(), Case::begin()];
    for case in &cases {
        let upload = case.upload("empty.txt", []).await;
        case.stack.rejected(&upload, "empty").await;
    }
    let stack = &cases[0].stack;
    let mut seen = Vec::new();
    let mut path = "/v1/submissions?state=NeedsAttention&limit=2".to_owned();
    // Other tests add submissions meanwhile. Those are newer, so they would come before the first page.
    loop {
        let page = stack.read(&path).await;
        let submissions = page["submissions"].as_array().unwrap();
        assert!(submissions.len() <= 2);
        for submission in submissions {
            let text = |name: &str| submission[name].as_str().unwrap().to_owned();
            seen.push((text("createdAt"), text("submissionId")));
        }
        let ours = |id: &str| seen.iter().any(|(_, seen)| seen == id);
        let Some(cursor) = page["cursor"].as_str() else { break };
        if cases.iter().all(|case| ours(case.submission.as_str())) {
            break;
        }
        path = format!("/v1/submissions?state=NeedsAttention&limit=2&cursor={cursor}");
    }
    assert!(seen.is_sorted_by(|a, b| a.0 >= b.0), "{seen:?}");
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
    let order: Vec<&str> = cases.iter().rev().map(|case| case.submission.as_str()).collect();
    let ours: Vec<&str> = seen.iter().map(|(_, id)| id.as_str()).filter(|id| order.contains(id)).collect();
    assert_eq!(ours, order);
}

#[tokio::test]
async fn file_urls_give_the_exact_bytes_of_the_upload_and_of_every_returned_file() {
    let case = Case::begin();
    let bytes = video();
    let upload = case.upload("lesson.mp4", bytes.clone()).await;
    case.stack.ready(&upload).await;
    let record = case.stack.record(&upload).await;
    let files = case.stack.read(&format!("{}/files", upload.path())).await;
    let files = files["files"].as_array().unwrap();
    assert_eq!(files.len(), record["attachments"].as_array().unwrap().len() + 1);
    for file in files {
        let downloaded = case.stack.download(file["url"].as_str().unwrap()).await;
        match file["index"].as_u64() {
            None => assert!(downloaded == bytes, "the upload"),
            Some(index) => {
                let attachment = &record["attachments"][usize::try_from(index).unwrap()];
                assert_eq!(attachment["sha256"], crate::aws_json::sha256_hex(&downloaded));
                assert_eq!(attachment["fileName"], file["fileName"]);
            }
        }
    }
}
