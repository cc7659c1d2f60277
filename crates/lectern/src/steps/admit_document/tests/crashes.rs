//! Whichever call is interrupted, each waiting document gets one permit, and no lease is lost.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const CALLS: [&str; 6] =
    ["admission_state", "queue_position", "waiting_document", "commit", "succeed", "is_awaited"];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Four documents and one lease. One document repeats its request; the execution of another one is stopped while the
/// document waits.
async fn play(orders: &mut Orders) -> Vec<TaskToken> {
    let documents = [0, 1, 2, 3].map(|number| document("s1", number));
    let mut tokens: Vec<TaskToken> = documents.iter().map(|document| orders.request(document)).collect();
    orders.deliver().await;
    tokens[1] = orders.repeat(&documents[1], &tokens[1].clone());
    orders.deliver().await;
    orders.world.states.expire(&tokens[2]);
    for _ in &documents {
        for (document, token) in documents.iter().zip(tokens.clone()) {
            orders.release(document, &token);
        }
        orders.deliver().await;
    }
    tokens.remove(2);
    tokens
}

#[tokio::test]
async fn case_19_case_20_case_21_crash_at_any_call_leaks_nothing_and_each_document_is_notified_once() {
    let calls = {
        let mut orders = Orders::with_leases(1);
        play(&mut orders).await;
        orders.world.faults.calls()
    };
    for call in CALLS {
        assert!(calls.contains(&call), "{call} is never made");
        for nth in 0..calls.iter().filter(|made| **made == call).count() {
            for cut in [Cut::Before, Cut::After] {
                let mut orders = Orders::with_leases(1);
                orders.world.faults.cut_nth(call, nth, cut);
                let tokens = play(&mut orders).await;
                let at = format!("{call} {nth} {cut:?}");
                let attempts: BTreeSet<Option<Attempt>> =
                    tokens.iter().map(|token| orders.attempt(token)).collect();
                assert!(attempts.len() == tokens.len() && !attempts.contains(&None), "{at}: {attempts:?}");
                let snapshot = orders.world.store.admission_now().snapshot();
                assert_eq!((snapshot.leases, snapshot.waiting), (0, 0), "{at}");
                assert!(orders.is_empty(), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn permits_that_were_not_notified_are_when_the_batch_is_delivered_again_and_not_granted_twice() {
    let mut orders = Orders::with_leases(5);
    let tokens = [0, 1, 2].map(|number| orders.request(&document("s1", number)));
    orders.world.faults.cut_nth("succeed", 1, Cut::Before);
    orders.deliver().await;
    let attempts = tokens.map(|token| orders.attempt(&token).unwrap());
    assert_eq!(attempts, [1, 2, 3].map(Attempt));
}

/// Seen in review: the third delivery no longer knew the permits that the first one had granted.
#[tokio::test]
async fn case_20_batch_that_is_delivered_again_after_it_was_done_grants_nothing_more() {
    let mut orders = Orders::with_leases(2);
    let tokens = [0, 1, 2].map(|number| orders.request(&document("s1", number)));
    let inputs: Vec<Input> = orders.queue.iter().cloned().collect();
    orders.deliver().await;
    for _ in 0..3 {
        orders.world.admit(Batch { inputs: inputs.clone(), again: true }).await.unwrap();
        let state = orders.world.store.admission_now();
        assert_eq!((state.snapshot().leases, state.granted()), (2, [].as_slice()));
    }
    for (number, token) in [0, 1].into_iter().zip(&tokens) {
        orders.release(&document("s1", number), token);
    }
    assert_eq!(orders.deliver().await.unwrap().leases, 1, "its other positions are skipped");
    assert_eq!(orders.attempt(&tokens[2]), Some(Attempt(3)), "two were granted before");
    assert!(orders.is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A new request, or the same one again after a timeout.
    Request(usize),
    Stop(usize),
    Done(usize),
    Failure(usize, usize),
    Later(u64),
    Cut(usize, bool),
    Deliver,
}

const DOCUMENTS: usize = 9;

fn event() -> impl Strategy<Value = Event> {
    let which = 0..DOCUMENTS;
    prop_oneof![
        6 => which.clone().prop_map(Event::Request),
        1 => which.clone().prop_map(Event::Stop),
        4 => which.clone().prop_map(Event::Done),
        3 => (which, 0..6usize).prop_map(|(which, error)| Event::Failure(which, error)),
        2 => prop_oneof![0..10u64, 0..4_000u64, 0..30_000u64].prop_map(Event::Later),
        2 => (0..CALLS.len(), any::<bool>()).prop_map(|(call, after)| Event::Cut(call, after)),
        5 => Just(Event::Deliver),
    ]
}

fn document_of(which: usize) -> DocumentRef {
    document(["a", "b", "c"][which % 3], which)
}

/// The state of each execution: the token with which it waits, or the token that its permit answered.
#[derive(Debug, Default)]
struct Executions {
    waits: BTreeMap<usize, TaskToken>,
    permits: BTreeMap<usize, TaskToken>,
    attempts: Vec<Attempt>,
}

impl Executions {
    fn happens(&mut self, orders: &mut Orders, event: Event) {
        match event {
            Event::Request(which) if self.permits.contains_key(&which) => {}
            Event::Request(which) => {
                let token = match self.waits.get(&which) {
                    Some(token) => orders.repeat(&document_of(which), &token.clone()),
                    None => orders.request(&document_of(which)),
                };
                self.waits.insert(which, token);
            }
            Event::Stop(which) => {
                if let Some(token) = self.waits.remove(&which) {
                    orders.world.states.expire(&token);
                }
            }
            Event::Done(which) => {
                if let Some(token) = self.permits.remove(&which) {
                    orders.release(&document_of(which), &token);
                }
            }
            Event::Failure(which, error) => {
                let Some(token) = self.permits.remove(&which) else { return };
                let error = match error {
                    0 => Error::RateLimited { retry_at: orders.world.clock.now() + Duration::from_secs(9) },
                    1 => Error::Unavailable(String::new()),
                    2 => Error::OutcomeUnknown(String::new()),
                    3 => Error::Unauthorized,
                    4 => Error::PermitAlreadyUsed("used"),
                    _ => Error::PermitExpired("over"),
                };
                orders.report(&document_of(which), &token, &error);
                // After an unknown outcome, the lease is released when the third party knows no job.
                orders.release(&document_of(which), &token);
                self.waits.insert(which, orders.request_with(&document_of(which), 1, 0));
            }
            Event::Later(seconds) => orders.world.clock.advance(Duration::from_secs(seconds)),
            Event::Cut(call, after) => {
                orders.world.faults.cut_next(CALLS[call], if after { Cut::After } else { Cut::Before });
            }
            Event::Deliver => {
                block_on(orders.deliver());
            }
        }
        self.learn(orders);
    }

    fn learn(&mut self, orders: &Orders) {
        let notified: Vec<usize> = self
            .waits
            .iter()
            .filter(|(_, token)| orders.answer(token).is_some())
            .map(|(which, _)| *which)
            .collect();
        for which in notified {
            let token = self.waits.remove(&which).unwrap();
            let attempt = orders.attempt(&token).unwrap();
            assert!(!self.attempts.contains(&attempt), "{attempt:?} was granted twice");
            self.attempts.push(attempt);
            self.permits.insert(which, token);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn case_19_case_20_each_waiting_document_is_notified_once_and_in_the_end_nothing_is_left(
        leases in 1u32..5,
        events in prop::collection::vec(event(), 1..150),
    ) {
        let mut orders = Orders::with_leases(leases);
        let mut executions = Executions::default();
        for event in events {
            executions.happens(&mut orders, event);
        }
        // A document is served when the documents ahead of it have ended. The lease of a stopped execution ends by
        // itself, and the next repeated request makes the function notice it.
        for round in 1..=10 * DOCUMENTS {
            for which in executions.waits.clone().into_keys().filter(|_| round.is_multiple_of(12)) {
                executions.happens(&mut orders, Event::Request(which));
            }
            executions.happens(&mut orders, Event::Deliver);
            orders.world.clock.advance(Duration::from_secs(301));
            for (which, token) in std::mem::take(&mut executions.permits) {
                orders.accepted(&document_of(which), &token);
                orders.release(&document_of(which), &token);
            }
        }
        prop_assert!(executions.waits.is_empty(), "{:?}", executions.waits);
        // Leases of stopped executions end by themselves.
        orders.world.clock.advance(Duration::from_hours(6));
        orders.order(&document_of(0), Attempt(0), Order::Release);
        let snapshot = block_on(orders.deliver()).unwrap();
        prop_assert_eq!((snapshot.leases, snapshot.waiting), (0, 0));
        prop_assert!(orders.is_empty());
    }
}
