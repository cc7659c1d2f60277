//! Tests the reads of the API.

use aws_sdk_dynamodb::{
    Client,
    operation::{
        batch_get_item::{BatchGetItemInput, BatchGetItemOutput},
        query::{QueryInput, QueryOutput},
    },
    types::KeysAndAttributes,
};
use aws_smithy_mocks::mock;
use lectern::{
    document::submission::SubmissionState,
    document::{DocumentId, DocumentRef},
    ports::{Browse as _, Cursor, SubmissionFilter, SubmissionList},
    testing::port_contract::faults,
};

use super::*;
use crate::{dynamodb::items::submission_key, test_support::Seen};

fn submission(id: &str, state: SubmissionState, minute: u8) -> Submission {
    Submission::new(id.parse().unwrap(), state, format!("2026-11-20T12:{minute:02}:00.000Z"))
}

fn ready() -> SubmissionFilter {
    SubmissionFilter::in_state(Some(SubmissionState::Ready))
}

/// A submission's item in the index.
fn listed(submission: &Submission) -> Item {
    let mut item = submission_key(&submission.submission_id);
    let order = format!("{}#{}", submission.created_at, submission.submission_id);
    item.insert("createdOrder".to_owned(), text(&order));
    item
}

/// Answers the index for one state.
fn lists(state: &'static str, found: &[Submission], seen: &Seen<QueryInput>) -> Rule {
    let (items, seen): (Vec<Item>, _) = (found.iter().map(listed).collect(), seen.clone());
    mock!(Client::query)
        .match_requests(move |request| {
            let values = request.expression_attribute_values().unwrap();
            values.get(":partition") == Some(&text(state))
        })
        .then_compute_output(move |request| {
            seen.note(request);
            QueryOutput::builder().set_items(Some(items.clone())).build()
        })
}

/// Returns at most `at_most` of the items, and lists the remaining keys as unprocessed.
fn answers(all: &[Submission], at_most: usize, seen: &Seen<BatchGetItemInput>) -> Rule {
    let (items, seen): (Vec<Item>, _) = (all.iter().map(submission_item).collect(), seen.clone());
    mock!(Client::batch_get_item).then_compute_output(move |request| {
        seen.note(request);
        let asked = &request.request_items().unwrap()["table"];
        assert_eq!(asked.consistent_read(), Some(true));
        let (now, rest) = asked.keys().split_at(asked.keys().len().min(at_most));
        let is = |item: &Item, key: &Item| item["pk"] == key["pk"] && item["sk"] == key["sk"];
        let found: Vec<Item> =
            now.iter().filter_map(|key| items.iter().find(|item| is(item, key)).cloned()).collect();
        let rest = KeysAndAttributes::builder().set_keys(Some(rest.to_vec())).build().unwrap();
        let unprocessed = (!rest.keys().is_empty()).then(|| [("table".to_owned(), rest)].into());
        BatchGetItemOutput::builder().responses("table", found).set_unprocessed_keys(unprocessed).build()
    })
}

fn ids(found: &[Submission]) -> Vec<&str> {
    found.iter().map(|submission| submission.submission_id.as_str()).collect()
}

#[tokio::test]
async fn submissions_of_all_states_come_newest_first() {
    let all = [
        submission("a", SubmissionState::InProgress, 1),
        submission("b", SubmissionState::Ready, 2),
        submission("c", SubmissionState::InProgress, 3),
        submission("d", SubmissionState::NeedsAttention, 2),
    ];
    let (queries, gets) = (Seen::new(), Seen::new());
    let store = store!(
        lists("InProgress", &[all[2].clone(), all[0].clone()], &queries),
        lists("Ready", &all[1..2], &queries),
        lists("NeedsAttention", &all[3..], &queries),
        answers(&all, 100, &gets)
    );
    let found = store.submissions(&SubmissionFilter::in_state(None), None, 3).await.unwrap();
    assert_eq!(ids(&found.submissions), ["c", "d", "b"]);
    assert_eq!(found.next, Some(Cursor::at(&all[1])), "one more was listed");
    for query in queries.all() {
        assert_eq!(query.index_name(), Some("submissions-by-state"));
        assert_eq!((query.scan_index_forward(), query.limit()), (Some(false), Some(4)));
        assert_eq!(query.key_condition_expression(), Some("#partition = :partition"));
    }
    assert_eq!(gets.only().request_items().unwrap()["table"].keys().len(), 3);
}

#[tokio::test]
async fn page_starts_after_its_cursor() {
    let (queries, one) = (Seen::new(), submission("a", SubmissionState::Ready, 1));
    let store = store!(
        lists("Ready", std::slice::from_ref(&one), &queries),
        answers(std::slice::from_ref(&one), 100, &Seen::new())
    );
    let cursor = Cursor { created_at: "2026-11-20T12:05:00.000Z".to_owned(), submission_id: "z".to_owned() };
    let found = store.submissions(&ready(), Some(&cursor), 1).await.unwrap();
    assert_eq!(found, SubmissionList { submissions: vec![one], next: None });
    let query = queries.only();
    assert_eq!(query.key_condition_expression(), Some("#partition = :partition AND createdOrder < :before"));
    let before = &query.expression_attribute_values().unwrap()[":before"];
    assert_eq!(before, &text("2026-11-20T12:05:00.000Z#z"));
}

