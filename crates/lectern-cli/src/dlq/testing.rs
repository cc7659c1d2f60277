//! An in-memory dead-letter queue that behaves like SQS, with its source and the returned bucket.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_sdk_sqs::{Client, types::MessageAttributeValue};
use aws_smithy_mocks::{MockResponse, Rule, mock};
use lectern::document::{Document, DocumentState};
use serde_json::{Value, json};

use crate::{
    args::{Cli, Command, Dlq, DlqCommand, DlqRedrive},
    cloud::Cloud,
    stack::DeadLetterQueue,
    testing::{answer, client, cloud, document, json_error},
};

/// SQS returns at most this number of messages per call.
const AT_A_TIME: usize = 10;

/// A message in the dead-letter queue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dead {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) attributes: BTreeMap<String, String>,
}

/// A sent message, with its message group id and deduplication id.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) body: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) group: Option<String>,
    pub(super) once: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) dead: Vec<Dead>,
    /// The ids of messages that were received, but neither released nor deleted.
    pub(super) hidden: Vec<String>,
    pub(super) sent: Vec<Sent>,
    /// Bodies of the objects in quarantine, by key.
    pub(super) quarantined: BTreeMap<String, String>,
    /// The number of the call that fails, and whether the call fails before its effect.
    pub(super) fails: Option<(usize, bool)>,
    /// Whether messages that are sent to the source return to the dead-letter queue at once.
    pub(super) returns: bool,
    pub(super) calls: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Fake {
    pub(super) queue: DeadLetterQueue,
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// The dead-letter queue of transfer-document (or, if `is_fifo`, of admit-document) with the messages `m0`, `m1`, …
    pub(super) fn of(bodies: impl IntoIterator<Item = String>, is_fifo: bool) -> Self {
        let (name, end) = if is_fifo { ("AdmitDocument", ".fifo") } else { ("TransferDocument", "") };
        let dead = bodies.into_iter().enumerate().map(|(number, body)| Dead {
            id: format!("m{number}"),
            body,
            attributes: BTreeMap::new(),
        });
        let state = State { dead: dead.collect(), ..State::default() };
        let queue = DeadLetterQueue {
            name: name.to_owned(),
            url: format!("http://q/dead{end}"),
            source_url: format!("http://q/source{end}"),
        };
        Self { queue, state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.state.lock().unwrap())
    }

    /// The ids of the messages in the queue, all of which must be visible.
    pub(super) fn left(&self) -> Vec<String> {
        self.with(|state| {
            assert!(state.hidden.is_empty(), "{:?} are hidden", state.hidden);
            state.dead.iter().map(|dead| dead.id.clone()).collect()
        })
    }

    /// Runs `effect`, unless this call has to fail before its effect.
    fn call<O, E>(&self, effect: impl FnOnce(&mut State) -> MockResponse<O, E>) -> MockResponse<O, E> {
        self.with(|state| {
            state.calls += 1;
            match state.fails {
                Some((number, true)) if number == state.calls => {
                    MockResponse::Http(json_error("InternalError"))
                }
                Some((number, false)) if number == state.calls => {
                    let _ = effect(state);
                    MockResponse::Http(json_error("InternalError"))
                }
                _ => effect(state),
            }
        })
    }

    pub(super) fn cloud(&self) -> Cloud {
        let [depth, receive, release, delete, send] = self.rules();
        let sqs = client!(aws_sdk_sqs, depth, receive, release, delete, send);
        let fake = self.clone();
        let put = mock!(aws_sdk_s3::Client::put_object).then_compute_response(move |request| {
            let key = request.key().unwrap().to_owned();
            let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
            fake.call(|state| {
                state.quarantined.insert(key, body);
                MockResponse::Http(answer(200, ""))
            })
        });
        cloud(&[], sqs, client!(aws_sdk_s3, put), client!(aws_sdk_sfn))
    }

    fn rules(&self) -> [Rule; 5] {
        let [depth, receive, release, delete, source] = [(); 5].map(|()| self.clone());
        [
            mock!(Client::get_queue_attributes).then_compute_response(move |_| {
                depth.call(|state| {
                    let hidden = state.hidden.len();
                    http(&json!({ "Attributes": {
                        "ApproximateNumberOfMessages": (state.dead.len() - hidden).to_string(),
                        "ApproximateNumberOfMessagesNotVisible": hidden.to_string(),
                    } }))
                })
            }),
            mock!(Client::receive_message).then_compute_response(move |request| {
                let most = usize::try_from(request.max_number_of_messages().unwrap()).unwrap();
                let is_fifo = receive.queue.is_fifo();
                receive.call(|state| {
                    // All messages are in one group: while one is hidden, SQS does not return those behind it.
                    let most = if is_fifo && !state.hidden.is_empty() { 0 } else { most.min(AT_A_TIME) };
                    let visible = state.dead.iter().filter(|dead| !state.hidden.contains(&dead.id));
                    let given: Vec<Dead> = visible.take(most).cloned().collect();
                    state.hidden.extend(given.iter().map(|dead| dead.id.clone()));
                    http(&json!({ "Messages": given.iter().map(|dead| message(dead, is_fifo)).collect::<Vec<_>>() }))
                })
            }),
            mock!(Client::change_message_visibility).then_compute_response(move |request| {
                let id = request.receipt_handle().unwrap().to_owned();
                release.call(|state| {
                    state.hidden.retain(|hidden| *hidden != id);
                    http(&json!({}))
                })
            }),
            mock!(Client::delete_message).then_compute_response(move |request| {
                let id = request.receipt_handle().unwrap().to_owned();
                delete.call(|state| {
                    state.hidden.retain(|hidden| *hidden != id);
                    state.dead.retain(|dead| dead.id != id);
                    http(&json!({}))
                })
            }),
            mock!(Client::send_message).then_compute_response(move |request| {
                let text = |value: &MessageAttributeValue| value.string_value().unwrap().to_owned();
                let attributes = request.message_attributes().unwrap().iter();
                let sent = Sent {
                    body: request.message_body().unwrap().to_owned(),
                    attributes: attributes.map(|(name, value)| (name.clone(), text(value))).collect(),
                    group: request.message_group_id().map(str::to_owned),
                    once: request.message_deduplication_id().map(str::to_owned),
                };
                source.call(|state| {
                    if state.returns {
                        let Sent { body, attributes, .. } = sent.clone();
                        state.dead.push(Dead { id: format!("returned{}", state.sent.len()), body, attributes });
                    }
                    state.sent.push(sent);
                    http(&json!({ "MessageId": "n" }))
                })
            }),
        ]
    }
}

