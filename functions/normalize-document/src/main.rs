//! The function `normalize-document`: the step `lectern::steps::normalize_document`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::normalize_document().await
}
