//! The function `receive-upload`: the step `lectern::steps::receive_upload`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::receive_upload().await
}
