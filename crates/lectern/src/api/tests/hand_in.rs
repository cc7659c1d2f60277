//! Handing in: quotas, uploads, replacing, removing and withdrawing.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::{
    api::UploadPlan,
    document::{DocumentState, submission::SubmissionState},
    limits,
    ports::{HandIn as _, Load as _, SignUploads as _, UploadedPart},
};

const MIB: u64 = 1024 * 1024;

/// Does what a browser does with a signed part of the only multipart upload.
pub(super) fn send_part(backend: &MemoryBackend, part_number: u32, size_bytes: u64) {
    let (checksum_sha256, tag) = (format!("checksum {part_number}"), format!("tag {part_number}"));
    assert!(backend.desk.send_part(UploadedPart { part_number, size_bytes, checksum_sha256, tag }));
}

fn with_quota(change: impl FnOnce(&mut Quota)) -> MemoryBackend {
    let mut backend = MemoryBackend::default();
    change(&mut backend.quota);
    backend
}

/// Checks that a quota refuses a request with a sentence that says what to do.
#[track_caller]
fn assert_used_up<T: std::fmt::Debug>(answer: Result<T, ApiError>, what_to_do: &str) {
    let problem = answer.unwrap_err().problem();
    assert_eq!((problem.status, problem.kind), (429, "urn:problem-type:lectern:quota-exceeded"));
    assert!(problem.detail.contains(what_to_do) && problem.detail.ends_with('.'), "{}", problem.detail);
}

#[tokio::test]
async fn s01_teacher_has_a_limited_number_of_unfinished_submissions() {
    let backend = with_quota(|quota| quota.max_open_submissions = 2);
    let teacher = teacher();
    created(&backend, &teacher, &[]).await;
    let second = arrived(&backend, &teacher, "a.pdf", None).await;
    assert_used_up(create_submission(&backend, &teacher, &submission_of(&[])).await, "withdraw a submission");
    created(&backend, &person("another", "teachers"), &[]).await;
    make_ready(&backend, &second).await;
    created(&backend, &teacher, &[]).await;
    assert_used_up(create_submission(&backend, &teacher, &submission_of(&[])).await, "2 submissions");
}

#[tokio::test]
async fn s01_submission_has_a_limited_number_of_files_replacements_included() {
    let backend = with_quota(|quota| quota.max_files_per_submission = 3);
    let teacher = teacher();
    let four = [("a.pdf", 1), ("b.pdf", 1), ("c.pdf", 1), ("d.pdf", 1)];
    assert_used_up(create_submission(&backend, &teacher, &submission_of(&four)).await, "another submission");
    let created = created(&backend, &teacher, &four[..2]).await;
    let id = created.submission.submission_id;
    let document = backend.arrive(&id, created.pending[0].file_id, None).await.unwrap();
    let document = document.document_id.to_string();
    let third =
        replace_document(&backend, &teacher, id.as_str(), &document, &file("a.pdf", 1)).await.unwrap();
    assert_used_up(add_file(&backend, &teacher, id.as_str(), &file("d.pdf", 1)).await, "3 files");
    let again = replace_document(&backend, &teacher, id.as_str(), &document, &file("a.pdf", 1)).await;
    assert_used_up(again, "3 files");
    remove_file(&backend, &teacher, id.as_str(), &third.file_id.to_string()).await.unwrap();
    add_file(&backend, &teacher, id.as_str(), &file("d.pdf", 1)).await.unwrap();
}

#[tokio::test]
async fn s01_files_of_unfinished_submissions_have_a_limited_size_together() {
    let backend = with_quota(|quota| quota.max_open_bytes = 100);
    let teacher = teacher();
    let refused =
        create_submission(&backend, &teacher, &submission_of(&[("a.pdf", 60), ("b.pdf", 41)])).await;
    assert_used_up(refused, "wait until a submission is ready, or withdraw one");
    let first = created(&backend, &teacher, &[("a.pdf", 60)]).await;
    let id = first.submission.submission_id;
    assert_used_up(add_file(&backend, &teacher, id.as_str(), &file("b.pdf", 41)).await, "60 bytes already");
    assert_used_up(
        create_submission(&backend, &teacher, &submission_of(&[("b.pdf", 41)])).await,
        "60 bytes already",
    );
    add_file(&backend, &teacher, id.as_str(), &file("b.pdf", 40)).await.unwrap();
    created(&backend, &person("another", "teachers"), &[("a.pdf", 100)]).await;
    withdraw_submission(&backend, &teacher, id.as_str()).await.unwrap();
    created(&backend, &teacher, &[("a.pdf", 100)]).await;
}

