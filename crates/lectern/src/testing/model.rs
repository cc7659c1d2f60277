//! The reference model of the state store, and the harness that compares any store with it.
//!
//! The model is written from the design and does not use [`crate::document::transitions`]: it is a list of documents in
//! the order of their registration, from which everything else (which document supersedes which, a submission's counts)
//! is computed each time. [`check`] runs the same operations on both, and compares every answer and all data that can
//! be read.

use std::{fmt::Debug, future::Future};

use time::{Duration, OffsetDateTime};

use super::{
    MemoryStore,
    reference::{Model, WHICH},
    world::START,
};
use crate::{
    document::submission::{Submission, SubmissionState},
    document::{
        Attempt, CallbackId, Document, DocumentRef, JobResult, Reason, Round, SubmissionId, TaskToken,
    },
    error::Error,
    ports::{
        Begin, Browse, CallbackTarget, Failure, FinalOutcome, Finishing, Load, NewDocument, Register,
        Registration, Reopened, Reopening, Results, SubmissionFilter, Transfers, Withdrawing,
    },
};

/// The two writes that the state machine makes itself, without a function.
pub trait DirectWrites: Send + Sync {
    /// The state `AwaitCallback`: keeps the token. `false` if its condition fails.
    fn await_callback(
        &self,
        document: &DocumentRef,
        token: TaskToken,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// The state `BeginVerify`: what it returns, `None` if its condition fails.
    fn begin_verify(
        &self,
        document: &DocumentRef,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Option<Returned>, Error>> + Send;
}

/// What the state `BeginVerify` returns to the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Whether the job succeeded.
    pub succeeded: bool,
    /// How many files it returned.
    pub files: usize,
}

impl Returned {
    pub(super) fn of(result: &JobResult) -> Self {
        match result {
            JobResult::Succeeded(job) => Self { succeeded: true, files: job.files.len() },
            JobResult::Failed(_) => Self { succeeded: false, files: 0 },
        }
    }
}

impl DirectWrites for MemoryStore {
    async fn await_callback(
        &self,
        document: &DocumentRef,
        token: TaskToken,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        Ok(self.await_callback(document, token, now))
    }

    async fn begin_verify(
        &self,
        document: &DocumentRef,
        now: OffsetDateTime,
    ) -> Result<Option<Returned>, Error> {
        Ok(self.begin_verify(document, now).as_ref().map(Returned::of))
    }
}

/// One operation on one of the documents of a run, registered or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Which document, below [`Op::DOCUMENTS`].
    pub document: usize,
    /// What happens to it.
    pub action: Action,
}

/// What happens to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its event arrives.
    Register {
        /// Whether it is acceptable.
        acceptable: bool,
    },
    /// An attempt begins.
    BeginTransfer(Attempt),
    /// An attempt learns its job.
    RecordJob(Attempt),
    /// A result comes, one of four.
    RecordResult(usize),
    /// The execution begins to wait.
    AwaitCallback,
    /// The execution goes on to verify.
    BeginVerify,
    /// The files are verified.
    BeginNormalize,
    /// It ends.
    Finish {
        /// With a record.
        ready: bool,
        /// If without a record: whether the execution was started before the last redrive.
        outdated: bool,
    },
    /// An operator redrives the document.
    Reopen {
        /// Without the kept result.
        discard_result: bool,
        /// Whether the operator's data is from before another operator's redrive.
        outdated: bool,
    },
    /// The uploaded file was deleted.
    Withdraw,
}

impl Op {
    /// The number of documents in a run: some files in two submissions, each in some versions.
    pub const DOCUMENTS: usize = WHICH;

    /// Any number is an operation; a smaller one is a simpler one.
    pub fn decode(number: u32) -> Self {
        let number = number as usize;
        let (document, action, detail) = (number % WHICH, number / WHICH % 14, number / WHICH / 14);
        let attempt = Attempt([1000, 1001, 1002][detail % 3]);
        let action = match action {
            0..=3 => Action::Register { acceptable: !detail.is_multiple_of(4) || action > 0 },
            4 => Action::BeginTransfer(attempt),
            5 => Action::RecordJob(attempt),
            6 => Action::RecordResult(detail % 4),
            7 => Action::AwaitCallback,
            8 => Action::BeginVerify,
            9 => Action::BeginNormalize,
            10 | 11 => Action::Finish { ready: detail.is_multiple_of(2), outdated: detail % 8 == 5 },
            12 => Action::Withdraw,
            _ => Action::Reopen { discard_result: detail % 4 == 2, outdated: detail % 4 == 3 },
        };
        Self { document, action }
    }
}

