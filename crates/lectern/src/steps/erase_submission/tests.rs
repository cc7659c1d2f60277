//! The names of the errors by which the state machine waits, and the way from a withdrawal to the tombstone.

use std::time::Duration;

use super::*;
use crate::{
    document::{Attempt, Round},
    ports::Transfers as _,
    testing::{
        Cut,
        world::{MemoryWorld, START, object, s3_event},
    },
};

const FUNCTIONS_END_WITHIN: Duration = Duration::from_mins(16);

async fn pass(world: &MemoryWorld) -> Result<Output, Incomplete> {
    let MemoryWorld { store, objects, third_party, states: executions, clock, .. } = world;
    let functions_end_within = FUNCTIONS_END_WITHIN;
    let ports = Ports { store, objects, third_party, executions, clock, functions_end_within };
    let input = Input { schema_version: 2, submission_id: "s1".parse().unwrap() };
    ports.erase_submission(&input).await
}

/// A submission with a document in progress, which the third party has.
async fn world() -> MemoryWorld {
    let world = MemoryWorld::default();
    let object = object("secret name.txt", "v1");
    world.objects.upload(&object, None, &b"A lesson."[..]);
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let document = world.document(&object).unwrap().reference;
    world.store.begin_transfer(&document, Attempt(1000), Round::FIRST, START).await.unwrap();
    world
}

#[tokio::test]
async fn a08_withdrawn_submission_is_erased_by_the_passes_that_the_error_names_ask_for() {
    let world = world().await;
    assert_eq!(pass(&world).await.unwrap_err().name(), "Erasure.DocumentsStopped");
    world.clock.advance(FUNCTIONS_END_WITHIN);
    world.third_party.refuse_next(Error::Unavailable("no connection could be made".to_owned()));
    let error = pass(&world).await.unwrap_err();
    assert_eq!(error.name(), "Erasure.Unconfirmed");
    assert!(error.to_string().contains("of 1 documents: "), "{error}");
    assert!(!error.cause().to_string().contains("secret"), "{}", error.cause());
    assert_eq!(pass(&world).await.unwrap(), Output { documents: 1, object_versions: 1 });
    assert_eq!(world.store.erasure_now(&"s1".parse().unwrap()).unwrap().by, "owner");
    assert!(world.store.all().is_empty());
}

#[tokio::test]
async fn a08_pass_that_dies_after_any_write_is_completed_by_the_next_one() {
    for call in ["begin_erasure", "stop", "finish", "erase_objects", "erase", "erase_document", "end_erasure"]
    {
        let world = world().await;
        world.faults.cut_next(call, Cut::After);
        let mut names = Vec::new();
        for _ in 0..4 {
            match pass(&world).await {
                Ok(_) => names.push("done"),
                Err(error) => names.push(error.name()),
            }
            world.clock.advance(FUNCTIONS_END_WITHIN);
        }
        assert_eq!(names.last(), Some(&"done"), "{call}: {names:?}");
        assert!(world.store.all().is_empty(), "{call}");
    }
}

#[test]
fn every_name_is_in_the_list() {
    let all = [
        Incomplete::DocumentsStopped(OffsetDateTime::UNIX_EPOCH),
        Incomplete::MoreObjects,
        Incomplete::Unconfirmed { documents: 1, trouble: None },
    ];
    assert_eq!(all.each_ref().map(TaskError::name), Incomplete::NAMES);
}
