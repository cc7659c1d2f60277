//! The redrive of one document, by `lectern redrive` and by the API. It is decided from what is stored, so a second redrive
//! finds that the first one is done, or completes one that was interrupted.

use crate::{
    document::{Document, DocumentRef, DocumentState, transitions},
    error::Error,
    ports::{
        Clock, ExecutionStatus, Executions, FindExecution, Load, Reopened, Reopening, Resume, StartExecution,
        StopExecutions, execution_name,
    },
};

/// What a redrive does with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Stop the old execution if it may still run, reopen the document, and start a new execution.
    Reopen {
        /// The document.
        document: DocumentRef,
        /// The number of redrives before this one.
        after: u32,
        /// Whether a stored result, or a job that may still exist, is discarded.
        discard_result: bool,
        /// Where the new execution begins.
        resume: Resume,
        /// Whether the old execution may still run.
        may_run: bool,
    },
    /// Start the execution of an open document: the redrive that reopened it was interrupted before it did so.
    Start(StartExecution),
    /// Nothing has to be done. The text says why.
    Nothing(String),
    /// The document cannot be redriven. The text says why.
    Refused(String),
}

/// The outcome of a redrive. The text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// An execution was started.
    Started(String),
    /// An execution would be started.
    Would(String),
    /// Nothing had to be done.
    Nothing(String),
    /// The document cannot be redriven.
    Refused(String),
}

impl Done {
    /// The outcome's name in JSON, and its text.
    pub fn name_and_text(&self) -> (&'static str, &str) {
        match self {
            Self::Started(text) => ("started", text),
            Self::Would(text) => ("would", text),
            Self::Nothing(text) => ("nothing", text),
            Self::Refused(text) => ("refused", text),
        }
    }
}

/// The text that this execution was started, or would be started.
fn execution(document: &DocumentRef, redrive: u32, resume: Resume, what: &str) -> String {
    let how = match resume {
        Resume::Transfer => "",
        Resume::Probe => "; it first probes the job",
        Resume::Verify => ", with the stored result",
    };
    format!("execution {} {what}{how}.", execution_name(document, redrive))
}

impl Plan {
    /// The outcome of a dry run.
    pub fn would(&self) -> Done {
        let would = "would be started";
        match self {
            Self::Reopen { document, after, resume, .. } => {
                Done::Would(execution(document, after + 1, *resume, would))
            }
            Self::Start(start) => {
                Done::Would(execution(&start.document, start.redrives, start.resume, would))
            }
            Self::Nothing(text) => Done::Nothing(text.clone()),
            Self::Refused(text) => Done::Refused(text.clone()),
        }
    }
}

/// The plan for a document whose newest execution has this status; `None` if there is no execution.
pub fn plan(now: &Document, execution: Option<ExecutionStatus>, discard_result: bool) -> Plan {
    let reopen = |may_run| Plan::Reopen {
        document: now.reference.clone(),
        after: now.redrives,
        discard_result,
        resume: transitions::resume(now, discard_result),
        may_run,
    };
    if let Some(newer) = now.superseded_by {
        return Plan::Refused(format!("document {newer}, a newer version of the file, has superseded it."));
    }
    if now.is_withdrawn {
        return Plan::Refused("its file was deleted; the teacher has to upload it again.".to_owned());
    }
    match (now.state, execution) {
        (DocumentState::Ready, _) => Plan::Nothing("it is ready; nothing was changed.".to_owned()),
        (DocumentState::Rejected, _) => {
            Plan::Refused("the upload was not acceptable; the teacher has to upload another file.".to_owned())
        }
        (DocumentState::Failed, _) => reopen(false),
        (state, Some(ExecutionStatus::Running)) => {
            Plan::Nothing(format!("it is in progress ({state}); nothing was changed."))
        }
        (_, None) if is_not_started(now) => Plan::Start(StartExecution::of(now)),
        // Somebody may have redriven the execution with Step Functions.
        (_, Some(ExecutionStatus::Broken(_) | ExecutionStatus::Succeeded) | None) => reopen(true),
    }
}

/// Whether the document has not changed since it was registered or reopened.
fn is_not_started(now: &Document) -> bool {
    match transitions::resume(now, false) {
        _ if now.state == DocumentState::Received => true,
        Resume::Verify => now.redrives > 0 && now.state == DocumentState::Verifying,
        Resume::Probe => now.redrives > 0 && now.state == DocumentState::Processing,
        Resume::Transfer => false,
    }
}

/// The ports of a redrive.
#[derive(Debug)]
pub struct Ports<'p, S, X, M, C> {
    /// The documents.
    pub store: &'p S,
    /// The executions of documents, to find and to stop.
    pub executions: &'p X,
    /// The state machine of documents.
    pub state_machine: &'p M,
    /// The time.
    pub clock: &'p C,
}

impl<S, X, M, C> Ports<'_, S, X, M, C>
where
    S: Load + Reopening,
    X: FindExecution + StopExecutions,
    M: Executions,
    C: Clock,
{
    /// Plans the redrive by the document's present item, because a listed document may have changed and has no result.
    ///
    /// # Errors
    /// `Store.Unavailable`.
    pub async fn look(&self, document: &DocumentRef, discard_result: bool) -> Result<Plan, Error> {
        let Some(now) = self.store.load(document).await? else {
            return Ok(Plan::Refused("the document no longer exists.".to_owned()));
        };
        if now.state.is_terminal() || now.superseded_by.is_some() {
            return Ok(plan(&now, None, discard_result));
        }
        let execution = self.executions.find(&now.reference, now.redrives).await?;
        Ok(plan(&now, execution, discard_result))
    }

    /// Carries out a plan. May be repeated, with a new plan.
    ///
    /// # Errors
    /// `Store.Unavailable`; a conflict if another writer came first.
    pub async fn redrive(&self, plan: &Plan) -> Result<Done, Error> {
        let Plan::Reopen { document, after, discard_result, may_run, .. } = plan else {
            return match plan {
                Plan::Start(execution) => self.start(execution.clone()).await,
                Plan::Reopen { .. } | Plan::Nothing(_) | Plan::Refused(_) => Ok(plan.would()),
            };
        };
        if *may_run {
            self.executions.stop(document, *after).await?;
        }
        match self.store.reopen(document, *after, *discard_result, self.clock.now()).await? {
            Reopened::Open(open) => self.start(StartExecution::of(&open)).await,
            Reopened::Unchanged(_) => {
                Ok(Done::Nothing("another redrive has already reopened it; nothing was changed.".to_owned()))
            }
            Reopened::Unknown => Ok(Done::Refused("the document no longer exists.".to_owned())),
        }
    }

    async fn start(&self, start: StartExecution) -> Result<Done, Error> {
        self.state_machine.start(&start).await?;
        Ok(Done::Started(execution(&start.document, start.redrives, start.resume, "was started")))
    }
}
