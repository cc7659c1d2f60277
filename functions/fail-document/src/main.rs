//! Wiring of `fail-document`: the state machine's common Catch to [`lectern::steps::fail_document`].

use lectern::steps::fail_document::{Input, handle};
use lectern_aws::{Clients, Config, DynamoDbStore, ReturnedBucket, SystemClock, lambda, logging};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env();
    logging::init(config)?;
    let clients = Clients::load(config).await;
    let large_records = ReturnedBucket::new(clients.s3(), config.returned_bucket()?);
    let store = DynamoDbStore::new(clients.dynamodb(), config.table_name()?, large_records);
    lambda::run_task(config, async |input: Input| handle(&store, &SystemClock, input).await).await
}
