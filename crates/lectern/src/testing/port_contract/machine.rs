//! The ports to the state machine.

use std::future::Future;

use serde_json::{Value, json};

use super::{Outcome, new_document, suite};
use crate::{
    admission::Lane,
    document::{Attempt, DocumentRef, Reason, Round, TaskToken},
    error::Error,
    ports::{Executions, Resume, StartExecution, Tasks, TokenUse},
    testing::{model::same, world::START},
};

/// The state machine that [`Executions`] starts.
pub trait ExecutionsSetup: Send + Sync {
    /// How many executions were started for a document.
    fn executions_of(&self, document: &DocumentRef) -> impl Future<Output = usize> + Send;
}

suite! {
    /// [`Executions`]
    executions<E: Executions, M: ExecutionsSetup> {
        execution_that_is_started_again_is_left_alone,
        each_redrive_is_an_execution_of_its_own,
    }
}

/// Executions that wait for the tokens that [`Tasks`] answers.
pub trait TasksSetup: Send + Sync {
    /// Starts an execution, which waits for the answer to its token.
    fn begin(&self) -> impl Future<Output = TaskToken>;

    /// How the execution of the token has ended: with the task's output, or with the error's name and cause.
    fn outcome(&self, token: &TaskToken) -> impl Future<Output = TaskOutcome>;
}

/// The output of a task, or the name and the cause of its error.
pub type TaskOutcome = Result<Value, (String, Value)>;

suite! {
    /// [`Tasks`]
    tasks<T: Tasks, M: TasksSetup> {
        token_takes_one_answer,
        failed_task_has_the_name_and_the_cause_of_its_error,
    }
}

fn start(document: &DocumentRef, redrives: u32, resume: Resume) -> StartExecution {
    StartExecution {
        document: document.clone(),
        lane: Lane::of(None, &document.submission_id),
        traceparent: None,
        redrives,
        resume,
        round: Round::FIRST,
        attempt: Attempt(1000 * redrives),
    }
}

async fn execution_that_is_started_again_is_left_alone<E: Executions, M: ExecutionsSetup>(
    executions: &E,
    machine: &M,
) -> Outcome {
    let document = new_document("executions", "plan.pdf", 1)?.reference;
    same("executions", &0, &machine.executions_of(&document).await)?;
    for resume in [Resume::Transfer, Resume::Transfer, Resume::Probe] {
        executions.start(&start(&document, 0, resume)).await?;
        same("executions", &1, &machine.executions_of(&document).await)?;
    }
    Ok(())
}

async fn each_redrive_is_an_execution_of_its_own<E: Executions, M: ExecutionsSetup>(
    executions: &E,
    machine: &M,
) -> Outcome {
    let document = new_document("executions", "redriven.pdf", 1)?.reference;
    for (redrives, resume) in [(0, Resume::Transfer), (1, Resume::Probe), (2, Resume::Verify)] {
        for _ in 0..2 {
            executions.start(&start(&document, redrives, resume)).await?;
        }
        same("executions", &(redrives as usize + 1), &machine.executions_of(&document).await)?;
    }
    Ok(())
}

async fn token_takes_one_answer<T: Tasks, M: TasksSetup>(tasks: &T, machine: &M) -> Outcome {
    let token = machine.begin().await;
    for _ in 0..2 {
        same("awaited", &TokenUse::Delivered, &tasks.is_awaited(&token).await?)?;
    }
    let output = json!({ "jobId": "教案 \u{1F393}", "sent": true });
    same("first answer", &TokenUse::Delivered, &tasks.succeed(&token, output.clone()).await?)?;
    answered(tasks, machine, &token, &Ok(output)).await
}

async fn failed_task_has_the_name_and_the_cause_of_its_error<T: Tasks, M: TasksSetup>(
    tasks: &T,
    machine: &M,
) -> Outcome {
    let errors = [
        Error::RateLimited { retry_at: START },
        Error::Rejected(Reason::new("drm", "「保护」 It is protected.")),
        Error::PermitExpired("it was not used in time"),
    ];
    for error in errors {
        let token = machine.begin().await;
        same("answer", &TokenUse::Delivered, &tasks.fail(&token, &error).await?)?;
        answered(tasks, machine, &token, &Err((error.name().to_owned(), error.cause()))).await?;
    }
    Ok(())
}

/// Checks that the task ended in this way, and that further answers change nothing.
async fn answered<T: Tasks, M: TasksSetup>(
    tasks: &T,
    machine: &M,
    token: &TaskToken,
    expected: &TaskOutcome,
) -> Outcome {
    same("outcome", expected, &machine.outcome(token).await)?;
    not_awaited(tasks, token).await?;
    Ok(same("outcome after more answers", expected, &machine.outcome(token).await)?)
}

/// Checks that the port takes a token that nobody waits for, and says so.
pub(super) async fn not_awaited(tasks: &impl Tasks, token: &TaskToken) -> Outcome {
    same("awaited", &TokenUse::NotAwaited, &tasks.is_awaited(token).await?)?;
    same("success", &TokenUse::NotAwaited, &tasks.succeed(token, json!({ "late": true })).await?)?;
    Ok(same("failure", &TokenUse::NotAwaited, &tasks.fail(token, &Error::Overdue).await?)?)
}
