//! The ports of erasures, and the retention of documents.

use std::{future::Future, time::Duration};

use bytes::Bytes;

use super::{Outcome, new_document, objects::UploadsSetup, retried, suite};
use crate::{
    contract::wire::{JobError, JobFailed},
    document::retention::Retention,
    document::{Attempt, Document, JobResult, Reason, Round},
    ports::{
        Begin, Browse, ErasedObjects, Erasure, ErasureState, Erasures, Finish, Finishing, Load, NewDocument,
        Recorded, Register, Registration, Reopened, Reopening, Results, SubmissionObjects, Transfers,
    },
    testing::{
        model::same,
        world::{START, failed_for},
    },
};

/// All ports of a store.
pub trait Store: Erasures + Register + Load + Browse + Finishing + Reopening + Results + Transfers {}

impl<S: Erasures + Register + Load + Browse + Finishing + Reopening + Results + Transfers> Store for S {}

/// The retention of the store that runs [`retention`].
pub const RETENTION: Retention = Retention {
    uploads: Some(Duration::from_hours(365 * 24)),
    records: Some(Duration::from_hours(730 * 24)),
};

suite! {
    /// The retention of documents, on a store with [`RETENTION`].
    retention<S: Store> {
        a08_document_expires_from_its_end_until_it_is_reopened,
    }
}

suite! {
    /// [`Erasures`]
    erasures<S: Store> {
        a08_erasure_leaves_nothing_but_itself,
        a08_nothing_is_added_to_a_submission_that_is_being_erased,
        a08_erasure_is_begun_again_and_keeps_its_counts,
        a08_submission_without_documents_can_be_erased,
    }
}

/// Both buckets of a [`SubmissionObjects`].
pub trait ObjectsSetup: UploadsSetup {
    /// Puts an object into the bucket of returned files.
    fn put(&self, key: &str, bytes: Bytes) -> impl Future<Output = ()> + Send;
}

suite! {
    /// [`SubmissionObjects`]
    submission_objects<O: SubmissionObjects, B: ObjectsSetup> {
        a08_every_version_of_a_submissions_objects_is_erased_and_none_of_another,
    }
}

async fn registered(store: &impl Register, new: &NewDocument) -> Outcome<Document> {
    match retried(async || store.register(new.clone()).await).await? {
        Registration::New(document) | Registration::Known(document) => Ok(document),
        Registration::Erased => Err("the submission is erased".to_owned().into()),
    }
}

async fn failed<S: Store>(store: &S, new: &NewDocument) -> Outcome<Document> {
    let document = registered(store, new).await?;
    let outcome = || failed_for(Reason::new("internal", "It failed."));
    retried(async || store.finish(&document.reference, outcome(), START).await).await?;
    Ok(document)
}

async fn a08_document_expires_from_its_end_until_it_is_reopened<S: Store>(store: &S) -> Outcome {
    let expires_at = async |document: &Document| {
        let document = store.load(&document.reference).await?;
        Ok::<_, crate::error::Error>(document.and_then(|document| document.expires_at))
    };
    let expected = RETENTION.expires_at(START);
    let rejected = Some(Reason::new("empty", "It is empty."));
    let rejected = NewDocument { rejected, ..new_document("expires", "rejected.pdf", 1)? };
    same("rejected", &expected, &expires_at(&registered(store, &rejected).await?).await?)?;
    let new = new_document("expires", "failed.pdf", 1)?;
    let document = registered(store, &new).await?;
    same("open", &None, &expires_at(&document).await?)?;
    failed(store, &new).await?;
    same("failed", &expected, &expires_at(&document).await?)?;
    retried(async || store.reopen(&document.reference, 0, false, START).await).await?;
    Ok(same("reopened", &None, &expires_at(&document).await?)?)
}

async fn a08_erasure_leaves_nothing_but_itself<S: Store>(store: &S) -> Outcome {
    let id = "erased".parse()?;
    let mut documents = vec![failed(store, &new_document("erased", "failed.pdf", 1)?).await?];
    for version in [1, 2] {
        documents.push(registered(store, &new_document("erased", "plan.pdf", version)?).await?);
    }
    let other = registered(store, &new_document("erased-not", "plan.pdf", 1)?).await?;
    same("no erasure", &None, &store.erasure(&id).await?)?;
    store.begin_erasure(&id, "arn:operator", START).await?;
    let found = store.documents_to_erase(&id).await?;
    same("documents", &documents.len(), &found.len())?;
    for document in &found {
        retried(async || store.erase_document(document, START).await).await?;
    }
    store.count_erased_versions(&id, 7).await?;
    store.end_erasure(&id, START).await?;
    let expected = Erasure {
        submission_id: id.clone(),
        state: ErasureState::Erased,
        by: "arn:operator".to_owned(),
        began_at: crate::error::rfc3339(START),
        ended_at: Some(crate::error::rfc3339(START)),
        documents: 3,
        object_versions: 7,
    };
    same("erasure", &Some(expected), &store.erasure(&id).await?)?;
    same("documents left", &0, &store.documents_to_erase(&id).await?.len())?;
    same("submission", &None, &store.submission(&id).await?)?;
    for document in &documents {
        same("document", &None, &store.load(&document.reference).await?)?;
        let target = store.resolve(&document.callback_id).await?;
        let is_erased = target.map(|target| (target.is_erased, target.traceparent.is_some()));
        same("callback", &Some((true, false)), &is_erased)?;
    }
    same("another submission", &Some(other.clone()), &store.load(&other.reference).await?)?;
    let target = store.resolve(&other.callback_id).await?;
    Ok(same("another callback", &Some(false), &target.map(|target| target.is_erased))?)
}

