//! The function `erase-submission`: the step `lectern::steps::erase_submission`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::erase_submission().await
}
