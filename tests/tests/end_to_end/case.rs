//! One test's submission: its uploads, and waiting for their final states.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sfn::{operation::describe_execution::DescribeExecutionError, types::ExecutionStatus};
use lectern::{
    document::submission::Submission,
    document::{Document, DocumentId, DocumentRef, DocumentState, SubmissionId},
    ports::{Browse as _, Load as _},
};
use third_party::{Fault, FaultRule, JobView, RetryAfter, SubmissionFault};
use uuid::Uuid;

use crate::{
    stack::Stack,
    third_party_admin::for_content,
    wait::{LATER, SOON, eventually},
};

/// `SFN_WAIT_SCALE` shortens this wait. The rest is long enough for a request, and short enough for the other tests,
/// whose documents have to wait as well.
const HELD_S: u64 = 20;

/// The submission of one test.
pub(crate) struct Case {
    pub(crate) stack: Stack,
    pub(crate) submission: SubmissionId,
}

/// One version of one object that a test uploaded.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) document: DocumentRef,
    pub(crate) key: String,
    pub(crate) version: String,
}

impl Upload {
    pub(crate) fn id(&self) -> DocumentId {
        self.document.document_id
    }
}

impl Case {
    pub(crate) fn begin() -> Self {
        Self::begin_as(&format!("e2e-{}", Uuid::new_v4().simple()))
    }

    /// Begins with a given submission id.
    pub(crate) fn begin_as(submission: &str) -> Self {
        Self { stack: Stack::open(), submission: submission.parse().unwrap() }
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("submissions/{}/{name}", self.submission)
    }

    /// Uploads a file of this submission; S3 notifies the workflow.
    pub(crate) async fn upload(&self, name: &str, bytes: impl Into<Vec<u8>>) -> Upload {
        self.upload_as(name, bytes, None).await
    }

    /// Uploads a file of this submission with a declared media type.
    pub(crate) async fn upload_as(
        &self,
        name: &str,
        bytes: impl Into<Vec<u8>>,
        media_type: Option<&str>,
    ) -> Upload {
        let key = self.key(name);
        let version = self.stack.put(&key, bytes.into(), media_type).await;
        let document_id = DocumentId::of(&self.stack.is.uploads_bucket, key.as_bytes(), &version);
        let document = DocumentRef { submission_id: self.submission.clone(), document_id };
        Upload { document, key, version }
    }

    /// Uploads content that meets each of these faults once. Submission faults apply in this order.
    pub(crate) async fn upload_with(
        &self,
        name: &str,
        bytes: Vec<u8>,
        once: impl IntoIterator<Item = Fault>,
    ) -> Upload {
        for fault in once {
            self.stack.add_fault(&for_content(&bytes, fault).times(1)).await;
        }
        self.upload(name, bytes).await
    }

    /// Uploads content with a rule that needs the document's id, which is known only after the upload. A 429 delays the
    /// first transfer until the rule is in place.
    pub(crate) async fn upload_held(
        &self,
        name: &str,
        bytes: Vec<u8>,
        rule: impl FnOnce(String) -> FaultRule,
    ) -> Upload {
        let retry_after = Some(RetryAfter::Seconds(HELD_S));
        let upload =
            self.upload_with(name, bytes, [SubmissionFault::RateLimited { retry_after }.into()]).await;
        self.stack.add_fault(&rule(upload.id().to_string())).await;
        upload
    }

    /// Uploads content that always meets this fault.
    pub(crate) async fn upload_with_lasting(
        &self,
        name: &str,
        bytes: Vec<u8>,
        fault: impl Into<Fault>,
    ) -> Upload {
        self.stack.add_fault(&for_content(&bytes, fault)).await;
        self.upload(name, bytes).await
    }

    /// Waits until all documents of the submission have reached a final state and are counted.
    pub(crate) async fn settled(&self, documents: usize) -> (Submission, Vec<Document>) {
        eventually(&format!("submission {} settles", self.submission), LATER, async || {
            let found =
                self.stack.store.submission(&self.submission).await.map_err(|error| error.to_string())?;
            let (submission, all) = found.ok_or("no such submission")?;
            let ended = all.iter().filter(|document| document.state.is_terminal()).count();
            if ended == documents && all.len() == documents && submission.counts.open == 0 {
                Ok((submission, all))
            } else {
                Err(format!("{ended} of {} ended, {documents} expected: {:?}", all.len(), submission.counts))
            }
        })
        .await
    }
}

