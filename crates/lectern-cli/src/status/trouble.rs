//! What the queues and the table do not tell: alarms that are on, and executions that broke off before their documents
//! had ended.

use std::collections::BTreeSet;

use aws_sdk_cloudwatch::types::StateValue;
use aws_sdk_sfn::types::ExecutionStatus;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lectern::{
    document::{DocumentId, DocumentRef},
    error::rfc3339,
    ports::Load as _,
};
use serde::Serialize;

use crate::{cloud::Cloud, executions::Status, problem::Problem, text::aws_time};

/// So many executions are looked at of each way to break off, newest first.
const NEWEST: i32 = 100;
const AT_A_TIME: usize = 8;

/// All of it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trouble {
    pub(super) alarms: Vec<Alarm>,
    pub(super) broken_off: Vec<BrokenOff>,
    /// What could not be looked at, and what to do about it. The rest is worth telling all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unread: Vec<String>,
}

/// An alarm that is on.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alarm {
    /// Its resource in the template, which is its heading in the guide.
    pub(super) alarm: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
}

/// A document that nothing moves any more.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BrokenOff {
    #[serde(flatten)]
    pub(super) document: DocumentRef,
    pub(super) state: &'static str,
    /// How its execution ended.
    pub(super) execution: &'static str,
}

impl Trouble {
    pub(super) async fn read(cloud: &Cloud) -> Self {
        let mut trouble = Self::default();
        let mut note = |what: &str, problem: Problem| {
            trouble.unread.push(format!("{what} could not be read: {problem}. {}", problem.todo));
        };
        let alarms = alarms(cloud).await.unwrap_or_else(|problem| {
            note("The alarms", problem);
            Vec::new()
        });
        let broken_off = broken_off(cloud).await.unwrap_or_else(|problem| {
            note("The executions", problem);
            Vec::new()
        });
        Self { alarms, broken_off, ..trouble }
    }
}

/// The stack's own alarms: another stack's name may begin like its name.
async fn alarms(cloud: &Cloud) -> Result<Vec<Alarm>, Problem> {
    let request = cloud.cloudwatch.describe_alarms().alarm_name_prefix(format!("{}-", cloud.stack.name));
    let mut pages = request.state_value(StateValue::Alarm).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Problem::aws("DescribeAlarms", &error))?;
        found.extend(page.metric_alarms.unwrap_or_default().into_iter().filter_map(|alarm| {
            let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
            let name = cloud.stack.alarms.get(alarm.alarm_name.as_deref()?)?;
            Some(Alarm { alarm: name.clone(), since: since.map(|at| rfc3339(aws_time(&at))) })
        }));
    }
    found.sort_by(|one, other| one.alarm.cmp(&other.alarm));
    Ok(found)
}

/// Documents that are open though the newest of their executions was aborted, timed out, or failed without being able to
/// end its document.
async fn broken_off(cloud: &Cloud) -> Result<Vec<BrokenOff>, Problem> {
    let mut documents = BTreeSet::new();
    for status in [ExecutionStatus::Aborted, ExecutionStatus::TimedOut, ExecutionStatus::Failed] {
        let names = cloud.executions.newest(status, NEWEST).await?;
        documents.extend(names.iter().filter_map(|name| document_of(name)));
    }
    let found = stream::iter(documents).map(|document| look(cloud, document)).buffered(AT_A_TIME);
    found.try_filter_map(async |found| Ok(found)).try_collect().await
}

/// An execution is named by its document, and by the number of its redrive.
fn document_of(execution: &str) -> Option<DocumentId> {
    execution.split("-redrive-").next()?.parse().ok()
}

async fn look(cloud: &Cloud, document_id: DocumentId) -> Result<Option<BrokenOff>, Problem> {
    let Some(submission_id) = cloud.executions.submission_of(document_id).await? else { return Ok(None) };
    let reference = DocumentRef { submission_id, document_id };
    let found = cloud.store.load(&reference).await.map_err(|error| Problem::store(&error))?;
    let is_open = |document: &lectern::document::Document| {
        !document.state.is_terminal() && document.superseded_by.is_none()
    };
    let Some(document) = found.filter(is_open) else { return Ok(None) };
    let newest = cloud.executions.find(&reference, document.redrives).await?;
    Ok(match newest.map(|execution| execution.status) {
        Some(Status::Broken(how)) => {
            Some(BrokenOff { document: reference, state: document.state.as_str(), execution: how })
        }
        // One that goes on again; or one that somebody is just about to start.
        Some(Status::Running | Status::Succeeded) | None => None,
    })
}
