//! Lists, documents, records and URLs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use lectern_content::MediaKind;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::{
    contract::wire::{FileRole, JobSucceeded, ReturnedFile},
    document::{DocumentState, JobResult, keys, submission::SubmissionState},
    limits,
    ports::{Clock as _, FinalOutcome, Finishing as _, Results as _},
    testing::{MemoryObjects, world::returned_file},
};

fn returned(name: &str, role: FileRole, media_type: &str, content: &str) -> (ReturnedFile, Bytes) {
    (returned_file(name, role, media_type, content.as_bytes()), Bytes::from(content.to_owned()))
}

/// A submission with a document that is ready and one that was rejected.
async fn world() -> (MemoryBackend, DocumentRef, DocumentRef) {
    let backend = MemoryBackend::default();
    let created = created(&backend, &teacher(), &[("the\u{301}.docx", 10), ("empty.pdf", 10)]).await;
    let id = created.submission.submission_id;
    let upload = |end: &str| created.pending.iter().find(|file| file.name.ends_with(end)).unwrap().file_id;
    let ready = backend.arrive(&id, upload("docx"), None).await.unwrap();
    backend
        .make_ready(&ready, &[returned("the\u{301}.txt", FileRole::Text, "text/plain", "text")])
        .await
        .unwrap();
    backend.clock.advance(Duration::from_secs(1));
    let rejected = backend.arrive(&id, upload("pdf"), Some(damaged())).await.unwrap();
    (backend, ready, rejected)
}

fn ids(document: &DocumentRef) -> (String, String) {
    (document.submission_id.to_string(), document.document_id.to_string())
}

#[tokio::test]
async fn submission_is_read_with_its_documents_states_and_reasons() {
    let (backend, ready, rejected) = world().await;
    let detail =
        read_submission(&backend, &evaluator(), ready.submission_id.as_str(), |_| false).await.unwrap();
    assert_eq!(detail.submission.state, SubmissionState::NeedsAttention);
    assert_eq!(detail.submission.title.as_deref(), Some("The water cycle"));
    assert_eq!(detail.submission.kinds, BTreeSet::from([MediaKind::Document]));
    let of = |id| detail.documents.iter().find(|document| document.document_id == id).unwrap();
    let shown = of(ready.document_id);
    assert_eq!((shown.state, shown.file_name.as_str()), (DocumentState::Ready, "thé.docx"));
    assert_eq!(of(rejected.document_id).reason.as_ref().unwrap().code, "damaged");
    let json = serde_json::to_value(&detail).unwrap();
    assert!(!json.to_string().contains("callback"), "the callback id is a secret: {json}");
    assert!(!json.to_string().contains("owner"), "the owner is named to nobody: {json}");
}

#[tokio::test]
async fn one_of_three_files_fails_alone() {
    let backend = MemoryBackend::default();
    let created = created(&backend, &teacher(), &[("a.pdf", 1), ("b.pdf", 1), ("c.pdf", 1)]).await;
    let id = created.submission.submission_id;
    for (number, file) in created.pending.iter().enumerate() {
        let document = backend.arrive(&id, file.file_id, (number == 1).then(damaged)).await.unwrap();
        if number != 1 {
            make_ready(&backend, &document).await;
        }
    }
    let read = read_submission(&backend, &teacher(), id.as_str(), |_| false).await.unwrap().submission;
    assert_eq!((read.ready, read.rejected, read.open), (2, 1, 0));
}

#[tokio::test]
async fn record_is_read_and_one_that_is_not_there_is_not_found() {
    let (backend, ready, rejected) = world().await;
    for caller in [teacher(), evaluator()] {
        let read = async |document: &DocumentRef| {
            let (submission, document) = ids(document);
            read_record(&backend, &caller, &submission, &document).await
        };
        assert_eq!(read(&ready).await.unwrap().text.as_deref(), Some("text"));
        assert!(matches!(read(&rejected).await, Err(ApiError::NotFound)));
    }
}

