//! The reference third party's admin endpoints: setting faults, and reading what it received.

use lectern::{document::DocumentId, telemetry::trace::TraceParent};
use serde::de::DeserializeOwned;
use serde_json::Value;
use third_party::{
    Fault, FaultEntry, FaultRule, JobView, Limits, Matcher, RequestCount, RequestsView, SubmissionView,
    UsageView,
};

use crate::{aws_json::sha256_hex, stack::Stack};

/// A rule for every document with exactly these bytes, which can be set before the upload.
pub(crate) fn for_content(bytes: &[u8], fault: impl Into<Fault>) -> FaultRule {
    FaultRule::new(Matcher::Sha256(sha256_hex(bytes)), fault)
}

impl Stack {
    /// Adds the rule and returns its number.
    pub(crate) async fn add_fault(&self, rule: &FaultRule) -> u64 {
        let request = self.http.post(self.admin("faults")).bearer_auth(&self.is.third_party_admin_key);
        let answer = request.json(rule).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        answer.json::<Value>().await.unwrap()["id"].as_u64().expect("the rule's number")
    }

    pub(crate) async fn remove_fault(&self, rule: u64) {
        let url = self.admin(&format!("faults/{rule}"));
        let request = self.http.delete(url).bearer_auth(&self.is.third_party_admin_key);
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// Sets the third party's limits.
    pub(crate) async fn set_limits(&self, limits: &Limits) {
        let request = self.http.put(self.admin("limits")).bearer_auth(&self.is.third_party_admin_key);
        request.json(limits).send().await.unwrap().error_for_status().unwrap();
    }

    /// The third party's counts of submissions and jobs since the last [`Stack::reset_usage`].
    pub(crate) async fn usage(&self) -> UsageView {
        self.admin_get("usage").await
    }

    pub(crate) async fn reset_usage(&self) {
        let request = self.http.delete(self.admin("usage")).bearer_auth(&self.is.third_party_admin_key);
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// The rules that can still apply.
    pub(crate) async fn faults(&self) -> Vec<FaultEntry> {
        self.admin_get("faults").await
    }

    /// The document's jobs, oldest first: one for each round.
    pub(crate) async fn jobs(&self, document: DocumentId) -> Vec<JobView> {
        self.admin_get(&format!("jobs?idempotencyKeyPrefix={document}")).await
    }

    /// The `traceparent` that each of the document's jobs was submitted with.
    pub(crate) async fn job_traces(&self, document: DocumentId) -> Vec<Option<TraceParent>> {
        let jobs: Vec<Value> = self.admin_get(&format!("jobs?idempotencyKeyPrefix={document}")).await;
        jobs.iter().map(|job| job["traceparent"].as_str()?.parse().ok()).collect()
    }

    /// The submissions of the document that were answered or cut, oldest first.
    pub(crate) async fn submissions(&self, document: DocumentId) -> Vec<SubmissionView> {
        let seen: RequestsView = self.admin_get(&format!("requests?idempotencyKeyPrefix={document}")).await;
        seen.submissions
    }

    /// All requests so far, by route and status.
    pub(crate) async fn request_counts(&self) -> Vec<RequestCount> {
        let seen: RequestsView = self.admin_get("requests?idempotencyKeyPrefix=none").await;
        seen.counts
    }

    async fn admin_get<T: DeserializeOwned>(&self, path: &str) -> T {
        let request = self.http.get(self.admin(path)).bearer_auth(&self.is.third_party_admin_key);
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    fn admin(&self, path: &str) -> String {
        format!("{}/admin/{path}", self.is.third_party_url)
    }
}
