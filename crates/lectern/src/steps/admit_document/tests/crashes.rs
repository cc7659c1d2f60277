//! Whatever is cut off, everybody who waits is told, once, and no place is lost.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const CALLS: [&str; 6] = ["gate", "place", "waiter", "commit", "succeed", "is_awaited"];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Four documents and room for one; one asks again, one is stopped while it waits.
async fn play(line: &mut Line) -> Vec<TaskToken> {
    let documents = [0, 1, 2, 3].map(|number| document("s1", number));
    let mut tokens: Vec<TaskToken> = documents.iter().map(|document| line.ask(document)).collect();
    line.deliver().await;
    line.world.states.expire(&tokens[1]);
    tokens[1] = line.ask(&documents[1]);
    line.deliver().await;
    line.world.states.expire(&tokens[2]);
    for document in &documents {
        line.release(document);
        line.deliver().await;
    }
    tokens.remove(2);
    tokens
}

#[tokio::test]
async fn case_19_case_20_case_21_crash_at_any_call_leaks_nothing_and_everybody_is_told_once() {
    let calls = {
        let mut line = Line::with_room_for(1);
        play(&mut line).await;
        line.world.faults.calls()
    };
    for call in CALLS {
        assert!(calls.contains(&call), "{call} is never made");
        for nth in 0..calls.iter().filter(|made| **made == call).count() {
            for cut in [Cut::Before, Cut::After] {
                let mut line = Line::with_room_for(1);
                line.world.faults.cut_nth(call, nth, cut);
                let tokens = play(&mut line).await;
                let at = format!("{call} {nth} {cut:?}");
                let attempts: BTreeSet<Option<Attempt>> =
                    tokens.iter().map(|token| line.attempt(token)).collect();
                assert!(attempts.len() == tokens.len() && !attempts.contains(&None), "{at}: {attempts:?}");
                let standing = line.world.store.gate_now().standing();
                assert_eq!((standing.leases, standing.waiting), (0, 0), "{at}");
                assert!(line.nobody_waits(), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn case_21_place_of_an_execution_that_vanished_is_free_when_its_time_is_over() {
    let mut line = Line::with_room_for(1);
    line.ask(&document("s1", 1));
    let waiting = document("s1", 2);
    let token = line.ask(&waiting);
    line.deliver().await;
    line.world.clock.advance(Duration::from_hours(6));
    line.world.states.expire(&token);
    let again = line.ask(&waiting);
    line.deliver().await;
    assert!(line.answer(&again).is_some(), "the state that waits asks again after its timeout");
}

#[tokio::test]
async fn turns_that_were_not_told_are_told_when_the_batch_comes_again_and_not_granted_twice() {
    let mut line = Line::with_room_for(5);
    let tokens = [0, 1, 2].map(|number| line.ask(&document("s1", number)));
    line.world.faults.cut_nth("succeed", 1, Cut::Before);
    line.deliver().await;
    let attempts = tokens.map(|token| line.attempt(&token).unwrap());
    assert_eq!(attempts, [1, 2, 3].map(|turn| Attempt(Attempt::LAST_WITHOUT_TURN.0 + turn)));
}

/// Seen in review: the third delivery knew nothing any more of the turns that the first one had told.
#[tokio::test]
async fn case_20_batch_that_comes_again_and_again_after_it_was_done_grants_nothing_more() {
    let mut line = Line::with_room_for(2);
    let tokens = [0, 1, 2].map(|number| line.ask(&document("s1", number)));
    let inputs: Vec<Input> = line.queue.iter().cloned().collect();
    line.deliver().await;
    let before = line.world.store.gate_now();
    for _ in 0..3 {
        line.world.grant_turns(Batch { inputs: inputs.clone(), again: true }).await.unwrap();
        let mut gate = line.world.store.gate_now();
        assert_eq!((gate.standing(), gate.granted()), (before.standing(), [].as_slice()));
        gate.grant(before.granted()[0].waiter.clone(), &line.world.limits, START);
        assert_eq!(gate.granted()[0].attempt, Attempt(Attempt::LAST_WITHOUT_TURN.0 + 3), "two were granted");
    }
    line.release(&document("s1", 0));
    line.deliver().await;
    assert!(tokens.iter().all(|token| line.answer(token).is_some()));
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Ask(usize),
    Stop(usize),
    Done(usize),
    Trouble(usize, usize),
    Later(u64),
    Cut(usize, bool),
    Deliver,
}

const DOCUMENTS: usize = 9;

fn event() -> impl Strategy<Value = Event> {
    let which = 0..DOCUMENTS;
    prop_oneof![
        6 => which.clone().prop_map(Event::Ask),
        1 => which.clone().prop_map(Event::Stop),
        4 => which.clone().prop_map(Event::Done),
        3 => (which, 0..6usize).prop_map(|(which, error)| Event::Trouble(which, error)),
        2 => prop_oneof![0..10u64, 0..4_000u64, 0..30_000u64].prop_map(Event::Later),
        2 => (0..CALLS.len(), any::<bool>()).prop_map(|(call, after)| Event::Cut(call, after)),
        5 => Just(Event::Deliver),
    ]
}

fn document_of(which: usize) -> DocumentRef {
    document(["a", "b", "c"][which % 3], which)
}

/// What each execution knows: the token it waits with, or the turn it has.
#[derive(Debug, Default)]
struct Executions {
    waits: BTreeMap<usize, TaskToken>,
    turns: BTreeMap<usize, TaskToken>,
    attempts: Vec<Attempt>,
}

impl Executions {
    fn happens(&mut self, line: &mut Line, event: Event) {
        match event {
            Event::Ask(which) if !self.waits.contains_key(&which) => {
                self.waits.insert(which, line.ask(&document_of(which)));
            }
            Event::Ask(which) => {
                // Its state ran out of time.
                line.world.states.expire(&self.waits[&which]);
                self.waits.insert(which, line.ask(&document_of(which)));
            }
            Event::Stop(which) => {
                if let Some(token) = self.waits.remove(&which) {
                    line.world.states.expire(&token);
                }
            }
            Event::Done(which) => {
                if self.turns.remove(&which).is_some() {
                    line.release(&document_of(which));
                }
            }
            Event::Trouble(which, error) => {
                let Some(token) = self.turns.remove(&which) else { return };
                let error = match error {
                    0 => Error::RateLimited { retry_at: line.world.clock.now() + Duration::from_secs(9) },
                    1 => Error::Unavailable(String::new()),
                    2 => Error::Down(String::new()),
                    3 => Error::Unauthorized,
                    4 => Error::TurnUsed,
                    _ => Error::TurnOver("over"),
                };
                line.report(&document_of(which), &token, &error);
                self.waits.insert(which, line.ask(&document_of(which)));
            }
            Event::Later(seconds) => line.world.clock.advance(Duration::from_secs(seconds)),
            Event::Cut(call, after) => {
                line.world.faults.cut_next(CALLS[call], if after { Cut::After } else { Cut::Before });
            }
            Event::Deliver => {
                block_on(line.deliver());
            }
        }
        self.learn(line);
    }

    fn learn(&mut self, line: &Line) {
        let told: Vec<usize> = self
            .waits
            .iter()
            .filter(|(_, token)| line.answer(token).is_some())
            .map(|(which, _)| *which)
            .collect();
        for which in told {
            let token = self.waits.remove(&which).unwrap();
            let attempt = line.attempt(&token).unwrap();
            assert!(!self.attempts.contains(&attempt), "{attempt:?} was granted twice");
            self.attempts.push(attempt);
            self.turns.insert(which, token);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn case_19_case_20_whoever_waits_is_told_once_and_in_the_end_nothing_is_left(
        room in 1u32..5,
        events in prop::collection::vec(event(), 1..150),
    ) {
        let mut line = Line::with_room_for(room);
        let mut executions = Executions::default();
        for event in events {
            executions.happens(&mut line, event);
        }
        // Whoever waits is served once those before it are done. If one of these was stopped with its turn, nobody gives
        // it back; then the state that waits runs out of time after an hour and asks again.
        for round in 1..=10 * DOCUMENTS {
            for which in executions.waits.clone().into_keys().filter(|_| round.is_multiple_of(12)) {
                executions.happens(&mut line, Event::Ask(which));
            }
            executions.happens(&mut line, Event::Deliver);
            line.world.clock.advance(Duration::from_secs(301));
            for (which, token) in std::mem::take(&mut executions.turns) {
                line.accepted(&document_of(which), &token);
                line.release(&document_of(which));
            }
        }
        prop_assert!(executions.waits.is_empty(), "{:?}", executions.waits);
        // Turns that were told to those who had been stopped or had run out of time are nobody's; they expire.
        line.world.clock.advance(Duration::from_hours(6));
        for which in 0..DOCUMENTS {
            line.release(&document_of(which));
        }
        let standing = block_on(line.deliver()).unwrap();
        prop_assert_eq!((standing.leases, standing.waiting), (0, 0));
        prop_assert!(line.nobody_waits());
    }
}
