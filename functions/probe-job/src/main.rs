//! Wiring of `probe-job`: the state machine's question to [`lectern::steps::probe_job`].

use lectern::steps::probe_job::{Input, handle};
use lectern_aws::{
    CachedSecret, Clients, Config, DynamoDbStore, HttpThirdParty, ReturnedBucket, SystemClock, lambda,
    logging,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env();
    logging::init(config)?;
    let clients = Clients::load(config).await;
    let large_records = ReturnedBucket::new(clients.s3(), config.returned_bucket()?);
    let store = DynamoDbStore::new(clients.dynamodb(), config.table_name()?, large_records);
    let api_key = CachedSecret::new(clients.secrets_manager(), config.api_key_secret_arn()?);
    let third_party = HttpThirdParty::new(config.third_party_url()?, api_key, config.request_timeout()?)?;
    lambda::run_task(config, async |input: Input| handle(&store, &third_party, &SystemClock, input).await)
        .await
}
