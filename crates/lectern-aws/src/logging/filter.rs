//! Decides which lines are logged: those that the configured filter allows, and all of our own lines about one
//! submission.

use lectern::document::SubmissionId;
use tracing::{Event, Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    filter::Targets,
    layer::{Context, Filter},
    registry::LookupSpan,
};

use super::Fields;

/// Decides on each line. A line that [`may_be_logged`] refuses is never logged.
pub(super) struct Wanted {
    filter: Targets,
    debug_submission: Option<SubmissionId>,
}

impl Wanted {
    /// The lines that `filter` allows, and our debug lines inside the spans of this submission.
    pub(super) fn new(filter: Targets, debug_submission: Option<SubmissionId>) -> Self {
        Self { filter, debug_submission }
    }

    fn is_allowed(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.would_enable(metadata.target(), metadata.level())
    }

    /// Whether this may be a line that is logged for the debugged submission only.
    fn may_be_debugged(&self, metadata: &Metadata<'_>) -> bool {
        self.debug_submission.is_some()
            && metadata.is_event()
            && is_ours(metadata)
            && *metadata.level() <= Level::DEBUG
    }

    /// Whether the innermost span with a submission id has the debugged one. This is checked at the event, so that an
    /// id that was recorded after the span began counts.
    fn is_debugged<S>(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool
    where
        S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    {
        let Some(wanted) = &self.debug_submission else { return false };
        let spans = context.event_scope(event).into_iter().flatten();
        let named = spans.filter_map(|span| {
            let extensions = span.extensions();
            let id = extensions.get::<Fields>()?.0.get("submissionId")?.as_str()?.to_owned();
            Some(id)
        });
        named.take(1).any(|id| id == wanted.as_str())
    }
}

impl<S> Filter<S> for Wanted
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        may_be_logged(metadata)
            && (carries_ids(metadata) || self.may_be_debugged(metadata) || self.is_allowed(metadata))
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        self.is_allowed(metadata) || (self.may_be_debugged(metadata) && self.is_debugged(event, context))
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if !may_be_logged(metadata) {
            Interest::never()
        } else if carries_ids(metadata) || self.is_allowed(metadata) {
            Interest::always()
        } else if self.may_be_debugged(metadata) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let least = if self.debug_submission.is_some() { LevelFilter::DEBUG } else { LevelFilter::INFO };
        Filter::<S>::max_level_hint(&self.filter).map(|hint| hint.max(least))
    }
}

/// Whether a line may be logged at all. Lines of libraries below `info` may quote requests and payloads, and thus
/// names, URLs and tokens.
///
/// The Lambda runtime logs every error that a handler returns again, without the document's ids; our own code has
/// already logged it. The runtime also logs panics, which are on standard error already. Another layer writes the
/// metrics.
pub(super) fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    metadata.target() != "lambda_runtime::layers::panic"
        && metadata.target() != lectern::telemetry::metrics::TARGET
        && (is_ours(metadata) || *metadata.level() <= Level::INFO)
}

/// The spans with the ids of log lines are enabled even if the filter allows warnings only.
fn carries_ids(metadata: &Metadata<'_>) -> bool {
    let runtime = metadata.target().starts_with("lambda_runtime");
    metadata.is_span() && *metadata.level() <= Level::INFO && (runtime || is_ours(metadata))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("lectern")
}
