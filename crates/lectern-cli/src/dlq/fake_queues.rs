//! A dead-letter queue in memory, as SQS keeps it, and its source, of which only the depth is seen.

use std::sync::{Arc, Mutex};

use aws_sdk_sqs::{
    Client,
    operation::{
        delete_message_batch::DeleteMessageBatchOutput, list_message_move_tasks::ListMessageMoveTasksOutput,
        send_message_batch::SendMessageBatchOutput, start_message_move_task::StartMessageMoveTaskOutput,
    },
    types::{
        BatchResultErrorEntry, DeleteMessageBatchResultEntry, ListMessageMoveTasksResultEntry,
        SendMessageBatchResultEntry,
    },
};
use aws_smithy_mocks::{MockResponse, Rule, mock};
use serde_json::{Value, json};

use crate::{
    stack::{DeadLetters, Source},
    test_support::{answer, client, json_error},
};

/// SQS gives out so many at a time.
const AT_A_TIME: usize = 10;

/// Both queues. What was received is hidden until it is released or deleted.
#[derive(Clone, Default)]
pub(super) struct FakeQueues {
    /// Of one message group: while a letter is hidden, none behind it is given out.
    pub(super) is_fifo: bool,
    pub(super) dead: Arc<Mutex<Vec<(String, String)>>>,
    pub(super) hidden: Arc<Mutex<Vec<String>>>,
    pub(super) sent: Arc<Mutex<Vec<String>>>,
    /// How many had been sent at each moment that a test wants to know.
    pub(super) sent_at_looks: Arc<Mutex<Vec<usize>>>,
    pub(super) in_source: u64,
    /// So many are not taken at first.
    pub(super) refused: Arc<Mutex<usize>>,
    /// SQS's own moves; none if it offers none.
    pub(super) moves: Option<Arc<Mutex<u32>>>,
}

impl FakeQueues {
    /// Letters `m0`, `m1` and so on.
    pub(super) fn of(bodies: Vec<String>) -> Self {
        let dead = bodies.into_iter().enumerate().map(|(id, body)| (format!("m{id}"), body)).collect();
        Self { dead: Arc::new(Mutex::new(dead)), ..Self::default() }
    }

