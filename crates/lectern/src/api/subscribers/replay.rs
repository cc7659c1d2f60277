//! Sends the events of past submissions to a subscriber again.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        ApiError, Backend, Caller,
        cursor::{self, DocumentsCursor},
        submissions::parse_moment,
    },
    existing,
};
use crate::{
    document::{
        DocumentId, SubmissionId,
        submission::{Submission, SubmissionState},
    },
    error::Error,
    events::{self, Event, EventItem, EventType, QueuedEvent},
    ports::{Browse, Clock, Cursor, EventQueue, Listing, SubmissionFilter},
    steps::route_events::in_messages,
};

/// Submissions that one page looks at.
const SUBMISSIONS: usize = 10;
/// Documents that one page reads.
const DOCUMENTS: usize = 200;

/// The body of `POST /v1/subscribers/{subscriberId}/replay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replay {
    /// The events of submissions created at this time or later: RFC 3339, or a date in UTC.
    pub from: String,
    /// Only those of submissions created before this time: RFC 3339, or a date in UTC.
    #[serde(default)]
    pub to: Option<String>,
    /// The cursor of the answer before, unchanged, with the same times.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// The answer to a part of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReplayedPage {
    /// How many events this part has sent to the subscriber's queue. It may be 0 although there are more parts.
    pub events: usize,
    /// Asks for the next part; absent after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `POST /v1/subscribers/{subscriberId}/replay`: sends events of submissions that were created in a time to one subscriber,
/// the newest submission first, a part at a time. They are delivered after the events that wait, with the ids that they
/// had before; if the subscriber is paused or disabled, they wait. Their age is measured from the replay.
///
/// A replay reads the items of the table, so it sends only what the items still say: of a document that was redriven,
/// the failure before the redrive is not sent again, and of a submission that was completed several times, only the last
/// completion. Erased submissions are not listed, so neither their events nor `submission.erased` are sent; the events of
/// subscribers are not sent, either.
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator; [`ApiError::InvalidRequest`].
pub async fn replay_events(
    backend: &impl Backend,
    caller: &Caller,
    subscriber_id: &str,
    request: &Replay,
) -> Result<ReplayedPage, ApiError> {
    let subscriber = existing(backend, caller, subscriber_id).await?;
    let filter = request.filter()?;
    let refused = || ApiError::InvalidRequest(cursor::INVALID.to_owned());
    let start = request.cursor.as_deref();
    let start = start.map(|text| DocumentsCursor::decode(text).ok_or_else(refused)).transpose()?;
    let mut page = Page::default();
    let next = page.read(backend.store(), &filter, start).await?;
    let changed_at = backend.clock().now().into();
    let wanted = page.events.into_iter().filter(|event| subscriber.wants(event));
    let wanted: Vec<QueuedEvent> = wanted.map(|event| QueuedEvent { event, changed_at }).collect();
    let events = wanted.len();
    let messages = in_messages(&subscriber.subscriber_id, wanted);
    if !messages.is_empty() {
        backend.events().send_events(&messages).await?;
    }
    let cursor = next.as_ref().map(DocumentsCursor::encode).transpose()?;
    Ok(ReplayedPage { events, cursor })
}

impl Replay {
    fn filter(&self) -> Result<SubmissionFilter, ApiError> {
        let from = parse_moment("from", &self.from).map_err(ApiError::InvalidRequest)?;
        let to = self.to.as_deref().map(|to| parse_moment("to", to)).transpose();
        let to = to.map_err(ApiError::InvalidRequest)?;
        if to.as_ref().is_some_and(|to| *to <= from) {
            return Err(ApiError::InvalidRequest("to must be later than from.".to_owned()));
        }
        Ok(SubmissionFilter {
            listing: Listing::All,
            // A draft has the event of its creation.
            states: SubmissionState::ALL.to_vec(),
            kind: None,
            from: Some(from),
            to,
        })
    }
}

/// A part of a replay while it is built.
#[derive(Default)]
struct Page {
    events: Vec<Event>,
    /// The number of documents that were read.
    read: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.read >= DOCUMENTS
    }

    /// Adds the events of the next submissions. Returns where the next part starts.
    async fn read(
        &mut self,
        store: &impl Browse,
        filter: &SubmissionFilter,
        start: Option<DocumentsCursor>,
    ) -> Result<Option<DocumentsCursor>, Error> {
        let mut last = None;
        if let Some(DocumentsCursor { submission, document }) = start {
            let document = self.go_on(store, &submission, document).await?;
            let stops = document.is_some();
            last = Some(DocumentsCursor { submission, document });
            if stops {
                return Ok(last);
            }
        }
        let behind = last.as_ref().map(|last| &last.submission);
        let found = store.submissions(filter, behind, SUBMISSIONS).await?;
        for submission in found.submissions {
            if self.is_full() {
                return Ok(last);
            }
            let position = Cursor::at(&submission);
            let document = self.add(store, submission, None).await?;
            let stops = document.is_some();
            last = Some(DocumentsCursor { submission: position, document });
            if stops {
                return Ok(last);
            }
        }
        Ok(found.next.map(|submission| DocumentsCursor { submission, document: None }))
    }

    /// Adds the rest of a submission of which the part before has read some documents.
    async fn go_on(
        &mut self,
        store: &impl Browse,
        submission: &Cursor,
        document: Option<DocumentId>,
    ) -> Result<Option<DocumentId>, Error> {
        let Ok(id) = SubmissionId::try_from(submission.submission_id.clone()) else { return Ok(None) };
        if document.is_none() {
            return Ok(None);
        }
        // It may have been erased meanwhile.
        match store.summary(&id).await? {
            Some(submission) => self.add(store, submission, document).await,
            None => Ok(None),
        }
    }

    /// Adds the events of a submission and of its documents after this one. Returns the last document that was read if the
    /// page became full before the submission's end.
    async fn add(
        &mut self,
        store: &impl Browse,
        submission: Submission,
        mut after: Option<DocumentId>,
    ) -> Result<Option<DocumentId>, Error> {
        let id = submission.submission_id.clone();
        let own = events::of_item(&EventItem::Submission(Box::new(submission)));
        // A submission is completed after its documents have ended.
        let (last, first): (Vec<Event>, Vec<Event>) =
            own.into_iter().partition(|event| event.event_type == EventType::SubmissionCompleted);
        if after.is_none() {
            self.events.extend(first);
        }
        while !self.is_full() {
            let found = store.documents(&id, after, DOCUMENTS - self.read).await?;
            self.read += found.documents.len();
            for document in found.documents {
                self.events.extend(events::of_item(&EventItem::Document(Box::new(document))));
            }
            after = found.next;
            if after.is_none() {
                self.events.extend(last);
                return Ok(None);
            }
        }
        Ok(after)
    }
}
