//! The ports of handing in, and the lists that teachers and evaluators read.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use lectern_content::{MediaKind, MediaType};

use super::{Outcome, at_once, conflicts, new_document, retried, suite};
use crate::{
    display_text::Label,
    document::{
        DocumentId, Owner, SubmissionId, UploadId, keys,
        submission::{Counts, Submission, SubmissionState},
    },
    error::rfc3339,
    ports::{
        Browse, Declared, Erasures, Finishing, HandIn, Listing, NewDocument, NewSubmission, OpenWork,
        PendingFile, Register, Registration, SignUploads, SubmissionFilter, Upload, UploadedPart,
    },
    testing::{
        model::same,
        objects::sha256,
        world::{START, failed_for},
    },
};

/// The ports of a store that this suite calls.
pub trait Store: HandIn + Browse + Register + Finishing + Erasures {}

impl<S: HandIn + Browse + Register + Finishing + Erasures> Store for S {}

suite! {
    /// [`HandIn`]
    hand_in<S: Store> {
        s01_new_submission_is_its_owners_draft_with_its_files,
        submission_is_created_once,
        s01_only_the_owner_declares_files,
        files_that_are_declared_at_once_stay_below_the_limit,
        first_of_the_multipart_uploads_that_begin_at_once_is_kept,
        ended_multipart_upload_is_replaced_by_one_of_the_requests_that_knew_it,
        forgotten_file_leaves_the_counts_once,
        registered_upload_is_no_longer_pending_and_the_submission_keeps_owner_and_title,
        s01_open_work_is_that_of_the_owners_unfinished_submissions,
        a08_nothing_is_declared_in_an_erased_submission,
    }
}

suite! {
    /// The lists of [`Browse`]
    lists<S: Store> {
        s01_list_of_a_teacher_has_their_own_submissions_only,
        lists_are_filtered_by_state_type_and_time,
        pages_of_a_filtered_list_reach_its_end_and_repeat_nothing,
        d16_documents_come_in_pages_by_their_ids,
    }
}

/// Sends a part as a person does, with its SHA-256.
pub trait PartsSetup: Send + Sync {
    /// Sends a part of a multipart upload.
    fn send_part(
        &self,
        key: &str,
        multipart_id: &str,
        part_number: u32,
        bytes: Bytes,
    ) -> impl Future<Output = ()> + Send;
}

suite! {
    /// [`SignUploads`]
    sign_uploads<U: SignUploads, P: PartsSetup> {
        parts_that_were_sent_are_listed_by_number,
        sent_part_replaces_one_of_the_same_number,
        completed_upload_has_no_parts_and_is_completed_again_without_an_effect,
        aborted_upload_has_no_parts_and_is_aborted_again_without_an_effect,
    }
}

fn owner(name: &str) -> Outcome<Owner> {
    Ok(name.parse()?)
}

/// A file that a teacher declares. Files of one submission have numbers.
fn file(submission: &SubmissionId, number: u32, size_bytes: u64) -> PendingFile {
    let upload_id = UploadId::new(u128::from(number));
    PendingFile {
        submission_id: submission.clone(),
        upload_id,
        key: keys::upload(submission, upload_id, MediaType::Pdf),
        name: Label::new(&format!("教案 {number}.pdf")),
        size_bytes,
        media_type: MediaType::Pdf,
        created_at: rfc3339(START + Duration::from_secs(number.into())),
        replaces: None,
        multipart_id: None,
    }
}

/// A submission with these files.
async fn created(
    store: &impl HandIn,
    id: &str,
    by: &str,
    sizes: &[u64],
) -> Outcome<(SubmissionId, Vec<PendingFile>)> {
    let submission_id: SubmissionId = id.parse()?;
    let files: Vec<_> =
        (1..).zip(sizes).map(|(number, size_bytes)| file(&submission_id, number, *size_bytes)).collect();
    let title = Label::new("Le cycle de l’eau");
    let new = NewSubmission { submission_id, owner: owner(by)?, title, files, now: START };
    store.create(&new).await?;
    Ok((new.submission_id, new.files))
}

