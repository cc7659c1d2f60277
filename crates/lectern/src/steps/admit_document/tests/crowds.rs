//! Many documents at once: each one is served, each task token is checked once, and one write stays one transaction.

use std::sync::Mutex;

use super::*;

#[tokio::test]
async fn submission_of_thousands_delays_the_single_document_of_another_by_two_permits_at_most() {
    let mut orders = Orders::with_leases(4);
    let crowd: Vec<DocumentRef> = (0..5_000).map(|number| document("crowd", number)).collect();
    let mut tokens: VecDeque<_> = crowd.iter().map(|document| (orders.request(document), document)).collect();
    orders.deliver().await;
    for single in ["alone", "zoe"] {
        let token = orders.request(&document(single, 0));
        orders.deliver().await;
        let mut others = 0;
        while orders.answer(&token).is_none() {
            let (done, document) = tokens.pop_front().unwrap();
            orders.release(document, &done);
            orders.deliver().await;
            others += 1;
        }
        assert!(others <= 2, "{single} waited for {others} leases");
        orders.release(&document(single, 0), &token);
        orders.deliver().await;
    }
}

#[tokio::test]
async fn teacher_with_fifty_submissions_delays_each_document_of_another_teacher_by_one_permit() {
    let mut orders = Orders::with_leases(1);
    let owner = |name: &str| Some(Lane::of(Some(&name.parse().unwrap()), &"s".parse().unwrap()));
    orders.lane = owner("crowd");
    let crowd: Vec<DocumentRef> =
        (0..200).map(|number| document(&format!("crowd-{}", number % 50), number)).collect();
    let mut tokens: Vec<_> =
        crowd.iter().map(|document| (orders.request(document), document.clone())).collect();
    orders.lane = owner("single");
    let single: Vec<DocumentRef> = (0..20).map(|number| document("single", number)).collect();
    tokens.extend(single.iter().map(|document| (orders.request(document), document.clone())));
    orders.deliver().await;
    let mut served = Vec::new();
    while let Some(index) = tokens.iter().position(|(token, _)| orders.answer(token).is_some()) {
        let (token, document) = tokens.swap_remove(index);
        served.push(document.submission_id.as_str() == "single");
        orders.release(&document, &token);
        orders.deliver().await;
    }
    assert_eq!(served.len(), 220);
    // The first permit was granted before the other teacher came, who then waited for one turn.
    let turns: Vec<bool> = (0..40).map(|number| number % 2 == 1).collect();
    assert_eq!(served[1..=40], turns, "the teachers are served in turn");
}

#[tokio::test]
async fn ten_thousand_documents_that_request_at_once_get_one_permit_each() {
    let leases = 50;
    let mut orders = Orders::with_leases(leases);
    let documents: Vec<DocumentRef> =
        (0..10_000).map(|number| document(&format!("s{}", number % 400), number)).collect();
    let tokens: Vec<TaskToken> = documents.iter().map(|document| orders.request(document)).collect();
    orders.deliver().await;
    let mut open: Vec<usize> = (0..documents.len()).collect();
    let mut last = Attempt(0);
    while !open.is_empty() {
        let (admitted, waiting): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|index| orders.answer(&tokens[*index]).is_some());
        assert!(!admitted.is_empty(), "{} documents wait without a reason", waiting.len());
        assert!(admitted.len() <= leases as usize);
        last = last.max(admitted.iter().filter_map(|index| orders.attempt(&tokens[*index])).max().unwrap());
        for index in admitted {
            orders.release(&documents[index], &tokens[index]);
        }
        orders.deliver().await;
        open = waiting;
    }
    assert!(orders.is_empty());
    assert_eq!(last, Attempt(10_000), "each got one permit");
    assert_eq!(orders.world.count("succeed"), 10_000);
    assert_eq!(orders.world.count("commit"), 2_000, "one write for ten requests or ten releases");
    assert_eq!(orders.world.count("queue_position"), 0);
    assert!(orders.world.count("waiting_document") <= 10_000, "each position is read once at most");
}

#[tokio::test]
async fn case_29_breaker_that_closes_admits_the_crowd_as_far_as_leases_are_free() {
    let mut orders = Orders::with_leases(60);
    let first = document("s0", 0);
    let token = orders.request(&first);
    orders.deliver().await;
    orders.report(&first, &token, &Error::Unauthorized);
    orders.deliver().await;
    let documents: Vec<DocumentRef> = (1..=100).map(|number| document("s1", number)).collect();
    let tokens: Vec<TaskToken> = documents.iter().map(|document| orders.request(document)).collect();
    orders.deliver().await;
    let admitted = |orders: &Orders| tokens.iter().filter(|token| orders.answer(token).is_some()).count();
    assert_eq!(admitted(&orders), 1, "one probes, all others wait");
    orders.world.clock.advance(Duration::from_secs(15));
    orders.accepted(&documents[0], &tokens[0]);
    orders.deliver().await;
    assert_eq!(admitted(&orders), 60, "one order fills all leases");
    orders.release(&documents[0], &tokens[0]);
    orders.deliver().await;
    assert_eq!(admitted(&orders), 61);
}