#[tokio::test]
async fn s01_files_that_are_not_usable_and_files_that_reopen_a_submission_count_too() {
    let backend = with_quota(|quota| quota.max_open_bytes = 25);
    let teacher = teacher();
    let ready = arrived(&backend, &teacher, "a.pdf", None).await;
    make_ready(&backend, &ready).await;
    let id = ready.submission_id.as_str();
    // A submission that is ready does not count until somebody adds to it: 10 bytes are there already.
    assert_used_up(add_file(&backend, &teacher, id, &file("b.pdf", 16)).await, "25 bytes together");
    let rejected = arrived(&backend, &teacher, "b.pdf", Some(damaged())).await;
    assert_used_up(
        create_submission(&backend, &teacher, &submission_of(&[("c.pdf", 16)])).await,
        "10 bytes already",
    );
    withdraw_submission(&backend, &teacher, rejected.submission_id.as_str()).await.unwrap();
    add_file(&backend, &teacher, id, &file("b.pdf", 15)).await.unwrap();
}

#[rstest]
#[case::empty("a.pdf", 0, "empty")]
#[case::too_large("a.mp4", 20 * 1024 * MIB + 1, "larger than")]
#[case::program("setup.exe", 5, "setup.exe: ")]
#[case::unknown("notes.xyz", 5, ".mp4")]
#[case::no_extension("notes", 5, ".mp4")]
#[tokio::test]
async fn file_that_cannot_be_handed_in_is_refused_with_a_sentence(
    #[case] name: &str,
    #[case] size_bytes: u64,
    #[case] why: &str,
) {
    let backend = MemoryBackend::default();
    let id = created(&backend, &teacher(), &[]).await.submission.submission_id;
    for refused in [
        add_file(&backend, &teacher(), id.as_str(), &file(name, size_bytes)).await.map(drop),
        create_submission(&backend, &teacher(), &submission_of(&[(name, size_bytes)])).await.map(drop),
    ] {
        let problem = refused.unwrap_err().problem();
        assert_eq!((problem.status, problem.kind), (422, "urn:problem-type:lectern:file-refused"));
        assert!(problem.detail.starts_with(name) && problem.detail.contains(why), "{}", problem.detail);
        assert!(problem.detail.ends_with('.'), "{}", problem.detail);
    }
    assert!(backend.store.pending(&id).await.unwrap().is_empty());
}

#[tokio::test]
async fn key_is_chosen_by_the_api_and_tells_nothing_of_the_name() {
    let backend = MemoryBackend::default();
    let created = created(&backend, &teacher(), &[("Anna Müller, Klasse 7b.PDF", 5)]).await;
    let pending = backend.store.pending(&created.submission.submission_id).await.unwrap();
    let expected = format!("submissions/{}/{}.pdf", created.submission.submission_id, pending[0].upload_id);
    assert_eq!(pending[0].key, expected);
    assert_eq!(created.pending[0].name, "Anna Müller, Klasse 7b.PDF");
}

#[tokio::test]
async fn small_file_is_sent_in_one_request_and_a_larger_one_in_parts() {
    let backend = MemoryBackend::default();
    let created = created(&backend, &teacher(), &[("a.mp4", 8 * MIB), ("b.mp4", 8 * MIB + 1)]).await;
    let id = created.submission.submission_id.as_str();
    let begin = async |name: &str| {
        let file = created.pending.iter().find(|file| file.name == name).unwrap().file_id.to_string();
        begin_upload(&backend, &teacher(), id, &file, &BeginUpload::default()).await.unwrap()
    };
    assert!(matches!(begin("a.mp4").await, UploadPlan::Post(_)));
    let UploadPlan::Parts { part_size_bytes, part_count, uploaded } = begin("b.mp4").await else { panic!() };
    assert_eq!((part_size_bytes, part_count, uploaded.len()), (8 * MIB, 2, 0));
}