async fn summary(store: &impl Browse, id: &SubmissionId) -> Outcome<Submission> {
    let found = store.summary(id).await?;
    found.ok_or_else(|| format!("there is no submission {id}").into())
}

/// What `receive-upload` registers when the upload of a pending file arrives.
fn arrival(file: &PendingFile, by: &str) -> Outcome<NewDocument> {
    let submission = file.submission_id.to_string();
    let name = file.key.rsplit('/').next().unwrap_or_default();
    let new = new_document(&submission, name, 1)?;
    Ok(NewDocument { owner: Some(owner(by)?), upload: Some(file.upload_id), ..new })
}

async fn registered(store: &impl Register, new: &NewDocument) -> Outcome {
    match retried(async || store.register(new.clone()).await).await? {
        Registration::New(_) => Ok(()),
        other @ (Registration::Known(_) | Registration::Erased) => {
            Err(format!("expected a new document, found {other:?}").into())
        }
    }
}

async fn s01_new_submission_is_its_owners_draft_with_its_files<S: Store>(store: &S) -> Outcome {
    let (id, files) = created(store, "drafted", "teacher-1", &[5, 7]).await?;
    let expected = Submission {
        owner: Some(owner("teacher-1")?),
        title: Some(Label::new("Le cycle de l’eau")),
        declared_files: 2,
        declared_bytes: 12,
        ..Submission::new(id.clone(), SubmissionState::Draft, rfc3339(START))
    };
    same("submission", &expected, &summary(store, &id).await?)?;
    same("files", &files, &store.pending(&id).await?)?;
    let found = store.pending_file(&id, &files[1].upload_id).await?;
    same("one file", &Some(files[1].clone()), &found)?;
    same("no such file", &None, &store.pending_file(&id, &UploadId::new(99)).await?)?;
    Ok(same("documents", &0, &store.documents(&id, None, 10).await?.documents.len())?)
}

async fn submission_is_created_once<S: Store>(store: &S) -> Outcome {
    let (id, files) = created(store, "created-once", "teacher-1", &[5]).await?;
    let title = Label::new("Another");
    let again = NewSubmission {
        submission_id: id.clone(),
        owner: owner("teacher-2")?,
        title,
        files: vec![],
        now: START,
    };
    conflicts("the same id again", &store.create(&again).await)?;
    same("owner", &Some(owner("teacher-1")?), &summary(store, &id).await?.owner)?;
    Ok(same("files", &files, &store.pending(&id).await?)?)
}

async fn s01_only_the_owner_declares_files<S: Store>(store: &S) -> Outcome {
    let (id, _) = created(store, "declared", "teacher-1", &[5]).await?;
    let added = file(&id, 2, 7);
    let foreign = store.declare(&added, &owner("teacher-2")?, 10, START).await?;
    same("another teacher", &Declared::Unknown, &foreign)?;
    let nowhere = file(&"declared-nowhere".parse()?, 1, 7);
    let unknown = store.declare(&nowhere, &owner("teacher-1")?, 10, START).await?;
    same("an unknown submission", &Declared::Unknown, &unknown)?;
    same("files", &1, &store.pending(&id).await?.len())?;
    same("the owner", &Declared::Pending, &store.declare(&added, &owner("teacher-1")?, 10, START).await?)?;
    let found = summary(store, &id).await?;
    same("counts", &(2, 12), &(found.declared_files, found.declared_bytes))?;
    same("state", &SubmissionState::Draft, &found.state)?;
    Ok(same("files", &2, &store.pending(&id).await?.len())?)
}

