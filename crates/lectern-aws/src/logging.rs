//! Structured logs: one flat JSON object a line, with the fields of all spans on its top level. Metrics are lines of
//! their own beside them, see `emf`.

use std::{fmt, io::Write as _};

use lambda_runtime::tracing::Span;
use lectern::{error::rfc3339, ports::Clock as _};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, filter_fn},
    fmt::MakeWriter,
    layer::{Context, SubscriberExt as _},
    registry::{LookupSpan, Scope},
    util::SubscriberInitExt as _,
};

use crate::{
    clock::SystemClock,
    config::{Config, ConfigError},
};

mod emf;
#[cfg(test)]
mod silence_tests;
#[cfg(test)]
mod tests;

/// Sets up logging for the process. A line has `timestamp`, `level`, `message`, its own fields, and from the spans
/// `function`, `traceId`, `requestId`, `submissionId`, `documentId` and `attempt`.
///
/// # Errors
/// [`ConfigError`] if `LOG_FILTER` or `METRICS_NAMESPACE` is missing.
pub fn init(config: Config) -> Result<(), ConfigError> {
    let subscriber = subscriber(&config.log_filter()?, &config.metrics_namespace()?, std::io::stdout);
    // A second set-up in one process (tests) keeps the first.
    let _ = subscriber.try_init();
    Ok(())
}

/// The span of one invocation. The trace id is X-Ray's, as Lambda gives it.
pub fn invocation_span(function: &str, trace_id: Option<&str>) -> Span {
    let root = trace_id.and_then(|header| {
        header.split(';').find_map(|part| part.trim().strip_prefix("Root=")).or(Some(header))
    });
    tracing::info_span!("invocation", function, traceId = root.unwrap_or("none"))
}

fn subscriber<W>(filter: &str, namespace: &str, make_writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Clone + Send + Sync + 'static,
{
    let metrics = emf::EmbeddedMetrics { namespace: namespace.to_owned(), make_writer: make_writer.clone() };
    tracing_subscriber::registry()
        .with(FlatJson { make_writer }.with_filter(EnvFilter::new(filter).and(filter_fn(may_be_logged))))
        .with(metrics.with_filter(filter_fn(emf::is_seen)))
}

/// Whatever the filter asks for: what libraries say below `info` may quote requests and payloads, and with them
/// names, URLs and tokens.
///
/// The runtime repeats every error that a handler returns, without the ids of its document; it was logged where it was
/// decided. A panic, which comes from there too, is on standard error already. Metrics are written by another layer.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target != "lambda_runtime::layers::panic"
        && target != lectern::metrics::TARGET
        && (target.starts_with("lectern") || *metadata.level() <= Level::INFO)
}

/// Writes each event as one flat object. A field that is given twice is written once, as it was given last.
struct FlatJson<W> {
    make_writer: W,
}

impl<S, W> Layer<S> for FlatJson<W>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.0.extend(fields.0.clone());
            }
        }
        // The runtime's own span has the whole trace header; `traceId` is in ours.
        line.0.remove("xrayTraceId");
        event.record(&mut line);
        line.0.insert("timestamp".to_owned(), rfc3339(SystemClock.now()).into());
        line.0.insert("level".to_owned(), event.metadata().level().as_str().into());
        let mut bytes = Value::Object(line.0).to_string().into_bytes();
        bytes.push(b'\n');
        // There is nowhere to tell that a log line was lost.
        let _ = self.make_writer.make_writer_for(event.metadata()).write_all(&bytes);
    }
}

/// The fields of a span or of an event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}
