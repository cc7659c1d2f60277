//! The function `admit-document`: the step `lectern::steps::admit_document`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::admit_document().await
}
