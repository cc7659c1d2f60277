//! The redrive of one document, decided from what is stored. So a second run finds that the first one is done, or
//! completes a run that was killed.

use lectern::{
    document::{Document, DocumentRef, DocumentState, transitions},
    ports::{
        Clock as _, Executions as _, Load as _, Reopened, Reopening as _, Resume, StartExecution,
        StopExecutions as _,
    },
};
use lectern_aws::{SystemClock, sfn::execution_name};

use crate::{cloud::Cloud, executions::Status, problem::Problem};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Stop the old execution if it may still run, reopen the document, and start a new execution.
    Reopen {
        document: DocumentRef,
        after: u32,
        discard_result: bool,
        resume: Resume,
        may_run: bool,
    },
    /// Start the execution of an open document: the command that reopened it was killed before it did so.
    Start(StartExecution),
    Nothing(String),
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Started(String),
    Would(String),
    Nothing(String),
    Refused(String),
}

impl Done {
    pub(super) fn name_and_text(&self) -> (&'static str, &str) {
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
    pub(super) fn would(&self) -> Done {
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

/// Decides by the document's present item, because a listed document may have changed and has no result.
pub(super) async fn look(cloud: &Cloud, listed: &Document, discard_result: bool) -> Result<Plan, Problem> {
    let Some(now) = cloud.store.load(&listed.reference).await? else {
        return Ok(Plan::Refused("the document no longer exists.".to_owned()));
    };
    if now.state.is_terminal() || now.superseded_by.is_some() {
        return Ok(plan(&now, None, discard_result));
    }
    let execution = cloud.executions.find(&now.reference, now.redrives).await?;
    Ok(plan(&now, execution.map(|execution| execution.status), discard_result))
}

/// The plan for a document whose newest execution has this status; `None` if there is no execution.
pub(super) fn plan(now: &Document, execution: Option<Status>, discard_result: bool) -> Plan {
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
        (state, Some(Status::Running)) => {
            Plan::Nothing(format!("it is in progress ({state}); nothing was changed."))
        }
        (_, None) if is_not_started(now) => Plan::Start(StartExecution::of(now)),
        // Somebody may have redriven the execution with Step Functions.
        (_, Some(Status::Broken(_) | Status::Succeeded) | None) => reopen(true),
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

pub(super) async fn redrive(cloud: &Cloud, plan: &Plan) -> Result<Done, Problem> {
    let Plan::Reopen { document, after, discard_result, may_run, .. } = plan else {
        return match plan {
            Plan::Start(execution) => start(cloud, execution.clone()).await,
            Plan::Reopen { .. } | Plan::Nothing(_) | Plan::Refused(_) => Ok(plan.would()),
        };
    };
    if *may_run {
        cloud.executions.of_documents().stop(document, *after).await?;
    }
    match cloud.store.reopen(document, *after, *discard_result, SystemClock.now()).await? {
        Reopened::Open(open) => start(cloud, StartExecution::of(&open)).await,
        Reopened::Unchanged(_) => {
            Ok(Done::Nothing("another command has already reopened it; nothing was changed.".to_owned()))
        }
        Reopened::Unknown => Ok(Done::Refused("the document no longer exists.".to_owned())),
    }
}

async fn start(cloud: &Cloud, start: StartExecution) -> Result<Done, Problem> {
    cloud.state_machine.start(&start).await?;
    Ok(Done::Started(execution(&start.document, start.redrives, start.resume, "was started")))
}
