//! `admit-document` in the simulation: its queue, and the state of each permit and lease.

use std::sync::Mutex;

use lectern::{
    admission::AdmissionState,
    ports::{Tasks, TokenUse},
    testing::MemoryStates,
};

use super::*;

/// All permits of a run.
#[derive(Debug, Default)]
pub(super) struct Permits {
    granted: BTreeMap<Attempt, DocumentRef>,
    /// Permits that reached their executions.
    received: BTreeSet<Attempt>,
    /// The newest permit of each document.
    newest: BTreeMap<DocumentRef, Attempt>,
    /// The number of half-open trials so far.
    trials: usize,
    /// Attempts whose lease had already ended when the third party answered that their job is in progress.
    revived: BTreeSet<Attempt>,
}

impl Permits {
    /// Whether an attempt of the document has a lease.
    pub(super) fn has_lease(&self, document: &DocumentRef, state: &AdmissionState) -> bool {
        self.leases(state).any(|(_, holder)| holder == document)
    }

    /// The attempts that have a lease.
    pub(super) fn leases<'s>(
        &'s self,
        state: &'s AdmissionState,
    ) -> impl Iterator<Item = (Attempt, &'s DocumentRef)> {
        let held = self.granted.iter().filter(|(attempt, _)| state.lease(**attempt).is_some());
        held.map(|(attempt, document)| (*attempt, document))
    }

    /// The number of leases that the limit bounds. A lease that was renewed after its end may exceed the limit.
    pub(super) fn counted(&self, state: &AdmissionState) -> usize {
        let revived = self.revived.iter().filter(|attempt| state.lease(**attempt).is_some()).count();
        state.snapshot().leases - revived
    }
}

/// Step Functions, which records the tokens that `admit-document` answers.
struct Notified<'w> {
    states: &'w MemoryStates,
    tokens: Mutex<Vec<String>>,
}

impl Tasks for Notified<'_> {
    async fn succeed(&self, token: &TaskToken, output: Value) -> Result<TokenUse, Error> {
        self.tokens.lock().unwrap().push(token.expose().to_owned());
        self.states.succeed(token, output).await
    }

    async fn is_awaited(&self, token: &TaskToken) -> Result<TokenUse, Error> {
        self.states.is_awaited(token).await
    }

    async fn fail(&self, token: &TaskToken, error: &Error) -> Result<TokenUse, Error> {
        self.states.fail(token, error).await
    }
}

impl Simulation {
    pub(super) async fn admit(&mut self) {
        let batch = self.admissions.receive(&mut self.dice);
        let renews = |input: &admit_document::Input| match input.order {
            Order::Renew { .. } => Some(input.envelope.attempt),
            Order::Request { .. } | Order::Report { .. } | Order::Release => None,
        };
        let renewed: Vec<Attempt> = batch.inputs.iter().filter_map(renews).collect();
        match self.decide(batch, &renewed).await {
            // The batch was handled, but its messages could not be deleted.
            Ok(()) if self.roughness.redeliveries && self.dice.percent(25) => {}
            Ok(()) => self.admissions.done(),
            Err(error) => {
                assert_eq!(error.name(), "Store.Unavailable");
                let letters = self.admissions.take_dead_letters().into_iter();
                let message = |body| Message { queue: ADMISSIONS, body, receives: 20, again: false };
                self.dead_letters.extend(letters.map(message));
            }
        }
    }

    /// Runs `admit-document` for a batch that renews the leases of these attempts.
    pub(super) async fn decide(&mut self, batch: Batch, renewed: &[Attempt]) -> Result<(), Error> {
        let before = self.world.store.admission_now();
        let MemoryWorld { store, states, clock, limits, .. } = &self.world;
        let tasks = Notified { states, tokens: Mutex::default() };
        let answer = admit_document::Ports { store, tasks: &tasks, clock, limits }.handle(batch).await;
        let after = store.admission_now();
        for attempt in renewed {
            let starts_at = |state: &AdmissionState| state.lease(*attempt).map(|lease| lease.starts_at);
            if starts_at(&after).is_some() && starts_at(&before) != starts_at(&after) {
                self.permits.revived.insert(*attempt);
            }
        }
        for token in tasks.tokens.into_inner().unwrap() {
            let document = self.tokens[&token].clone();
            if let Some(Ok(permit)) = self.world.states.answer(&TaskToken::new(&token)) {
                let attempt = serde_json::from_value(permit["attempt"].clone()).unwrap();
                self.permits.granted.insert(attempt, document.clone());
            }
            self.refresh(&document);
        }
        let granted = after.granted().iter();
        self.permits.granted.extend(granted.map(|permit| (permit.attempt, permit.waiting.document.clone())));
        answer.map(|_| ())
    }