/// A store that can be compared with the model.
pub trait Modelled:
    Register + Withdrawing + Load + Transfers + Results + Finishing + Reopening + Browse + DirectWrites
{
}

impl<S> Modelled for S where
    S: Register + Withdrawing + Load + Transfers + Results + Finishing + Reopening + Browse + DirectWrites
{
}

/// Runs the operations on an empty model and on `store`, and compares every answer, all that can be read after each
/// operation, and the lists at the end. `run` is part of every id, so that runs on one table do not meet: up to 32 of
/// `a-z 0-9`.
///
/// # Errors
/// What was expected and what was found instead, and at which operation.
pub async fn check<S: Modelled>(store: &S, run: &str, ops: &[Op]) -> Result<(), String> {
    let mut model = Model::new(run);
    for (index, op) in ops.iter().enumerate() {
        step(store, &mut model, index, *op).await?;
        compare(store, &model, op.document).await.map_err(|error| at(index, *op, &error))?;
    }
    for document in 0..WHICH {
        compare(store, &model, document).await?;
    }
    compare_lists(store, &model).await
}

/// As [`check`], but compares only the answers and what can be read of the last operation's document at the end.
///
/// # Errors
/// As [`check`].
pub async fn check_end<S: Modelled>(store: &S, run: &str, ops: &[Op]) -> Result<(), String> {
    let mut model = Model::new(run);
    for (index, op) in ops.iter().enumerate() {
        step(store, &mut model, index, *op).await?;
    }
    let Some(last) = ops.last() else { return Ok(()) };
    compare(store, &model, last.document).await.map_err(|error| at(ops.len() - 1, *last, &error))
}

/// The first document after the operations.
pub(super) async fn document_after<S: Modelled>(store: &S, ops: &[Op]) -> Result<Option<Document>, String> {
    let mut model = Model::new("run");
    for (index, op) in ops.iter().enumerate() {
        step(store, &mut model, index, *op).await?;
    }
    ok(store.load(&model.reference(0)).await)
}

async fn step<S: Modelled>(store: &S, model: &mut Model, index: usize, op: Op) -> Result<(), String> {
    let now = START + Duration::seconds(i64::try_from(index).unwrap_or(0));
    apply(store, model, op, index, now).await.map_err(|error| at(index, op, &error))
}

fn at(index: usize, op: Op, error: &str) -> String {
    format!("operation {index}, {op:?}: {error}")
}

async fn apply<S: Modelled>(
    store: &S,
    model: &mut Model,
    op: Op,
    index: usize,
    now: OffsetDateTime,
) -> Result<(), String> {
    let reference = model.reference(op.document);
    match op.action {
        Action::Register { acceptable } => {
            let callback_id = CallbackId::new(format!("{}-{index}", model.run));
            let rejected = (!acceptable).then(|| Reason::new("empty", "It is empty."));
            let new =
                NewDocument { rejected, callback_id, now, ..model.new_document(op.document, acceptable) };
            let is_new = model.register(op.document, acceptable, &new);
            let found = ok(store.register(new).await)?;
            same("registered as new", &is_new, &matches!(found, Registration::New(_)))?;
            match found {
                Registration::New(document) | Registration::Known(document) => {
                    model.expect(op.document, Some(&document))
                }
                Registration::Erased => Err("nothing was erased".to_owned()),
            }
        }
        Action::BeginTransfer(attempt) => {
            let round = Round(1 + attempt.0 % 2);
            let begun = model.begin_transfer(op.document, attempt, round, now);
            let found = ok(store.begin_transfer(&reference, attempt, round, now).await)?;
            begin(model, op.document, begun, &found)
        }
        Action::RecordJob(attempt) => {
            let job_id = model.result(attempt.0 as usize).job_id().to_owned();
            model.record_job(op.document, attempt, &job_id);
            ok(store.record_job(&reference, attempt, &job_id).await)
        }
        Action::RecordResult(which) => {
            let result = model.result(which);
            let expected = model.record_result(op.document, &result, now);
            same("recorded", &expected, &ok(store.record_result(&reference, &result, now).await)?)
        }
        Action::AwaitCallback => {
            let token = TaskToken::new(format!("token-{index}"));
            let expected = model.await_callback(op.document, &token, now);
            same("waits", &expected, &ok(store.await_callback(&reference, token, now).await)?)
        }
        Action::BeginVerify => {
            let expected = model.begin_verify(op.document, now);
            same("returned", &expected, &ok(store.begin_verify(&reference, now).await)?)
        }
        Action::BeginNormalize => {
            let begun = model.begin_normalize(op.document, now);
            begin(model, op.document, begun, &ok(store.begin_normalize(&reference, now).await)?)
        }
        Action::Finish { ready, outdated } => {
            let outcome = if ready {
                FinalOutcome::Ready { record_key: model.record_key(op.document) }
            } else {
                let redrives = model.redrives(op.document) + u32::from(outdated);
                FinalOutcome::Failed(Failure { reason: Reason::new("internal", "It failed."), redrives })
            };
            let expected =
                if outdated { model.refuse(op.document) } else { model.finish(op.document, ready, now) };
            same("finished", &expected, &ok(store.finish(&reference, outcome, now).await)?)
        }
        Action::Reopen { discard_result, outdated } => {
            let after = model.redrives(op.document) + u32::from(outdated);
            let expected = model.reopen(op.document, after, discard_result, now);
            let found = ok(store.reopen(&reference, after, discard_result, now).await)?;
            same("opened again", &expected, &matches!(found, Reopened::Open(_)))?;
            match found {
                Reopened::Open(document) | Reopened::Unchanged(document) => {
                    model.expect(op.document, Some(&document))
                }
                Reopened::Unknown => model.expect(op.document, None),
            }
        }
        Action::Withdraw => {
            let expected = model.withdraw(op.document);
            same("withdrawn", &expected, &ok(store.withdraw(&reference, now).await)?)
        }
    }
}