async fn files_that_are_declared_at_once_stay_below_the_limit<S: Store>(store: &S) -> Outcome {
    let (id, _) = created(store, "at-the-limit", "teacher-1", &[5]).await?;
    let teacher = owner("teacher-1")?;
    let files = [2, 3, 4].map(|number| file(&id, number, 1));
    let mut declared = at_once(files.iter().map(|file| store.declare(file, &teacher, 3, START))).await?;
    for file in &files {
        if store.pending_file(&id, &file.upload_id).await?.is_none() {
            declared.push(retried(async || store.declare(file, &teacher, 3, START).await).await?);
        }
    }
    same("one too many", &true, &declared.contains(&Declared::TooManyFiles))?;
    same("files", &3, &store.pending(&id).await?.len())?;
    Ok(same("counted", &3, &summary(store, &id).await?.declared_files)?)
}

async fn first_of_the_multipart_uploads_that_begin_at_once_is_kept<S: Store>(store: &S) -> Outcome {
    let (id, files) = created(store, "begun", "teacher-1", &[5]).await?;
    let file = &files[0];
    let stored = at_once(["multipart-1", "multipart-2"].map(|begun| store.begin_parts(file, begun))).await?;
    let kept = store.pending_file(&id, &file.upload_id).await?.and_then(|file| file.multipart_id);
    same("one is kept", &true, &kept.is_some())?;
    for found in stored {
        same("each caller learns it", &kept, &found)?;
    }
    Ok(same("a later one", &kept, &store.begin_parts(file, "multipart-3").await?)?)
}

async fn ended_multipart_upload_is_replaced_by_one_of_the_requests_that_knew_it<S: Store>(
    store: &S,
) -> Outcome {
    let (id, files) = created(store, "begun-again", "teacher-1", &[5]).await?;
    store.begin_parts(&files[0], "ended").await?;
    let file = PendingFile { multipart_id: Some("ended".to_owned()), ..files[0].clone() };
    same("replaced", &Some("new".to_owned()), &store.begin_parts(&file, "new").await?)?;
    same("and not again", &Some("new".to_owned()), &store.begin_parts(&file, "newer").await?)?;
    store.forget(&file).await?;
    same("forgotten", &None, &store.begin_parts(&file, "late").await?)?;
    Ok(same("no file", &None, &store.pending_file(&id, &file.upload_id).await?)?)
}

async fn forgotten_file_leaves_the_counts_once<S: Store>(store: &S) -> Outcome {
    let (id, files) = created(store, "forgotten", "teacher-1", &[5, 7]).await?;
    for _ in 0..2 {
        store.forget(&files[0]).await?;
    }
    let found = summary(store, &id).await?;
    same("counts", &(1, 7), &(found.declared_files, found.declared_bytes))?;
    Ok(same("files", &files[1..].to_vec(), &store.pending(&id).await?)?)
}

async fn registered_upload_is_no_longer_pending_and_the_submission_keeps_owner_and_title<S: Store>(
    store: &S,
) -> Outcome {
    let (id, files) = created(store, "fulfilled", "teacher-1", &[5, 7]).await?;
    registered(store, &arrival(&files[0], "teacher-1")?).await?;
    same("files", &files[1..].to_vec(), &store.pending(&id).await?)?;
    let expected = Submission {
        owner: Some(owner("teacher-1")?),
        title: Some(Label::new("Le cycle de l’eau")),
        declared_files: 2,
        declared_bytes: 12,
        counts: Counts { open: 1, ..Counts::default() },
        kinds: [MediaKind::Document].into(),
        count_changes: 1,
        counted_at: Some(rfc3339(START)),
        ..Submission::new(id.clone(), SubmissionState::InProgress, rfc3339(START))
    };
    same("submission", &expected, &summary(store, &id).await?)?;
    store.forget(&files[0]).await?;
    Ok(same("the file counts still", &2, &summary(store, &id).await?.declared_files)?)
}

