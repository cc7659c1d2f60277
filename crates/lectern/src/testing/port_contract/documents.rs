//! The ports of documents and submissions.

use super::{Outcome, at_once, new_document, retried, suite};
use crate::{
    contract::wire::{JobError, JobFailed, JobSucceeded},
    document::metadata::FileName,
    document::submission::{Counts, SubmissionState},
    document::{
        Attempt, CallbackId, Document, DocumentRef, DocumentState, JobResult, Reason, Round, SubmissionId,
    },
    error::rfc3339,
    limits::MAX_CALLBACK_BYTES,
    ports::{
        Begin, Browse, Finish, Finishing, Load, NewDocument, Operations, Recorded, Register, Registration,
        Reopened, Reopening, Results, SubmissionFilter, Transfers, Withdrawing,
    },
    testing::{
        model::same,
        world::{START, failed_for, returned_file},
    },
};

suite! {
    /// [`Register`]
    register<S: Register + Load + Browse> {
        event_that_comes_several_times_at_once_registers_one_document,
        versions_of_one_file_that_come_at_once_leave_the_newest_as_the_current_one,
        documents_of_one_submission_that_come_at_once_are_all_counted,
    }
}

suite! {
    /// [`Load`]
    load<S: Load + Register> {
        document_that_was_never_registered_is_unknown,
        document_is_loaded_as_it_was_registered,
    }
}

suite! {
    /// [`Transfers`]
    transfers<S: Transfers + Load + Register> {
        newest_of_the_attempts_that_begin_at_once_is_the_documents_attempt,
    }
}

suite! {
    /// [`Results`]
    results<S: Results + Transfers + Load + Register> {
        first_of_the_results_that_come_at_once_stands,
        s07_only_results_of_jobs_that_the_document_has_or_may_have_are_stored,
        callback_id_that_no_document_has_is_unknown,
        result_as_large_as_a_callback_may_be_is_kept_whole,
        unknown_callback_is_kept_however_often_it_comes,
    }
}

suite! {
    /// [`Finishing`]
    finishing<S: Finishing + Browse + Register> {
        one_of_the_ends_that_come_at_once_is_counted,
        documents_of_one_submission_that_end_at_once_are_all_counted,
    }
}

suite! {
    /// [`Reopening`]
    reopening<S: Reopening + Finishing + Browse + Register> {
        one_of_the_operators_who_redrive_a_document_at_once_opens_it,
    }
}

suite! {
    /// [`Withdrawing`]
    withdrawing<S: Withdrawing + Finishing + Browse + Register + Reopening> {
        f07_withdrawn_document_leaves_the_counts_once_and_is_not_reopened,
        f07_newest_version_of_a_file_has_the_newest_sequencer,
    }
}

suite! {
    /// [`Browse`]
    browse<S: Browse + Results + Register> {
        submission_without_documents_is_unknown,
        a10_documents_of_a_submission_come_without_their_results,
        documents_of_a_submission_come_with_their_owner_and_name,
        pages_of_submissions_of_the_same_moment_leave_none_out,
    }
}

suite! {
    /// [`Operations`]
    operations<S: Operations + Browse + Register> {
        documents_come_in_the_order_of_their_ids_and_in_pages,
        submissions_of_a_state_are_counted_up_to_a_number,
    }
}

async fn registered(store: &impl Register, new: NewDocument) -> Outcome<Document> {
    match retried(async || store.register(new.clone()).await).await? {
        Registration::New(document) | Registration::Known(document) => Ok(document),
        Registration::Erased => Err("the submission is erased".to_owned().into()),
    }
}

async fn counts(store: &impl Browse, id: &SubmissionId) -> Outcome<Option<Counts>> {
    Ok(store.submission(id).await?.map(|(submission, _)| submission.counts))
}

async fn event_that_comes_several_times_at_once_registers_one_document<S: Register + Browse>(
    store: &S,
) -> Outcome {
    let new = new_document("one-event", "plan.pdf", 1)?;
    let mut found = at_once([0; 3].map(|_| store.register(new.clone()))).await?;
    found.push(retried(async || store.register(new.clone()).await).await?);
    let is_new = |registration: &&Registration| matches!(registration, Registration::New(_));
    same("registered as new", &1, &found.iter().filter(is_new).count())?;
    let open = Counts { open: 1, ..Counts::default() };
    Ok(same("counts", &Some(open), &counts(store, &new.reference.submission_id).await?)?)
}

