//! Alarms that are on, and executions that ended before their documents.

use std::collections::BTreeSet;

use aws_sdk_cloudwatch::types::StateValue;
use aws_sdk_sfn::types::ExecutionStatus;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lectern::{
    document::{Document, DocumentId, DocumentRef},
    error::rfc3339,
    ports::Load as _,
};
use serde::Serialize;

use crate::{cloud::Cloud, executions::Status, problem::Problem, text::aws_time};

/// How many of the newest executions of each status are checked.
const NEWEST: i32 = 100;
const AT_A_TIME: usize = 8;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trouble {
    pub(super) alarms: Vec<Alarm>,
    pub(super) broken_off: Vec<BrokenOff>,
    /// What could not be read, and what to do about it. The rest of the report is still shown.
    pub(super) unread: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alarm {
    /// The logical id in the template, which is also the heading in docs/operating.md.
    pub(super) alarm: String,
    /// RFC 3339.
    pub(super) since: Option<String>,
}

/// An open document whose newest execution has ended.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BrokenOff {
    #[serde(flatten)]
    pub(super) document: DocumentRef,
    pub(super) state: &'static str,
    /// How the execution ended.
    pub(super) execution: &'static str,
}

impl Trouble {
    pub(super) async fn read(cloud: &Cloud) -> Self {
        let mut unread = Vec::new();
        let mut note = |what: &str, problem: &Problem| {
            unread.push(format!("{what} could not be read: {}", problem.text()));
        };
        let alarms = alarms(cloud).await.inspect_err(|problem| note("The alarms", problem));
        let broken_off = broken_off(cloud).await.inspect_err(|problem| note("The executions", problem));
        Self { alarms: alarms.unwrap_or_default(), broken_off: broken_off.unwrap_or_default(), unread }
    }
}

/// Selects the alarms of this stack, because another stack's name may begin with this stack's name.
async fn alarms(cloud: &Cloud) -> Result<Vec<Alarm>, Problem> {
    let request = cloud.cloudwatch.describe_alarms().alarm_name_prefix(format!("{}-", cloud.stack.name));
    let mut pages = request.state_value(StateValue::Alarm).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(Problem::aws("DescribeAlarms"))?;
        found.extend(page.metric_alarms.unwrap_or_default().into_iter().filter_map(|alarm| {
            let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
            let name = cloud.stack.alarms.get(alarm.alarm_name.as_deref()?)?;
            Some(Alarm { alarm: name.clone(), since: since.map(|at| rfc3339(aws_time(&at))) })
        }));
    }
    found.sort_by(|one, other| one.alarm.cmp(&other.alarm));
    Ok(found)
}

/// Open documents whose newest execution was aborted, timed out, or failed.
async fn broken_off(cloud: &Cloud) -> Result<Vec<BrokenOff>, Problem> {
    let mut documents = BTreeSet::new();
    for status in [ExecutionStatus::Aborted, ExecutionStatus::TimedOut, ExecutionStatus::Failed] {
        let names = cloud.executions.newest(status, NEWEST).await?;
        documents.extend(names.iter().filter_map(|name| document_of(name)));
    }
    let found = stream::iter(documents).map(|document| look(cloud, document)).buffered(AT_A_TIME);
    found.try_filter_map(async |found| Ok(found)).try_collect().await
}

/// An execution is named `<document id>` or `<document id>-redrive-<n>`.
fn document_of(execution: &str) -> Option<DocumentId> {
    execution.split("-redrive-").next()?.parse().ok()
}

async fn look(cloud: &Cloud, document_id: DocumentId) -> Result<Option<BrokenOff>, Problem> {
    let Some(submission_id) = cloud.executions.submission_of(document_id).await? else { return Ok(None) };
    let reference = DocumentRef { submission_id, document_id };
    let found = cloud.store.load(&reference).await?;
    let is_open = |document: &Document| !document.state.is_terminal() && document.superseded_by.is_none();
    let Some(document) = found.filter(is_open) else { return Ok(None) };
    let newest = cloud.executions.find(&reference, document.redrives).await?;
    Ok(match newest.map(|execution| execution.status) {
        Some(Status::Broken(how)) => {
            Some(BrokenOff { document: reference, state: document.state.as_str(), execution: how })
        }
        // No execution yet: another command may be about to start it.
        Some(Status::Running | Status::Succeeded) | None => None,
    })
}
