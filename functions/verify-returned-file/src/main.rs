//! Wiring of `verify-returned-file`: the state machine's order to [`lectern::steps::verify_returned_file`].

use lectern::steps::verify_returned_file::{Input, handle};
use lectern_aws::{
    Clients, Config, DynamoDbStore, ReturnedBucket, http_third_party::ReturnedFileFetcher, lambda, logging,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env();
    logging::init(config)?;
    let clients = Clients::load(config).await;
    let files = ReturnedBucket::new(clients.s3(), config.returned_bucket()?);
    let store = DynamoDbStore::new(clients.dynamodb(), config.table_name()?, files.clone());
    let third_party = ReturnedFileFetcher::new(
        &config.third_party_url()?,
        config.returned_file_hosts()?,
        config.third_party_network()?,
        config.request_timeout()?,
    )?;
    lambda::run_task(config, async |input: Input| handle(&store, &third_party, &files, input).await).await
}
