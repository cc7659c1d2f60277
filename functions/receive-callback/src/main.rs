//! The function `receive-callback`: the step `lectern::steps::receive_callback`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::receive_callback().await
}
