//! The audit trail.

use std::time::Duration;

use super::{Outcome, new_document, suite};
use crate::{
    document::{InvalidId, SubmissionId},
    ports::{Audit, AuditAction, AuditEntry},
    testing::{model::same, world::START},
};

suite! {
    /// [`Audit`]
    audit<A: Audit> {
        s06_entries_are_read_as_they_were_recorded_and_in_pages,
        s06_two_entries_of_one_time_are_both_kept,
        s06_submission_has_its_own_entries_only,
    }
}

fn entry(action: AuditAction, later: Duration) -> Result<AuditEntry, InvalidId> {
    Ok(AuditEntry { at: START + later, subject: "teacher-7".parse()?, action, document_id: None, file: None })
}

/// The entries of all pages of this size.
async fn pages(audit: &impl Audit, id: &SubmissionId, limit: usize) -> Outcome<Vec<Vec<AuditEntry>>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = audit.entries(id, after.as_ref(), limit).await?;
        pages.push(page.entries);
        after = page.next;
        if after.is_none() {
            return Ok(pages);
        }
    }
}

async fn s06_entries_are_read_as_they_were_recorded_and_in_pages<A: Audit>(audit: &A) -> Outcome {
    let id = "audited".parse()?;
    let document = new_document("audited", "plan.pdf", 1)?.reference.document_id;
    let mut expected: Vec<AuditEntry> = Vec::new();
    for (second, action) in (1..).zip(AuditAction::ALL) {
        expected.push(AuditEntry {
            document_id: (second % 2 == 0).then_some(document),
            file: (second % 3 == 0).then(|| format!("{second:032x}")),
            ..entry(action, Duration::from_millis(second * 999))?
        });
    }
    for entry in expected.iter().rev() {
        audit.record(&id, entry).await?;
    }
    same("one page", &expected, &pages(audit, &id, 100).await?.concat())?;
    let pages = pages(audit, &id, 4).await?;
    let mut sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
    sizes.retain(|size| *size > 0);
    same("sizes of pages", &vec![4, 4, 2], &sizes)?;
    Ok(same("pages", &expected, &pages.concat())?)
}

async fn s06_two_entries_of_one_time_are_both_kept<A: Audit>(audit: &A) -> Outcome {
    let id = "audited-twice".parse()?;
    let entry = entry(AuditAction::ReadRecord, Duration::ZERO)?;
    for _ in 0..2 {
        audit.record(&id, &entry).await?;
    }
    Ok(same("entries", &vec![entry.clone(), entry], &pages(audit, &id, 10).await?.concat())?)
}

async fn s06_submission_has_its_own_entries_only<A: Audit>(audit: &A) -> Outcome {
    audit.record(&"audited-1".parse()?, &entry(AuditAction::ReadSubmission, Duration::ZERO)?).await?;
    same("another", &0, &pages(audit, &"audited-10".parse()?, 10).await?.concat().len())?;
    Ok(same("own", &1, &pages(audit, &"audited-1".parse()?, 10).await?.concat().len())?)
}