#[tokio::test]
async fn keys_that_dynamodb_leaves_unprocessed_are_asked_for_again() {
    let all: Vec<_> = (0..5u8).map(|n| submission(&format!("s{n}"), SubmissionState::Ready, n)).collect();
    let gets = Seen::new();
    let store = store!(lists("Ready", &all, &Seen::new()), answers(&all, 2, &gets));
    let found = store.submissions(&ready(), None, 10).await.unwrap();
    assert_eq!(ids(&found.submissions), ["s4", "s3", "s2", "s1", "s0"]);
    assert_eq!(gets.all().len(), 3);
}

#[tokio::test]
async fn batch_that_answers_for_nothing_is_an_error_and_no_hang() {
    let one = [submission("a", SubmissionState::Ready, 1)];
    let gets = Seen::new();
    let store = store!(lists("Ready", &one, &Seen::new()), answers(&one, 0, &gets));
    let error = store.submissions(&ready(), None, 10).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
    assert_eq!(gets.all().len(), 1);
}

#[tokio::test]
async fn submission_that_the_index_lists_under_its_old_state_is_left_in() {
    let (old, now) =
        (submission("a", SubmissionState::InProgress, 1), submission("a", SubmissionState::Ready, 1));
    let store = store!(
        lists("InProgress", std::slice::from_ref(&old), &Seen::new()),
        answers(std::slice::from_ref(&now), 100, &Seen::new())
    );
    let case = faults::submission_that_the_index_lists_under_its_old_state_is_left_in;
    case(&store, &old.submission_id, [old.state, now.state]).await.unwrap();
}

#[tokio::test]
async fn failing_query_or_batch_is_unavailable() {
    let one = [submission("a", SubmissionState::Ready, 1)];
    let query = mock!(Client::query).then_http_response(|| json_error("ThrottlingException"));
    let error = store!(query).submissions(&SubmissionFilter::in_state(None), None, 1).await.unwrap_err();
    assert!(error.to_string().contains("Query: it answered with an error (ThrottlingException)"), "{error}");
    let batch = mock!(Client::batch_get_item).then_http_response(|| json_error("ThrottlingException"));
    let store = store!(lists("Ready", &one, &Seen::new()), batch);
    let error = store.submissions(&ready(), None, 1).await.unwrap_err();
    assert!(error.to_string().contains("BatchGetItem"), "{error}");
}

#[tokio::test]
async fn documents_of_a_submission_come_from_all_pages_oldest_first() {
    let document_of = |version: &str, minute: u8| {
        let document_id = DocumentId::of("uploads", b"k", version);
        let received = format!("2026-11-20T12:{minute:02}:00.000Z");
        Document {
            reference: DocumentRef { document_id, ..reference() },
            times: [("Received".to_owned(), received)].into(),
            ..document()
        }
    };
    let (newer, older) = (document_of("v2", 2), document_of("v1", 1));
    let (newer_item, older_item) = (stored(newer.clone(), |_| {}), stored(older.clone(), |_| {}));
    let queries = Seen::new();
    let noted = queries.clone();
    let pages = mock!(Client::query).then_compute_output(move |request: &QueryInput| {
        noted.note(request);
        match request.exclusive_start_key() {
            None => QueryOutput::builder()
                .items(newer_item.clone())
                .last_evaluated_key("pk", text("next"))
                .build(),
            Some(_) => QueryOutput::builder().items(older_item.clone()).build(),
        }
    });
    let one = submission("s1", SubmissionState::InProgress, 1);
    let key = submission_key(&one.submission_id);
    let store = store!(reads(&key, Some(submission_item(&one))), pages);
    let found = store.submission(&one.submission_id).await.unwrap();
    assert_eq!(found, Some((one, vec![older, newer])));
    for query in queries.all() {
        assert_eq!(query.key_condition_expression(), Some("pk = :pk AND begins_with(sk, :documents)"));
        let sent = values(&[(":pk", text("SUBMISSION#s1")), (":documents", text("DOCUMENT#"))]);
        assert_eq!(query.expression_attribute_values(), Some(&sent));
        assert_eq!(query.consistent_read(), Some(true));
    }
    assert_eq!(queries.all().len(), 2);
}

#[tokio::test]
async fn submission_that_does_not_exist_is_nothing() {
    let store = store!(reads(&submission_key(&"s1".parse().unwrap()), None));
    assert_eq!(store.submission(&"s1".parse().unwrap()).await.unwrap(), None);
}
