//! One document's redrive: what is to be done is decided from what is there, so that asking again finds it done.

use lectern::{
    document::transitions,
    document::{Document, DocumentRef, DocumentState},
    ports::{Clock as _, Executions as _, Load as _, Reopened, Reopening as _, Resume, StartExecution},
};
use lectern_aws::{SystemClock, sfn::execution_name};

use crate::{
    cloud::Cloud,
    executions::{Redriven, Status},
    problem::Problem,
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It is opened again, and a new execution starts.
    Reopen { document: DocumentRef, after: u32, anew: bool, resume: Resume },
    /// It is open, but its execution was never started: whoever opened it was killed.
    Start(StartExecution),
    /// Its execution broke off; Step Functions is asked to go on, or it is opened again.
    GoOn { document: DocumentRef, after: u32, anew: bool, resume: Resume },
    /// Nothing, because it is on its way.
    Nothing(String),
    /// Nothing, because it may not.
    Refused(String),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Started { execution: String, resume: Resume },
    GoesOn { execution: String },
    Would(String),
    Nothing(String),
    Refused(String),
}

impl Done {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::GoesOn { .. } => "goesOn",
            Self::Would(_) => "would",
            Self::Nothing(_) => "nothing",
            Self::Refused(_) => "refused",
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Started { execution, resume } => {
                format!("execution {execution} was started{}.", how(*resume))
            }
            Self::GoesOn { execution } => format!("Step Functions goes on with execution {execution}."),
            Self::Would(text) | Self::Nothing(text) | Self::Refused(text) => text.clone(),
        }
    }
}

fn how(resume: Resume) -> &'static str {
    match resume {
        Resume::Transfer => "",
        Resume::Ask => "; it first asks the third party how the job stands",
        Resume::Verify => ", with the result that is kept",
    }
}

impl Plan {
    pub(super) fn would(&self) -> Done {
        match self {
            Self::Reopen { document, after, resume, .. } => Done::Would(format!(
                "execution {} would be started{}.",
                execution_name(document, after + 1),
                how(*resume)
            )),
            Self::Start(start) => Done::Would(format!(
                "execution {} would be started{}.",
                execution_name(&start.document, start.redrives),
                how(start.resume)
            )),
            Self::GoOn { document, after, .. } => Done::Would(format!(
                "execution {} would go on, or a new one start.",
                execution_name(document, *after)
            )),
            Self::Nothing(text) => Done::Nothing(text.clone()),
            Self::Refused(text) => Done::Refused(text.clone()),
        }
    }
}

/// Decides by the document as it is now: the one that was listed may have moved on, and comes without its result.
pub(super) async fn look(cloud: &Cloud, listed: &Document, anew: bool) -> Result<Plan, Problem> {
    let document = listed.reference.clone();
    let found = cloud.store.load(&document).await.map_err(|error| Problem::store(&error))?;
    let Some(now) = found else { return Ok(Plan::Refused("there is no such document any more.".to_owned())) };
    if now.state.is_terminal() || now.superseded_by.is_some() {
        return Ok(plan(&now, None, anew));
    }
    let execution = cloud.executions.find(&document, now.redrives).await?;
    Ok(plan(&now, execution.map(|execution| execution.status), anew))
}

/// Pure: what is to be done with a document whose newest execution stands so; `None` if there is none.
pub(super) fn plan(now: &Document, execution: Option<Status>, anew: bool) -> Plan {
    let document = now.reference.clone();
    let resume = transitions::resume(now, anew);
    if let Some(newer) = now.superseded_by {
        return Plan::Refused(format!("a newer version of the file, document {newer}, has taken its place."));
    }
    match now.state {
        DocumentState::Ready => return Plan::Nothing("it is ready; nothing was changed.".to_owned()),
        DocumentState::Rejected => {
            return Plan::Refused(
                "the upload itself was not acceptable; the teacher uploads it again.".to_owned(),
            );
        }
        DocumentState::Failed => {
            return Plan::Reopen { document, after: now.redrives, anew, resume };
        }
        DocumentState::Received
        | DocumentState::Transferring
        | DocumentState::Processing
        | DocumentState::Verifying
        | DocumentState::Normalizing => {}
    }
    let never_started = now.state == DocumentState::Received
        || now.redrives > 0 && resume == Resume::Verify && now.state == DocumentState::Verifying
        || now.redrives > 0 && resume == Resume::Ask && now.state == DocumentState::Processing;
    match execution {
        Some(Status::Running) => {
            Plan::Nothing(format!("it is on its way ({}); nothing was changed.", now.state))
        }
        None if never_started => Plan::Start(StartExecution::of(now)),
        Some(Status::Broken(_)) => Plan::GoOn { document, after: now.redrives, anew, resume },
        // So old that Step Functions has forgotten it, or ended without its document.
        None | Some(Status::Succeeded) => Plan::Reopen { document, after: now.redrives, anew, resume },
    }
}

/// Does it. Killed anywhere in between, the next call finds where it was and does the rest.
pub(super) async fn redrive(cloud: &Cloud, plan: &Plan) -> Result<Done, Problem> {
    match plan {
        Plan::Reopen { document, after, anew, .. } => reopen(cloud, document, *after, *anew).await,
        Plan::Start(execution) => start(cloud, execution.clone()).await,
        Plan::GoOn { document, after, anew, .. } => {
            let execution = execution_name(document, *after);
            let redriven = if *anew {
                // It may go on by another redrive of which nobody can read yet.
                cloud.executions.stop(&execution).await?;
                Redriven::NotOffered
            } else {
                cloud.executions.redrive(&execution).await?
            };
            match redriven {
                Redriven::GoesOn => Ok(Done::GoesOn { execution }),
                Redriven::Running => Ok(Done::Nothing(format!(
                    "execution {execution} is running already; nothing was changed."
                ))),
                Redriven::Unclear => Ok(Done::Refused(format!(
                    "Step Functions does not redrive execution {execution}, and does not tell yet how it stands; nothing was changed. Run the command again in a minute."
                ))),
                Redriven::NotOffered => reopen(cloud, document, *after, *anew).await,
            }
        }
        Plan::Nothing(text) => Ok(Done::Nothing(text.clone())),
        Plan::Refused(text) => Ok(Done::Refused(text.clone())),
    }
}

async fn reopen(cloud: &Cloud, document: &DocumentRef, after: u32, anew: bool) -> Result<Done, Problem> {
    let reopened = cloud.store.reopen(document, after, anew, SystemClock.now()).await;
    match reopened.map_err(|error| Problem::store(&error))? {
        Reopened::Open(open) => start(cloud, StartExecution::of(&open)).await,
        Reopened::Unchanged(_) => {
            Ok(Done::Nothing("somebody else came first; nothing was changed.".to_owned()))
        }
        Reopened::Unknown => Ok(Done::Refused("there is no such document any more.".to_owned())),
    }
}

async fn start(cloud: &Cloud, execution: StartExecution) -> Result<Done, Problem> {
    cloud.machine.start(&execution).await.map_err(|error| Problem::store(&error))?;
    let resume = execution.resume;
    Ok(Done::Started { execution: execution_name(&execution.document, execution.redrives), resume })
}