async fn versions_of_one_file_that_come_at_once_leave_the_newest_as_the_current_one<
    S: Register + Load + Browse,
>(
    store: &S,
) -> Outcome {
    let versions = [2, 3, 1].map(|version| new_document("versions", "plan.pdf", version));
    let versions = versions.into_iter().collect::<Outcome<Vec<_>>>()?;
    at_once(versions.iter().map(|version| store.register(version.clone()))).await?;
    for version in &versions {
        registered(store, version.clone()).await?;
    }
    let newest = &versions[1].reference;
    for version in &versions {
        let document = store.load(&version.reference).await?;
        let is_superseded = document.is_some_and(|document| document.superseded_by.is_some());
        same(&version.object.version_id, &(version.reference != *newest), &is_superseded)?;
    }
    let open = Counts { open: 1, ..Counts::default() };
    Ok(same("counts", &Some(open), &counts(store, &newest.submission_id).await?)?)
}

async fn documents_of_one_submission_that_come_at_once_are_all_counted<S: Register + Browse>(
    store: &S,
) -> Outcome {
    let documents = (0..4).map(|file| new_document("crowd", &format!("{file}.pdf"), 1));
    let documents = documents.collect::<Outcome<Vec<_>>>()?;
    at_once(documents.iter().map(|new| store.register(new.clone()))).await?;
    for new in &documents {
        registered(store, new.clone()).await?;
    }
    let open = Counts { open: 4, ..Counts::default() };
    Ok(same("counts", &Some(open), &counts(store, &documents[0].reference.submission_id).await?)?)
}

async fn document_that_was_never_registered_is_unknown(store: &impl Load) -> Outcome {
    let unknown = new_document("never", "plan.pdf", 1)?.reference;
    Ok(same("document", &None, &store.load(&unknown).await?)?)
}

async fn document_is_loaded_as_it_was_registered<S: Register + Load>(store: &S) -> Outcome {
    let accepted = new_document("as-registered", "教案 +%\u{1F393}'.pdf", 1)?;
    let rejected = NewDocument {
        media_type: None,
        rejected: Some(Reason::new("empty", "「空」 It is empty.")),
        ..new_document("as-registered", "", 1)?
    };
    for new in [accepted, rejected] {
        let document = registered(store, new.clone()).await?;
        let state = if new.rejected.is_some() { DocumentState::Rejected } else { DocumentState::Received };
        same("state", &state, &document.state)?;
        same("reason", &new.rejected, &document.reason)?;
        same("object", &new.object, &document.object)?;
        same("callback id", &new.callback_id, &document.callback_id)?;
        same("trace", &Some(new.traceparent), &document.traceparent)?;
        same("document", &Some(document), &store.load(&new.reference).await?)?;
    }
    Ok(())
}

async fn newest_of_the_attempts_that_begin_at_once_is_the_documents_attempt<
    S: Transfers + Load + Register,
>(
    store: &S,
) -> Outcome {
    let reference = registered(store, new_document("attempts", "plan.pdf", 1)?).await?.reference;
    let begin = |attempt| store.begin_transfer(&reference, Attempt(attempt), Round::FIRST, START);
    at_once([1002, 1003, 1001].map(begin)).await?;
    for attempt in [1001, 1002, 1003] {
        retried(async || begin(attempt).await).await?;
    }
    let document = store.load(&reference).await?;
    same("attempt", &Some(Attempt(1003)), &document.and_then(|document| document.attempt))?;
    same("the same attempt again", &Begin::Stale, &begin(1003).await?)?;
    store.record_job(&reference, Attempt(1002), "job of an older attempt").await?;
    let document = store.load(&reference).await?;
    Ok(same("job", &None, &document.and_then(|document| document.job_id))?)
}

async fn first_of_the_results_that_come_at_once_stands<S: Results + Load + Register>(store: &S) -> Outcome {
    let reference = registered(store, new_document("results", "plan.pdf", 1)?).await?.reference;
    let results = ["job-1", "job-2", "job-3"]
        .map(|job_id| JobResult::Succeeded(JobSucceeded { job_id: job_id.to_owned(), files: Vec::new() }));
    at_once(results.iter().map(|result| store.record_result(&reference, result, START))).await?;
    let mut firsts = 0;
    for result in &results {
        let recorded = retried(async || store.record_result(&reference, result, START).await).await?;
        if let Recorded::Same(_) = recorded {
            firsts += 1;
        } else {
            same("another job's result", &Recorded::OtherJob, &recorded)?;
        }
    }
    same("results that stand", &1, &firsts)?;
    let stored = store.load(&reference).await?.and_then(|document| document.result);
    Ok(same("a result is stored", &true, &stored.is_some_and(|stored| results.contains(&stored)))?)
}

