//! Wiring of `records-api`: the routes over the real ports, behind `lambda_http`.

mod routes;

use std::sync::Arc;

use lectern_aws::{Clients, Config, DynamoDbStore, ReturnedBucket, logging};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = Config::from_env();
    logging::init(config)?;
    let clients = Clients::load(config).await;
    let returned = ReturnedBucket::new(clients.s3(), config.returned_bucket()?);
    let store = DynamoDbStore::new(clients.dynamodb(), config.table_name()?, returned.clone());
    let router = routes::router(Arc::new(store), Arc::new(returned));
    lambda_http::run(routes::with_spans(router, config.function_name()?)).await
}
