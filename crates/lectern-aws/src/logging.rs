//! Structured logs: one flat JSON object on each line, with the fields of all spans at its top level. Metrics are
//! separate lines, see `emf`.

use std::{fmt, io::Write as _};

use lectern::{error::rfc3339, ports::Clock as _, telemetry::trace::trace_id_of_xray};
use serde_json::{Map, Value};
use tracing::{
    Event, Span, Subscriber,
    field::{Empty, Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::filter_fn,
    fmt::MakeWriter,
    layer::{Context, SubscriberExt as _},
    registry::{LookupSpan, Scope},
    util::SubscriberInitExt as _,
};

use crate::{
    clock::SystemClock,
    config::{Config, ConfigError},
    logging::filter::Wanted,
};

mod emf;
mod filter;
#[cfg(test)]
mod tests;

/// Sets up logging for the process. A line has `timestamp`, `level`, `message`, its own fields, and from the spans
/// `function`, `traceId`, `xrayTraceId`, `requestId`, `submissionId`, `documentId` and `attempt`.
///
/// # Errors
/// [`ConfigError`] if `LOG_FILTER`, `DEBUG_SUBMISSION` or `METRICS_NAMESPACE` is missing or malformed.
pub fn init(config: Config) -> Result<(), ConfigError> {
    let wanted = Wanted::new(config.log_filter()?, config.debug_submission()?);
    let subscriber = subscriber(wanted, &config.metrics_namespace()?, std::io::stdout);
    // In tests, a process may set up logging twice; the first set-up stays.
    let _ = subscriber.try_init();
    Ok(())
}

/// The span of one invocation. `xrayTraceId` is the trace id of X-Ray's header, as Lambda passes it. `traceId` is the
/// document's trace as soon as this span or an inner one knows it; until then it is the invocation's, in the same form.
/// The document's ids and the attempt can be recorded later.
pub fn invocation_span(function: &str, xray_header: Option<&str>) -> Span {
    let root = xray_header.and_then(|header| {
        header.split(';').find_map(|part| part.trim().strip_prefix("Root=")).or(Some(header))
    });
    let trace_id = xray_header.and_then(trace_id_of_xray);
    tracing::info_span!(
        "invocation",
        function,
        traceId = trace_id.as_deref().unwrap_or("none"),
        xrayTraceId = root,
        submissionId = Empty,
        documentId = Empty,
        attempt = Empty
    )
}

fn subscriber<W>(wanted: Wanted, namespace: &str, make_writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Clone + Send + Sync + 'static,
{
    let metrics = emf::EmbeddedMetrics { namespace: namespace.to_owned(), make_writer: make_writer.clone() };
    tracing_subscriber::registry()
        .with(FlatJson { make_writer }.with_filter(wanted))
        .with(metrics.with_filter(filter_fn(emf::is_seen)))
}

/// Writes each event as one flat object. If a field occurs twice, the last value is written.
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
        event.record(&mut line);
        line.0.insert("timestamp".to_owned(), rfc3339(SystemClock.now()).into());
        line.0.insert("level".to_owned(), event.metadata().level().as_str().into());
        let mut bytes = Value::Object(line.0).to_string().into_bytes();
        bytes.push(b'\n');
        // There is no way to report a lost log line.
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