async fn s01_open_work_is_that_of_the_owners_unfinished_submissions<S: Store>(store: &S) -> Outcome {
    let teacher = owner("busy-teacher")?;
    same("nothing", &OpenWork::default(), &store.open_work(&teacher, 10).await?)?;
    created(store, "busy-draft", "busy-teacher", &[1, 2]).await?;
    created(store, "busy-other", "idle-teacher", &[100]).await?;
    let (_, files) = created(store, "busy-open", "busy-teacher", &[4]).await?;
    registered(store, &arrival(&files[0], "busy-teacher")?).await?;
    let (_, files) = created(store, "busy-failed", "busy-teacher", &[8]).await?;
    let failed = arrival(&files[0], "busy-teacher")?;
    registered(store, &failed).await?;
    let outcome = || failed_for(crate::document::Reason::new("internal", "It failed."));
    retried(async || store.finish(&failed.reference, outcome(), START).await).await?;
    let expected = OpenWork { submissions: 3, bytes: 15 };
    Ok(same("open", &expected, &store.open_work(&teacher, 10).await?)?)
}

async fn a08_nothing_is_declared_in_an_erased_submission<S: Store>(store: &S) -> Outcome {
    let (id, files) = created(store, "erased-draft", "teacher-1", &[5]).await?;
    store.begin_erasure(&id, "owner", START).await?;
    same("submission", &None, &store.summary(&id).await?)?;
    let declared = store.declare(&file(&id, 2, 7), &owner("teacher-1")?, 10, START).await?;
    same("declared", &Declared::Unknown, &declared)?;
    store.end_erasure(&id, START).await?;
    same("pending", &0, &store.pending(&id).await?.len())?;
    let again = NewSubmission {
        submission_id: id,
        owner: owner("teacher-1")?,
        title: Label::new("Again"),
        files,
        now: START,
    };
    conflicts("the id of an erased submission", &store.create(&again).await)
}

/// The ids of all pages of a list.
async fn listed(store: &impl Browse, filter: &SubmissionFilter, limit: usize) -> Outcome<Vec<String>> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = store.submissions(filter, after.as_ref(), limit).await?;
        if page.submissions.len() > limit {
            return Err(format!("a page of {limit} has {} submissions", page.submissions.len()).into());
        }
        ids.extend(page.submissions.iter().map(|submission| submission.submission_id.to_string()));
        after = page.next;
        if after.is_none() {
            return Ok(ids);
        }
    }
}

/// The submissions of one teacher.
fn of(teacher: &str) -> Outcome<SubmissionFilter> {
    let listing = Listing::Of(owner(teacher)?);
    Ok(SubmissionFilter { listing, states: SubmissionState::ALL.to_vec(), kind: None, from: None, to: None })
}

async fn s01_list_of_a_teacher_has_their_own_submissions_only<S: Store>(store: &S) -> Outcome {
    let (_, files) = created(store, "list-a", "list-teacher", &[1]).await?;
    registered(store, &arrival(&files[0], "list-teacher")?).await?;
    created(store, "list-b", "list-teacher", &[]).await?;
    created(store, "list-c", "list-teacher-2", &[]).await?;
    same(
        "own",
        &vec!["list-b".to_owned(), "list-a".to_owned()],
        &listed(store, &of("list-teacher")?, 10).await?,
    )?;
    let drafts = SubmissionFilter { states: vec![SubmissionState::Draft], ..of("list-teacher")? };
    same("drafts", &vec!["list-b".to_owned()], &listed(store, &drafts, 10).await?)?;
    let all = listed(store, &SubmissionFilter::in_state(None), 10).await?;
    same("a draft is in no list of all", &false, &all.contains(&"list-b".to_owned()))?;
    Ok(same("a submission with a file is", &true, &all.contains(&"list-a".to_owned()))?)
}

