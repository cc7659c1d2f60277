//! The function `serve-api`: the routes with the AWS ports, behind `lambda_http`.

mod routes;

use std::sync::Arc;

use lectern_aws::Environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let env = Environment::load()?;
    let router = routes::router(Arc::new(env.store()?), Arc::new(env.returned_files()?));
    lambda_http::run(routes::with_spans(router, env.function_name()?)).await
}