fn message(dead: &Dead, is_fifo: bool) -> Value {
    let attributes: BTreeMap<&str, Value> = dead
        .attributes
        .iter()
        .map(|(name, value)| (name.as_str(), json!({ "DataType": "String", "StringValue": value })))
        .collect();
    let mut system = json!({ "SentTimestamp": "1795176000000", "ApproximateReceiveCount": "6" });
    if is_fifo {
        system["MessageGroupId"] = "group".into();
    }
    json!({
        "MessageId": dead.id, "ReceiptHandle": dead.id, "Body": dead.body, "Attributes": system,
        "MessageAttributes": attributes,
    })
}

fn http<O, E>(body: &Value) -> MockResponse<O, E> {
    MockResponse::Http(answer(200, body.to_string()))
}

/// A message about a document, with a secret in it.
pub(super) fn task(attempt: u32) -> String {
    let Document { reference, .. } = document(DocumentState::Transferring);
    json!({
        "schemaVersion": lectern::message::SCHEMA_VERSION, "submissionId": reference.submission_id,
        "documentId": reference.document_id, "attempt": attempt, "round": 1, "taskToken": "SECRET-TOKEN",
    })
    .to_string()
}

pub(super) fn options(arguments: &[&str]) -> DlqRedrive {
    use clap::Parser as _;
    let all = [&["lectern", "dlq", "redrive", "--all", "--yes", "--rate", "1000"], arguments].concat();
    let command = Cli::try_parse_from(all).unwrap().command;
    let Command::Dlq(Dlq { command: DlqCommand::Redrive(options) }) = command else { panic!("{command:?}") };
    options
}
