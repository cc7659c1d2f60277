//! The adapters against the contract of each port, on the local cloud. Each test has a table, a bucket, a queue or a state
//! machine of its own, so that nothing else reads or writes there.

use std::{collections::HashMap, sync::Mutex};

use aws_sdk_s3::{
    config::{Credentials, SharedCredentialsProvider},
    types::{BucketVersioningStatus, ChecksumAlgorithm, VersioningConfiguration},
};
use aws_sdk_sfn::{operation::describe_execution::DescribeExecutionOutput, types::ExecutionStatus};
use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use lectern::{
    document::metadata::{NAME, OWNER},
    document::{DocumentRef, ObjectVersion, SubmissionId, TaskToken},
    message,
    steps::admit_document::Input,
    testing::port_contract::{
        admission::{self, OrdersSetup},
        audit, documents,
        erasure::{self, ObjectsSetup},
        events,
        hand_in::{self, PartsSetup},
        machine::{self, ErasuresSetup, ExecutionsSetup, TaskOutcome, TasksSetup},
        objects::{self, UploadsSetup},
    },
};
use lectern_aws::{
    AdmissionQueue, AuditTrail, DynamoDbStore, ObjectsOfSubmissions, ReturnedBucket, StateMachine,
    UploadDesk, UploadsBucket,
    sfn::{ErasureStateMachine, TaskTokens},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    stack::{Description, Stack},
    store_model::like_the_stacks_table,
    wait::{SOON, eventually},
};

fn keeps(outcome: Result<(), String>) {
    if let Err(broken) = outcome {
        panic!("these cases are broken:\n{broken}");
    }
}

async fn store() -> DynamoDbStore {
    let stack = Stack::open();
    let table = like_the_stacks_table(&stack).await;
    DynamoDbStore::new(stack.dynamodb, table)
}

#[tokio::test]
async fn register_on_dynamodb_keeps_its_contract() {
    keeps(documents::register(&store().await).await);
}

#[tokio::test]
async fn load_on_dynamodb_keeps_its_contract() {
    keeps(documents::load(&store().await).await);
}

#[tokio::test]
async fn transfers_on_dynamodb_keeps_its_contract() {
    keeps(documents::transfers(&store().await).await);
}

#[tokio::test]
async fn results_on_dynamodb_keeps_its_contract() {
    keeps(documents::results(&store().await).await);
}

#[tokio::test]
async fn finishing_on_dynamodb_keeps_its_contract() {
    keeps(documents::finishing(&store().await).await);
}

#[tokio::test]
async fn reopening_on_dynamodb_keeps_its_contract() {
    keeps(documents::reopening(&store().await).await);
}

#[tokio::test]
async fn withdrawing_on_dynamodb_keeps_its_contract() {
    keeps(documents::withdrawing(&store().await).await);
}

#[tokio::test]
async fn browse_on_dynamodb_keeps_its_contract() {
    keeps(documents::browse(&store().await).await);
}

#[tokio::test]
async fn operations_on_dynamodb_keeps_its_contract() {
    keeps(documents::operations(&store().await).await);
}

#[tokio::test]
async fn hand_in_on_dynamodb_keeps_its_contract() {
    keeps(hand_in::hand_in(&store().await).await);
}

#[tokio::test]
async fn lists_on_dynamodb_keep_their_contract() {
    keeps(hand_in::lists(&store().await).await);
}

#[tokio::test]
async fn sign_uploads_on_s3_keeps_its_contract() {
    let (stack, bucket) = (Stack::open(), OwnBucket::create().await);
    let Description { region, access_key_id, secret_access_key, .. } = stack.is;
    let credentials = Credentials::new(access_key_id, secret_access_key, None, None, "stack.json");
    let credentials = SharedCredentialsProvider::new(credentials);
    let desk = UploadDesk::new(bucket.client.clone(), bucket.name.clone(), region, credentials);
    keeps(hand_in::sign_uploads(&desk, &bucket).await);
}

#[tokio::test]
async fn retention_on_dynamodb_keeps_its_contract() {
    keeps(erasure::retention(&store().await.with_retention(erasure::RETENTION)).await);
}

#[tokio::test]
async fn erasures_on_dynamodb_keeps_its_contract() {
    keeps(erasure::erasures(&store().await).await);
}

#[tokio::test]
async fn audit_on_dynamodb_keeps_its_contract() {
    let stack = Stack::open();
    let table = like_the_stacks_table(&stack).await;
    keeps(audit::audit(&AuditTrail::new(stack.dynamodb, table)).await);
}

#[tokio::test]
async fn subscribers_and_deliveries_on_dynamodb_keep_their_contracts() {
    let stack = Stack::open();
    let table = like_the_stacks_table(&stack).await;
    let store = DynamoDbStore::new(stack.dynamodb, table);
    keeps(events::subscribers(&store).await);
    keeps(events::deliveries(&store).await);
}