async fn s07_only_results_of_jobs_that_the_document_has_or_may_have_are_stored<
    S: Results + Transfers + Load + Register,
>(
    store: &S,
) -> Outcome {
    let result =
        |job_id: &str| JobResult::Failed(JobFailed { job_id: job_id.to_owned(), error: error("unreadable") });
    for (case, job_ids, taken) in [
        ("its own", ["job-1", "job-2"], "job-2"),
        ("an earlier attempt's", ["job-1", "job-2"], "job-1"),
        ("of an attempt without an answer", ["job-1", ""], "job-9"),
        ("of no job", ["job-1", "job-2"], ""),
    ] {
        let new = new_document("jobs", &format!("{case}.pdf"), 1)?;
        let reference = registered(store, new).await?.reference;
        for (attempt, job_id) in (1000..).map(Attempt).zip(job_ids) {
            retried(async || store.begin_transfer(&reference, attempt, Round::FIRST, START).await).await?;
            if !job_id.is_empty() {
                retried(async || store.record_job(&reference, attempt, job_id).await).await?;
                let foreign = store.record_result(&reference, &result("job-9"), START).await?;
                same("another document's", &Recorded::OtherJob, &foreign)?;
            }
        }
        let recorded = store.record_result(&reference, &result(taken), START).await?;
        same(case, &true, &matches!(recorded, Recorded::First(_)))?;
    }
    Ok(())
}

async fn callback_id_that_no_document_has_is_unknown(store: &impl Results) -> Outcome {
    for text in [String::new(), "unknown".to_owned(), "ü ".to_owned(), "x".repeat(5000)] {
        same(&text, &None, &store.resolve(&CallbackId::new(&*text)).await?)?;
    }
    let failed = JobFailed { job_id: "job".to_owned(), error: error("unreadable") };
    let unknown = new_document("no-document", "plan.pdf", 1)?.reference;
    let recorded = store.record_result(&unknown, &JobResult::Failed(failed), START).await?;
    Ok(same("result of no document", &Recorded::Unknown, &recorded)?)
}

async fn result_as_large_as_a_callback_may_be_is_kept_whole<S: Results + Load + Register>(
    store: &S,
) -> Outcome {
    let reference = registered(store, new_document("large-result", "plan.pdf", 1)?).await?.reference;
    let file = returned_file("教案.txt", crate::contract::wire::FileRole::Attachment, "text/plain", b"text");
    let long = format!("{}?{}", file.url, "x".repeat(MAX_CALLBACK_BYTES / 50 - 400));
    let files = vec![crate::contract::wire::ReturnedFile { url: long, ..file }; 50];
    let result = JobResult::Succeeded(JobSucceeded { job_id: "job".to_owned(), files });
    let recorded = store.record_result(&reference, &result, START).await?;
    same("first", &true, &matches!(recorded, Recorded::First(_)))?;
    let stored = store.load(&reference).await?.and_then(|document| document.result);
    Ok(same("whole", &true, &(stored == Some(result)))?)
}

async fn unknown_callback_is_kept_however_often_it_comes(store: &impl Results) -> Outcome {
    let body = vec![0; MAX_CALLBACK_BYTES];
    for _ in 0..2 {
        store.keep_unknown("event", "callback", &body, START).await?;
    }
    Ok(store.keep_unknown("event of an empty body", "", b"", START).await?)
}

async fn one_of_the_ends_that_come_at_once_is_counted<S: Finishing + Browse + Register>(
    store: &S,
) -> Outcome {
    let reference = registered(store, new_document("one-end", "plan.pdf", 1)?).await?.reference;
    let mut found = at_once([0; 3].map(|_| end(store, &reference))).await?;
    found.push(retried(async || end(store, &reference).await).await?);
    same("ends", &1, &found.iter().filter(|finish| **finish == Finish::Finished).count())?;
    let failed = Counts { failed: 1, ..Counts::default() };
    Ok(same("counts", &Some(failed), &counts(store, &reference.submission_id).await?)?)
}

