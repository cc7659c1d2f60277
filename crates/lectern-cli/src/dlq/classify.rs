//! Classifies a dead-letter message and decides what a redrive does with it, from the message alone.

use lectern::{
    document::DocumentRef,
    message::{self, Unreadable},
    steps::{deliver_events, receive_upload},
};
use serde::Serialize;

use super::queue::Message;
use crate::stack::DeadLetterQueue;

/// After this number of redrives, a message that came back each time is not sent again.
pub(crate) const MAX_REDRIVES: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Class {
    Readable,
    Unreadable,
    /// The message was sent back before and came back every time.
    CameBack,
    /// A newer version of the code wrote the message and can read it.
    Newer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Send,
    Quarantine,
    Keep,
}

impl Class {
    pub(crate) fn action(self) -> Action {
        match self {
            Self::Readable => Action::Send,
            Self::Unreadable | Self::CameBack => Action::Quarantine,
            Self::Newer => Action::Keep,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Readable => "readable",
            Self::Unreadable => "unreadable",
            Self::CameBack => "came back",
            Self::Newer => "newer",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) class: Class,
    /// The reason for the class or, of a readable message, the document or subscriber that it names. The text quotes only ids
    /// and error names of the message.
    pub(crate) why: String,
    /// The first document that the message is about.
    pub(crate) document: Option<DocumentRef>,
}

pub(crate) fn classify(queue: &DeadLetterQueue, message: &Message) -> Verdict {
    let verdict = match queue.name.as_str() {
        "ReceiveUpload" => upload(&message.body),
        "DeliverEvents" | "EventTimers" => delivery(&message.body),
        _ => task(&message.body),
    };
    if verdict.class == Class::Readable && message.redrives >= MAX_REDRIVES {
        let why = format!("it was redriven {} times and came back", message.redrives);
        return Verdict { class: Class::CameBack, why, ..verdict };
    }
    verdict
}

impl Verdict {
    fn new(class: Class, why: impl Into<String>) -> Self {
        Self { class, why: why.into(), document: None }
    }

    fn readable(document: Option<DocumentRef>) -> Self {
        Self { document, ..Self::new(Class::Readable, "") }
    }
}

fn upload(body: &str) -> Verdict {
    match receive_upload::announced(body) {
        Ok(documents) => Verdict::readable(documents.into_iter().next()),
        Err(error) => Verdict::new(Class::Unreadable, error.to_string()),
    }
}

fn task(body: &str) -> Verdict {
    match message::parse::<DocumentRef>(body) {
        Ok(document) => Verdict::readable(Some(document)),
        Err(error) => refused(&error),
    }
}

/// A message about a subscriber. It may have events of several documents, or of none.
fn delivery(body: &str) -> Verdict {
    match message::parse::<deliver_events::Message>(body) {
        Ok(message) => Verdict {
            why: format!("for the subscriber {}", message.subscriber_id),
            ..Verdict::readable(None)
        },
        Err(error) => refused(&error),
    }
}

/// The verdict on a message that cannot be parsed.
fn refused(error: &Unreadable) -> Verdict {
    match error {
        Unreadable::Newer(version) => Verdict::new(
            Class::Newer,
            format!("it has schema version {version}; deploy a version that reads it, then redrive it"),
        ),
        Unreadable::Form(_) | Unreadable::Version(_) => Verdict::new(Class::Unreadable, error.to_string()),
    }
}