#[rstest]
#[case::none(None, true)]
#[case::of_nothing(Some("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="), true)]
#[case::hex(Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), false)]
#[case::short(Some("47DE"), false)]
#[case::empty(Some(""), false)]
#[tokio::test]
async fn checksum_is_the_base64_of_a_sha256(#[case] checksum: Option<&str>, #[case] is_taken: bool) {
    let backend = MemoryBackend::default();
    let created = created(&backend, &teacher(), &[("a.pdf", 5)]).await;
    let (id, upload) = (created.submission.submission_id, created.pending[0].file_id.to_string());
    let request = BeginUpload { checksum_sha256: checksum.map(str::to_owned) };
    match begin_upload(&backend, &teacher(), id.as_str(), &upload, &request).await {
        Ok(UploadPlan::Post(form)) => {
            assert!(is_taken);
            assert_eq!(form.fields.get("x-amz-checksum-sha256").map(String::as_str), checksum);
        }
        Ok(plan) => panic!("{plan:?}"),
        Err(error) => {
            assert!(!is_taken);
            assert_eq!(error.problem().status, 400);
        }
    }
}

/// A submission with a file of three parts, whose upload has begun.
struct InParts {
    backend: MemoryBackend,
    submission: String,
    upload: String,
}

impl InParts {
    const SIZE: u64 = 2 * 8 * MIB + 1;

    async fn begun() -> Self {
        let backend = MemoryBackend::default();
        let created = created(&backend, &teacher(), &[("a.mp4", Self::SIZE)]).await;
        let submission = created.submission.submission_id.to_string();
        let begun = Self { backend, submission, upload: created.pending[0].file_id.to_string() };
        begun.begin().await;
        begun
    }

    /// Begins or continues the upload; the numbers of the parts that S3 has.
    async fn begin(&self) -> Vec<u32> {
        let request = BeginUpload::default();
        let plan =
            begin_upload(&self.backend, &teacher(), &self.submission, &self.upload, &request).await.unwrap();
        let UploadPlan::Parts { uploaded, .. } = plan else { panic!("{plan:?}") };
        uploaded.into_iter().map(|part| part.part_number).collect()
    }

    async fn sign(&self, numbers: &[u32]) -> Result<SignedParts, ApiError> {
        let checksum_sha256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".to_owned();
        let part = |part_number: &u32| PartRequest {
            part_number: *part_number,
            checksum_sha256: checksum_sha256.clone(),
        };
        let request = SignParts { parts: numbers.iter().map(part).collect() };
        sign_parts(&self.backend, &teacher(), &self.submission, &self.upload, &request).await
    }

    async fn complete(&self) -> Result<(), ApiError> {
        complete_upload(&self.backend, &teacher(), &self.submission, &self.upload).await
    }
}

#[tokio::test]
async fn upload_in_parts_is_continued_where_it_stopped() {
    let upload = InParts::begun().await;
    send_part(&upload.backend, 1, 8 * MIB);
    assert_eq!(upload.begin().await, [1]);
    let signed = upload.sign(&[2, 3]).await.unwrap().parts;
    assert_eq!(signed.iter().map(|part| part.part_number).collect::<Vec<_>>(), [2, 3]);
    send_part(&upload.backend, 2, 8 * MIB);
    match upload.complete().await {
        Err(ApiError::IncompleteUpload(missing)) => assert_eq!(missing, [3]),
        other => panic!("{other:?}"),
    }
    send_part(&upload.backend, 3, 1);
    upload.complete().await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!((upload.backend.desk.completed().len(), upload.backend.desk.open_uploads()), (1, 0));
}