async fn documents_of_one_submission_that_end_at_once_are_all_counted<S: Finishing + Browse + Register>(
    store: &S,
) -> Outcome {
    let mut documents = Vec::new();
    for file in 0..4 {
        let new = new_document("ends", &format!("{file}.pdf"), 1)?;
        documents.push(registered(store, new).await?.reference);
    }
    at_once(documents.iter().map(|document| end(store, document))).await?;
    for document in &documents {
        retried(async || end(store, document).await).await?;
    }
    let found = store.submission(&documents[0].submission_id).await?;
    let found = found.map(|(submission, _)| (submission.counts, submission.state));
    let failed = Counts { failed: 4, ..Counts::default() };
    Ok(same("submission", &Some((failed, SubmissionState::NeedsAttention)), &found)?)
}

async fn end(store: &impl Finishing, document: &DocumentRef) -> Result<Finish, crate::error::Error> {
    store.finish(document, failed_for(Reason::new("internal", "It failed.")), START).await
}

async fn one_of_the_operators_who_redrive_a_document_at_once_opens_it<
    S: Reopening + Finishing + Browse + Register,
>(
    store: &S,
) -> Outcome {
    let reference = registered(store, new_document("operators", "plan.pdf", 1)?).await?.reference;
    retried(async || end(store, &reference).await).await?;
    let reopen = || store.reopen(&reference, 0, false, START);
    let mut found = at_once([reopen(), reopen(), reopen()]).await?;
    found.push(retried(async || reopen().await).await?);
    let opened = found.iter().filter(|reopened| matches!(reopened, Reopened::Open(_))).count();
    same("opened", &1, &opened)?;
    let open = Counts { open: 1, ..Counts::default() };
    same("counts", &Some(open), &counts(store, &reference.submission_id).await?)?;
    let unknown = new_document("operators", "other.pdf", 1)?.reference;
    Ok(same("unknown", &Reopened::Unknown, &store.reopen(&unknown, 0, false, START).await?)?)
}

async fn f07_withdrawn_document_leaves_the_counts_once_and_is_not_reopened<
    S: Withdrawing + Finishing + Browse + Register + Reopening,
>(
    store: &S,
) -> Outcome {
    let failed = registered(store, new_document("withdrawn", "failed.pdf", 1)?).await?.reference;
    let open = registered(store, new_document("withdrawn", "open.pdf", 1)?).await?.reference;
    retried(async || end(store, &failed).await).await?;
    let mut found = at_once([0; 3].map(|_| store.withdraw(&failed, START))).await?;
    found.push(retried(async || store.withdraw(&failed, START).await).await?);
    same("withdrawn", &1, &found.iter().filter(|withdrawn| **withdrawn).count())?;
    same("an open document", &false, &store.withdraw(&open, START).await?)?;
    let one_open = Counts { open: 1, ..Counts::default() };
    same("counts", &Some(one_open), &counts(store, &failed.submission_id).await?)?;
    let reopened = store.reopen(&failed, 0, false, START).await?;
    same("reopened", &true, &matches!(reopened, Reopened::Unchanged(_)))?;
    let newer = registered(store, new_document("withdrawn", "failed.pdf", 2)?).await?;
    same("newer version", &DocumentState::Received, &newer.state)?;
    let two_open = Counts { open: 2, ..Counts::default() };
    same("counts", &Some(two_open), &counts(store, &failed.submission_id).await?)?;
    let unknown = new_document("withdrawn", "unknown.pdf", 1)?.reference;
    Ok(same("unknown", &false, &store.withdraw(&unknown, START).await?)?)
}

async fn f07_newest_version_of_a_file_has_the_newest_sequencer<S: Withdrawing + Register>(
    store: &S,
) -> Outcome {
    let mut newest = None;
    for version in [2, 1, 3] {
        let new = new_document("newest", "plan.pdf", version)?;
        registered(store, new.clone()).await?;
        let NewDocument { reference, object, sequencer, .. } = new;
        if version > 1 {
            newest = Some((reference.clone(), sequencer));
        }
        let found = store.newest_version(&reference.submission_id, &object).await?;
        same("newest version", &newest, &found)?;
    }
    let unknown = new_document("newest", "unknown.pdf", 1)?;
    let found = store.newest_version(&unknown.reference.submission_id, &unknown.object).await?;
    Ok(same("unknown file", &None, &found)?)
}

