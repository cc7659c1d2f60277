//! Deployments while documents are under way (A07).

use aws_sdk_sfn::types::{ExecutionStatus, RoutingConfigurationListItem};
use lectern::document::DocumentState;
use reqwest::Method;
use serde_json::{Value, json};
use third_party::{JobFault, ReportedStatus};
use uuid::Uuid;

use crate::{
    alone::then,
    aws_json,
    case::Case,
    content::text,
    stack::Stack,
    wait::{SOON, eventually},
};

/// A definition with none of the states of the one before.
const REPLACEMENT: &str =
    r#"{ "StartAt": "Replacement", "States": { "Replacement": { "Type": "Pass", "End": true } } }"#;

/// One document waits for its callback, another for a permit. The first one is probed after its callback's time, so it goes
/// through most of the definition after the deployment.
#[tokio::test]
async fn a07_executions_that_wait_keep_their_definition_and_use_the_new_functions() {
    let stack = Stack::open();
    let described = stack.sfn.describe_state_machine().state_machine_arn(&stack.is.state_machine_arn);
    let before = described.send().await.unwrap().definition;
    let body = async {
        let case = Case::begin();
        let silent = JobFault::NoCallback { status: ReportedStatus::Succeeded };
        let called = case.upload_with_lasting("called.txt", text(), silent).await;
        eventually("the document waits for its callback", SOON, async || {
            let state = case.stack.load(&called).await.map(|document| document.state);
            if state == Some(DocumentState::Processing) { Ok(()) } else { Err(format!("{state:?}")) }
        })
        .await;
        case.stack.feed_admission(false).await;
        let queued = case.upload("queued.txt", text()).await;
        eventually("the document waits for a permit", SOON, async || {
            case.stack.execution_status(&queued).await.ok_or("it has no execution")?;
            let entered = case.stack.states_entered(&queued).await;
            if entered.iter().any(|state| state == "AwaitPermit") { Ok(()) } else { Err("not yet") }
        })
        .await;

        case.stack.deploy_definition(REPLACEMENT).await;
        for function in ["AdmitDocument", "ProbeJob", "VerifyReturnedFile", "NormalizeDocument"] {
            let function = case.stack.function(&format!("{function}Function")).await;
            case.stack.set_variable(&function, "DEPLOYED", &Uuid::new_v4().to_string()).await;
        }
        assert_eq!(
            case.stack.new_execution().await,
            ExecutionStatus::Succeeded,
            "it has no states to fail in"
        );

        case.stack.feed_admission(true).await;
        for upload in [&called, &queued] {
            case.stack.ready(upload).await;
            let entered = case.stack.states_entered(upload).await;
            assert!(entered.iter().any(|state| state == "NormalizeDocument"), "{entered:?}");
            assert!(!entered.iter().any(|state| state == "Replacement"), "{entered:?}");
        }
    };
    let put_back = async {
        stack.deploy_definition(&before).await;
        stack.feed_admission(true).await;
        let upload = Case::begin();
        let after = upload.upload("after.txt", text()).await;
        upload.stack.ready(&after).await;
    };
    then(body, put_back).await;
}

impl Stack {
    /// Publishes a version of the state machine with this definition and moves the alias to it, as a deployment does.
    async fn deploy_definition(&self, definition: &str) {
        let arn = &self.is.state_machine_arn;
        let update = self.sfn.update_state_machine().state_machine_arn(arn).definition(definition);
        let version = update.publish(true).send().await.unwrap().state_machine_version_arn;
        let route = RoutingConfigurationListItem::builder()
            .state_machine_version_arn(version.expect("a published version"))
            .weight(100)
            .build()
            .unwrap();
        let alias = self.sfn.update_state_machine_alias().state_machine_alias_arn(format!("{arn}:live"));
        alias.routing_configuration(route).send().await.unwrap();
    }

    /// Starts an execution by the alias and waits for its end.
    async fn new_execution(&self) -> ExecutionStatus {
        let alias = format!("{}:live", self.is.state_machine_arn);
        let started = self.sfn.start_execution().state_machine_arn(alias).input("{}").send().await.unwrap();
        eventually("the execution ends", SOON, async || {
            let described = self.sfn.describe_execution().execution_arn(&started.execution_arn);
            let status = described.send().await.map_err(|error| error.to_string())?.status;
            if status == ExecutionStatus::Running { Err("it runs".to_owned()) } else { Ok(status) }
        })
        .await
    }

    /// Lets the queue of admit-document invoke its function, or holds it back.
    async fn feed_admission(&self, enabled: bool) {
        let sources = "/2015-03-31/event-source-mappings/";
        let listed = aws_json::lambda(self, &Method::GET, sources, &Value::Null).await;
        let mut mappings = listed["EventSourceMappings"].as_array().unwrap().iter();
        let is_admission = |mapping: &&Value| {
            let arn = mapping["EventSourceArn"].as_str().unwrap_or_default();
            arn.contains("AdmitDocumentQueue")
        };
        let uuid = mappings.find(is_admission).expect("the mapping")["UUID"].as_str().unwrap();
        aws_json::lambda(self, &Method::PUT, &format!("{sources}{uuid}"), &json!({ "Enabled": enabled }))
            .await;
    }
}
