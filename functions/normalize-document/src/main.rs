//! Wiring of `normalize-document`: SQS messages with a task token to [`lectern::steps::normalize_document`].

use lectern::steps::normalize_document::{Input, handle};
use lectern_aws::{
    Clients, Config, DynamoDbStore, ReturnedBucket, SourceQueue, SystemClock, lambda, logging,
    sfn::TaskTokens,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env();
    logging::init(config)?;
    let clients = Clients::load(config).await;
    let files = ReturnedBucket::new(clients.s3(), config.returned_bucket()?);
    let store = DynamoDbStore::new(clients.dynamodb(), config.table_name()?, files.clone());
    let tasks = TaskTokens::new(clients.sfn());
    let provider = config.third_party_name()?;
    let queue = SourceQueue::new(clients.sqs(), config.queue_url()?);
    lambda::run_messages(config, queue, async |input: Input| {
        handle(&store, &files, &tasks, &SystemClock, &provider, input).await
    })
    .await
}