    /// Records a permit, which must be newer than all earlier permits of the document.
    pub(super) fn receive_permit(&mut self, document: &DocumentRef, permit: &Value) {
        let attempt: Attempt = serde_json::from_value(permit["attempt"].clone()).unwrap();
        let before = self.permits.newest.insert(document.clone(), attempt);
        assert!(before.is_none_or(|before| before < attempt), "{before:?}, then {attempt:?}");
        self.permits.received.insert(attempt);
        self.permits.trials += usize::from(permit["halfOpenTrial"] == true);
    }

    /// The number of half-open trials so far.
    pub(crate) fn half_open_trials(&self) -> usize {
        self.permits.trials
    }

    /// Moves the time to when all remaining leases have ended, because no execution will release them.
    pub(super) fn let_leases_end(&mut self) {
        // A lease starts at its reservation, which may be in the future.
        self.world.clock.advance(2 * self.world.limits.lease);
        let over = self.executions.iter().filter(|(_, execution)| execution.is_over());
        self.outlasted.extend(over.map(|(document, _)| document.clone()));
    }

    /// Runs `admit-document` until no document waits. A document that failed while it waited keeps its queue position
    /// until `admit-document` skips it.
    pub(crate) async fn settle_the_queues(&mut self) {
        let snapshot = self.world.store.admission_now().snapshot();
        if snapshot.waiting > 0 {
            let full = snapshot.leases >= self.world.limits.max_in_flight as usize;
            assert!(
                full || snapshot.breaker_open,
                "a document waits although a permit could be granted: {snapshot:?}"
            );
            self.assert_leases_that_are_left();
            self.let_leases_end();
            // Calls that are still to be cut off fail now.
            let mut batch = Batch { inputs: Vec::new(), again: false };
            while self.decide(batch.clone(), &[]).await.is_err() {
                batch.again = true;
            }
        }
    }

    /// Checks the end of a run: no document waits for a permit, no permit was used twice, and each remaining lease ends
    /// by itself.
    pub(crate) fn assert_that_no_permit_is_left(&self) {
        let snapshot = self.world.store.admission_now().snapshot();
        assert_eq!((snapshot.waiting, self.world.store.waiting_items()), (0, 0));
        self.assert_leases_that_are_left();
        let requests = self.log.requests();
        let attempts: BTreeSet<Attempt> = requests.iter().map(|request| request.attempt).collect();
        assert_eq!(attempts.len(), requests.len(), "a permit allows one submission");
    }

    /// An attempt keeps its lease only if no execution received its permit, or if its job may still be in progress: the
    /// document failed meanwhile, was redriven without its result, or was submitted again because probes got no answer.
    fn assert_leases_that_are_left(&self) {
        const MAY_HAVE_A_JOB: [&str; 5] =
            ["TransferDocument", "AwaitCallback", "ProbeJob", "CheckProbeTime", "GiveUpWorking"];
        let mut state = self.world.store.admission_now();
        assert_eq!(self.permits.leases(&state).count(), state.snapshot().leases, "a lease without a permit");
        for (attempt, document) in self.permits.leases(&state) {
            let path: Vec<&str> = self.executions[document].path.iter().map(String::as_str).collect();
            let is_newest = self.permits.newest.get(document) == Some(&attempt);
            let failed = match path.as_slice() {
                [.., "CheckProbeTime", "CheckUnknownOutcomes", "FailDocument", "CheckCause", "Failed"] => {
                    true
                }
                [.., last, "FailDocument", "CheckCause", "Failed" | "NotAccepted"] => {
                    MAY_HAVE_A_JOB.contains(last)
                }
                _ => false,
            };
            let is_lost = !self.permits.received.contains(&attempt);
            let unanswered =
                path.windows(2).any(|states| states == ["CheckProbeTime", "CheckUnknownOutcomes"]);
            let is_left = (unanswered || self.abandoned.contains(document)) && !is_newest;
            assert!(
                is_lost || is_left || (is_newest && failed),
                "{document:?} keeps the lease of {attempt:?}: {path:?}"
            );
        }
        state.advance_to(self.world.clock.now() + 2 * self.world.limits.lease);
        assert_eq!(state.snapshot().leases, 0, "a lease ends by itself");
    }
}
