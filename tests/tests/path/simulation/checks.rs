//! The invariants that hold after every activity of a run.

use super::*;

impl Simulation {
    /// Checks all invariants.
    pub(super) fn observe(&mut self) {
        let now = self.world.clock.now();
        for order in self.world.states.take_orders() {
            self.admissions.send(serde_json::to_string(&order).unwrap(), now);
        }
        let new = self.log.requests()[self.requests_seen..]
            .iter()
            .map(|request| request.accepted)
            .collect::<Vec<_>>();
        if !new.is_empty() {
            self.requests_seen += new.len();
            self.accepted += new.iter().filter(|accepted| **accepted).count();
            self.sender.plan_new_jobs(&self.world, &mut self.dice);
            self.open_requests.retain(|until| *until > now);
            let in_flight = self.sender.working() + self.open_requests.len();
            if self.is_long {
                self.most_in_flight = self.most_in_flight.max(in_flight);
            }
        }
        if !self.is_long {
            if !self.by_the_clock {
                self.assert_schedule();
            }
            self.assert_leases();
            self.assert_that_ends_last();
        }
    }

    fn assert_leases(&mut self) {
        let state = self.world.store.admission_now();
        let counted = self.permits.counted(&state);
        assert!(counted <= self.world.limits.max_in_flight as usize, "{counted} leases");
        let at_work = self.sender.at_work(&self.log.questions());
        self.most_in_flight = self.most_in_flight.max(at_work.len());
        let leases = state.snapshot().leases;
        if self.outlasted.is_empty() {
            assert!(at_work.len() <= leases, "{} jobs, {leases} leases", at_work.len());
        }
        for document in at_work {
            if !self.outlasted.contains(&document) && !self.abandoned.contains(&document) {
                let path = self.executions.get(&document).map(|execution| &execution.path);
                let has_lease = self.permits.has_lease(&document, &state);
                assert!(has_lease, "a job without a lease: {document:?} {path:?}");
            }
        }
    }

    /// A document in a final state does not change, except that a newer version may supersede it and that the third
    /// party may still return a result.
    fn assert_that_ends_last(&mut self) {
        for document in self.world.store.all() {
            if !document.state.is_terminal() {
                let has_ended = self.ended.contains_key(&document.reference);
                assert!(!has_ended, "{:?} was revived", document.reference);
                continue;
            }
            let ended = self.ended.entry(document.reference.clone()).or_insert_with(|| document.clone());
            assert_eq!(
                (ended.state, &ended.reason, &ended.times),
                (document.state, &document.reason, &document.times)
            );
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let documents = self.world.store.all();
        let submissions = documents
            .iter()
            .map(|document| self.world.store.submission_now(&document.reference.submission_id))
            .collect();
        (documents, submissions, self.world.states.started(), self.world.third_party.jobs())
    }

    /// Every message and every payload carries the trace of its document.
    pub(super) fn assert_trace(&self, document: &DocumentRef, traceparent: Option<TraceParent>) {
        let stored = self.world.store.get(document).unwrap().traceparent;
        assert!(stored.is_some() && traceparent == stored, "{traceparent:?} instead of {stored:?}");
    }
}