impl Stack {
    /// Puts an object and returns its version.
    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>, media_type: Option<&str>) -> String {
        let request = self.s3.put_object().bucket(&self.is.uploads_bucket).key(key);
        let request = request.set_content_type(media_type.map(str::to_owned)).body(ByteStream::from(bytes));
        let answer = request.send().await.unwrap();
        answer.version_id.expect("the bucket is versioned")
    }

    pub(crate) async fn load(&self, upload: &Upload) -> Option<Document> {
        self.store.load(&upload.document).await.unwrap()
    }

    /// Waits until `is` holds for the document.
    pub(crate) async fn until(
        &self,
        upload: &Upload,
        what: &str,
        is: impl Fn(&Document) -> bool,
    ) -> Document {
        eventually(&format!("document {} {what}", upload.id()), LATER, async || {
            match self.store.load(&upload.document).await {
                Ok(Some(document)) if is(&document) => Ok(document),
                Ok(Some(document)) => Err(format!("{} {:?}", document.state, document.reason)),
                Ok(None) => Err("it is not registered".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// Waits until the document has reached any final state.
    pub(crate) async fn ended(&self, upload: &Upload) -> Document {
        self.until(upload, "reaches a final state", |document| document.state.is_terminal()).await
    }

    /// Waits until the document is `Ready` and its execution has succeeded.
    pub(crate) async fn ready(&self, upload: &Upload) -> Document {
        let document = self.ended(upload).await;
        assert_eq!(document.state, DocumentState::Ready, "{:?} {}", document.reason, upload.id());
        self.execution_ends(upload, &ExecutionStatus::Succeeded).await;
        document
    }

    /// Waits until the document has failed for this reason, and returns the error that ended its execution.
    pub(crate) async fn failed(&self, upload: &Upload, reason: &str) -> String {
        self.failed_with(upload, reason, &ExecutionStatus::Failed).await
    }

    /// Waits until the document has failed for this reason, which is the file itself, so its execution succeeds.
    pub(crate) async fn not_accepted(&self, upload: &Upload, reason: &str) {
        assert_eq!(self.failed_with(upload, reason, &ExecutionStatus::Succeeded).await, "");
    }

    async fn failed_with(&self, upload: &Upload, reason: &str, status: &ExecutionStatus) -> String {
        let document = self.ended(upload).await;
        let seen = document.reason.map(|reason| reason.code);
        assert_eq!(
            (document.state, seen.as_deref()),
            (DocumentState::Failed, Some(reason)),
            "{}",
            upload.id()
        );
        self.execution_ends(upload, status).await
    }

    /// Waits until the upload is rejected for this reason, and checks that no execution was started.
    pub(crate) async fn rejected(&self, upload: &Upload, reason: &str) -> Document {
        let document = self.ended(upload).await;
        let seen = document.reason.as_ref().map(|reason| reason.code.as_str());
        assert_eq!((document.state, seen), (DocumentState::Rejected, Some(reason)), "{}", upload.id());
        assert_eq!(self.execution_status(upload).await, None, "a rejected upload has an execution");
        document
    }

    /// Waits until the execution has ended with this status, and returns its error, or an empty string.
    pub(crate) async fn execution_ends(&self, upload: &Upload, wanted: &ExecutionStatus) -> String {
        eventually(&format!("execution {} is {wanted}", upload.id()), SOON, async || {
            let (status, error) = self.execution_status(upload).await.ok_or("there is none".to_owned())?;
            if status == *wanted { Ok(error) } else { Err(format!("{status} {error}")) }
        })
        .await
    }

    /// The status and error of the document's execution, if there is one.
    pub(crate) async fn execution_status(&self, upload: &Upload) -> Option<(ExecutionStatus, String)> {
        match self.sfn.describe_execution().execution_arn(self.execution_arn(upload)).send().await {
            Ok(answer) => Some((answer.status, answer.error.unwrap_or_default())),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeExecutionError::is_execution_does_not_exist) =>
            {
                None
            }
            Err(error) => panic!("DescribeExecution: {error:?}"),
        }
    }

    pub(crate) fn execution_arn(&self, upload: &Upload) -> String {
        let executions = self.is.state_machine_arn.replace(":stateMachine:", ":execution:");
        format!("{executions}:{}", upload.id())
    }

    /// The names of the states that the document's execution entered, in order.
    pub(crate) async fn states_entered(&self, upload: &Upload) -> Vec<String> {
        let mut names = Vec::new();
        let mut token = None;
        loop {
            let request = self.sfn.get_execution_history().execution_arn(self.execution_arn(upload));
            let page = request.set_next_token(token).max_results(1000).send().await.unwrap();
            names.extend(
                page.events.into_iter().filter_map(|event| Some(event.state_entered_event_details?.name)),
            );
            token = page.next_token;
            if token.is_none() {
                return names;
            }
        }
    }

    /// Resets the rate limiter after a test in which the third party requested a long pause.
    pub(crate) async fn reset_the_rate_limiter(&self) {
        let key = || AttributeValue::S("ADMISSION".to_owned());
        let update = self.dynamodb.update_item().table_name(&self.is.table).key("pk", key()).key("sk", key());
        let update = update.update_expression("REMOVE rateLimiter ADD revision :one");
        let one = AttributeValue::N("1".to_owned());
        update.expression_attribute_values(":one", one).send().await.unwrap();
    }

    /// The document's only job.
    pub(crate) async fn only_job(&self, upload: &Upload) -> JobView {
        let mut jobs = self.jobs(upload.id()).await;
        assert_eq!(jobs.len(), 1, "one document has one job: {jobs:?}");
        jobs.remove(0)
    }
}
