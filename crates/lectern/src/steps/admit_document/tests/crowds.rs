//! Many at once: nobody waits forever, nobody is asked twice, and one write stays one transaction.

use std::sync::Mutex;

use super::*;

#[tokio::test]
async fn submission_of_thousands_delays_the_single_document_of_another_by_two_turns_at_most() {
    let mut line = Line::with_room_for(4);
    let crowd: Vec<DocumentRef> = (0..5_000).map(|number| document("crowd", number)).collect();
    let mut tokens: VecDeque<_> = crowd.iter().map(|document| (line.ask(document), document)).collect();
    line.deliver().await;
    for single in ["alone", "zoe"] {
        let token = line.ask(&document(single, 0));
        line.deliver().await;
        let mut others = 0;
        while line.answer(&token).is_none() {
            let (_, done) = tokens.pop_front().unwrap();
            line.release(done);
            line.deliver().await;
            others += 1;
        }
        assert!(others <= 2, "{single} waited for {others} places");
        line.release(&document(single, 0));
        line.deliver().await;
    }
}

#[tokio::test]
async fn ten_thousand_that_ask_at_once_get_one_answer_each_and_nobody_asks_twice() {
    let room = 50;
    let mut line = Line::with_room_for(room);
    let documents: Vec<DocumentRef> =
        (0..10_000).map(|number| document(&format!("s{}", number % 400), number)).collect();
    let tokens: Vec<TaskToken> = documents.iter().map(|document| line.ask(document)).collect();
    line.deliver().await;
    let mut open: Vec<usize> = (0..documents.len()).collect();
    let mut last = 0;
    while !open.is_empty() {
        let (told, waiting): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|index| line.answer(&tokens[*index]).is_some());
        assert!(!told.is_empty(), "{} wait for nothing", waiting.len());
        assert!(told.len() <= room as usize);
        last = last.max(told.iter().map(|index| line.attempt(&tokens[*index]).unwrap().0).max().unwrap());
        for index in told {
            line.release(&documents[index]);
        }
        line.deliver().await;
        open = waiting;
    }
    assert!(line.nobody_waits());
    assert_eq!(last, Attempt::LAST_WITHOUT_TURN.0 + 10_000, "each was granted one turn");
    assert_eq!(line.world.count("succeed"), 10_000);
    assert_eq!(line.world.count("commit"), 2_000, "one write for ten asks or ten releases");
    assert_eq!(line.world.count("place"), 10_000);
    assert!(line.world.count("waiter") <= 10_000, "each ticket is read once at most");
}

#[tokio::test]
async fn case_29_breaker_that_closes_lets_the_crowd_in_as_far_as_there_is_room() {
    let mut line = Line::with_room_for(60);
    let first = document("s0", 0);
    let token = line.ask(&first);
    line.deliver().await;
    line.report(&first, &token, &Error::Unauthorized);
    line.deliver().await;
    let documents: Vec<DocumentRef> = (1..=100).map(|number| document("s1", number)).collect();
    let tokens: Vec<TaskToken> = documents.iter().map(|document| line.ask(document)).collect();
    line.deliver().await;
    let told = |line: &Line| tokens.iter().filter(|token| line.answer(token).is_some()).count();
    assert_eq!(told(&line), 1, "one tries, all others wait");
    line.world.clock.advance(Duration::from_secs(15));
    line.accepted(&documents[0], &tokens[0]);
    line.deliver().await;
    assert_eq!(
        told(&line),
        59,
        "one of the 60 places is held by the first document, all others are filled by one order"
    );
    line.release(&documents[0]);
    line.deliver().await;
    assert_eq!(told(&line), 60, "the place that was given back is filled again");
}

/// A store that notes how much is written at once.
struct Weighed<'w>(&'w MemoryWorld, Mutex<Vec<usize>>);

impl Turns for Weighed<'_> {
    async fn gate(&self) -> Result<(Gate, u64), Error> {
        self.0.store.gate().await
    }

    async fn place(&self, document: &DocumentRef) -> Result<Option<Ticket>, Error> {
        self.0.store.place(document).await
    }

    async fn waiter(&self, ticket: &Ticket) -> Result<Option<Waiter>, Error> {
        self.0.store.waiter(ticket).await
    }

    async fn commit(&self, gate: &Gate, revision: u64, changes: Changes) -> Result<(), Error> {
        self.1.lock().unwrap().push(1 + changes.waiters.len() + changes.places.len());
        self.0.store.commit(gate, revision, changes).await
    }
}

/// Seen in review: documents that came back and whose places expired while the third party was down changed three items
/// each, more than a transaction takes, so that their batch failed for good and blocked all behind it.
#[tokio::test]
async fn case_29_write_never_has_more_than_a_hundred_parts_not_even_after_an_outage_that_outlasts_the_leases()
{
    let mut line = Line::with_room_for(200);
    let documents: Vec<DocumentRef> = (0..150).map(|number| document("s1", number)).collect();
    let tokens: Vec<TaskToken> = documents.iter().map(|document| line.ask(document)).collect();
    line.deliver().await;
    for (document, token) in documents.iter().zip(&tokens) {
        line.report(document, token, &Error::Unavailable("its answer was lost".to_owned()));
    }
    let tokens: Vec<TaskToken> = documents.iter().map(|document| line.ask(document)).collect();
    line.deliver().await;
    line.world.clock.advance(Duration::from_hours(7));
    let others: Vec<TaskToken> = (0..200).map(|number| line.ask(&document("s2", number))).collect();
    line.deliver().await;
    // The one that tries is accepted: now all who came back are looked at first.
    line.accepted(&document("s2", 0), &others[0]);
    let store = Weighed(&line.world, Mutex::new(Vec::new()));
    let batch = Batch { inputs: line.queue.drain(..).collect(), again: false };
    handle(&store, &line.world.states, &line.world.clock, &line.world.limits, batch).await.unwrap();
    let largest = store.1.lock().unwrap().iter().copied().max();
    assert!((95..=100).contains(&largest.unwrap()), "{largest:?}");
    let mut rounds = 0;
    while let Some(standing) = serve(&mut line, &documents, &tokens).await {
        rounds += 1;
        assert!(rounds < 100, "{standing:?}");
    }
    assert!(line.nobody_waits());
}

/// Whoever has a turn is accepted and done.
async fn serve(line: &mut Line, documents: &[DocumentRef], tokens: &[TaskToken]) -> Option<Standing> {
    line.world.clock.advance(Duration::from_mins(5));
    let others: Vec<DocumentRef> = (0..200).map(|number| document("s2", number)).collect();
    for (document, token) in documents.iter().zip(tokens) {
        if line.answer(token).is_some() {
            line.accepted(document, token);
            line.release(document);
        }
    }
    for other in &others {
        line.release(other);
    }
    let standing = line.deliver().await.unwrap();
    (standing.waiting > 0).then_some(standing)
}
