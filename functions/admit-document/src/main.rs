//! Wiring of `admit-document`: batches of orders from its FIFO queue to [`lectern::steps::admit_document`].

use lectern::steps::admit_document::{Batch, Input, handle};
use lectern_aws::{
    Clients, Config, DynamoDbStore, ReturnedBucket, SourceQueue, SystemClock, lambda, logging,
    sfn::TaskTokens,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env();
    logging::init(config)?;
    let clients = Clients::load(config).await;
    let large_records = ReturnedBucket::new(clients.s3(), config.returned_bucket()?);
    let store = DynamoDbStore::new(clients.dynamodb(), config.table_name()?, large_records);
    let tasks = TaskTokens::new(clients.sfn());
    let limits = config.third_party_limits()?;
    let queue = SourceQueue::new(clients.sqs(), config.queue_url()?);
    lambda::run_batches(config, queue, async |inputs: Vec<Input>, again| {
        handle(&store, &tasks, &SystemClock, &limits, Batch { inputs, again }).await
    })
    .await
}
