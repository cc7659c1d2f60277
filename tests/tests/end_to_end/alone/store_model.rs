//! The state store on `DynamoDB` against the reference model, from every situation.

use std::rc::Rc;

use lectern::testing::{every_action_from_every_situation, model::check_end};
use tokio::task::{JoinSet, LocalSet};
use uuid::Uuid;

use crate::store_model::Real;

/// Transactions on the local cloud take a moment, so several runs are in progress.
const IN_PROGRESS: usize = 16;

#[tokio::test]
async fn every_action_from_every_situation_leaves_the_store_on_dynamodb_as_the_model_says() {
    let store = Rc::new(Real::create().await);
    let mut runs = every_action_from_every_situation().await.unwrap();
    // Superseding by newer versions is decided in `transitions`, which both stores share; the random runs cover it.
    runs.retain(|ops| ops.iter().all(|op| op.document == 0));
    let check_all = async {
        let mut checks = JoinSet::new();
        for ops in runs {
            if checks.len() == IN_PROGRESS {
                checks.join_next().await.unwrap().unwrap();
            }
            let (store, run) = (Rc::clone(&store), Uuid::new_v4().simple().to_string());
            checks.spawn_local(async move {
                assert_eq!(check_end(&*store, &run, &ops).await, Ok(()), "{ops:?}");
            });
        }
        while let Some(checked) = checks.join_next().await {
            checked.unwrap();
        }
    };
    LocalSet::new().run_until(check_all).await;
}