async fn submission_without_documents_is_unknown(store: &impl Browse) -> Outcome {
    same("submission", &None, &store.submission(&"nothing".parse()?).await?)?;
    Ok(same("unassigned uploads", &None, &store.submission(&SubmissionId::unassigned()).await?)?)
}

async fn a10_documents_of_a_submission_come_without_their_results<S: Browse + Results + Register>(
    store: &S,
) -> Outcome {
    let document = registered(store, new_document("listed", "plan.pdf", 1)?).await?;
    let failed = JobFailed { job_id: "job".to_owned(), error: error("unreadable") };
    store.record_result(&document.reference, &JobResult::Failed(failed), START).await?;
    let found = store.submission(&document.reference.submission_id).await?;
    Ok(same("documents", &Some(vec![document]), &found.map(|(_, documents)| documents))?)
}

async fn documents_of_a_submission_come_with_their_owner_and_name<S: Browse + Results + Register>(
    store: &S,
) -> Outcome {
    let (owner, name) = (Some("teacher-1".parse()?), FileName::new("教案 1.pdf"));
    let new = NewDocument {
        owner: owner.clone(),
        name: name.clone(),
        ..new_document("owned", "0123456789abcdef.pdf", 1)?
    };
    let id = new.reference.submission_id.clone();
    let document = registered(store, new).await?;
    same("display name", &"教案 1.pdf", &document.display_name().as_str())?;
    let found = store.submission(&id).await?.into_iter().flat_map(|(_, documents)| documents);
    let found: Vec<_> = found.map(|document| (document.owner, document.name)).collect();
    Ok(same("owner and name", &vec![(owner, name)], &found)?)
}

async fn pages_of_submissions_of_the_same_moment_leave_none_out<S: Browse + Register>(store: &S) -> Outcome {
    // Later than every other case, so that the list begins with them.
    let now = START + time::Duration::days(1);
    let ids = ["same-c", "same-b", "same-a"];
    for id in ids {
        registered(store, NewDocument { now, ..new_document(id, "plan.pdf", 1)? }).await?;
    }
    let filter = SubmissionFilter::in_state(Some(SubmissionState::InProgress));
    let mut after = None;
    for id in ids {
        let page = store.submissions(&filter, after.as_ref(), 1).await?;
        let found: Vec<&str> =
            page.submissions.iter().map(|submission| submission.submission_id.as_str()).collect();
        same("page", &vec![id], &found)?;
        after = page.next;
    }
    Ok(())
}

fn error(code: &str) -> JobError {
    JobError { code: code.to_owned(), message: "The service gave it up.".into() }
}

async fn documents_come_in_the_order_of_their_ids_and_in_pages<S: Browse + Register>(store: &S) -> Outcome {
    let id: SubmissionId = "operated".parse()?;
    same("nothing yet", &0, &store.documents(&id, None, 10).await?.documents.len())?;
    let mut expected = Vec::new();
    for number in 0..7 {
        let new = new_document(id.as_str(), &format!("{number}.pdf"), 1)?;
        expected.push(registered(store, new).await?);
    }
    // Its key begins like those of the submission.
    registered(store, new_document("operated-2", "plan.pdf", 1)?).await?;
    expected.sort_by_key(|document| document.reference.document_id);
    same("all", &expected, &store.documents(&id, None, 100).await?.documents)?;
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.documents(&id, after, 3).await?;
        after = page.next;
        pages.push(page.documents);
        if after.is_none() {
            break;
        }
    }
    same("sizes of pages", &vec![3, 3, 1], &pages.iter().map(Vec::len).collect())?;
    Ok(same("pages", &expected, &pages.concat())?)
}

async fn submissions_of_a_state_are_counted_up_to_a_number<S: Operations + Register>(store: &S) -> Outcome {
    let before = store.count_submissions(SubmissionState::NeedsAttention, 1000).await?;
    for number in 0..3 {
        let rejected = Some(Reason::new("empty", "It is empty."));
        let new = new_document(&format!("counted-{number}"), "empty.pdf", 1)?;
        registered(store, NewDocument { rejected, ..new }).await?;
    }
    let now = store.count_submissions(SubmissionState::NeedsAttention, 1000).await?;
    same("more", &(before + 3), &now)?;
    same("at most", &2, &store.count_submissions(SubmissionState::NeedsAttention, 2).await?)?;
    let oldest = store.oldest_submission(SubmissionState::NeedsAttention).await?;
    Ok(same("not after these", &true, &oldest.is_some_and(|oldest| oldest <= rfc3339(START)))?)
}
