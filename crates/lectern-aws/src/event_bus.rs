//! `EventBridge`: an optional outlet of all events for consumers inside AWS.

use aws_sdk_eventbridge::{Client, types::PutEventsRequestEntry};
use lectern::{
    error::{Error, StoreError},
    events::{QueuedEvent, Source},
    ports::EventBus,
};

use crate::error::{defect, failed};

/// Entries of one call.
const ENTRIES: usize = 10;

/// The event bus, if the stack has one.
#[derive(Clone, Debug)]
pub struct OptionalEventBus(Option<Bus>);

#[derive(Clone, Debug)]
struct Bus {
    client: Client,
    arn: String,
    source: Source,
}

impl OptionalEventBus {
    /// Publishes to the bus with this ARN; `None` publishes nothing. `source` is the `source` of the events.
    pub fn new(client: Client, arn: Option<String>, source: Source) -> Self {
        Self(arn.map(|arn| Bus { client, arn, source }))
    }
}

impl EventBus for OptionalEventBus {
    /// `detail` is the event's data, with its id. `EventBridge` has an `id` of its own, which is another one after a repetition.
    async fn publish(&self, events: &[QueuedEvent]) -> Result<(), Error> {
        let Some(Bus { client, arn, source }) = &self.0 else { return Ok(()) };
        for events in events.chunks(ENTRIES) {
            let mut entries = Vec::with_capacity(events.len());
            for QueuedEvent { event, .. } in events {
                let detail = serde_json::to_string(event);
                let detail = detail.map_err(|error| defect("an event could not be written", error))?;
                let entry = PutEventsRequestEntry::builder()
                    .event_bus_name(arn)
                    .source(&source.name)
                    .detail_type(event.event_type.versioned())
                    .detail(detail);
                entries.push(entry.build());
            }
            let answer = client.put_events().set_entries(Some(entries)).send().await;
            let answer = answer.map_err(|error| failed("PutEvents", error))?;
            if answer.failed_entry_count > 0 {
                return Err(StoreError::unavailable("PutEvents: the bus did not take all events").into());
            }
        }
        Ok(())
    }
}
