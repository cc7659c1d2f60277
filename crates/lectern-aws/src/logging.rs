//! Structured logs: one JSON object a line on standard output, with the fields of all spans on its top level.

use lambda_runtime::tracing::Span;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{Config, ConfigError};

/// Sets up logging for the process. A line has `timestamp`, `level`, `message`, its own fields, and from the spans
/// `function`, `traceId`, `submissionId`, `documentId` and `attempt`.
///
/// # Errors
/// [`ConfigError`] if `LOG_FILTER` is missing.
pub fn init(config: Config) -> Result<(), ConfigError> {
    let filter = EnvFilter::new(config.log_filter()?);
    let mut layer = json_subscriber::JsonLayer::stdout();
    layer.with_timer("timestamp", tracing_subscriber::fmt::time::SystemTime);
    layer.with_level("level");
    layer.with_flattened_event();
    layer.with_top_level_flattened_span_list();
    // A second set-up in one process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
    Ok(())
}

/// The span of one invocation. The trace id is X-Ray's, as Lambda gives it.
pub fn invocation_span(function: &str, trace_id: Option<&str>) -> Span {
    let root = trace_id.and_then(|header| {
        header.split(';').find_map(|part| part.trim().strip_prefix("Root=")).or(Some(header))
    });
    tracing::info_span!("invocation", function, traceId = root.unwrap_or("none"))
}
