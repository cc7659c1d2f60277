//! `lectern audit`: shows who read or changed a submission.

use std::io::{self, Write};

use lectern::{document::SubmissionId, error::rfc3339, ports::AuditEntry};
use serde::Serialize;

use crate::{
    args::Audit,
    cloud::Cloud,
    console::{Console, Exit, Report},
    ids::submission_id,
    problem::Problem,
    text::count,
};

/// The page size when entries are read.
const PAGE: usize = 200;

pub(crate) async fn run(cloud: &Cloud, options: &Audit, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let submission = submission_id(&options.submission)?;
    let report = read(&cloud.audit_trail(), submission).await?;
    console.report(&report)?;
    Ok(Exit::Done)
}

async fn read(audit: &impl lectern::ports::Audit, submission: SubmissionId) -> Result<AuditReport, Problem> {
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let page = audit.entries(&submission, after.as_ref(), PAGE).await?;
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return Ok(AuditReport { submission, entries });
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AuditReport {
    submission: SubmissionId,
    /// Oldest first.
    entries: Vec<AuditEntry>,
}

impl Report for AuditReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { submission, entries } = self;
        if entries.is_empty() {
            return writeln!(
                out,
                "Nobody read or changed submission {submission}, or the entries have expired, or there is no such submission."
            );
        }
        for AuditEntry { at, subject, action, document_id, file } in entries {
            write!(out, "{}  {:<16}  {}", rfc3339(*at), action.as_str(), subject.expose())?;
            if let Some(document_id) = document_id {
                write!(out, "  document {document_id}")?;
            }
            if let Some(file) = file {
                write!(out, "  file {file}")?;
            }
            writeln!(out)?;
        }
        writeln!(out, "{}.", count(entries.len(), "action"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lectern::{
        ports::{Audit as _, AuditAction},
        testing::{MemoryStore, world::START},
    };
    use serde_json::json;

    use super::*;

    fn entry(second: u64, action: AuditAction) -> AuditEntry {
        AuditEntry {
            at: START + Duration::from_secs(second),
            subject: "evaluator-3".parse().unwrap(),
            action,
            document_id: (action == AuditAction::ReadRecord)
                .then(|| "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f".parse().unwrap()),
            file: (action == AuditAction::AddFile).then(|| "0af7651916cd43dd8448eb211c80319c".to_owned()),
        }
    }

    fn text(report: &AuditReport) -> String {
        let mut out = Vec::new();
        report.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn s06_entries_show_who_did_what_and_when() {
        let (store, id) = (MemoryStore::default(), "s1".parse().unwrap());
        for (second, action) in [(0, AuditAction::AddFile), (7, AuditAction::ReadRecord)] {
            store.record(&id, &entry(second, action)).await.unwrap();
        }
        store.record(&"s2".parse().unwrap(), &entry(9, AuditAction::Redrive)).await.unwrap();
        let report = read(&store, id).await.unwrap();
        assert_eq!(
            text(&report),
            "2026-11-20T16:00:00.000Z  addFile           evaluator-3  file 0af7651916cd43dd8448eb211c80319c\n\
             2026-11-20T16:00:07.000Z  readRecord        evaluator-3  document 6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f\n\
             2 actions.\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        let first = json!({
            "at": "2026-11-20T16:00:00.000Z", "subject": "evaluator-3", "action": "addFile",
            "file": "0af7651916cd43dd8448eb211c80319c",
        });
        assert_eq!((&json["submission"], &json["entries"][0]), (&json!("s1"), &first));
    }

    #[tokio::test]
    async fn s06_all_pages_are_read() {
        let (store, id) = (MemoryStore::default(), "s1".parse().unwrap());
        for second in 0..450 {
            store.record(&id, &entry(second, AuditAction::ReadSubmission)).await.unwrap();
        }
        let report = read(&store, id).await.unwrap();
        assert_eq!(report.entries.len(), 450);
        assert!(report.entries.is_sorted_by_key(|entry| entry.at));
    }

    #[tokio::test]
    async fn s06_submission_without_entries_is_no_failure() {
        let report = read(&MemoryStore::default(), "s1".parse().unwrap()).await.unwrap();
        assert!(text(&report).starts_with("Nobody read or changed submission s1"), "{}", text(&report));
    }
}
