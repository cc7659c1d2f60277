//! The function `route-events`: the step `lectern::steps::route_events`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lectern_aws::functions::route_events().await
}
