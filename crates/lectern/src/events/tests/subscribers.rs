//! Which events a subscriber asks for, its secrets, and how it is stored.

use lectern_content::MediaKind;
use rstest::rstest;
use serde_json::json;
use time::Duration;

use super::{
    super::*,
    fixtures::{event, subscriber},
};
use crate::{error::rfc3339, testing::world::START};

fn document_event(event_type: EventType, media_type: Option<MediaType>) -> Event {
    let mut event = Event { event_type, ..event("s1", 1) };
    let EventData::Document(data) = &mut event.data else { panic!("it is of a document") };
    data.media_type = media_type;
    event
}

fn submission_event() -> Event {
    let submission_id = "s1".parse().unwrap();
    let data = SubmissionData { submission_id, state: None, ready: None, rejected: None, failed: None };
    Event { event_type: EventType::SubmissionCreated, data: EventData::Submission(data), ..event("s1", 1) }
}

fn disabled_event(subscriber: &str) -> Event {
    let subscriber_id = subscriber.parse().unwrap();
    let reason = Some(DisabledReason::Gone);
    let data = SubscriberData { subscriber_id, reason, challenge: None };
    Event { event_type: EventType::SubscriberDisabled, data: EventData::Subscriber(data), ..event("s1", 1) }
}

const RECEIVED: EventType = EventType::DocumentReceived;

#[rstest]
#[case::everything_by_default(&[], &[], document_event(RECEIVED, Some(MediaType::Pdf)), true)]
#[case::of_any_kind(&[], &[], document_event(RECEIVED, None), true)]
#[case::of_a_submission(&[], &[], submission_event(), true)]
#[case::of_this_type(&[RECEIVED], &[], document_event(RECEIVED, None), true)]
#[case::of_another_type(&[EventType::DocumentReady], &[], document_event(RECEIVED, None), false)]
#[case::of_a_submission_and_another_type(&[RECEIVED], &[], submission_event(), false)]
#[case::of_this_kind(&[], &[MediaKind::Video], document_event(RECEIVED, Some(MediaType::Mp4)), true)]
#[case::of_one_of_the_kinds(&[], &[MediaKind::Audio, MediaKind::Video], document_event(RECEIVED, Some(MediaType::WebM)), true)]
#[case::of_another_kind(&[], &[MediaKind::Video], document_event(RECEIVED, Some(MediaType::Pdf)), false)]
#[case::of_an_unknown_kind(&[], &[MediaKind::Video], document_event(EventType::DocumentRejected, None), false)]
#[case::kinds_are_of_documents_only(&[], &[MediaKind::Video], submission_event(), true)]
#[case::of_this_type_and_another_kind(&[RECEIVED], &[MediaKind::Video], document_event(RECEIVED, Some(MediaType::Pdf)), false)]
#[case::another_subscriber_is_disabled(&[], &[MediaKind::Video], disabled_event("archive"), true)]
#[case::it_is_disabled_itself(&[], &[], disabled_event("portal"), false)]
#[case::it_is_disabled_itself_and_asks_for_it(&[EventType::SubscriberDisabled], &[], disabled_event("portal"), false)]
fn subscriber_wants_what_it_has_asked_for(
    #[case] event_types: &[EventType],
    #[case] kinds: &[MediaKind],
    #[case] event: Event,
    #[case] expected: bool,
) {
    let (event_types, kinds) = (event_types.iter().copied().collect(), kinds.iter().copied().collect());
    let subscriber = Subscriber { event_types, kinds, ..subscriber("portal") };
    assert_eq!(subscriber.wants(&event), expected);
}

#[rstest]
#[case("portal", true)]
#[case("a", true)]
#[case("audit-archive-2", true)]
#[case("", false)]
#[case("2portal", false)]
#[case("-portal", false)]
#[case("Portal", false)]
#[case("audit archive", false)]
#[case("audit/archive", false)]
#[case("audit#archive", false)]
#[case("archivé", false)]
#[case("x23456789012345678901234567890123456789", true)]
#[case("x2345678901234567890123456789012345678901", false)]
fn id_is_a_short_word(#[case] text: &str, #[case] valid: bool) {
    assert_eq!(text.parse::<SubscriberId>().is_ok(), valid);
    assert_eq!(serde_json::from_value::<SubscriberId>(text.into()).is_ok(), valid);
}

#[test]
fn secret_before_signs_for_a_day_after_a_rotation_and_then_no_more() {
    let mut subscriber = subscriber("portal");
    let first = subscriber.shown_secret();
    subscriber.rotate(Secret::of([3, 4]), START);
    let second = subscriber.shown_secret();
    assert_ne!(first, second);
    let valid = |subscriber: &Subscriber, after: Duration| {
        let valid = subscriber.valid_secrets(START + after).map(Secret::bytes);
        valid.collect::<Vec<_>>()
    };
    let bytes = |bits: [u128; 2]| Secret::of(bits).bytes();
    let both = [bytes([3, 4]), bytes([1, 2])];
    assert_eq!(valid(&subscriber, Duration::ZERO), both);
    assert_eq!(valid(&subscriber, Duration::hours(24) - Duration::SECOND), both);
    assert_eq!(valid(&subscriber, Duration::hours(24)), both[..1]);

    subscriber.rotate(Secret::of([5, 6]), START + Duration::hours(1));
    assert_eq!(valid(&subscriber, Duration::hours(1)), [bytes([5, 6]), bytes([3, 4])], "the newest two");
    assert_eq!(valid(&subscriber, Duration::hours(25)), [bytes([5, 6])]);
}

#[test]
fn subscriber_is_stored_with_flat_members_and_read_back() {
    let disabled = SubscriberStatus::Disabled { reason: DisabledReason::Unreachable, at: rfc3339(START) };
    for status in [SubscriberStatus::Active, SubscriberStatus::Paused, disabled.clone()] {
        let mut subscriber = Subscriber { status, ..subscriber("portal") };
        subscriber.rotate(Secret::of([3, 4]), START);
        let json = serde_json::to_value(&subscriber).unwrap();
        assert_eq!(json["status"], subscriber.status.as_str());
        assert_eq!(serde_json::from_value::<Subscriber>(json).unwrap(), subscriber);
    }
    let json = serde_json::to_value(disabled).unwrap();
    let expected = json!({
        "status": "disabled", "disabledReason": "unreachable", "disabledAt": "2026-11-20T16:00:00.000Z",
    });
    assert_eq!(json, expected);
}

#[test]
fn limits_allow_the_rate_and_a_burst_of_two_seconds() {
    let limits = |requests_per_second: f64| {
        let subscriber = Subscriber { requests_per_second, ..subscriber("portal") };
        let limits = subscriber.limits();
        (limits.interval.as_secs_f64(), limits.burst, limits.tolerance().as_secs_f64())
    };
    assert_eq!(limits(10.0), (0.1, 22, 2.0));
    assert_eq!(limits(0.1), (10.0, 3, 10.0));
    let subscriber = subscriber("portal");
    assert_eq!(subscriber.limits().max_in_flight, 5);
    assert_eq!(subscriber.limits().lease, std::time::Duration::from_secs(40), "a request and 30 s");
}
