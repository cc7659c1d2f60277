//! Wiring of `receive-upload`: SQS, fed by S3 events, to [`lectern::steps::receive_upload`].

use lectern::steps::receive_upload::{Message, handle};
use lectern_aws::{
    Clients, Config, DynamoDbStore, ReturnedBucket, SourceQueue, StateMachine, SystemClock, UploadsBucket,
    clock::SystemRandom,
    lambda::{self, Received},
    logging,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env();
    logging::init(config)?;
    let clients = Clients::load(config).await;
    let uploads = UploadsBucket::new(clients.s3());
    let large_records = ReturnedBucket::new(clients.s3(), config.returned_bucket()?);
    let store = DynamoDbStore::new(clients.dynamodb(), config.table_name()?, large_records);
    let executions = StateMachine::new(clients.sfn(), config.state_machine_arn()?);
    let max_upload_bytes = config.max_upload_bytes()?;
    let queue = SourceQueue::new(clients.sqs(), config.queue_url()?);
    lambda::run_sqs(config, queue, async |received: Received| {
        let message = Message { body: &received.body, xray_header: received.xray_header.as_deref() };
        handle(&uploads, &store, &executions, &SystemClock, &SystemRandom, max_upload_bytes, message).await
    })
    .await
}
