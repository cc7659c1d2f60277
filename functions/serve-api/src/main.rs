//! The function `serve-api`: the API and the pages with the AWS ports, behind `lambda_http`.

mod aws;
#[cfg(test)]
mod openapi;
mod pages;
mod routes;

use std::sync::Arc;

use lectern_aws::Environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let env = Environment::load()?;
    let pages = aws::pages(&env).await?;
    let app = routes::App { backend: aws::Aws::new(&env)?, groups_claim: env.groups_claim()? };
    let router = routes::router(Arc::new(app)).merge(pages::router(Arc::new(pages)));
    lambda_http::run(routes::with_spans(router, env.function_name()?)).await
}
