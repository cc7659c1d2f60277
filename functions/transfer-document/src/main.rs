//! Wiring of `transfer-document`: SQS messages with a task token to [`lectern::steps::transfer_document`].

use lectern::steps::transfer_document::{Input, handle};
use lectern_aws::{
    CachedSecret, Clients, Config, DynamoDbStore, HttpThirdParty, ReturnedBucket, SourceQueue, SystemClock,
    UploadsBucket, lambda, logging, sfn::TaskTokens,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env();
    logging::init(config)?;
    let clients = Clients::load(config).await;
    let uploads = UploadsBucket::new(clients.s3());
    let large_records = ReturnedBucket::new(clients.s3(), config.returned_bucket()?);
    let store = DynamoDbStore::new(clients.dynamodb(), config.table_name()?, large_records);
    let api_key = CachedSecret::new(clients.secrets_manager(), config.api_key_secret_arn()?);
    let third_party = HttpThirdParty::new(config.third_party_url()?, api_key, config.request_timeout()?)?;
    let tasks = TaskTokens::new(clients.sfn());
    let settings = config.transfer_settings()?;
    let queue = SourceQueue::new(clients.sqs(), config.queue_url()?);
    lambda::run_messages(config, queue, async |input: Input| {
        handle(&store, &uploads, &third_party, &tasks, &SystemClock, &settings, input).await
    })
    .await
}
