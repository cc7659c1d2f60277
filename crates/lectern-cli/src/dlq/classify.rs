//! What a dead letter is, and what becomes of it: pure functions of its body and of what is known of its document.

use lectern::{
    document::{Attempt, Document, DocumentRef, DocumentState},
    message::{self, SCHEMA_VERSION, Unreadable},
    steps::receive_upload,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::letters::hash;

/// Who came back so often is poison.
pub const MAX_REDRIVES: u32 = 2;

/// What a letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// Its document is on its way and waits for it.
    MayWork,
    /// Nobody waits for it any more, or whoever does asks again by itself: an order for a turn is never sent again,
    /// except one that gives a place back.
    Over,
    /// It can never be read.
    Unreadable,
    /// A newer version of the code can read it.
    UnknownVersion,
    /// It was redriven before and came back every time.
    CameBack,
    /// It belongs to something else.
    Foreign,
}

impl Class {
    /// What a redrive does with such a letter.
    pub fn action(self) -> Action {
        match self {
            Self::MayWork => Action::Send,
            Self::Over => Action::Drop,
            Self::Unreadable | Self::CameBack => Action::Quarantine,
            Self::UnknownVersion | Self::Foreign => Action::Keep,
        }
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MayWork => "may work again",
            Self::Over => "over",
            Self::Unreadable => "unreadable",
            Self::UnknownVersion => "unknown version",
            Self::CameBack => "came back",
            Self::Foreign => "foreign",
        }
    }
}

/// What a redrive does with a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Back to where it came from.
    Send,
    /// Deleted: it has no effect any more.
    Drop,
    /// Kept in the returned bucket, and deleted.
    Quarantine,
    /// Left where it is.
    Keep,
}

/// Which kind of letters a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// S3's events.
    Uploads,
    /// Our own messages about one document.
    Tasks,
    /// Lambda's records of failed asynchronous invocations.
    Invocations,
}

/// What is in a letter.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Nothing that can be read; says where that is seen, never what is there.
    Unreadable(String),
    /// Of a version that newer code writes.
    Newer(u64),
    /// New objects.
    Uploads(Vec<DocumentRef>),
    /// A message about a document.
    Task {
        /// The document.
        document: DocumentRef,
        /// The transfer attempt it belongs to.
        attempt: Option<Attempt>,
        /// What it asks for, if its queue knows several things.
        kind: Option<String>,
        /// Who waits for an answer, as a hash: the token itself is a secret.
        token: Option<String>,
    },
    /// An invocation that failed.
    Invocation(Box<Invocation>),
}

/// Lambda's record of an asynchronous invocation that failed for good.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invocation {
    /// Which function, and why it was given up.
    pub request_context: RequestContext,
    /// What it was invoked with.
    pub request_payload: Value,
    /// What it answered, if it did.
    #[serde(default)]
    pub response_payload: Value,
}

/// Part of [`Invocation`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestContext {
    /// The function, with its qualifier.
    pub function_arn: String,
    /// Such as `RetriesExhausted` or `EventAgeExceeded`.
    pub condition: String,
}

impl Invocation {
    /// The function's name.
    pub fn function(&self) -> &str {
        self.request_context.function_arn.split(':').nth(6).unwrap_or_default()
    }

    /// The name of the error, if the function gave one.
    pub fn error(&self) -> Option<&str> {
        self.response_payload["errorType"].as_str()
    }
}

impl Content {
    /// Reads a letter.
    pub fn read(mail: Mail, body: &str) -> Self {
        match mail {
            Mail::Uploads => match receive_upload::announced(body) {
                Ok(documents) => Self::Uploads(documents),
                Err(error) => Self::Unreadable(error.to_string()),
            },
            Mail::Tasks => Self::task(body),
            Mail::Invocations => match serde_json::from_str(body) {
                Ok(invocation) => Self::Invocation(Box::new(invocation)),
                Err(_) => Self::Unreadable("it is no record of a failed invocation".to_owned()),
            },
        }
    }

    fn task(body: &str) -> Self {
        #[derive(Deserialize)]
        struct Task {
            #[serde(flatten)]
            document: DocumentRef,
            attempt: Option<Attempt>,
            kind: Option<String>,
            #[serde(rename = "taskToken")]
            token: Option<String>,
        }
        match message::parse::<Task>(body) {
            Ok(Task { document, attempt, kind, token }) => {
                Self::Task { document, attempt, kind, token: token.as_deref().map(hash) }
            }
            Err(Unreadable::Version(version)) => match version.parse::<u64>() {
                Ok(version) if version > SCHEMA_VERSION => Self::Newer(version),
                _ => Self::Unreadable(format!("its schema version {version} is read no more")),
            },
            Err(error @ Unreadable::Form(_)) => Self::Unreadable(error.to_string()),
        }
    }

    /// The documents that have to be looked up to judge the letter.
    pub fn documents(&self) -> Vec<DocumentRef> {
        match self {
            Self::Uploads(documents) => documents.clone(),
            Self::Task { document, .. } => vec![document.clone()],
            Self::Invocation(invocation) => {
                serde_json::from_value(invocation.request_payload.clone()).into_iter().collect()
            }
            Self::Unreadable(_) | Self::Newer(_) => Vec::new(),
        }
    }

