//! Tests the API with the in-memory ports.

mod hand_in;
mod read;
mod subscribers;

use std::collections::HashMap;

use crate::{
    contract::wire::FileRole,
    document::{DocumentRef, Reason},
    ports::Finishing as _,
    testing::{
        Cut, MemoryBackend,
        world::{failed_for, returned_file},
    },
};

use super::*;

/// A person with these groups, such as `teachers evaluators`.
fn person(subject: &str, groups: &str) -> Caller {
    let claims = HashMap::from([
        ("sub".to_owned(), subject.to_owned()),
        ("cognito:groups".to_owned(), format!("[{groups}]")),
    ]);
    Caller::from_claims(&claims, "cognito:groups").unwrap()
}

fn teacher() -> Caller {
    person("teacher", "teachers")
}

fn evaluator() -> Caller {
    person("evaluator", "evaluators")
}

fn file(name: &str, size_bytes: u64) -> AddFile {
    AddFile { name: name.to_owned(), size_bytes }
}

fn submission_of(files: &[(&str, u64)]) -> CreateSubmission {
    let files = files.iter().map(|(name, size_bytes)| file(name, *size_bytes)).collect();
    CreateSubmission { title: "The water cycle".to_owned(), files }
}

async fn created(backend: &MemoryBackend, by: &Caller, files: &[(&str, u64)]) -> SubmissionDetail {
    create_submission(backend, by, &submission_of(files)).await.unwrap()
}

/// A submission of one file that has arrived.
async fn arrived(backend: &MemoryBackend, by: &Caller, name: &str, rejected: Option<Reason>) -> DocumentRef {
    let created = created(backend, by, &[(name, 10)]).await;
    let id = created.submission.submission_id;
    backend.arrive(&id, created.pending[0].file_id, rejected).await.unwrap()
}

/// Makes a document `Ready`.
async fn make_ready(backend: &MemoryBackend, document: &DocumentRef) {
    let content: &[u8] = b"%PDF-1.7";
    let file = returned_file("report.pdf", FileRole::Attachment, "application/pdf", content);
    backend.make_ready(document, &[(file, content.into())]).await.unwrap();
}

fn damaged() -> Reason {
    Reason::new("damaged", "The file is damaged.")
}

#[tokio::test]
async fn me_tells_the_roles_and_the_quota() {
    let backend = MemoryBackend::default();
    let me = me(&backend, &person("p", "operators teachers"));
    assert_eq!((me.subject.as_str(), me.roles), ("p", vec![Role::Teacher, Role::Operator]));
    assert_eq!(me.quota, backend.quota);
}

/// A call of the API that reads or changes a submission, with what the audit trail says of it and the calls of ports that must
/// not be made before.
struct Audited {
    action: AuditAction,
    names_document: bool,
    names_file: bool,
    effect: &'static [&'static str],
}

const fn audited(action: AuditAction, names: [bool; 2], effect: &'static [&'static str]) -> Audited {
    Audited { action, names_document: names[0], names_file: names[1], effect }
}

/// The calls of [`call`].
const AUDITED: [Audited; 10] = [
    audited(AuditAction::ReadSubmission, [false, false], &[]),
    audited(AuditAction::ReadSubmission, [false, false], &["documents"]),
    audited(AuditAction::ReadRecord, [true, false], &["get_record"]),
    audited(AuditAction::GetFileUrls, [true, false], &["upload_url", "returned_url"]),
    audited(AuditAction::AddFile, [false, true], &["declare"]),
    audited(AuditAction::ReplaceFile, [true, true], &["declare"]),
    audited(AuditAction::RemoveFile, [true, false], &["delete"]),
    audited(AuditAction::RemoveFile, [false, true], &["abort", "forget"]),
    audited(AuditAction::CompleteUpload, [false, true], &["complete"]),
    audited(AuditAction::Withdraw, [false, false], &["start_erasure", "begin_erasure"]),
];

/// Makes the call of this number, on a new submission with everything that the call needs.
async fn call(
    number: usize,
    fails: bool,
) -> (MemoryBackend, SubmissionId, Vec<&'static str>, Result<(), ApiError>) {
    let backend = MemoryBackend::default();
    let teacher = teacher();
    let created = created(&backend, &teacher, &[("a.docx", 10), ("b.pdf", 10), ("c.mp4", 9_000_000)]).await;
    let id = created.submission.submission_id.clone();
    let upload = |name: &str| created.pending.iter().find(|file| file.name == name).unwrap().file_id;
    let ready = backend.arrive(&id, upload("a.docx"), None).await.unwrap();
    make_ready(&backend, &ready).await;
    let rejected = backend.arrive(&id, upload("b.pdf"), Some(damaged())).await.unwrap();
    let [ready, rejected] = [ready, rejected].map(|document| document.document_id.to_string());
    let large = upload("c.mp4").to_string();
    begin_upload(&backend, &teacher, id.as_str(), &large, &BeginUpload::default()).await.unwrap();
    for (part_number, size_bytes) in [(1, 8 * 1024 * 1024), (2, 9_000_000 - 8 * 1024 * 1024)] {
        hand_in::send_part(&backend, part_number, size_bytes);
    }
    let before = (backend.store.audited(&id).len(), backend.faults.calls().len());
    if fails {
        backend.faults.cut_next("record", Cut::Before);
    }
    let (b, t, s) = (&backend, &teacher, id.as_str());
    let done = match number {
        0 => read_submission(b, t, s, |_| false).await.map(drop),
        1 => list_documents(b, t, s, &PageQuery::default()).await.map(drop),
        2 => read_record(b, t, s, &ready).await.map(drop),
        3 => file_urls(b, t, s, &ready).await.map(drop),
        4 => add_file(b, t, s, &file("d.pdf", 10)).await.map(drop),
        5 => replace_document(b, t, s, &ready, &file("a.docx", 10)).await.map(drop),
        6 => remove_document(b, t, s, &rejected).await,
        7 => remove_file(b, t, s, &large).await,
        8 => complete_upload(b, t, s, &large).await,
        _ => withdraw_submission(b, t, s).await,
    };
    assert_eq!(backend.store.audited(&id).len() - before.0, usize::from(!fails), "entries of call {number}");
    let calls = backend.faults.calls().split_off(before.1);
    (backend, id, calls, done)
}