#[tokio::test]
async fn part_of_another_size_is_missing() {
    let upload = InParts::begun().await;
    for (number, size_bytes) in [(1, 8 * MIB), (2, 8 * MIB - 1), (3, 8 * MIB)] {
        send_part(&upload.backend, number, size_bytes);
    }
    match upload.complete().await {
        Err(ApiError::IncompleteUpload(missing)) => assert_eq!(missing, [2, 3]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn upload_that_s3_has_ended_lacks_every_part_and_begins_anew() {
    let upload = InParts::begun().await;
    for (number, size_bytes) in [(1, 8 * MIB), (2, 8 * MIB), (3, 1)] {
        send_part(&upload.backend, number, size_bytes);
    }
    let pending = upload.backend.store.pending(&upload.submission.parse().unwrap()).await.unwrap();
    let ended = pending[0].multipart_id.clone().unwrap();
    upload.backend.desk.abort(&pending[0].key, &ended).await.unwrap();
    match upload.complete().await {
        Err(ApiError::IncompleteUpload(missing)) => assert_eq!(missing, [1, 2, 3]),
        other => panic!("{other:?}"),
    }
    assert_eq!(upload.begin().await, Vec::<u32>::new());
    let pending = upload.backend.store.pending(&upload.submission.parse().unwrap()).await.unwrap();
    assert_ne!(pending[0].multipart_id.as_ref(), Some(&ended));
    assert_eq!(upload.backend.desk.open_uploads(), 1);
}

#[tokio::test]
async fn two_requests_that_begin_an_upload_at_once_share_one() {
    let backend = MemoryBackend::default();
    let created = created(&backend, &teacher(), &[("a.mp4", 9 * MIB)]).await;
    let id = created.submission.submission_id;
    let (upload, teacher, request) =
        (created.pending[0].file_id.to_string(), teacher(), BeginUpload::default());
    let begin = || begin_upload(&backend, &teacher, id.as_str(), &upload, &request);
    let (first, second) = tokio::join!(begin(), begin());
    assert!(matches!((first, second), (Ok(UploadPlan::Parts { .. }), Ok(UploadPlan::Parts { .. }))));
    let calls = backend.faults.calls().iter().filter(|call| **call == "begin").count();
    assert_eq!(calls, 2, "both have begun one");
    assert_eq!(backend.desk.open_uploads(), 1, "one of them is ended again");
    let stored = backend.store.pending(&id).await.unwrap()[0].clone();
    let parts = backend.desk.parts(&stored.key, &stored.multipart_id.unwrap()).await.unwrap();
    assert!(parts.is_some(), "the stored one is the one that is left");
}

#[rstest]
#[case::none(&[])]
#[case::zero(&[0])]
#[case::behind_the_end(&[4])]
#[case::too_many(&[1; 11])]
#[tokio::test]
async fn parts_that_the_file_does_not_have_are_not_signed(#[case] numbers: &[u32]) {
    let refused = InParts::begun().await.sign(numbers).await.unwrap_err().problem();
    assert_eq!((refused.status, refused.detail.ends_with('.')), (400, true));
}

#[tokio::test]
async fn parts_are_signed_and_completed_only_after_the_upload_has_begun() {
    let backend = MemoryBackend::default();
    let created = created(&backend, &teacher(), &[("a.mp4", 9 * MIB)]).await;
    let upload = created.pending[0].file_id.to_string();
    let upload = InParts { backend, submission: created.submission.submission_id.to_string(), upload };
    assert!(matches!(upload.sign(&[1]).await, Err(ApiError::NotFound)));
    assert!(matches!(upload.complete().await, Err(ApiError::NotFound)));
}

#[tokio::test]
async fn late_file_joins_a_submission_that_is_ready() {
    let backend = MemoryBackend::default();
    let first = arrived(&backend, &teacher(), "lesson.mp4", None).await;
    make_ready(&backend, &first).await;
    let id = &first.submission_id;
    let state = async || {
        let read = read_submission(&backend, &teacher(), id.as_str(), |_| false).await.unwrap();
        (read.submission.state, read.pending.len(), read.documents.len())
    };
    assert_eq!(state().await, (SubmissionState::Ready, 0, 1));
    let late = add_file(&backend, &teacher(), id.as_str(), &file("plan.pdf", 5)).await.unwrap();
    assert_eq!(state().await, (SubmissionState::Ready, 1, 1));
    let late = backend.arrive(id, late.file_id, None).await.unwrap();
    assert_eq!(state().await, (SubmissionState::InProgress, 0, 2));
    make_ready(&backend, &late).await;
    assert_eq!(state().await, (SubmissionState::Ready, 0, 2));
}

#[tokio::test]
async fn replacement_supersedes_the_document_when_it_arrives() {
    let backend = MemoryBackend::default();
    let old = arrived(&backend, &teacher(), "plan.pdf", Some(damaged())).await;
    let (id, old_id) = (old.submission_id.as_str(), old.document_id.to_string());
    let newer = replace_document(&backend, &teacher(), id, &old_id, &file("Plan (2).PDF", 7)).await.unwrap();
    assert_eq!(newer.replaces, Some(old.document_id));
    let read = read_submission(&backend, &teacher(), id, |_| false).await.unwrap();
    assert_eq!(
        (read.submission.state, read.documents[0].superseded_by),
        (SubmissionState::NeedsAttention, None)
    );
    let arrived = backend.arrive(&old.submission_id, newer.file_id, None).await.unwrap();
    let read = read_submission(&backend, &teacher(), id, |_| false).await.unwrap();
    assert_eq!((read.submission.state, read.submission.rejected), (SubmissionState::InProgress, 0));
    let of = |id| read.documents.iter().find(|document| document.document_id == id).unwrap();
    assert_eq!(of(old.document_id).superseded_by, Some(arrived.document_id));
    assert_eq!(of(arrived.document_id).file_name, "Plan (2).PDF");
    let again = replace_document(&backend, &teacher(), id, &old_id, &file("plan.pdf", 5)).await;
    assert_eq!(again.unwrap_err().problem().kind, "urn:problem-type:lectern:superseded");
    let removed = remove_document(&backend, &teacher(), id, &old_id).await;
    assert_eq!(removed.unwrap_err().problem().kind, "urn:problem-type:lectern:superseded");
}

#[tokio::test]
async fn version_that_is_replaced_does_not_complete_the_replacement() {
    let backend = MemoryBackend::default();
    let old = arrived(&backend, &teacher(), "a.mp4", None).await;
    let (id, old_id) = (old.submission_id.to_string(), old.document_id.to_string());
    let replaced = backend.store.load(&old).await.unwrap().unwrap().object;
    backend.desk.add_version(&replaced);
    let newer = file("a.mp4", InParts::SIZE);
    let newer = replace_document(&backend, &teacher(), &id, &old_id, &newer).await.unwrap();
    let upload = InParts { backend, submission: id, upload: newer.file_id.to_string() };
    upload.begin().await;
    let pending = upload.backend.store.pending(&old.submission_id).await.unwrap();
    let multipart_id = pending[0].multipart_id.clone().unwrap();
    upload.backend.desk.abort(&pending[0].key, &multipart_id).await.unwrap();
    assert!(matches!(upload.complete().await, Err(ApiError::IncompleteUpload(_))));
    upload.begin().await;
    for (number, size_bytes) in [(1, 8 * MIB), (2, 8 * MIB), (3, 1)] {
        send_part(&upload.backend, number, size_bytes);
    }
    upload.complete().await.unwrap();
    upload.complete().await.unwrap();
}

#[tokio::test]
async fn file_is_replaced_by_one_of_its_type_only() {
    let backend = MemoryBackend::default();
    let document = arrived(&backend, &teacher(), "plan.pdf", None).await;
    let (id, document) = (document.submission_id.as_str(), document.document_id.to_string());
    let refused = replace_document(&backend, &teacher(), id, &document, &file("plan.docx", 5)).await;
    assert!(matches!(refused, Err(ApiError::OtherType)));
}

#[tokio::test]
async fn only_a_file_that_was_rejected_or_has_failed_is_removed_alone() {
    let backend = MemoryBackend::default();
    let open = arrived(&backend, &teacher(), "a.pdf", None).await;
    let ready = arrived(&backend, &teacher(), "b.pdf", None).await;
    make_ready(&backend, &ready).await;
    let remove = async |document: &DocumentRef| {
        let id = document.document_id.to_string();
        remove_document(&backend, &teacher(), document.submission_id.as_str(), &id).await
    };
    for document in [&open, &ready] {
        assert!(matches!(remove(document).await, Err(ApiError::FileInUse)));
    }
    assert!(backend.desk.deleted().is_empty());
    let rejected = arrived(&backend, &teacher(), "c.pdf", Some(damaged())).await;
    remove(&rejected).await.unwrap();
    assert_eq!(backend.desk.deleted(), [backend.store.get(&rejected).unwrap().object]);
}

#[tokio::test]
async fn removed_pending_file_is_gone_with_its_upload() {
    let upload = InParts::begun().await;
    let remove = async || remove_file(&upload.backend, &teacher(), &upload.submission, &upload.upload).await;
    remove().await.unwrap();
    assert_eq!(upload.backend.desk.open_uploads(), 0);
    let read = read_submission(&upload.backend, &teacher(), &upload.submission, |_| false).await.unwrap();
    assert!(read.pending.is_empty());
    assert!(matches!(remove().await, Err(ApiError::NotFound)));
    assert!(matches!(upload.sign(&[1]).await, Err(ApiError::NotFound)));
}

#[tokio::test]
async fn withdrawn_submission_exists_for_nobody_and_is_erased() {
    let backend = MemoryBackend::default();
    let document = arrived(&backend, &teacher(), "a.pdf", None).await;
    let id = document.submission_id.as_str();
    withdraw_submission(&backend, &teacher(), id).await.unwrap();
    for caller in [teacher(), evaluator()] {
        assert!(matches!(read_submission(&backend, &caller, id, |_| false).await, Err(ApiError::NotFound)));
        let list = list_submissions(&backend, &caller, &ListQuery::default()).await.unwrap();
        assert!(list.submissions.is_empty());
    }
    assert_eq!(backend.states.erasures(), std::slice::from_ref(&document.submission_id));
    assert!(matches!(withdraw_submission(&backend, &teacher(), id).await, Err(ApiError::NotFound)));
    assert!(matches!(add_file(&backend, &teacher(), id, &file("b.pdf", 5)).await, Err(ApiError::NotFound)));
}

#[tokio::test]
async fn withdrawal_that_is_cut_off_can_be_repeated() {
    for (call, cut) in
        [("start_erasure", Cut::Before), ("start_erasure", Cut::After), ("begin_erasure", Cut::Before)]
    {
        let backend = MemoryBackend::default();
        let id = arrived(&backend, &teacher(), "a.pdf", None).await.submission_id;
        backend.faults.cut_next(call, cut);
        withdraw_submission(&backend, &teacher(), id.as_str()).await.unwrap_err();
        withdraw_submission(&backend, &teacher(), id.as_str()).await.unwrap();
        assert_eq!(backend.states.erasures(), [id]);
    }
}

#[tokio::test]
async fn failing_store_while_a_submission_is_created_leaves_nothing() {
    let backend = MemoryBackend::default();
    backend.faults.cut_next("create", Cut::Before);
    create_submission(&backend, &teacher(), &submission_of(&[("a.pdf", 5)])).await.unwrap_err();
    assert!(
        list_submissions(&backend, &teacher(), &ListQuery::default()).await.unwrap().submissions.is_empty()
    );
}

#[tokio::test]
async fn document_of_a_replaced_key_keeps_its_state_until_then() {
    let backend = MemoryBackend::default();
    let ready = arrived(&backend, &teacher(), "a.pdf", None).await;
    make_ready(&backend, &ready).await;
    let (id, document) = (ready.submission_id.as_str(), ready.document_id.to_string());
    let newer = replace_document(&backend, &teacher(), id, &document, &file("a.pdf", 5)).await.unwrap();
    let stored = backend.store.pending_file(&ready.submission_id, &newer.file_id).await.unwrap().unwrap();
    assert_eq!(stored.key, backend.store.get(&ready).unwrap().object.key);
    assert_eq!(backend.store.get(&ready).unwrap().state, DocumentState::Ready);
    read_record(&backend, &teacher(), id, &document).await.unwrap();
}

/// Text as ugly as a person or a program makes it.
fn ugly() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("<script>alert(1)</script>".to_owned()),
        Just("=HYPERLINK(\"https://x\")".to_owned()),
        Just("../".to_owned()),
        Just("\u{202e}\u{200b}\u{feff}".to_owned()),
        Just("\r\n\t\0\u{1b}[2J".to_owned()),
        Just("e\u{301}👩\u{200d}🏫教案".to_owned()),
        Just("%2F%00".to_owned()),
        any::<String>(),
    ];
    proptest::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn case_51_title_and_name_are_one_harmless_line_or_refused(title in ugly(), name in ugly(), extension in "(\\.pdf|\\.MP4|)") {
        let name = format!("{name}{extension}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let backend = MemoryBackend::default();
            let request = CreateSubmission { title: title.clone(), files: vec![file(&name, 5)] };
            match create_submission(&backend, &teacher(), &request).await {
                Ok(created) => {
                    let shown = created.submission.title.unwrap();
                    prop_assert!((1..=200).contains(&shown.chars().count()), "{:?}", shown);
                    let file = &created.pending[0];
                    for text in [&shown, &file.name] {
                        prop_assert!(!text.chars().any(crate::display_text::is_neutralised), "{:?}", text);
                    }
                    let stored = backend.store.pending(&created.submission.submission_id).await.unwrap();
                    let (folder, object) = stored[0].key.rsplit_once('/').unwrap();
                    prop_assert_eq!(folder, format!("submissions/{}", created.submission.submission_id));
                    prop_assert!(object.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'), "{}", object);
                }
                Err(error) => {
                    let problem = error.problem();
                    prop_assert!([400, 422].contains(&problem.status), "{:?}", problem);
                    prop_assert!(!problem.detail.chars().any(crate::display_text::is_neutralised), "{:?}", problem);
                    prop_assert!(problem.detail.len() < limits::MAX_FILE_NAME_BYTES * 4);
                }
            }
            Ok(())
        })?;
    }
}