fn begin(model: &Model, which: usize, expected: bool, found: &Begin) -> Result<(), String> {
    same("begun", &expected, &matches!(found, Begin::Begun(_)))?;
    match found {
        Begin::Begun(document) => model.expect(which, Some(document)),
        Begin::Stale => Ok(()),
    }
}

/// A submission without what depends on the way to its state: the model knows only the state.
fn without_history(submission: Submission) -> Submission {
    Submission { count_changes: 0, counted_at: None, ..submission }
}

/// All that can be read of a document and of its submission.
async fn compare<S: Load + Results + Browse>(store: &S, model: &Model, which: usize) -> Result<(), String> {
    let reference = model.reference(which);
    let document = ok(store.load(&reference).await)?;
    model.expect(which, document.as_ref())?;
    if let Some(document) = &document {
        let resolved = ok(store.resolve(&document.callback_id).await)?;
        let traceparent = Some(model.traceparent(which));
        let expected = CallbackTarget { document: reference.clone(), traceparent, is_erased: false };
        same("callback's document", &Some(expected), &resolved)?;
    }
    let found = ok(store.submission(&reference.submission_id).await)?;
    let (submission, documents) =
        found.map_or((None, Vec::new()), |(found, all)| (Some(without_history(found)), all));
    same("submission", &model.submission(&reference.submission_id), &submission)?;
    let expected: Vec<usize> = model.documents_of(&reference.submission_id);
    let found: Vec<&DocumentRef> = documents.iter().map(|document| &document.reference).collect();
    let order: Vec<DocumentRef> = expected.iter().map(|which| model.reference(*which)).collect();
    same("documents, oldest first", &order.iter().collect(), &found)?;
    for (which, listed) in expected.into_iter().zip(&documents) {
        let whole = ok(store.load(&listed.reference).await)?;
        model.expect(which, whole.as_ref())?;
        let expected = whole.map(|whole| Document { result: None, ..whole });
        same("listed document", &expected.as_ref(), &Some(listed))?;
    }
    Ok(())
}

/// The lists, page by page.
async fn compare_lists(store: &impl Browse, model: &Model) -> Result<(), String> {
    for state in [None].into_iter().chain(SubmissionState::WITH_DOCUMENTS.map(Some)) {
        let mut found: Vec<Submission> = Vec::new();
        let mut after = None;
        loop {
            let filter = SubmissionFilter::in_state(state);
            let page = ok(store.submissions(&filter, after.as_ref(), 1).await)?;
            found.extend(page.submissions.into_iter().map(without_history));
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        // A table with many runs also lists the submissions of other runs.
        found.retain(|submission| model.submission_ids().contains(&submission.submission_id));
        let mut expected: Vec<Submission> = model
            .submission_ids()
            .iter()
            .filter_map(|id: &SubmissionId| model.submission(id))
            .filter(|submission| state.is_none_or(|state| submission.state == state))
            .collect();
        expected.sort_by(|a, b| (&b.created_at, &b.submission_id).cmp(&(&a.created_at, &a.submission_id)));
        same("list", &expected, &found)?;
    }
    Ok(())
}

fn ok<T>(answer: Result<T, Error>) -> Result<T, String> {
    answer.map_err(|error| error.to_string())
}

pub(super) fn same<T: PartialEq + Debug>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}")) }
}