#[tokio::test]
async fn s06_each_read_and_each_change_leaves_one_entry_before_it_happens() {
    for (number, audited) in AUDITED.iter().enumerate() {
        let (backend, id, calls, done) = call(number, false).await;
        done.unwrap();
        let entry = backend.store.audited(&id).pop().unwrap();
        assert_eq!(entry.action, audited.action, "call {number}");
        assert_eq!(entry.subject, *teacher().person());
        assert_eq!(entry.document_id.is_some(), audited.names_document, "call {number}");
        assert_eq!(entry.file.is_some(), audited.names_file, "call {number}");
        let position = |call: &str| calls.iter().position(|made| *made == call);
        let recorded = position("record").unwrap();
        for effect in audited.effect {
            // Call 3 has no returned file to sign.
            assert!(position(effect).is_none_or(|at| at > recorded), "call {number}: {effect} in {calls:?}");
        }
    }
}

#[tokio::test]
async fn s06_nothing_is_read_or_changed_that_cannot_be_recorded() {
    for (number, audited) in AUDITED.iter().enumerate() {
        let (_, _, calls, done) = call(number, true).await;
        assert_eq!(done.unwrap_err().problem().status, 503, "call {number}");
        assert!(!audited.effect.iter().any(|effect| calls.contains(effect)), "call {number}: {calls:?}");
    }
    let backend = MemoryBackend::default();
    backend.faults.cut_next("record", Cut::Before);
    let refused = create_submission(&backend, &teacher(), &submission_of(&[])).await.unwrap_err();
    assert_eq!(refused.problem().status, 503);
    assert!(!backend.faults.calls().contains(&"create"));
}

#[tokio::test]
async fn s06_watching_a_submission_that_does_not_change_leaves_no_entries() {
    let backend = MemoryBackend::default();
    let id = created(&backend, &teacher(), &[("a.pdf", 5)]).await.submission.submission_id;
    let before = backend.store.audited(&id).len();
    let read = async |known: Option<&SubmissionDetail>| {
        read_submission(&backend, &teacher(), id.as_str(), |detail| Some(detail) == known).await.unwrap()
    };
    let first = read(None).await;
    read(Some(&first)).await;
    assert_eq!(backend.store.audited(&id).len(), before + 1);
    add_file(&backend, &teacher(), id.as_str(), &file("b.pdf", 5)).await.unwrap();
    read(Some(&first)).await;
    assert_eq!(backend.store.audited(&id).len(), before + 3, "the change and its reading");
}

#[tokio::test]
async fn s06_creation_leaves_an_entry_of_the_new_submission() {
    let backend = MemoryBackend::default();
    let id = created(&backend, &teacher(), &[]).await.submission.submission_id;
    let actions: Vec<_> = backend.store.audited(&id).into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, [AuditAction::CreateSubmission]);
}

#[tokio::test]
async fn s06_redrive_that_cannot_be_recorded_does_not_happen() {
    let backend = MemoryBackend::default();
    let document = arrived(&backend, &teacher(), "a.pdf", None).await;
    let outcome = failed_for(Reason::new("internal", "It failed."));
    backend.store.finish(&document, outcome, backend.clock.now()).await.unwrap();
    backend.faults.cut_next("record", Cut::Before);
    let (id, document) = (document.submission_id.to_string(), document.document_id.to_string());
    let operator = person("operator", "operators");
    let refused = redrive_document(&backend, &operator, &id, &document, RedriveRequest::default()).await;
    assert_eq!(refused.unwrap_err().problem().status, 503);
    assert!(!backend.faults.calls().contains(&"reopen"));
}

#[tokio::test]
async fn case_52_another_teachers_submission_does_not_exist() {
    let backend = MemoryBackend::default();
    let document = arrived(&backend, &person("another", "teachers"), "a.pdf", None).await;
    let (id, document) = (document.submission_id.to_string(), document.document_id.to_string());
    let before = backend.store.audited(&id.parse().unwrap()).len();
    let (b, t) = (&backend, &teacher());
    let answers = [
        read_submission(b, t, &id, |_| false).await.map(drop),
        list_documents(b, t, &id, &PageQuery::default()).await.map(drop),
        read_record(b, t, &id, &document).await.map(drop),
        file_urls(b, t, &id, &document).await.map(drop),
        add_file(b, t, &id, &file("b.pdf", 5)).await.map(drop),
        replace_document(b, t, &id, &document, &file("a.pdf", 5)).await.map(drop),
        remove_document(b, t, &id, &document).await,
        withdraw_submission(b, t, &id).await,
    ];
    for answer in answers {
        assert!(matches!(answer, Err(ApiError::NotFound)), "{answer:?}");
    }
    assert!(list_submissions(b, t, &ListQuery::default()).await.unwrap().submissions.is_empty());
    assert_eq!(backend.store.audited(&id.parse().unwrap()).len(), before, "nothing was read");
}