/// Five submissions of one teacher, one for each day: `0` to `4`. The even ones have a PDF, the others a video; the third
/// one has failed.
async fn days<S: Store>(store: &S, teacher: &str) -> Outcome<Vec<String>> {
    let mut ids = Vec::new();
    for day in 0..5_u32 {
        let (id, now) = (format!("{teacher}-{day}"), START + Duration::from_hours(24) * day);
        let media_type = if day % 2 == 0 { MediaType::Pdf } else { MediaType::Mp4 };
        let new = new_document(&id, "file", 1)?;
        let new = NewDocument { owner: Some(owner(teacher)?), media_type: Some(media_type), now, ..new };
        registered(store, &new).await?;
        if day == 2 {
            let outcome = || failed_for(crate::document::Reason::new("internal", "It failed."));
            retried(async || store.finish(&new.reference, outcome(), now).await).await?;
        }
        ids.push(id);
    }
    Ok(ids)
}

async fn lists_are_filtered_by_state_type_and_time<S: Store>(store: &S) -> Outcome {
    let ids = days(store, "filter-teacher").await?;
    let expect = async |what: &str, days: &[usize], filter: SubmissionFilter| {
        let expected: Vec<String> = days.iter().map(|day| ids[*day].clone()).collect();
        for limit in [10, 2, 1] {
            same(&format!("{what}, {limit} a page"), &expected, &listed(store, &filter, limit).await?)?;
        }
        Ok::<_, super::Violation>(())
    };
    let all = || of("filter-teacher");
    let day = |day: u32| Some(rfc3339(START + Duration::from_hours(24) * day));
    expect("all", &[4, 3, 2, 1, 0], all()?).await?;
    let states = vec![SubmissionState::NeedsAttention];
    expect("failed", &[2], SubmissionFilter { states, ..all()? }).await?;
    expect("videos", &[3, 1], SubmissionFilter { kind: Some(MediaKind::Video), ..all()? }).await?;
    expect("from", &[4, 3], SubmissionFilter { from: day(3), ..all()? }).await?;
    expect("to", &[1, 0], SubmissionFilter { to: day(2), ..all()? }).await?;
    expect("between", &[3, 2, 1], SubmissionFilter { from: day(1), to: day(4), ..all()? }).await?;
    expect("nothing between", &[], SubmissionFilter { from: day(3), to: day(1), ..all()? }).await?;
    expect("one moment", &[], SubmissionFilter { from: day(2), to: day(2), ..all()? }).await
}

async fn pages_of_a_filtered_list_reach_its_end_and_repeat_nothing<S: Store>(store: &S) -> Outcome {
    let ids = days(store, "short-pages-teacher").await?;
    let filter = SubmissionFilter {
        kind: Some(MediaKind::Video),
        from: Some(rfc3339(START)),
        ..of("short-pages-teacher")?
    };
    for limit in 1..=5 {
        let expected = vec![ids[3].clone(), ids[1].clone()];
        same(&format!("{limit} a page"), &expected, &listed(store, &filter, limit).await?)?;
    }
    Ok(())
}

