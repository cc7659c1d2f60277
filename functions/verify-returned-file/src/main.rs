//! The function `verify-returned-file`: the step `lectern::steps::verify_returned_file`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::verify_returned_file().await
}