#[tokio::test]
async fn urls_are_given_for_the_upload_and_for_checked_files_only() {
    let (backend, ready, _) = world().await;
    let sources = async |document: &DocumentRef| {
        let (submission, document) = ids(document);
        let files = file_urls(&backend, &evaluator(), &submission, &document).await.unwrap().files;
        assert!(
            files.iter().all(|file| file.expires_in_s == 300 && !format!("{file:?}").contains("https://"))
        );
        files.into_iter().map(|file| (file.index, file.source)).collect::<Vec<_>>()
    };
    assert_eq!(sources(&ready).await, [(None, FileSource::Upload), (Some(0), FileSource::Returned)]);
    let waiting = arrived(&backend, &teacher(), "later.docx", None).await;
    let (file, content) = returned("t", FileRole::Text, "text/plain", "text");
    let result = JobResult::Succeeded(JobSucceeded { job_id: "job".to_owned(), files: vec![file] });
    backend.store.record_result(&waiting, &result, backend.clock.now()).await.unwrap();
    backend.objects.put_returned(&keys::returned_file(&waiting, 0), content);
    assert_eq!(sources(&waiting).await, [(None, FileSource::Upload)], "unchecked files stay in quarantine");
}

#[tokio::test]
async fn s02_rejected_upload_has_no_url() {
    let (backend, _, rejected) = world().await;
    let (submission, document) = ids(&rejected);
    for caller in [teacher(), evaluator(), person("o", "operators"), person("teacher", "teachers operators")]
    {
        let urls = file_urls(&backend, &caller, &submission, &document).await;
        assert!(matches!(urls, Err(ApiError::NotFound)));
    }
    assert!(!backend.faults.calls().contains(&"upload_url"));
}

#[rstest]
#[case("Anna Müller 7b.docx", "document-", ".docx", false)]
#[case("Anna Müller 7b.MOV", "video-", ".mov", true)]
#[case("Anna Müller 7b.m4a", "audio-", ".m4a", true)]
#[case("Anna Müller 7b.jpeg", "picture-", ".jpg", true)]
#[tokio::test]
async fn s02_reader_downloads_an_upload_under_a_neutral_name_and_its_owner_under_its_own(
    #[case] name: &str,
    #[case] begins: &str,
    #[case] ends: &str,
    #[case] is_shown_inline: bool,
) {
    let backend = MemoryBackend::default();
    let document = arrived(&backend, &teacher(), name, None).await;
    let (submission, document) = ids(&document);
    let link = async |caller: &Caller| {
        file_urls(&backend, caller, &submission, &document).await.unwrap().files.swap_remove(0)
    };
    let own = link(&teacher()).await;
    assert!(own.url.ends_with(&format!("attachment={name}")), "{}", own.url);
    let foreign = link(&evaluator()).await;
    let (_, download_name) = foreign.url.split_once("attachment=").unwrap();
    assert!(download_name.starts_with(begins) && download_name.ends_with(ends), "{download_name}");
    let inline = foreign.inline_url;
    assert_eq!(inline.is_some(), is_shown_inline);
    assert!(inline.is_none_or(|url| url.contains("inline=") && !url.contains("Anna")));
}

#[tokio::test]
async fn s02_links_have_names_and_types_that_are_safe_to_save() {
    let backend = MemoryBackend::default();
    let document = arrived(&backend, &teacher(), "plan.docx", None).await;
    let files = [
        returned("report.pdf.exe", FileRole::Attachment, "application/pdf", "%PDF-1.7"),
        returned("setup.exe", FileRole::Attachment, "application/x-msdownload", "MZ"),
    ];
    let job = JobSucceeded {
        job_id: "job".to_owned(),
        files: files.iter().map(|(file, _)| file.clone()).collect(),
    };
    let now = backend.clock.now();
    backend.store.record_result(&document, &JobResult::Succeeded(job), now).await.unwrap();
    let outcome = FinalOutcome::Ready { record_key: "key".to_owned() };
    backend.store.finish(&document, outcome, now).await.unwrap();
    for index in 0..files.len() {
        backend.objects.put_returned(&keys::returned_file(&document, index), "bytes");
    }
    let (submission, document) = ids(&document);
    let links = file_urls(&backend, &evaluator(), &submission, &document).await.unwrap().files;
    let shown: Vec<_> =
        links[1..].iter().map(|link| (link.file_name.as_str(), link.media_type.as_str())).collect();
    assert_eq!(shown, [("report_pdf_exe.pdf", "application/pdf"), ("setup_exe", "application/octet-stream")]);
}

