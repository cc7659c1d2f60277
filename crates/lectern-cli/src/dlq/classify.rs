//! Classifies a dead-letter message and decides what a redrive does with it, from the message alone.

use lectern::{
    document::DocumentRef,
    message::{self, SCHEMA_VERSION},
    steps::receive_upload,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::queue::Message;
use crate::stack::{DeadLetterQueue, Source, Stack};

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
    /// A failed invocation of a function of another stack.
    Foreign,
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
            Self::Newer | Self::Foreign => Action::Keep,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Readable => "readable",
            Self::Unreadable => "unreadable",
            Self::CameBack => "came back",
            Self::Newer => "newer",
            Self::Foreign => "foreign",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) class: Class,
    /// The reason for the class, or the error. Quotes nothing of the message except ids and error names.
    pub(crate) why: String,
    /// The first document that the message is about.
    pub(crate) document: Option<DocumentRef>,
    pub(crate) invocation: Option<Invocation>,
}

/// Lambda's record of an asynchronous invocation after all its retries failed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invocation {
    request_context: RequestContext,
    pub(crate) request_payload: Value,
    #[serde(default)]
    response_payload: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    /// The function's ARN with the qualifier.
    function_arn: String,
    /// For example `RetriesExhausted` or `EventAgeExceeded`.
    condition: String,
}

impl Invocation {
    pub(crate) fn function(&self) -> &str {
        self.request_context.function_arn.split(':').nth(6).unwrap_or_default()
    }

    fn failure(&self) -> String {
        let plain =
            |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:".contains(&byte));
        let error =
            self.response_payload["errorType"].as_str().filter(plain).unwrap_or("no error of its own");
        format!("{}: {}: {error}", self.function(), self.request_context.condition)
    }
}

pub(crate) fn classify(stack: &Stack, queue: &DeadLetterQueue, message: &Message) -> Verdict {
    let verdict = match (&queue.source, queue.name.as_str()) {
        (Source::Invocations, _) => invocation(stack, &message.body),
        (Source::Queue(_), "ReceiveUpload") => upload(&message.body),
        (Source::Queue(_), _) => task(&message.body),
    };
    if verdict.class == Class::Readable && message.redrives >= MAX_REDRIVES {
        let why = format!("it was redriven {} times and came back", message.redrives);
        return Verdict { class: Class::CameBack, why, ..verdict };
    }
    verdict
}

impl Verdict {
    fn new(class: Class, why: impl Into<String>) -> Self {
        Self { class, why: why.into(), document: None, invocation: None }
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
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        schema_version: u64,
    }
    match (message::parse::<DocumentRef>(body), serde_json::from_str(body)) {
        (Ok(document), _) => Verdict::readable(Some(document)),
        (Err(_), Ok(Versioned { schema_version })) if schema_version > SCHEMA_VERSION => Verdict::new(
            Class::Newer,
            format!(
                "it has schema version {schema_version}; deploy a version that reads it, then redrive it"
            ),
        ),
        (Err(error), _) => Verdict::new(Class::Unreadable, error.to_string()),
    }
}

fn invocation(stack: &Stack, body: &str) -> Verdict {
    let Ok(invocation) = serde_json::from_str::<Invocation>(body) else {
        return Verdict::new(Class::Unreadable, "it is not a record of a failed invocation");
    };
    if !stack.functions.values().any(|name| name == invocation.function()) {
        return Verdict::new(Class::Foreign, "its function does not belong to this stack");
    }
    // Who may invoke records-api directly can make up the claims of an evaluator, so an operator may not (S14).
    if stack.functions.get("RecordsApi").is_some_and(|name| name == invocation.function()) {
        let why = "records-api only answers requests, so there is nothing to repeat";
        return Verdict::new(Class::Unreadable, why);
    }
    Verdict {
        why: invocation.failure(),
        document: serde_json::from_value(invocation.request_payload.clone()).ok(),
        invocation: Some(invocation),
        ..Verdict::readable(None)
    }
}