    /// What two letters have in common that ask for the same: only one of them is sent. Of two with different tokens
    /// only one is still waited for, and nobody knows which.
    pub fn same_as(&self) -> Option<String> {
        match self {
            Self::Task { document, attempt: Some(attempt), kind, token } => {
                let DocumentRef { submission_id, document_id } = document;
                Some(format!("{submission_id}/{document_id}/{}/{kind:?}/{token:?}", attempt.0))
            }
            Self::Task { attempt: None, .. }
            | Self::Unreadable(_)
            | Self::Newer(_)
            | Self::Uploads(_)
            | Self::Invocation(_) => None,
        }
    }
}

/// What is known of a document that a letter is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The item, if there is one.
    pub document: Option<Document>,
    /// Whether its newest execution runs.
    pub runs: bool,
}

/// What a letter is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it is.
    pub class: Class,
    /// Why.
    pub why: String,
}

impl Verdict {
    fn new(class: Class, why: impl Into<String>) -> Self {
        Self { class, why: why.into() }
    }
}

/// Judges a letter that was redriven `redrives` times before. `known` has what is known of [`Content::documents`], in
/// their order; `functions` are the stack's own.
pub fn judge(content: &Content, redrives: u32, known: &[Known], functions: &[&str]) -> Verdict {
    let verdict = match content {
        Content::Unreadable(why) => return Verdict::new(Class::Unreadable, why.clone()),
        Content::Newer(version) => {
            let why =
                format!("it has schema version {version}; deploy a version that reads it, then redrive it");
            return Verdict::new(Class::UnknownVersion, why);
        }
        Content::Uploads(_) => upload(known),
        Content::Task { kind: Some(kind), .. } => order(kind),
        Content::Task { attempt, kind: None, .. } => known
            .first()
            .map_or_else(|| Verdict::new(Class::Over, "it names no document"), |known| task(known, *attempt)),
        Content::Invocation(invocation) if !functions.contains(&invocation.function()) => {
            return Verdict::new(Class::Foreign, "its function is not of this stack");
        }
        Content::Invocation(invocation) => failed(invocation, known.first()),
    };
    if verdict.class == Class::MayWork && redrives >= MAX_REDRIVES {
        return Verdict::new(Class::CameBack, format!("it was redriven {redrives} times and came back"));
    }
    verdict
}

fn upload(known: &[Known]) -> Verdict {
    let waits = |known: &Known| match &known.document {
        None => true,
        Some(document) => document.state == DocumentState::Received && !known.runs,
    };
    match (known.len(), known.iter().filter(|known| waits(known)).count()) {
        (0, _) => Verdict::new(Class::Over, "it announces nothing of ours"),
        (_, 0) => Verdict::new(Class::Over, "what it announces is registered and on its way"),
        (_, number) => Verdict::new(Class::MayWork, format!("{number} of its uploads is not on its way yet")),
    }
}

fn task(known: &Known, attempt: Option<Attempt>) -> Verdict {
    let Some(document) = &known.document else {
        return Verdict::new(Class::Over, "there is no such document");
    };
    if document.state.is_terminal() {
        return Verdict::new(Class::Over, format!("its document is {}", document.state));
    }
    if !known.runs {
        return Verdict::new(
            Class::Over,
            format!("its document is {} and its execution is over: lectern redrive", document.state),
        );
    }
    if attempt.is_some_and(|attempt| document.attempt.is_some_and(|newest| newest > attempt)) {
        return Verdict::new(Class::Over, "a newer attempt is at work");
    }
    Verdict::new(Class::MayWork, format!("its document is {} and waits for it", document.state))
}

/// An order of `admit-document`'s queue, whatever has become of its document. Its execution waits for an answer to `ask`
/// only, and asks again within the hour; an old `ask` could give a place to nobody. What is reported or renewed has been
/// found out otherwise or is over. But what `release` gives back nothing else does before the lease expires, and it may
/// come any number of times.
fn order(kind: &str) -> Verdict {
    let (class, why) = match kind {
        "request" => (
            Class::Over,
            "it requests a permit; a document that still waits repeats its request within the hour",
        ),
        "report" => (Class::Over, "it reports a transfer of the past; the next ones report anew"),
        "renew" => (Class::Over, "it renews a place, which is renewed again by itself or over"),
        "release" => {
            (Class::MayWork, "it gives a place back, which nothing else does before the lease expires")
        }
        _ => (Class::Unreadable, "it orders nothing that admit-document knows"),
    };
    Verdict::new(class, why)
}

fn failed(invocation: &Invocation, known: Option<&Known>) -> Verdict {
    let condition = &invocation.request_context.condition;
    let plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:".contains(&byte));
    let error = invocation.error().filter(plain).unwrap_or("no error of its own");
    let ended =
        known.and_then(|known| known.document.as_ref()).filter(|document| document.state.is_terminal());
    match ended {
        Some(document) => Verdict::new(Class::Over, format!("its document is {}", document.state)),
        None => Verdict::new(Class::MayWork, format!("{condition}: {error}")),
    }
}