#[tokio::test]
async fn a08_what_has_expired_is_gone_and_not_an_error_of_ours() {
    let (mut backend, ready, _) = world().await;
    backend.objects = MemoryObjects::default();
    let (submission, document) = ids(&ready);
    let record = read_record(&backend, &evaluator(), &submission, &document).await;
    assert_eq!(record.unwrap_err().problem().status, 410);
    let urls = file_urls(&backend, &evaluator(), &submission, &document).await;
    assert_eq!(urls.unwrap_err().problem().status, 410);
    // The upload has expired, and the returned file has not.
    backend.objects.put_returned(&keys::returned_file(&ready, 0), "text");
    let left = file_urls(&backend, &evaluator(), &submission, &document).await.unwrap().files;
    assert_eq!(left.iter().map(|file| file.source).collect::<Vec<_>>(), [FileSource::Returned]);
}

#[rstest]
#[case::unknown_submission("unknown", "{ready}")]
#[case::not_an_id("..", "{ready}")]
#[case::key_of_the_table("SUBMISSION#{own}", "{ready}")]
#[case::not_a_document("{own}", "x")]
#[case::unknown_document("{own}", "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f")]
#[case::document_of_another_submission("{other}", "{ready}")]
#[case::another_spelling("{own}", "{READY}")]
#[tokio::test]
async fn what_does_not_exist_is_not_found(#[case] submission: &str, #[case] document: &str) {
    let (backend, ready, _) = world().await;
    let other = arrived(&backend, &teacher(), "a.pdf", None).await.submission_id;
    let (own, ready) = ids(&ready);
    let submission = submission.replace("{own}", &own).replace("{other}", other.as_str());
    let document = document.replace("{ready}", &ready).replace("{READY}", &ready.to_uppercase());
    for caller in [teacher(), evaluator()] {
        let record = read_record(&backend, &caller, &submission, &document).await;
        assert!(matches!(record, Err(ApiError::NotFound)));
        let urls = file_urls(&backend, &caller, &submission, &document).await;
        assert!(matches!(urls, Err(ApiError::NotFound)));
        let replaced = replace_document(&backend, &caller, &submission, &document, &file("a.docx", 5)).await;
        let is_forbidden = caller == evaluator() && (submission == own || submission == other.as_str());
        let expected = if is_forbidden { 403 } else { 404 };
        assert_eq!(replaced.unwrap_err().problem().status, expected);
    }
}

#[rstest]
#[case::zero("limit", "0")]
#[case::too_many("limit", "101")]
#[case::negative("limit", "-1")]
#[case::signed("limit", "+5")]
#[case::fraction("limit", "1.5")]
#[case::huge("limit", "99999999999999999999")]
#[case::empty("limit", "")]
#[case::state("state", "ready")]
#[case::no_state("state", "")]
#[case::draft_of_others("state", "Draft")]
#[case::kind("type", "Video")]
#[case::no_kind("type", "")]
#[case::from("from", "20.11.2026")]
#[case::year_zero("from", "0000-01-01")]
#[case::behind_the_last_year("to", "9999-12-31T23:59:59-01:00")]
#[case::week("to", "2026-W47")]
#[case::mine("mine", "1")]
#[case::cursor("cursor", "eyJ9")]
#[case::no_cursor("cursor", "")]
#[tokio::test]
async fn bad_query_is_refused_with_a_sentence(#[case] parameter: &str, #[case] value: &str) {
    let (backend, ready, _) = world().await;
    let query: ListQuery = serde_json::from_value(serde_json::json!({ parameter: value })).unwrap();
    let problem = list_submissions(&backend, &evaluator(), &query).await.unwrap_err().problem();
    assert_eq!(problem.status, 400);
    assert!(problem.detail.starts_with(parameter) && problem.detail.ends_with('.'), "{}", problem.detail);
    if let "limit" | "cursor" = parameter {
        let query: PageQuery = serde_json::from_value(serde_json::json!({ parameter: value })).unwrap();
        let documents = list_documents(&backend, &evaluator(), ready.submission_id.as_str(), &query).await;
        assert_eq!(documents.unwrap_err().problem().status, 400);
    }
}