async fn a08_nothing_is_added_to_a_submission_that_is_being_erased<S: Store>(store: &S) -> Outcome {
    let name = "being-erased";
    let id = name.parse()?;
    let open = registered(store, &new_document(name, "open.pdf", 1)?).await?.reference;
    let failed = failed(store, &new_document(name, "failed.pdf", 1)?).await?.reference;
    let newer = registered(store, &new_document(name, "plan.pdf", 2)?).await?;
    store.begin_erasure(&id, "arn:operator", START).await?;
    // A version that is newer than all, one of a new file, and one that is superseded on arrival.
    for (file, version) in [("plan.pdf", 3), ("new.pdf", 1), ("plan.pdf", 1)] {
        let new = new_document(name, file, version)?;
        same(file, &Registration::Erased, &retried(async || store.register(new.clone()).await).await?)?;
        same(file, &None, &store.load(&new.reference).await?)?;
    }
    let outcome = || failed_for(Reason::new("internal", "It failed."));
    let ended = retried(async || store.finish(&open, outcome(), START).await).await?;
    same("ended", &Finish::Finished, &ended)?;
    let reopened = retried(async || store.reopen(&failed, 0, false, START).await).await?;
    same("reopened", &Reopened::Unknown, &reopened)?;
    same("submission", &None, &store.submission(&id).await?)?;
    for document in store.documents_to_erase(&id).await? {
        store.erase_document(&document, START).await?;
    }
    // Steps that were running when the erasure began.
    let error = JobError { code: "unreadable".to_owned(), message: "It cannot be read.".into() };
    let result = JobResult::Failed(JobFailed { job_id: "job".to_owned(), error });
    same("result", &Recorded::Unknown, &store.record_result(&open, &result, START).await?)?;
    let begun = store.begin_transfer(&open, Attempt(1000), Round::FIRST, START).await?;
    same("attempt", &Begin::Stale, &begun)?;
    same("normalising", &Begin::Stale, &store.begin_normalize(&open, START).await?)?;
    Ok(same("document", &None, &store.load(&newer.reference).await?)?)
}

async fn a08_erasure_is_begun_again_and_keeps_its_counts<S: Store>(store: &S) -> Outcome {
    let id = "erased-twice".parse()?;
    let document = registered(store, &new_document("erased-twice", "plan.pdf", 1)?).await?;
    store.begin_erasure(&id, "arn:first", START).await?;
    store.erase_document(&document, START).await?;
    store.end_erasure(&id, START).await?;
    let later = START + Duration::from_hours(1);
    store.begin_erasure(&id, "arn:second", later).await?;
    let begun = store.erasure(&id).await?;
    let facts = begun.map(|erasure| (erasure.state, erasure.by, erasure.ended_at, erasure.documents));
    same("begun again", &Some((ErasureState::Erasing, "arn:second".to_owned(), None, 1)), &facts)?;
    store.count_erased_versions(&id, 2).await?;
    store.count_erased_versions(&id, 3).await?;
    store.end_erasure(&id, later).await?;
    let ended = store.erasure(&id).await?;
    let facts = ended.map(|erasure| (erasure.began_at, erasure.ended_at, erasure.object_versions));
    let times = [START, later].map(crate::error::rfc3339);
    let [first, second] = times;
    Ok(same("ended again", &Some((first, Some(second), 5)), &facts)?)
}

async fn a08_submission_without_documents_can_be_erased<S: Store>(store: &S) -> Outcome {
    let id = "erased-empty".parse()?;
    store.begin_erasure(&id, "arn:operator", START).await?;
    same("documents", &0, &store.documents_to_erase(&id).await?.len())?;
    store.end_erasure(&id, START).await?;
    let state = store.erasure(&id).await?.map(|erasure| erasure.state);
    Ok(same("state", &Some(ErasureState::Erased), &state)?)
}

async fn a08_every_version_of_a_submissions_objects_is_erased_and_none_of_another<
    O: SubmissionObjects,
    B: ObjectsSetup,
>(
    objects: &O,
    setup: &B,
) -> Outcome {
    let (id, other) = ("o1".parse()?, "o1-2".parse()?);
    let nothing = ErasedObjects { versions: 0, are_all: true };
    same("nothing yet", &nothing, &objects.erase_objects(&id, 100).await?)?;
    for submission in ["o1", "o1-2"] {
        let key = format!("submissions/{submission}/plan.txt");
        setup.add_version(&key, None, "A plan.".into()).await;
        let object = setup.add_version(&key, None, "A longer plan.".into()).await;
        setup.add_delete_marker(&object).await;
        setup.add_version(&format!("submissions/{submission}/教 a+b%2B&c.txt"), None, "Text.".into()).await;
        setup.add_version(&format!("submissions/{submission}/"), None, Bytes::new()).await;
        for kind in ["returned", "quarantine", "records"] {
            setup.put(&format!("{kind}/{submission}/d1/0"), "Text.".into()).await;
        }
    }
    same("versions", &8, &objects.count_versions(&id).await?)?;
    let all = ErasedObjects { versions: 8, are_all: true };
    same("erased", &all, &objects.erase_objects(&id, 100).await?)?;
    same("left", &0, &objects.count_versions(&id).await?)?;
    same("another submission's", &8, &objects.count_versions(&other).await?)?;
    let first = objects.erase_objects(&other, 1).await?;
    same("not all by the first call", &false, &first.are_all)?;
    let mut erased = first;
    for _ in 0..8 {
        if !erased.are_all {
            let next = objects.erase_objects(&other, 1).await?;
            erased = ErasedObjects { versions: erased.versions + next.versions, are_all: next.are_all };
        }
    }
    same("erased by several calls", &all, &erased)?;
    Ok(same("left by several calls", &0, &objects.count_versions(&other).await?)?)
}
