//! Shared parts of the paced tests: their size, uploads by the hundred, and the checks after a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sfn::types::ExecutionStatus;
use lectern::{
    document::{Document, DocumentState, SubmissionId},
    ports::{AdmissionStore as _, Browse as _},
};
use third_party::{Limits, UsageView};

use crate::{
    case::{Case, Upload},
    content::text_saying,
    stack::{Stack, setting},
    wait::{LATER, SOON, eventually},
};

/// The limits of the paced stack, which are also in the Makefile. The rate is well below what the local cloud achieves
/// on two cores, so that the rate limit binds and not the machine.
pub(super) const REQUESTS_PER_SECOND: f64 = 4.0;
pub(super) const BURST: u32 = 20;
pub(super) const MAX_IN_FLIGHT: u32 = 16;

/// The number of documents in a run.
pub(super) fn documents() -> usize {
    usize::try_from(setting("LECTERN_DOCUMENTS", 60)).unwrap()
}

/// Sets the third party's limits to those of the stack, and resets its usage counts.
pub(super) async fn limit(stack: &Stack) {
    let limits = Limits {
        requests_per_second: Some(REQUESTS_PER_SECOND),
        burst: Some(BURST),
        max_in_flight: Some(MAX_IN_FLIGHT),
    };
    stack.set_limits(&limits).await;
    stack.reset_usage().await;
}

/// Uploads `count` small texts of one submission at once.
pub(super) async fn upload_many(case: &Case, count: usize) -> Vec<Upload> {
    let mut uploads = Vec::new();
    for index in 0..count {
        let text = text_saying(&format!("Lesson {index} of {}.", case.submission));
        uploads.push(case.upload(&format!("{index}.txt"), text).await);
    }
    uploads
}

/// Asserts by the third party's own counts that neither limit was ever exceeded.
pub(super) fn assert_within_limits(usage: &UsageView) {
    assert_eq!((usage.refused_by_rate, usage.refused_by_in_flight), (0, 0), "{}", summary(usage));
    assert!(usage.peak_in_flight <= MAX_IN_FLIGHT, "{}", summary(usage));
    assert_eq!(overdrawn(&usage.arrivals_ms), None, "{}", summary(usage));
}

/// The first request for which a token bucket of this rate and depth, computed here, has no token.
fn overdrawn(arrivals_ms: &[f64]) -> Option<f64> {
    let (mut tokens, mut last_ms) = (f64::from(BURST), 0.0);
    arrivals_ms.iter().copied().find(|at_ms| {
        tokens = (tokens + (at_ms - last_ms) / 1000.0 * REQUESTS_PER_SECOND).min(f64::from(BURST)) - 1.0;
        last_ms = *at_ms;
        // Allow for the rounding on both sides.
        tokens < -0.01
    })
}

pub(super) fn summary(usage: &UsageView) -> String {
    let UsageView { requests, accepted, refused_by_rate, refused_by_in_flight, peak_in_flight, .. } = usage;
    format!(
        "{requests} requests, {accepted} accepted, {refused_by_rate} refused by the rate limit and \
         {refused_by_in_flight} for jobs in flight; on average {:.2}/s of {REQUESTS_PER_SECOND}/s, at most {} in any \
         second; at most {peak_in_flight} of {MAX_IN_FLIGHT} jobs in flight, on average {:.1}",
        usage.average_requests_per_second.unwrap_or_default(),
        usage.max_requests_in_any_second,
        usage.time_weighted_in_flight.unwrap_or_default(),
    )
}

/// The documents of a submission, by state.
pub(super) async fn states(stack: &Stack, submission: &SubmissionId) -> BTreeMap<DocumentState, usize> {
    let mut states = BTreeMap::new();
    for document in documents_of(stack, submission).await {
        *states.entry(document.state).or_default() += 1;
    }
    states
}

pub(super) async fn documents_of(stack: &Stack, submission: &SubmissionId) -> Vec<Document> {
    stack.store.submission(submission).await.unwrap().map_or_else(Vec::new, |(_, documents)| documents)
}

/// Asserts that every upload is one `Ready` document with a succeeded execution, which its submission counts once.
pub(super) async fn assert_all_ready(case: &Case, uploads: &[Upload]) {
    let (submission, documents) = case.settled(uploads.len()).await;
    let not_ready: Vec<_> = documents
        .iter()
        .filter(|document| document.state != DocumentState::Ready)
        .map(|document| (document.reference.document_id, document.state, document.reason.clone()))
        .collect();
    assert!(not_ready.is_empty(), "{not_ready:?}");
    let ids: BTreeSet<_> = documents.iter().map(|document| document.reference.document_id).collect();
    assert_eq!(ids, uploads.iter().map(Upload::id).collect(), "every upload is one document");
    assert_eq!((submission.counts.ready, submission.counts.open), (uploads.len() as u64, 0));
    for upload in uploads {
        case.stack.execution_ends(upload, &ExecutionStatus::Succeeded).await;
    }
}

/// Asserts that no lease is held, no document waits for a permit, and no item of a waiting document is left.
pub(super) async fn assert_no_lease_is_left(stack: &Stack, uploads: &[Upload]) {
    eventually("every lease is released", SOON, async || {
        let (state, _) = stack.store.admission_state().await.map_err(|error| error.to_string())?;
        let snapshot = state.snapshot();
        if snapshot.leases == 0 && snapshot.waiting == 0 && !snapshot.breaker_open {
            Ok(())
        } else {
            Err(format!("{snapshot:?}"))
        }
    })
    .await;
    for upload in uploads {
        let key = AttributeValue::S(format!("WAITING#{}", upload.id()));
        let request = stack.dynamodb.get_item().table_name(&stack.is.table).key("pk", key);
        let item = request.key("sk", AttributeValue::S("WAITING".to_owned())).send().await.unwrap().item;
        assert_eq!(item, None, "{} still waits for a permit", upload.id());
    }
}

impl Stack {
    /// Waits until `is` holds for the third party's usage, and returns the usage.
    pub(super) async fn usage_when(&self, what: &str, is: impl Fn(&UsageView) -> bool) -> UsageView {
        let bound = LATER + Duration::from_secs(documents() as u64);
        eventually(what, bound, async || {
            let usage = self.usage().await;
            if is(&usage) { Ok(usage) } else { Err(summary(&usage)) }
        })
        .await
    }
}