#[tokio::test]
async fn lists_are_filtered_by_state_type_and_time() {
    let backend = MemoryBackend::default();
    let mut created_at = Vec::new();
    for name in ["a.mp4", "b.pdf", "c.jpg", "d.mp4"] {
        let document = arrived(&backend, &teacher(), name, (name == "b.pdf").then(damaged)).await;
        if name == "d.mp4" {
            make_ready(&backend, &document).await;
        }
        created_at.push((document.submission_id.to_string(), crate::error::rfc3339(backend.clock.now())));
        backend.clock.advance(Duration::from_hours(24));
    }
    let [a, b, c, d] = [0, 1, 2, 3].map(|number: usize| created_at[number].0.as_str());
    let of = |number: usize| created_at[number].1.as_str();
    let list = async |filters: &[(&str, &str)]| {
        let query: BTreeMap<_, _> = filters.iter().copied().collect();
        let query: ListQuery = serde_json::from_value(serde_json::to_value(query).unwrap()).unwrap();
        let page = list_submissions(&backend, &evaluator(), &query).await.unwrap();
        assert_eq!(page.cursor, None);
        page.submissions.into_iter().map(|found| found.submission_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]).await, [d, c, b, a]);
    assert_eq!(list(&[("state", "InProgress")]).await, [c, a]);
    assert_eq!(list(&[("state", "NeedsAttention")]).await, [b]);
    assert_eq!(list(&[("state", "Ready")]).await, [d]);
    assert_eq!(list(&[("type", "video")]).await, [d, a]);
    assert_eq!(list(&[("type", "picture"), ("state", "Ready")]).await, Vec::<String>::new());
    assert_eq!(list(&[("from", of(2))]).await, [d, c]);
    assert_eq!(list(&[("to", of(2))]).await, [b, a]);
    assert_eq!(list(&[("from", of(1)), ("to", of(2))]).await, [b]);
    assert_eq!(list(&[("from", of(2)), ("to", of(1))]).await, Vec::<String>::new());
    assert_eq!(list(&[("from", "2026-11-22"), ("to", "2026-11-23")]).await, [c]);
    assert_eq!(list(&[("from", "2026-11-22T00:00:00+09:00")]).await, [d, c, b]);
}

#[tokio::test]
async fn filter_by_type_gives_short_pages_and_reaches_the_end() {
    let backend = MemoryBackend::default();
    for number in 0..12 {
        let name = if number == 0 { "only.mp4" } else { "a.pdf" };
        arrived(&backend, &teacher(), name, None).await;
        backend.clock.advance(Duration::from_secs(1));
    }
    let mut query =
        ListQuery { kind: Some("video".to_owned()), limit: Some("5".to_owned()), ..ListQuery::default() };
    let (mut sizes, mut found) = (Vec::new(), 0);
    loop {
        let page = list_submissions(&backend, &evaluator(), &query).await.unwrap();
        sizes.push(page.submissions.len());
        found += page.submissions.len();
        query.cursor = page.cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!((found, sizes), (1, vec![0, 0, 1]));
}

#[tokio::test]
async fn s01_teachers_list_has_their_own_submissions_only() {
    let backend = MemoryBackend::default();
    let own = created(&backend, &teacher(), &[]).await.submission.submission_id;
    let foreign = arrived(&backend, &person("another", "teachers"), "a.pdf", None).await.submission_id;
    let list = async |caller: &Caller, mine: &str| {
        let query = ListQuery { mine: Some(mine.to_owned()), ..ListQuery::default() };
        let found = list_submissions(&backend, caller, &query).await.unwrap().submissions;
        found.into_iter().map(|submission| submission.submission_id).collect::<Vec<_>>()
    };
    assert_eq!(list(&teacher(), "false").await, std::slice::from_ref(&own), "with the draft");
    assert_eq!(list(&teacher(), "true").await, std::slice::from_ref(&own));
    assert_eq!(list(&evaluator(), "false").await, std::slice::from_ref(&foreign), "without the draft");
    let both = person("teacher", "teachers evaluators");
    assert_eq!(list(&both, "false").await, [foreign]);
    assert_eq!(list(&both, "true").await, [own]);
    let query = ListQuery { mine: Some("true".to_owned()), ..ListQuery::default() };
    assert!(matches!(list_submissions(&backend, &evaluator(), &query).await, Err(ApiError::Forbidden)));
}

#[tokio::test]
async fn d16_thousands_of_documents_come_in_pages() {
    const DOCUMENTS: usize = 3_000;
    let mut backend = MemoryBackend::default();
    backend.quota.max_files_per_submission = DOCUMENTS as u64;
    let names: Vec<String> = (0..DOCUMENTS).map(|number| format!("{number}.pdf")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let created = created(&backend, &teacher(), &files).await;
    let id = created.submission.submission_id;
    for file in &created.pending {
        backend.arrive(&id, file.file_id, None).await.unwrap();
    }
    let first = read_submission(&backend, &evaluator(), id.as_str(), |_| false).await.unwrap();
    assert_eq!(first.documents.len(), limits::DEFAULT_DOCUMENTS_PAGE);
    assert_eq!(first.submission.open, DOCUMENTS as u64);
    let mut seen: Vec<DocumentId> = first.documents.iter().map(|document| document.document_id).collect();
    let mut cursor = first.cursor;
    while cursor.is_some() {
        let query = PageQuery { limit: Some("100".to_owned()), cursor };
        let page = list_documents(&backend, &evaluator(), id.as_str(), &query).await.unwrap();
        assert!((1..=100).contains(&page.documents.len()));
        seen.extend(page.documents.iter().map(|document| document.document_id));
        cursor = page.cursor;
    }
    assert_eq!(seen.len(), DOCUMENTS);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), DOCUMENTS);
}

