//! Metrics as lines of `CloudWatch`'s embedded metric format: one line for each event of `lectern::telemetry::metrics`.
//!
//! `CloudWatch` extracts the metrics from Lambda's log, so measuring needs no call and no permission. The lines are
//! written whatever the log filter is. The fields of the spans stay on the line as plain properties, so that an unusual
//! metric can be traced to its documents.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::io::Write as _;

use lectern::{
    ports::Clock as _,
    telemetry::metrics::{ALL, Metric, TARGET},
};
use serde_json::{Map, Value, json};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    fmt::MakeWriter,
    layer::Context,
    registry::{LookupSpan, Scope},
};

use super::{Fields, filter::may_be_logged};
use crate::clock::SystemClock;

#[cfg(test)]
mod tests;

/// Writes each metric event as one line.
pub(super) struct EmbeddedMetrics<W> {
    pub(super) namespace: String,
    pub(super) make_writer: W,
}

/// The events of this layer: the metrics, and the spans around them.
pub(super) fn is_seen(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET || metadata.is_span() && may_be_logged(metadata)
}

/// The fields of a span. The log layer uses another type, because it may not see every span that this layer sees.
struct SpanFields(Fields);

impl<S, W> Layer<S> for EmbeddedMetrics<W>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            values.record(&mut fields.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut properties = Map::new();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                properties.extend(fields.0.0.clone());
            }
        }
        // A metric line needs no `xrayTraceId`; `traceId` names the trace, and the log line has both.
        properties.remove("xrayTraceId");
        let mut recorded = Fields::default();
        event.record(&mut recorded);
        let Some(line) =
            line(&self.namespace, SystemClock.now().unix_timestamp_nanos(), properties, recorded.0)
        else {
            return;
        };
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        // There is no way to report a lost metric.
        let _ = self.make_writer.make_writer_for(event.metadata()).write_all(&bytes);
    }
}

/// One line; `None` for an event without a metric of the catalogue.
fn line(
    namespace: &str,
    now_ns: i128,
    properties: Map<String, Value>,
    recorded: Map<String, Value>,
) -> Option<Value> {
    let directives = directives(namespace, &recorded);
    if directives.is_empty() {
        return None;
    }
    let mut line = properties;
    line.extend(recorded);
    let timestamp_ms = i64::try_from(now_ns / 1_000_000).unwrap_or_default();
    line.insert("_aws".to_owned(), json!({ "Timestamp": timestamp_ms, "CloudWatchMetrics": directives }));
    Some(Value::Object(line))
}

/// One directive for each group of present metrics that have the same dimension sets.
fn directives(namespace: &str, recorded: &Map<String, Value>) -> Vec<Value> {
    let mut groups: Vec<(Vec<&[&str]>, Vec<&Metric>)> = Vec::new();
    for metric in ALL.iter().filter(|metric| recorded.get(metric.name).is_some_and(Value::is_number)) {
        let complete = |set: &&&[&str]| set.iter().all(|name| recorded.contains_key(*name));
        let sets: Vec<&[&str]> = metric.dimensions.iter().filter(complete).copied().collect();
        match groups.iter_mut().find(|(known, _)| *known == sets) {
            Some((_, metrics)) => metrics.push(metric),
            None if sets.is_empty() => {}
            None => groups.push((sets, vec![metric])),
        }
    }
    let directive = |(sets, metrics): (Vec<&[&str]>, Vec<&Metric>)| {
        let metrics: Vec<Value> = metrics
            .into_iter()
            .map(|metric| json!({ "Name": metric.name, "Unit": metric.unit.as_str() }))
            .collect();
        json!({ "Namespace": namespace, "Dimensions": sets, "Metrics": metrics })
    };
    groups.into_iter().map(directive).collect()
}
