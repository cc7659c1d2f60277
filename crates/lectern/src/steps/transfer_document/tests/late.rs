//! Messages that come too early or too late, and the report of a success.

use super::*;

#[tokio::test]
async fn message_of_an_earlier_attempt_is_dropped() {
    let (world, document) = registered().await;
    world.transfer(input(&document, 2000, 1, "newer")).await.unwrap();
    assert_eq!(world.transfer(input(&document, 1000, 1, "earlier")).await.unwrap(), Outcome::Dropped);
    assert_eq!(answer(&world, "earlier"), None);
    assert_eq!(world.third_party.jobs().len(), 1);
}

/// The circuit breaker needs the report of a success only after a failure.
#[tokio::test]
async fn success_is_reported_to_admit_document_if_the_permit_asks_for_it() {
    for asked in [true, false] {
        let (world, document) = registered().await;
        let input = Input { report_success: asked, ..input(&document, 1000, 1, "token") };
        let order = Order::Report { error: String::new(), cause: String::new() };
        let report = admit_document::Input { envelope: input.envelope.clone(), order };
        assert_eq!(world.transfer(input).await.unwrap(), Outcome::Transferred);
        assert_eq!(world.states.take_orders(), if asked { vec![report] } else { Vec::new() });
    }
}

#[tokio::test]
async fn success_that_cannot_be_reported_leads_to_a_probe_and_not_to_a_second_submission() {
    let (world, document) = registered().await;
    world.faults.cut_next("send", Cut::Before);
    let input = Input { report_success: true, ..input(&document, 1000, 1, "token") };
    assert_eq!(world.transfer(input).await.unwrap(), Outcome::Reported("Permit.AlreadyUsed"));
    assert_eq!(world.count("submit"), 1);
}

#[tokio::test]
async fn result_that_came_while_the_next_round_waited_for_its_permit_is_used() {
    let (world, document) = registered().await;
    world.transfer(input(&document, 1000, 1, "first")).await.unwrap();
    assert!(world.store.await_callback(&document, TaskToken::new("over"), START));
    let job_id = world.store.get(&document).unwrap().job_id.unwrap();
    world.call_back(&document, of_job(&job_id, succeeded(&[]))).await;
    assert_eq!(world.store.get(&document).unwrap().state, DocumentState::Verifying);
    assert_eq!(world.transfer(input(&document, 2000, 2, "later")).await.unwrap(), Outcome::Transferred);
    assert_eq!((answer(&world, "later"), world.count("submit")), (Some(Ok(json!({}))), 1));
}

/// The message may arrive before Step Functions knows its token.
#[tokio::test]
async fn a01_message_whose_token_is_not_known_yet_stays_on_the_queue() {
    let (world, document) = registered().await;
    world.states.expire(&TaskToken::new("token"));
    let message = input(&document, 1000, 1, "token");
    let first = world.transfer_by(u64::MAX, &world.third_party, message, false).await;
    assert_eq!(first.unwrap_err().name(), "Store.Unavailable");
    assert!(world.third_party.jobs().is_empty());
}
