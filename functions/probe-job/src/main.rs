//! The function `probe-job`: the step `lectern::steps::probe_job`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::probe_job().await
}