/// The prefixes are different, so one bucket can be both.
#[tokio::test]
async fn submission_objects_on_s3_keeps_its_contract() {
    let bucket = OwnBucket::create().await;
    let (client, name) = (bucket.client.clone(), bucket.name.clone());
    let objects = ObjectsOfSubmissions::new(client, name.clone(), name);
    keeps(erasure::submission_objects(&objects, &bucket).await);
}

#[tokio::test]
async fn admission_store_on_dynamodb_keeps_its_contract() {
    keeps(admission::admission_store(&store().await).await);
}

#[tokio::test]
async fn orders_on_sqs_keeps_its_contract() {
    let queue = OwnQueue::create().await;
    let orders = AdmissionQueue::new(queue.client.clone(), queue.url.clone());
    keeps(admission::orders(&orders, &queue).await);
}

#[tokio::test]
async fn executions_on_step_functions_keeps_its_contract() {
    let machine = OwnMachine::create(&json!({ "Only": { "Type": "Succeed" } })).await;
    let executions = StateMachine::new(machine.client.clone(), machine.arn.clone());
    keeps(machine::executions(&executions, &machine).await);
}

#[tokio::test]
async fn start_erasure_on_step_functions_keeps_its_contract() {
    let machine = OwnMachine::create(&json!({ "Only": { "Type": "Succeed" } })).await;
    let erasures = ErasureStateMachine::new(machine.client.clone(), machine.arn.clone());
    keeps(machine::start_erasure(&erasures, &machine).await);
}

#[tokio::test]
async fn tasks_on_step_functions_keeps_its_contract() {
    let activity = Activity::create().await;
    let machine = &activity.machine;
    keeps(machine::tasks(&TaskTokens::new(machine.client.clone()), &activity).await);
}

#[tokio::test]
async fn uploads_on_s3_keeps_its_contract() {
    let bucket = OwnBucket::create().await;
    keeps(objects::uploads(&UploadsBucket::new(bucket.client.clone()), &bucket).await);
}

#[tokio::test]
async fn upload_reader_on_s3_keeps_its_contract() {
    let bucket = OwnBucket::create().await;
    keeps(objects::upload_reader(&UploadsBucket::new(bucket.client.clone()), &bucket).await);
}

#[tokio::test]
async fn returned_files_on_s3_keeps_its_contract() {
    let bucket = OwnBucket::create().await;
    keeps(objects::returned_files(&ReturnedBucket::new(bucket.client, bucket.name)).await);
}

#[tokio::test]
async fn records_on_s3_keeps_its_contract() {
    let bucket = OwnBucket::create().await;
    keeps(objects::records(&ReturnedBucket::new(bucket.client, bucket.name)).await);
}

/// A bucket with versions.
pub(crate) struct OwnBucket {
    pub(crate) client: aws_sdk_s3::Client,
    pub(crate) name: String,
}

impl OwnBucket {
    pub(crate) async fn create() -> Self {
        let (client, name) = (Stack::open().s3, own_name());
        client.create_bucket().bucket(&name).send().await.unwrap();
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = client.put_bucket_versioning().bucket(&name).versioning_configuration(enabled);
        request.send().await.unwrap();
        Self { client, name }
    }
}

impl UploadsSetup for OwnBucket {
    async fn add_version(&self, key: &str, content_type: Option<&str>, bytes: Bytes) -> ObjectVersion {
        let request = self.client.put_object().bucket(&self.name).key(key).body(bytes.into());
        let stored = request.set_content_type(content_type.map(str::to_owned)).send().await.unwrap();
        let version_id = stored.version_id.unwrap();
        ObjectVersion { bucket: self.name.clone(), key: key.to_owned(), version_id }
    }

    async fn add_version_with_metadata(&self, key: &str, owner: &str, name: &str) -> ObjectVersion {
        let request = self.client.put_object().bucket(&self.name).key(key).body(Bytes::from("Text.").into());
        let stored = request.metadata(OWNER, owner).metadata(NAME, name).send().await.unwrap();
        let version_id = stored.version_id.unwrap();
        ObjectVersion { bucket: self.name.clone(), key: key.to_owned(), version_id }
    }

    async fn add_delete_marker(&self, object: &ObjectVersion) {
        self.client.delete_object().bucket(&self.name).key(&object.key).send().await.unwrap();
    }

    async fn remove_version(&self, object: &ObjectVersion) {
        let request = self.client.delete_object().bucket(&self.name).key(&object.key);
        request.version_id(&object.version_id).send().await.unwrap();
    }
}

impl PartsSetup for OwnBucket {
    async fn send_part(&self, key: &str, multipart_id: &str, part_number: u32, bytes: Bytes) {
        let request = self.client.upload_part().bucket(&self.name).key(key).upload_id(multipart_id);
        let request = request.part_number(part_number.try_into().unwrap()).body(bytes.into());
        request.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap();
    }
}

impl ObjectsSetup for OwnBucket {
    async fn put(&self, key: &str, bytes: Bytes) {
        self.client.put_object().bucket(&self.name).key(key).body(bytes.into()).send().await.unwrap();
    }
}

