//! Records the metrics that work reports.

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

use super::*;

#[derive(Clone, Default)]
pub(super) struct Recorded(Arc<Mutex<Vec<Map<String, Value>>>>);

impl Recorded {
    pub(super) fn all(&self) -> Vec<Map<String, Value>> {
        self.0.lock().unwrap().clone()
    }

    /// The events that contain this metric.
    pub(super) fn of(&self, name: &str) -> Vec<Map<String, Value>> {
        self.all().into_iter().filter(|event| event.contains_key(name)).collect()
    }

    /// The values of one field, over the events that have it.
    pub(super) fn values(&self, field: &str) -> Vec<Value> {
        self.of(field).into_iter().map(|event| event[field].clone()).collect()
    }
}

impl<S: Subscriber> Layer<S> for Recorded {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == TARGET {
            let mut fields = Fields(Map::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        panic!("{field} is neither a number nor a text: {value:?}");
    }
}

/// The events that `work` reports.
pub(super) fn recorded(work: impl Future<Output = ()>) -> Recorded {
    let recorded = Recorded::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let subscriber = tracing_subscriber::registry().with(recorded.clone());
    tracing::subscriber::with_default(subscriber, || runtime.block_on(work));
    recorded
}
