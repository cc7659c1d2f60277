//! What a page of a list costs, however many submissions there are.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::AfterDeserializationInterceptorContextRef,
    },
    error::BoxError,
    operation::batch_write_item::BatchWriteItemOutput,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use lectern::{
    display_text::Label,
    document::{Owner, SubmissionId, submission::SubmissionState},
    error::rfc3339,
    ports::{Browse as _, HandIn as _, Listing, NewSubmission, SubmissionFilter},
    testing::world::START,
};
use lectern_aws::DynamoDbStore;
use lectern_content::MediaKind;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    stack::{Stack, setting},
    store_model::like_the_stacks_table,
};

const LIMIT: usize = 25;
/// Batches of submissions that are written at the same time.
const AT_ONCE: usize = 8;

/// What the store has asked of `DynamoDB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    requests: u64,
    items: u64,
}

/// Counts the requests of a client, and the items that `DynamoDB` reads for them.
#[derive(Clone, Debug, Default)]
struct Counter(Arc<Mutex<Cost>>);

impl Intercept for Counter {
    fn name(&self) -> &'static str {
        "Counter"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer: Value = serde_json::from_slice(context.response().body().bytes().unwrap_or_default())?;
        let tables = answer["Responses"].as_object().into_iter().flat_map(|tables| tables.values());
        let batch: usize = tables.filter_map(Value::as_array).map(Vec::len).sum();
        let mut cost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cost.requests += 1;
        cost.items += answer["ScannedCount"].as_u64().unwrap_or_default() + batch as u64;
        Ok(())
    }
}

/// A table, and the cost of each list of its submissions.
struct Table {
    stack: Stack,
    name: String,
    owner: Owner,
}

impl Table {
    async fn create() -> Self {
        let stack = Stack::open();
        let name = like_the_stacks_table(&stack).await;
        Self { stack, name, owner: "teacher-1".parse().unwrap() }
    }

    /// Fills the table with submissions of one teacher until it has this many. They are copies of one that the store has
    /// written, and each of them is a second younger than the one before. Every other one is ready, and the rest is in
    /// progress.
    async fn fill(&self, from: usize, to: usize) {
        let submission_id: SubmissionId = format!("template-{from}").parse().unwrap();
        let (owner, title) = (self.owner.clone(), Label::new("Rivers"));
        let new = NewSubmission { submission_id, owner, title, files: Vec::new(), now: START };
        let store = DynamoDbStore::new(self.stack.dynamodb.clone(), self.name.clone());
        store.create(&new).await.unwrap();
        let written = self.stack.dynamodb.query().table_name(&self.name).key_condition_expression("pk = :pk");
        let pk = AttributeValue::S(format!("SUBMISSION#{}", new.submission_id));
        let written = written.expression_attribute_values(":pk", pk).send().await.unwrap();
        let template = written.items()[0].clone();
        let copies: Vec<WriteRequest> = (from..to)
            .map(|number| {
                let id = format!("copy-{number:06}");
                let created_at = rfc3339(START + time::Duration::seconds(number.try_into().unwrap()));
                let state =
                    if number % 2 == 0 { SubmissionState::Ready } else { SubmissionState::InProgress };
                let mut item = template.clone();
                for (name, value) in [
                    ("pk", format!("SUBMISSION#{id}")),
                    ("submissionId", id.clone()),
                    ("createdAt", created_at.clone()),
                    ("createdOrder", format!("{created_at}#{id}")),
                    ("state", state.as_str().to_owned()),
                    ("ownerState", format!("{}#{}", self.owner.expose(), state.as_str())),
                ] {
                    item.insert(name.to_owned(), AttributeValue::S(value));
                }
                item.insert("kinds".to_owned(), AttributeValue::Ss(vec!["document".to_owned()]));
                let put = PutRequest::builder().set_item(Some(item)).build().unwrap();
                WriteRequest::builder().put_request(put).build()
            })
            .collect();
        let mut writes = JoinSet::new();
        for batch in copies.chunks(25) {
            let request = self.stack.dynamodb.batch_write_item().request_items(&self.name, batch.to_vec());
            writes.spawn(request.send());
            while writes.len() >= AT_ONCE {
                assert_all_written(writes.join_next().await.unwrap().unwrap());
            }
        }
        writes.join_all().await.into_iter().for_each(assert_all_written);
    }

    /// The cost of the first two pages of a list.
    async fn cost(&self, filter: &SubmissionFilter) -> [Cost; 2] {
        let counter = Counter::default();
        let config = self.stack.dynamodb.config().to_builder().interceptor(counter.clone()).build();
        let client = aws_sdk_dynamodb::Client::from_conf(config);
        let store = DynamoDbStore::new(client, self.name.clone());
        let (mut costs, mut after) = ([Cost::default(); 2], None);
        for cost in &mut costs {
            let page = store.submissions(filter, after.as_ref(), LIMIT).await.unwrap();
            *cost = std::mem::take(&mut *counter.0.lock().unwrap());
            after = page.next;
            assert!(after.is_some(), "the list has another page");
        }
        costs
    }
}

fn assert_all_written(answer: Result<BatchWriteItemOutput, impl std::fmt::Debug>) {
    assert!(answer.unwrap().unprocessed_items.unwrap_or_default().is_empty());
}

#[tokio::test]
async fn page_of_a_list_costs_the_same_with_a_hundred_and_with_thousands_of_submissions() {
    let table = Table::create().await;
    let all = SubmissionFilter::in_state(None);
    let own = SubmissionFilter { listing: Listing::Of(table.owner.clone()), ..all.clone() };
    let ready = SubmissionFilter::in_state(Some(SubmissionState::Ready));
    let videos = SubmissionFilter { kind: Some(MediaKind::Video), ..all.clone() };
    let lately = SubmissionFilter { from: Some(rfc3339(START)), ..all.clone() };
    let filters = [("all", all), ("own", own), ("ready", ready), ("videos", videos), ("lately", lately)];
    let mut costs = Vec::new();
    let mut filled = 0;
    let many = usize::try_from(setting("LECTERN_SUBMISSIONS", 3_000)).unwrap();
    for submissions in [150, many] {
        table.fill(filled, submissions).await;
        filled = submissions;
        let mut found = Vec::new();
        for (name, filter) in &filters {
            let cost = table.cost(filter).await;
            println!("{submissions} submissions, {name}: {cost:?}");
            found.push((*name, cost));
        }
        costs.push(found);
    }
    assert_eq!(costs[0], costs[1]);
    for (name, cost) in &costs[0] {
        for page in cost {
            assert!(page.requests <= 4 && page.items <= 4 * (LIMIT as u64 + 1), "{name}: {page:?}");
        }
    }
}
