//! Runs that are killed at any call, before or after its effect.

use super::*;

/// Cases 19 and 20: the message is delivered again, or another permit is granted, until the transfer is reported.
#[tokio::test]
async fn case_19_case_20_run_killed_at_any_call_gives_the_same_result_and_one_job() {
    let calls = {
        let (world, document) = registered().await;
        let before = world.faults.calls().len();
        world.transfer(input(&document, 1000, 1, "token")).await.unwrap();
        world.faults.calls().split_off(before)
    };
    assert_eq!(
        calls,
        [
            "is_awaited",
            "begin_transfer",
            "current_version",
            "open",
            "prepare",
            "submit",
            "record_job",
            "succeed"
        ]
    );
    for call in calls {
        for cut in [Cut::Before, Cut::After] {
            for killed_while_reporting in [false, true] {
                let (world, document) = registered().await;
                world.faults.cut_next(call, cut);
                if killed_while_reporting {
                    world.faults.cut_next("fail", cut);
                }
                let mut attempt = 1000;
                for _ in 0..4 {
                    let token = format!("token-{attempt}");
                    let outcome = world.transfer(input(&document, attempt, 1, &token)).await;
                    match answer(&world, &token) {
                        Some(Ok(_)) if outcome.is_ok() => break,
                        Some(Err(_)) => attempt += 1,
                        _ => {}
                    }
                }
                let at = format!("{call} {cut:?} {killed_while_reporting}");
                assert_eq!(answer(&world, &format!("token-{attempt}")), Some(Ok(json!({}))), "{at}");
                assert_eq!(world.third_party.jobs().into_values().collect::<Vec<_>>(), [PDF], "{at}");
                let stored = world.store.get(&document).unwrap();
                let key = idempotency_key(document.document_id, Round(1));
                assert_eq!(stored.job_id, Some(format!("job-{key}")), "{at}");
                assert_eq!(stored.attempt, Some(Attempt(attempt)), "{at}");
                assert_eq!(stored.state, DocumentState::Transferring, "{at}");
            }
        }
    }
}
