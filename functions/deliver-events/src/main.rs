//! The function `deliver-events`: the step `lectern::steps::deliver_events`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::deliver_events().await
}
