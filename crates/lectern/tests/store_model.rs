//! Compares the in-memory store with the reference model. An end-to-end test does the same with the `DynamoDB` store.

use std::sync::Arc;

use lectern::testing::{
    Faults, MemoryStore, every_action_from_every_situation,
    model::{Action, Op, check},
};
use proptest::prelude::*;

fn run(ops: &[Op]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    runtime.block_on(check(&MemoryStore::new(Arc::new(Faults::default())), "run", ops))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_operations_leave_the_store_as_the_model_says(
        ops in prop::collection::vec(any::<u32>().prop_map(Op::decode), 1..100)
    ) {
        prop_assert_eq!(run(&ops), Ok(()));
    }

    /// Fewer documents, so that each one gets more operations.
    #[test]
    fn any_operations_on_two_versions_leave_the_store_as_the_model_says(
        ops in prop::collection::vec((0usize..2, any::<u32>().prop_map(Op::decode)), 1..60)
    ) {
        let ops: Vec<Op> = ops.into_iter().map(|(document, op)| Op { document, ..op }).collect();
        prop_assert_eq!(run(&ops), Ok(()));
    }

    /// Case 2: only registrations, of every version of every file, in any order and number.
    #[test]
    fn case_01_case_02_newest_version_wins_in_any_order(
        ops in prop::collection::vec((0usize..12, prop::bool::weighted(0.8)), 1..40)
    ) {
        let ops: Vec<Op> = ops
            .into_iter()
            .map(|(document, acceptable)| Op { document, action: Action::Register { acceptable } })
            .collect();
        prop_assert_eq!(run(&ops), Ok(()));
    }
}

#[tokio::test]
async fn every_action_from_every_situation_leaves_the_store_as_the_model_says() {
    let runs = every_action_from_every_situation().await.unwrap();
    for ops in runs {
        let store = MemoryStore::new(Arc::new(Faults::default()));
        assert_eq!(check(&store, "run", &ops).await, Ok(()), "{ops:?}");
    }
}

#[test]
fn every_action_is_among_the_decoded_ones() {
    let kinds: std::collections::BTreeSet<String> = (0..2000)
        .map(|number| format!("{:?}", Op::decode(number).action))
        .map(|action| action.split([' ', '(']).next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

#[test]
fn model_notices_a_store_that_is_not_empty() {
    let store = MemoryStore::new(Arc::new(Faults::default()));
    let ops = [Op { document: 0, action: Action::Register { acceptable: true } }];
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(check(&store, "run", &ops)), Ok(()));
    assert!(runtime.block_on(check(&store, "run", &ops)).is_err());
    assert_eq!(runtime.block_on(check(&store, "another", &ops)), Ok(()), "runs do not meet");
}