    /// What anybody may receive; nothing else may be there.
    pub(super) fn left(&self) -> Vec<String> {
        assert!(self.hidden.lock().unwrap().is_empty(), "others may see what is left");
        self.ids()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.dead.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn sent(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    pub(super) fn client(&self) -> Client {
        let [depth, receive, release, delete, send] = self.rules();
        let [list, start] = self.rules_of_moves();
        client!(aws_sdk_sqs, depth, receive, release, delete, send, list, start)
    }

    /// The letters that are given out, now hidden.
    fn receive(&self, most: i32) -> Vec<(String, String)> {
        let mut hidden = self.hidden.lock().unwrap();
        if self.is_fifo && !hidden.is_empty() {
            return Vec::new();
        }
        let dead = self.dead.lock().unwrap();
        let most = usize::try_from(most).unwrap().min(AT_A_TIME);
        let given: Vec<_> = dead.iter().filter(|(id, _)| !hidden.contains(id)).take(most).cloned().collect();
        hidden.extend(given.iter().map(|(id, _)| id.clone()));
        given
    }

    fn release(&self, handle: &str) {
        self.hidden.lock().unwrap().retain(|id| id != handle);
    }

    fn delete(&self, handle: &str) {
        self.release(handle);
        self.dead.lock().unwrap().retain(|(id, _)| id != handle);
    }

    fn is_refused(&self) -> bool {
        let mut refused = self.refused.lock().unwrap();
        let is_refused = *refused > 0;
        *refused = refused.saturating_sub(1);
        is_refused
    }

    fn rules(&self) -> [Rule; 5] {
        let [depth, receive, release, delete, send] = [(); 5].map(|()| self.clone());
        let dead_url = dead_letters("", self.is_fifo).url;
        [
            mock!(Client::get_queue_attributes).then_compute_response(move |request| {
                let is_dead = request.queue_url() == Some(dead_url.as_str());
                let hidden = depth.hidden.lock().unwrap().len();
                let visible = depth.dead.lock().unwrap().len() - hidden;
                let (visible, hidden) = if is_dead { (visible as u64, hidden) } else { (depth.in_source, 0) };
                http(&json!({ "Attributes": {
                    "QueueArn": "arn",
                    "ApproximateNumberOfMessages": visible.to_string(),
                    "ApproximateNumberOfMessagesNotVisible": hidden.to_string(),
                } }))
            }),
            mock!(Client::receive_message).then_compute_response(move |request| {
                let given = receive.receive(request.max_number_of_messages().unwrap());
                let group = if receive.is_fifo { json!({ "MessageGroupId": "turns" }) } else { json!({}) };
                let messages = given.into_iter().map(|(id, body)| {
                    json!({ "MessageId": id, "ReceiptHandle": id, "Body": body, "Attributes": group })
                });
                http(&json!({ "Messages": messages.collect::<Vec<_>>() }))
            }),
            mock!(Client::change_message_visibility).then_compute_response(move |request| {
                release.release(request.receipt_handle().unwrap());
                http(&json!({}))
            }),
            mock!(Client::delete_message_batch).then_compute_output(move |request| {
                let mut output = DeleteMessageBatchOutput::builder().set_failed(Some(Vec::new()));
                for entry in request.entries() {
                    delete.delete(entry.receipt_handle());
                    let done = DeleteMessageBatchResultEntry::builder().id(entry.id()).build().unwrap();
                    output = output.successful(done);
                }
                output.build().unwrap()
            }),
            mock!(Client::send_message_batch).then_compute_output(move |request| {
                let mut output = SendMessageBatchOutput::builder()
                    .set_successful(Some(Vec::new()))
                    .set_failed(Some(Vec::new()));
                for entry in request.entries() {
                    if send.is_refused() {
                        let error = BatchResultErrorEntry::builder().id(entry.id()).code("InternalError");
                        output = output.failed(error.sender_fault(false).build().unwrap());
                        continue;
                    }
                    send.sent.lock().unwrap().push(entry.message_body().to_owned());
                    let done = SendMessageBatchResultEntry::builder().id(entry.id()).message_id("n");
                    output = output.successful(done.md5_of_message_body("x").build().unwrap());
                }
                output.build().unwrap()
            }),
        ]
    }

    fn rules_of_moves(&self) -> [Rule; 2] {
        let [list, start] = [(); 2].map(|()| self.clone());
        [
            mock!(Client::list_message_move_tasks).then_compute_response(move |_| {
                let Some(moves) = &list.moves else { return MockResponse::Http(json_error("InvalidAction")) };
                let done = ListMessageMoveTasksResultEntry::builder().status("COMPLETED").build();
                let done = (*moves.lock().unwrap() > 0).then_some(done);
                let all = Some(done.into_iter().collect());
                MockResponse::Output(ListMessageMoveTasksOutput::builder().set_results(all).build())
            }),
            mock!(Client::start_message_move_task).then_compute_output(move |_| {
                *start.moves.as_ref().unwrap().lock().unwrap() += 1;
                start.dead.lock().unwrap().clear();
                StartMessageMoveTaskOutput::builder().build()
            }),
        ]
    }
}

/// The dead-letter queue as the command knows it.
pub(super) fn dead_letters(name: &str, is_fifo: bool) -> DeadLetters {
    let end = if is_fifo { ".fifo" } else { "" };
    let source = Source::Queue(format!("http://q/source{end}"));
    DeadLetters { name: name.to_owned(), url: format!("http://q/dead{end}"), source }
}

pub(super) fn http<O, E>(body: &Value) -> MockResponse<O, E> {
    MockResponse::Http(answer(200, body.to_string()))
}
