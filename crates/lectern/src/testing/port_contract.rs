//! What each port promises, as cases that run on any implementation of it: on the ports in memory in this crate's tests,
//! and on the adapters against the local cloud in the end-to-end test `ports`.
//!
//! The local cloud never answers with some of AWS's failures. The cases for them are in [`faults`]; they run on the ports in
//! memory with faults, and on the adapters with prepared answers of AWS.
//!
//! The reference model of [`super::model`] checks the state store's answer to each single move. The cases here add what the
//! model does not play: several callers at the same time, and values as large as they may be.

pub mod admission;
pub mod audit;
pub mod documents;
pub mod erasure;
pub mod events;
pub mod faults;
pub mod hand_in;
pub mod machine;
pub mod objects;

use std::{fmt::Debug, future::Future};

use futures_util::future::join_all;
use lectern_content::MediaType;

use super::{SequentialRandom, world::START};
use crate::{
    document::{CallbackId, DocumentId, DocumentRef, InvalidId, ObjectVersion},
    error::{Error, StoreError},
    ports::{NewDocument, Sequencer},
    telemetry::trace::TraceParent,
};

/// How an implementation breaks the contract.
#[derive(Debug)]
pub(super) struct Violation(String);

impl From<String> for Violation {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Error> for Violation {
    fn from(error: Error) -> Self {
        Self(format!("an unexpected {}: {error}", error.name()))
    }
}

impl From<InvalidId> for Violation {
    fn from(error: InvalidId) -> Self {
        Self(error.to_string())
    }
}

pub(super) type Outcome<T = ()> = Result<T, Violation>;

/// Defines a function that runs these cases one after the other on one implementation, which has to be empty before, and
/// says which cases it breaks and how. With a setup, a case prepares and reads what the port gives no access to.
macro_rules! suite {
    ($(#[$doc:meta])* $name:ident<$port:ident: $bound:ident $(+ $more:ident)*> { $($case:ident),+ $(,)? }) => {
        suite! { @define [$(#[$doc])*] $name [$port: $bound $(+ $more)*] [port: &$port] (port) $($case)+ }
    };
    (
        $(#[$doc:meta])*
        $name:ident<$port:ident: $bound:ident, $setup:ident: $setup_bound:ident> { $($case:ident),+ $(,)? }
    ) => {
        suite! {
            @define [$(#[$doc])*] $name [$port: $bound, $setup: $setup_bound]
            [port: &$port, setup: &$setup] (port, setup) $($case)+
        }
    };
    (
        @define [$(#[$doc:meta])*] $name:ident [$($generics:tt)+] [$($parameters:tt)+] $arguments:tt $($case:ident)+
    ) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// The cases that the implementation breaks, and what was found instead.
        pub async fn $name<$($generics)+>($($parameters)+) -> Result<(), String> {
            let mut broken = Vec::new();
            $(
                if let Err(found) = $case $arguments.await {
                    broken.push($crate::testing::port_contract::describe(stringify!($case), &found));
                }
            )+
            if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
        }
    };
}
use suite;

fn describe(case: &str, Violation(found): &Violation) -> String {
    format!("{}: {found}", case.replace('_', " "))
}

/// The answers to calls that are made at the same time. A call may fail because another writer came first, and for no
/// other reason.
async fn at_once<T>(
    calls: impl IntoIterator<Item = impl Future<Output = Result<T, Error>>>,
) -> Outcome<Vec<T>> {
    let answers = join_all(calls).await.into_iter();
    let lasting = answers.filter(|answer| !answer.as_ref().is_err_and(is_conflict));
    Ok(lasting.collect::<Result<_, _>>()?)
}

/// The answer to a call that is repeated while other writers come first, as its caller's queue repeats it.
async fn retried<T>(call: impl AsyncFn() -> Result<T, Error>) -> Outcome<T> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        match call().await {
            Err(error) if is_conflict(&error) => {}
            answer => return Ok(answer?),
        }
    }
    Err(format!("another writer came first {TRIES} times").into())
}

fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Store(StoreError::Conflict))
}

/// Checks that a call failed with the error of this name.
fn fails<T: Debug>(what: &str, name: &str, answer: &Result<T, Error>) -> Outcome {
    match answer {
        Err(error) if error.name() == name => Ok(()),
        found => Err(format!("{what}: expected {name}, found {found:?}").into()),
    }
}

/// Checks that a call failed because another writer came first.
fn conflicts<T: Debug>(what: &str, answer: &Result<T, Error>) -> Outcome {
    match answer {
        Err(error) if is_conflict(error) => Ok(()),
        found => Err(format!("{what}: expected a conflict, found {found:?}").into()),
    }
}

/// A document of a submission; a higher version is a newer one of the same file.
fn new_document(submission: &str, file: &str, version: u32) -> Outcome<NewDocument> {
    let object = ObjectVersion {
        bucket: "uploads".to_owned(),
        key: format!("submissions/{submission}/{file}"),
        version_id: format!("v{version}"),
    };
    let document_id = DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id);
    Ok(NewDocument {
        reference: DocumentRef { submission_id: submission.parse()?, document_id },
        object,
        sequencer: Sequencer::new(&format!("{version:016X}")),
        owner: None,
        name: None,
        upload: None,
        size_bytes: 7,
        media_type: Some(MediaType::Pdf),
        rejected: None,
        callback_id: CallbackId::new(format!("callback-of-{document_id}")),
        traceparent: TraceParent::new(&SequentialRandom::default()).child(&document_id.to_string()),
        now: START,
    })
}