/// A queue with the attributes of the queue of admit-document.
struct OwnQueue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl OwnQueue {
    async fn create() -> Self {
        let Stack { sqs: client, is, .. } = Stack::open();
        let alike = [QueueAttributeName::FifoQueue, QueueAttributeName::ContentBasedDeduplication];
        let request = client.get_queue_attributes().queue_url(&is.queue_urls.admit_document);
        let attributes = request.set_attribute_names(Some(alike.to_vec())).send().await.unwrap().attributes;
        let name = format!("{}.fifo", own_name());
        let created = client.create_queue().queue_name(name).set_attributes(attributes).send().await.unwrap();
        Self { client, url: created.queue_url.unwrap() }
    }
}

impl OrdersSetup for OwnQueue {
    async fn take_orders(&self) -> Vec<Input> {
        let mut orders = Vec::new();
        loop {
            let request = self.client.receive_message().queue_url(&self.url).max_number_of_messages(10);
            let messages = request.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return orders;
            }
            for message in messages {
                orders.push(message::parse(&message.body.unwrap()).unwrap());
                let request = self.client.delete_message().queue_url(&self.url);
                request.set_receipt_handle(message.receipt_handle).send().await.unwrap();
            }
        }
    }
}

/// A state machine with these states, which begins in `Only`.
pub(crate) struct OwnMachine {
    pub(crate) client: aws_sdk_sfn::Client,
    pub(crate) arn: String,
}

impl OwnMachine {
    pub(crate) async fn create(states: &Value) -> Self {
        let Stack { sfn: client, is, .. } = Stack::open();
        let definition = json!({ "StartAt": "Only", "States": states });
        let like = client.describe_state_machine().state_machine_arn(&is.state_machine_arn);
        let role = like.send().await.unwrap().role_arn;
        let request = client.create_state_machine().name(own_name()).role_arn(role);
        let created = request.definition(definition.to_string()).send().await.unwrap();
        Self { client, arn: created.state_machine_arn }
    }

    /// Runs an execution with this input to its end.
    pub(crate) async fn run(&self, input: &str) -> DescribeExecutionOutput {
        let request = self.client.start_execution().state_machine_arn(&self.arn).input(input);
        let arn = request.send().await.unwrap().execution_arn;
        eventually("the execution's end", SOON, async || {
            let found = self.client.describe_execution().execution_arn(&arn).send().await.unwrap();
            if found.status == ExecutionStatus::Running { Err("it runs") } else { Ok(found) }
        })
        .await
    }
}

impl ExecutionsSetup for OwnMachine {
    async fn executions_of(&self, document: &DocumentRef) -> usize {
        let request = self.client.list_executions().state_machine_arn(&self.arn);
        let executions = request.send().await.unwrap().executions;
        let id = document.document_id.to_string();
        executions.iter().filter(|execution| execution.name.starts_with(&id)).count()
    }
}

impl ErasuresSetup for OwnMachine {
    async fn erasures_of(&self, id: &SubmissionId) -> usize {
        let request = self.client.list_executions().state_machine_arn(&self.arn);
        let executions = request.send().await.unwrap().executions;
        executions.iter().filter(|execution| execution.name == id.as_str()).count()
    }
}

/// A state machine whose state waits for the answer of an activity's worker, which is the test.
pub(crate) struct Activity {
    pub(crate) machine: OwnMachine,
    arn: String,
    /// The execution of each token.
    executions: Mutex<HashMap<String, String>>,
}

impl Activity {
    pub(crate) async fn create() -> Self {
        let created = Stack::open().sfn.create_activity().name(own_name()).send().await.unwrap();
        let arn = created.activity_arn;
        let catch = [json!({ "ErrorEquals": ["States.ALL"], "Next": "Caught" })];
        let states = json!({
            "Only": { "Type": "Task", "Resource": arn, "End": true, "Catch": catch },
            "Caught": { "Type": "Succeed" },
        });
        let machine = OwnMachine::create(&states).await;
        Self { machine, arn, executions: Mutex::default() }
    }
}

impl TasksSetup for Activity {
    async fn begin(&self) -> TaskToken {
        let OwnMachine { client, arn } = &self.machine;
        let started = client.start_execution().state_machine_arn(arn).send().await.unwrap();
        let task = client.get_activity_task().activity_arn(&self.arn).send().await.unwrap();
        let token = task.task_token.unwrap();
        self.executions.lock().unwrap().insert(token.clone(), started.execution_arn);
        TaskToken::new(token)
    }

    async fn outcome(&self, token: &TaskToken) -> TaskOutcome {
        let arn = self.executions.lock().unwrap()[token.expose()].clone();
        let ended = eventually("the execution's end", SOON, async || {
            let request = self.machine.client.describe_execution().execution_arn(&arn);
            let found = request.send().await.unwrap();
            found.output.ok_or("it runs")
        });
        let output: Value = serde_json::from_str(&ended.await).unwrap();
        match (output["Error"].as_str(), output["Cause"].as_str()) {
            (Some(error), Some(cause)) => Err((error.to_owned(), serde_json::from_str(cause).unwrap())),
            _ => Ok(output),
        }
    }
}

pub(crate) fn own_name() -> String {
    format!("port-contract-{}", Uuid::new_v4().simple())
}