/// A store that records the number of items in each write.
struct Weighed<'w>(&'w MemoryWorld, Mutex<Vec<usize>>);

impl AdmissionStore for Weighed<'_> {
    async fn admission_state(&self) -> Result<(AdmissionState, u64), Error> {
        self.0.store.admission_state().await
    }

    async fn waiting_document(&self, position: &QueuePosition) -> Result<Option<WaitingDocument>, Error> {
        self.0.store.waiting_document(position).await
    }

    async fn queue_position(&self, document: &DocumentRef) -> Result<Option<QueuePosition>, Error> {
        self.0.store.queue_position(document).await
    }

    async fn commit(
        &self,
        state: &AdmissionState,
        revision: u64,
        changes: QueueChanges,
    ) -> Result<(), Error> {
        self.1.lock().unwrap().push(1 + changes.waiting.len() + changes.positions.len());
        self.0.store.commit(state, revision, changes).await
    }
}

/// Seen in review: a write larger than a transaction failed for good and blocked all messages behind it.
#[tokio::test]
async fn case_29_write_never_has_more_than_a_hundred_parts() {
    let mut orders = Orders::with_leases(200);
    let first = document("s0", 0);
    let token = orders.request(&first);
    orders.deliver().await;
    orders.report(&first, &token, &Error::Unauthorized);
    let tokens: Vec<TaskToken> = (0..300).map(|number| orders.request(&document("s1", number))).collect();
    orders.deliver().await;
    orders.world.clock.advance(Duration::from_mins(1));
    // The probe is accepted, so all other documents may be admitted, and ten requests are in the same batch.
    orders.accepted(&document("s1", 0), &tokens[0]);
    for number in 300..309 {
        orders.request(&document("s1", number));
    }
    let store = Weighed(&orders.world, Mutex::new(Vec::new()));
    let batch = Batch { inputs: orders.queue.drain(..).collect(), again: false };
    let MemoryWorld { states: tasks, clock, limits, .. } = &orders.world;
    Ports { store: &store, tasks, clock, limits }.handle(batch).await.unwrap();
    let writes = store.1.lock().unwrap().clone();
    assert!(writes.len() > 1 && writes.iter().all(|parts| *parts <= 100), "{writes:?}");
    assert!(writes.iter().max() > Some(&70), "{writes:?}");
    assert_eq!(orders.world.store.admission_now().snapshot().leases, 200);
}

/// Tasks whose heartbeats are answered only when as many of them are under way as the barrier waits for.
struct Together<'w>(&'w MemoryWorld, tokio::sync::Barrier);

impl Tasks for Together<'_> {
    async fn succeed(&self, token: &TaskToken, output: Value) -> Result<TokenUse, Error> {
        self.0.states.succeed(token, output).await
    }

    async fn is_awaited(&self, token: &TaskToken) -> Result<TokenUse, Error> {
        self.1.wait().await;
        self.0.states.is_awaited(token).await
    }

    async fn fail(&self, token: &TaskToken, error: &Error) -> Result<TokenUse, Error> {
        self.0.states.fail(token, error).await
    }
}

#[tokio::test]
async fn a11_heartbeats_of_all_documents_that_may_be_admitted_are_under_way_at_once() {
    let mut orders = Orders::with_leases(10);
    let tokens: Vec<TaskToken> = (0..10).map(|number| orders.request(&document("s0", number))).collect();
    let tasks = Together(&orders.world, tokio::sync::Barrier::new(10));
    let batch = Batch { inputs: orders.queue.drain(..).collect(), again: false };
    let MemoryWorld { store, clock, limits, .. } = &orders.world;
    let ports = Ports { store, tasks: &tasks, clock, limits };
    tokio::time::timeout(Duration::from_secs(10), ports.handle(batch)).await.expect("no deadlock").unwrap();
    assert!(tokens.iter().all(|token| orders.attempt(token).is_some()));
}

#[tokio::test]
async fn a01_request_whose_token_is_not_known_yet_is_delivered_again() {
    let mut orders = Orders::with_leases(1);
    let token = orders.request(&document("s0", 0));
    orders.world.states.expire(&token);
    let batch = Batch { inputs: orders.queue.drain(..).collect(), again: false };
    let error = orders.world.admit(batch.clone()).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable", "{error}");
    assert!(orders.is_empty());

    orders.world.admit(Batch { again: true, ..batch }).await.unwrap();
    assert!(orders.is_empty() && orders.answer(&token).is_none());
}
