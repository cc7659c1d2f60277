//! Failed asynchronous invocations, made again.

use std::time::Duration;

use aws_sdk_lambda::{
    operation::invoke::builders::InvokeFluentBuilder, primitives::Blob, types::InvocationType,
};

use super::{classify::Content, judged::Judged, markers};
use crate::{cloud::Cloud, problem::Problem};

/// How an invocation ended that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Badly,
    /// It is still at work. Lambda keeps no record of how it ends, so its letter has to stay.
    NotYet,
}

/// Invokes the functions again, asynchronously. Tells which were invoked, also if one of the calls failed: what was
/// invoked must not be invoked again.
pub(super) async fn all(cloud: &Cloud, queue: &str, batch: &[Judged]) -> (Vec<bool>, Option<Problem>) {
    let mut flags = vec![false; batch.len()];
    for (judged, flag) in batch.iter().zip(&mut flags) {
        let Some(request) = request(cloud, judged) else { continue };
        if let Err(error) = request.invocation_type(InvocationType::Event).send().await {
            return (flags, Some(Problem::aws("Invoke", &error)));
        }
        *flag = true;
        // Only what was really invoked is counted: what is counted twice is poison.
        if let Err(problem) = count(cloud, queue, judged).await {
            return (flags, Some(problem));
        }
    }
    (flags, None)
}

/// Invokes one function and waits for its own answer, since nothing else tells of it. Only a failure is counted.
pub(super) async fn one(
    cloud: &Cloud,
    queue: &str,
    judged: &Judged,
    longest: Duration,
) -> Result<Ended, Problem> {
    let Some(request) = request(cloud, judged) else { return Ok(Ended::Badly) };
    let request = request.invocation_type(InvocationType::RequestResponse);
    let Ok(answer) = tokio::time::timeout(longest, request.send()).await else { return Ok(Ended::NotYet) };
    let answer = answer.map_err(|error| Problem::aws("Invoke", &error))?;
    if answer.function_error.is_none() {
        return Ok(Ended::Well);
    }
    count(cloud, queue, judged).await?;
    Ok(Ended::Badly)
}

async fn count(cloud: &Cloud, queue: &str, judged: &Judged) -> Result<(), Problem> {
    markers::write(cloud, queue, &judged.mark(), judged.redrives + 1).await
}

fn request(cloud: &Cloud, judged: &Judged) -> Option<InvokeFluentBuilder> {
    let Content::Invocation(failed) = &judged.content else { return None };
    let payload = failed.request_payload.to_string().into_bytes();
    Some(cloud.lambda.invoke().function_name(failed.function()).payload(Blob::new(payload)))
}
