//! The state store on `DynamoDB` against the reference model, from every situation.

use lectern::testing::{every_action_from_every_situation, model::check_end};
use uuid::Uuid;

use crate::store_model::Real;

#[tokio::test]
async fn every_action_from_every_situation_leaves_the_store_on_dynamodb_as_the_model_says() {
    let store = Real::create().await;
    let mut runs = every_action_from_every_situation().await.unwrap();
    // Superseding by newer versions is decided in `transitions`, which both stores share; the random runs cover it.
    runs.retain(|ops| ops.iter().all(|op| op.document == 0));
    for ops in runs {
        let run = Uuid::new_v4().simple().to_string();
        assert_eq!(check_end(&store, &run, &ops).await, Ok(()), "{ops:?}");
    }
}