#[tokio::test]
async fn failing_store_is_a_503_that_tells_nothing() {
    let backend = MemoryBackend::default();
    backend.faults.cut_next("submissions", Cut::Before);
    let error = list_submissions(&backend, &evaluator(), &ListQuery::default()).await.unwrap_err();
    let problem = error.problem();
    assert_eq!(problem.status, 503);
    assert!(!problem.detail.contains("cut off"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pages_are_complete_newest_first_and_repeat_nothing(
        created in proptest::collection::vec((0_u64..3, any::<bool>(), any::<bool>()), 0..40),
        limit in 1_usize..12,
        state in prop_oneof![Just(None), Just(Some(SubmissionState::InProgress)), Just(Some(SubmissionState::NeedsAttention))],
        is_of_one_teacher: bool,
        added_meanwhile: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut backend = MemoryBackend::default();
            backend.quota.max_open_submissions = 100;
            for (later_s, is_rejected, is_anothers) in &created {
                backend.clock.advance(Duration::from_secs(*later_s));
                let by = if *is_anothers { person("another", "teachers") } else { teacher() };
                arrived(&backend, &by, "a.pdf", is_rejected.then(damaged)).await;
            }
            let caller = if is_of_one_teacher { teacher() } else { evaluator() };
            let mut query = ListQuery {
                state: state.map(|state| state.as_str().to_owned()),
                limit: Some(limit.to_string()),
                ..ListQuery::default()
            };
            let mut seen = Vec::new();
            loop {
                let page = list_submissions(&backend, &caller, &query).await.unwrap();
                prop_assert!(page.submissions.len() <= limit);
                seen.extend(page.submissions.iter().map(|s| (s.created_at.clone(), s.submission_id.to_string())));
                if added_meanwhile && query.cursor.is_none() {
                    backend.clock.advance(Duration::from_secs(1));
                    arrived(&backend, &teacher(), "newest.pdf", None).await;
                }
                query.cursor = page.cursor;
                if query.cursor.is_none() {
                    break;
                }
                prop_assert_eq!(page.submissions.len(), limit);
            }
            let is_wanted = |(_, is_rejected, is_anothers): &&(u64, bool, bool)| {
                let state_of = if *is_rejected { SubmissionState::NeedsAttention } else { SubmissionState::InProgress };
                state.is_none_or(|state| state == state_of) && !(is_of_one_teacher && *is_anothers)
            };
            prop_assert_eq!(seen.len(), created.iter().filter(is_wanted).count());
            prop_assert!(seen.is_sorted_by(|newer, older| newer > older));
            Ok(())
        })?;
    }
}
