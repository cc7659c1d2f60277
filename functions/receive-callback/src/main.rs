//! Wiring of `receive-callback`: the HTTP API's webhook route to [`lectern::steps::receive_callback`].

use lectern::steps::receive_callback::{WebhookRequest, handle};
use lectern_aws::{
    AdmissionQueue, CachedSecret, Clients, Config, DynamoDbStore, HttpThirdParty, ReturnedBucket,
    SigningSecretsSource, SystemClock,
    lambda::{self, HttpRequest},
    logging,
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
    let leases = AdmissionQueue::new(clients.sqs(), config.admit_document_queue_url()?);
    let signing = CachedSecret::new(clients.secrets_manager(), config.signing_secret_arn()?);
    let secrets = SigningSecretsSource::new(signing);
    lambda::run_webhook(config, async |request: HttpRequest| {
        let delivery =
            WebhookRequest { callback_id: request.path_id(), headers: &request.headers, body: &request.body };
        handle::<HttpThirdParty>(&store, &tasks, &leases, &secrets, &SystemClock, delivery).await.status()
    })
    .await
}
