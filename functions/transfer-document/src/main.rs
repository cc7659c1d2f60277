//! The function `transfer-document`: the step `lectern::steps::transfer_document`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::transfer_document().await
}
