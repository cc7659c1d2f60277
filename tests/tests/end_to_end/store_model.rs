//! Compares the state store on `DynamoDB` with the reference model. The state machine's own writes come from its
//! definition. The test has its own table, with the layout of the stack's table, so that lists are short.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::update_item::{UpdateItemError, UpdateItemOutput},
    types::AttributeValue,
};
use lectern::{
    document::submission::Submission,
    document::{
        Attempt, CallbackId, Document, DocumentId, DocumentRef, JobResult, ObjectVersion, Round,
        SubmissionId, TaskToken,
    },
    error::{Error, StoreError, rfc3339},
    ports::{
        Begin, Browse, CallbackTarget, Cursor, DocumentList, FinalOutcome, Finish, Finishing, Load,
        NewDocument, Recorded, Register, Registration, Reopened, Reopening, Results, Sequencer,
        SubmissionFilter, SubmissionList, Transfers, Withdrawing,
    },
    testing::model::{DirectWrites, Op, Returned, check},
};
use lectern_aws::DynamoDbStore;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::stack::Stack;

#[test]
fn any_operations_leave_the_store_on_dynamodb_as_the_model_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Real::create());
    let config = Config { cases: 12, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let ops = prop::collection::vec(any::<u32>().prop_map(Op::decode), 1..40);
    let outcome = TestRunner::new(config).run(&ops, |ops| {
        let run = Uuid::new_v4().simple().to_string();
        runtime.block_on(check(&store, &run, &ops)).map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// The adapter, and the two writes that the state machine makes itself, read from `document.asl.json`.
pub(crate) struct Real {
    store: DynamoDbStore,
    client: aws_sdk_dynamodb::Client,
    table: String,
    states: Value,
}

impl Real {
    pub(crate) async fn create() -> Self {
        let stack = Stack::open();
        let table = like_the_stacks_table(&stack).await;
        Self {
            store: DynamoDbStore::new(stack.dynamodb.clone(), table.clone()),
            client: stack.dynamodb.clone(),
            table,
            states: states(),
        }
    }

    /// Runs the `updateItem` of a state with its exact expressions and its variables filled in. `None` if its
    /// condition fails.
    async fn write(
        &self,
        state: &str,
        document: &DocumentRef,
        token: Option<&TaskToken>,
        now: OffsetDateTime,
    ) -> Result<Option<UpdateItemOutput>, Error> {
        let arguments = &self.states[state]["Arguments"];
        let text = |name: &str| arguments[name].as_str().map(str::to_owned);
        let names = arguments["ExpressionAttributeNames"].as_object().unwrap().iter();
        let names = names.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let values =
            arguments["ExpressionAttributeValues"].as_object().unwrap().iter().map(|(name, value)| {
                let filled = match (name.as_str(), value["S"].as_str(), value["N"].as_str()) {
                    (":token", _, _) => {
                        AttributeValue::S(token.expect("this state has a token").expose().to_owned())
                    }
                    (":now", _, _) => AttributeValue::S(rfc3339(now)),
                    (_, Some(text), _) => AttributeValue::S(text.to_owned()),
                    (_, _, number) => AttributeValue::N(number.unwrap().to_owned()),
                };
                (name.clone(), filled)
            });
        let key = HashMap::from([
            ("pk".to_owned(), AttributeValue::S(format!("SUBMISSION#{}", document.submission_id))),
            ("sk".to_owned(), AttributeValue::S(format!("DOCUMENT#{}", document.document_id))),
        ]);
        let request = self.client.update_item().table_name(&self.table).set_key(Some(key));
        let request = request.set_update_expression(text("UpdateExpression"));
        let request = request.set_condition_expression(text("ConditionExpression"));
        let request = request.set_return_values(text("ReturnValues").as_deref().map(Into::into));
        let request = request.set_expression_attribute_names(Some(names.collect()));
        match request.set_expression_attribute_values(Some(values.collect())).send().await {
            Ok(answer) => Ok(Some(answer)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(StoreError::defect(format!("{error:?}")).into()),
        }
    }
}

/// Creates an empty table with the keys and the index of the stack's table.
pub(crate) async fn like_the_stacks_table(stack: &Stack) -> String {
    let described = stack.dynamodb.describe_table().table_name(&stack.is.table).send().await.unwrap();
    let like = described.table.unwrap();
    let table = format!("store-{}", Uuid::new_v4().simple());
    let indexes = like.global_secondary_indexes.unwrap_or_default().into_iter().map(|index| {
        aws_sdk_dynamodb::types::GlobalSecondaryIndex::builder()
            .set_index_name(index.index_name)
            .set_key_schema(index.key_schema)
            .set_projection(index.projection)
            .build()
            .unwrap()
    });
    let request = stack.dynamodb.create_table().table_name(&table).set_key_schema(like.key_schema);
    let request = request.set_attribute_definitions(like.attribute_definitions);
    let request = request.set_global_secondary_indexes(Some(indexes.collect()));
    request.billing_mode(aws_sdk_dynamodb::types::BillingMode::PayPerRequest).send().await.unwrap();
    table
}

/// The definition's states. Substitutions outside of strings become numbers.
fn states() -> Value {
    let definition = include_str!("../../../statemachines/document.asl.json");
    let mut pieces = definition.split(": ${");
    let mut json = pieces.next().unwrap().to_owned();
    for piece in pieces {
        json.push_str(": 0");
        json.push_str(piece.split_once('}').unwrap().1);
    }
    serde_json::from_str::<Value>(&json).unwrap()["States"].take()
}

impl DirectWrites for Real {
    async fn await_callback(
        &self,
        document: &DocumentRef,
        token: TaskToken,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        Ok(self.write("AwaitCallback", document, Some(&token), now).await?.is_some())
    }

    async fn begin_verify(
        &self,
        document: &DocumentRef,
        now: OffsetDateTime,
    ) -> Result<Option<Returned>, Error> {
        let answer = self.write("BeginVerify", document, None, now).await?;
        Ok(answer.and_then(|answer| answer.attributes).map(|attributes| Returned {
            succeeded: attributes["resultOutcome"].as_s().is_ok_and(|outcome| outcome == "succeeded"),
            files: attributes["resultFiles"].as_n().unwrap().parse().unwrap(),
        }))
    }
}

impl Register for Real {
    async fn register(&self, new: NewDocument) -> Result<Registration, Error> {
        self.store.register(new).await
    }
}

impl Withdrawing for Real {
    async fn newest_version(
        &self,
        submission: &SubmissionId,
        object: &ObjectVersion,
    ) -> Result<Option<(DocumentRef, Sequencer)>, Error> {
        self.store.newest_version(submission, object).await
    }

    async fn withdraw(&self, document: &DocumentRef, now: OffsetDateTime) -> Result<bool, Error> {
        self.store.withdraw(document, now).await
    }
}

impl Load for Real {
    async fn load(&self, document: &DocumentRef) -> Result<Option<Document>, Error> {
        self.store.load(document).await
    }
}

impl Transfers for Real {
    async fn begin_transfer(
        &self,
        document: &DocumentRef,
        attempt: Attempt,
        round: Round,
        now: OffsetDateTime,
    ) -> Result<Begin, Error> {
        self.store.begin_transfer(document, attempt, round, now).await
    }

    async fn record_job(&self, document: &DocumentRef, attempt: Attempt, job_id: &str) -> Result<(), Error> {
        self.store.record_job(document, attempt, job_id).await
    }
}

impl Results for Real {
    async fn resolve(&self, callback: &CallbackId) -> Result<Option<CallbackTarget>, Error> {
        self.store.resolve(callback).await
    }

    async fn record_result(
        &self,
        document: &DocumentRef,
        result: &JobResult,
        now: OffsetDateTime,
    ) -> Result<Recorded, Error> {
        self.store.record_result(document, result, now).await
    }

    async fn keep_unknown(
        &self,
        event_id: &str,
        callback_id: &str,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        self.store.keep_unknown(event_id, callback_id, body, now).await
    }
}

impl Finishing for Real {
    async fn begin_normalize(&self, document: &DocumentRef, now: OffsetDateTime) -> Result<Begin, Error> {
        self.store.begin_normalize(document, now).await
    }

    async fn finish(
        &self,
        document: &DocumentRef,
        outcome: FinalOutcome,
        now: OffsetDateTime,
    ) -> Result<Finish, Error> {
        self.store.finish(document, outcome, now).await
    }
}

impl Reopening for Real {
    async fn reopen(
        &self,
        document: &DocumentRef,
        after: u32,
        discard_result: bool,
        now: OffsetDateTime,
    ) -> Result<Reopened, Error> {
        self.store.reopen(document, after, discard_result, now).await
    }
}

impl Browse for Real {
    async fn submissions(
        &self,
        filter: &SubmissionFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<SubmissionList, Error> {
        self.store.submissions(filter, after, limit).await
    }

    async fn summary(&self, id: &SubmissionId) -> Result<Option<Submission>, Error> {
        self.store.summary(id).await
    }

    async fn documents(
        &self,
        id: &SubmissionId,
        after: Option<DocumentId>,
        limit: usize,
    ) -> Result<DocumentList, Error> {
        self.store.documents(id, after, limit).await
    }

    async fn submission(&self, id: &SubmissionId) -> Result<Option<(Submission, Vec<Document>)>, Error> {
        self.store.submission(id).await
    }
}
