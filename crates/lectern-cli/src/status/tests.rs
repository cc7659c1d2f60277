//! What the first command at night says.

use aws_smithy_mocks::{MockResponse, mock};
use lectern::{
    submission::{Counts, Submission},
    turns::Cause,
};
use serde_json::json;
use time::macros::datetime;

use super::*;
use crate::{
    console::Report as _,
    limiter::Breaker,
    test_support::{answer, client, cloud},
};

const NOW: OffsetDateTime = datetime!(2026-11-20 03:12:00 UTC);

fn submission(id: &str, counts: Counts) -> Submission {
    let created_at = "2026-11-19T12:00:00.000Z".to_owned();
    Submission { submission_id: id.parse().unwrap(), state: counts.state(), counts, created_at }
}

fn counted(all: &[Submission]) -> Submissions {
    let mut counted = Submissions::default();
    for one in all {
        counted.add(one);
    }
    counted
}

fn shown(report: &StatusReport) -> String {
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn bad_night_is_told_with_what_to_do() {
    let stack = crate::stack::Stack::of("lectern-prod", &crate::stack::tests::resources()).unwrap();
    let breaker = Breaker {
        cause: Cause::Unauthorized,
        trial_at: "2026-11-20T03:14:10.000Z".to_owned(),
        has_trial: true,
    };
    let limiter =
        Limiter { breaker: Some(breaker), waiting: 1204, places_taken: 12, places: Some(50), slowdown: 4 };
    let depth = |visible, hidden| crate::dlq::letters::Depth { visible, hidden };
    let queues = stack.dead_letters.iter().map(|queue| match &queue.source {
        Source::Queue(_) => QueueRow::new(queue, Some(depth(3, 10)), depth(2, 1)),
        Source::Invocations => QueueRow::new(queue, None, depth(0, 0)),
    });
    let looked_at = counted(&[
        submission("spring-1", Counts { ready: 5, failed: 2, ..Counts::default() }),
        submission("spring-2", Counts { ready: 1, rejected: 1, ..Counts::default() }),
    ]);
    let mut in_progress = counted(&[submission("spring-3", Counts { open: 1204, ..Counts::default() })]);
    in_progress.at_least = true;
    let todo = limiter.todo(stack.api_key.as_deref());
    let report =
        StatusReport::new(stack.name.clone(), limiter, queues.collect(), looked_at, in_progress, todo, NOW);
    insta::assert_snapshot!(shown(&report));
}

#[tokio::test]
async fn quiet_night_is_read_by_keys_and_the_index_and_nothing_is_to_be_done() {
    let depths = mock!(aws_sdk_sqs::Client::get_queue_attributes)
        .then_compute_response(|_| MockResponse::Http(answer(200, json!({ "Attributes": {} }).to_string())));
    let cloud = cloud(&[], client!(aws_sdk_sqs, depths), client!(aws_sdk_s3), client!(aws_sdk_sfn));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let report = status(&cloud, NOW, &Console::new(&mut out, &mut err, false)).await.unwrap();
    let text = shown(&report);
    for expected in [
        "The third party is believed to work.",
        "0 documents wait in line; 0 of 2 places are taken.",
        "0 submissions to be looked at",
        "Do     Nothing.",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["queues"].as_array().unwrap().len(), 3);
    assert_eq!((&json["queues"][1]["queue"], &json["queues"][1]["dead"]), (&json!("GrantTurn"), &json!(0)));
}
