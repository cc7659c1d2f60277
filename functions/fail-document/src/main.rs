//! The function `fail-document`: the step `lectern::steps::fail_document`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::fail_document().await
}