async fn d16_documents_come_in_pages_by_their_ids<S: Store>(store: &S) -> Outcome {
    let mut expected = Vec::new();
    for number in 0..7 {
        let new = new_document("paged", &format!("{number}.pdf"), 1)?;
        registered(store, &new).await?;
        expected.push(new.reference.document_id);
    }
    expected.sort_by_key(ToString::to_string);
    for limit in [1, 3, 7, 10] {
        let (mut found, mut after): (Vec<DocumentId>, _) = (Vec::new(), None);
        loop {
            let page = store.documents(&"paged".parse()?, after, limit).await?;
            same("a page is not too large", &true, &(page.documents.len() <= limit))?;
            found.extend(page.documents.iter().map(|document| document.reference.document_id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        same(&format!("{limit} a page"), &expected, &found)?;
    }
    Ok(())
}

const MIB: usize = 1024 * 1024;

fn content(byte: u8) -> Bytes {
    vec![byte; 5 * MIB].into()
}

/// A multipart upload that has begun.
async fn begun(desk: &impl SignUploads, id: &str) -> Outcome<(PendingFile, String)> {
    let file = file(&id.parse()?, 1, 10 * MIB as u64);
    let owner = owner("teacher-1")?;
    let multipart_id = desk.begin(&Upload { file: &file, owner: &owner }).await?;
    same("no parts yet", &Some(Vec::new()), &desk.parts(&file.key, &multipart_id).await?)?;
    Ok((file, multipart_id))
}

async fn sent(desk: &impl SignUploads, key: &str, multipart_id: &str) -> Outcome<Vec<UploadedPart>> {
    let parts = desk.parts(key, multipart_id).await?;
    parts.ok_or_else(|| "the multipart upload is gone".to_owned().into())
}

fn sizes(parts: &[UploadedPart]) -> Vec<(u32, u64)> {
    parts.iter().map(|part| (part.part_number, part.size_bytes)).collect()
}

async fn parts_that_were_sent_are_listed_by_number<U: SignUploads, P: PartsSetup>(
    desk: &U,
    person: &P,
) -> Outcome {
    let (file, id) = begun(desk, "parts").await?;
    person.send_part(&file.key, &id, 2, "end".into()).await;
    person.send_part(&file.key, &id, 1, content(1)).await;
    let parts = sent(desk, &file.key, &id).await?;
    same("parts", &vec![(1, 5 * MIB as u64), (2, 3)], &sizes(&parts))?;
    same("checksum", &true, &is_checksum_of(&parts[1], b"end"))?;
    same("another upload", &None, &desk.parts(&file.key, "never-begun").await?)?;
    Ok(desk.abort(&file.key, &id).await?)
}

fn is_checksum_of(part: &UploadedPart, bytes: &[u8]) -> bool {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let sent = STANDARD.decode(&part.checksum_sha256).unwrap_or_default();
    hex::encode(sent) == sha256(bytes)
}

async fn sent_part_replaces_one_of_the_same_number<U: SignUploads, P: PartsSetup>(
    desk: &U,
    person: &P,
) -> Outcome {
    let (file, id) = begun(desk, "parts-again").await?;
    for text in ["one", "other"] {
        person.send_part(&file.key, &id, 1, text.into()).await;
    }
    let parts = sent(desk, &file.key, &id).await?;
    same("parts", &vec![(1, 5)], &sizes(&parts))?;
    same("checksum", &true, &is_checksum_of(&parts[0], b"other"))?;
    Ok(desk.abort(&file.key, &id).await?)
}

async fn completed_upload_has_no_parts_and_is_completed_again_without_an_effect<
    U: SignUploads,
    P: PartsSetup,
>(
    desk: &U,
    person: &P,
) -> Outcome {
    let (file, id) = begun(desk, "completed").await?;
    person.send_part(&file.key, &id, 1, content(1)).await;
    person.send_part(&file.key, &id, 2, "end".into()).await;
    let parts = sent(desk, &file.key, &id).await?;
    for _ in 0..2 {
        desk.complete(&file.key, &id, &parts).await?;
        same("parts", &None, &desk.parts(&file.key, &id).await?)?;
    }
    same("an object", &true, &desk.newest_version(&file.key).await?.is_some())?;
    Ok(desk.abort(&file.key, &id).await?)
}

async fn aborted_upload_has_no_parts_and_is_aborted_again_without_an_effect<U: SignUploads, P: PartsSetup>(
    desk: &U,
    person: &P,
) -> Outcome {
    let (file, id) = begun(desk, "aborted").await?;
    person.send_part(&file.key, &id, 1, "all".into()).await;
    for _ in 0..2 {
        desk.abort(&file.key, &id).await?;
        same("parts", &None, &desk.parts(&file.key, &id).await?)?;
    }
    Ok(same("no object", &None, &desk.newest_version(&file.key).await?)?)
}
