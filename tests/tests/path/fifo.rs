//! The FIFO queue of orders: one message group, delivered in order and in batches. A failed batch is delivered again
//! before all other messages, alone or followed by more messages.

use std::collections::VecDeque;

use lectern::{
    message,
    steps::admit_document::{Batch, Input},
};
use time::{Duration, OffsetDateTime};

use super::conditions::Dice;

const MAX_RECEIVES: usize = 20;
const LARGEST_BATCH: usize = 10;

#[derive(Debug, Default)]
pub(crate) struct Fifo {
    messages: VecDeque<Message>,
    /// The sent bodies and their times: SQS accepts the same body once in five minutes.
    sent: VecDeque<(String, OffsetDateTime)>,
}

#[derive(Clone, Debug)]
struct Message {
    body: String,
    receives: usize,
}

impl Fifo {
    pub(crate) fn send(&mut self, body: String, now: OffsetDateTime) {
        self.sent.retain(|(_, at)| now - *at < Duration::minutes(5));
        if self.sent.iter().all(|(known, _)| *known != body) {
            self.sent.push_back((body.clone(), now));
            self.messages.push_back(Message { body, receives: 0 });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Receives the next batch. Its messages stay on the queue until [`done`](Self::done).
    pub(crate) fn receive(&mut self, dice: &mut Dice) -> Batch {
        let known = self.messages.iter().take_while(|message| message.receives > 0).count();
        let most = self.messages.len().min(LARGEST_BATCH);
        let size = (1 + dice.below(most)).max(known.min(most));
        let again = known > 0;
        let mut inputs: Vec<Input> = Vec::new();
        for message in self.messages.iter_mut().take(size) {
            message.receives += 1;
            inputs.push(
                message::parse(&message.body).unwrap_or_else(|error| panic!("{error}: {}", message.body)),
            );
        }
        Batch { inputs, again }
    }

    /// Deletes the received messages.
    pub(crate) fn done(&mut self) {
        self.messages.retain(|message| message.receives == 0);
    }

    /// Removes the messages that were received too often and returns their bodies; the other messages stay.
    pub(crate) fn take_dead_letters(&mut self) -> Vec<String> {
        let letters = self.messages.iter().filter(|message| message.receives >= MAX_RECEIVES);
        let letters = letters.map(|message| message.body.clone()).collect();
        self.messages.retain(|message| message.receives < MAX_RECEIVES);
        letters
    }
}
