//! Many documents at once, good and bad; none is lost.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_sfn::types::ExecutionStatus;
use lectern::{
    document::{Document, DocumentState},
    ports::Clock as _,
};
use lectern_aws::SystemClock;
use serde_json::json;
use third_party::{
    CallbackDefect, Contradiction, Fault, FileFault, JobFault, ReportedStatus, RetryAfter, SubmissionFault,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    alarms::{cloudwatch, now_ms},
    case::{Case, Upload},
    content::{sample, text, text_of, video},
    stack::Stack,
    wait::{SOON, eventually},
};

/// `MaxRounds` in template.yaml.
const MAX_ROUNDS: usize = 2;

fn refusal() -> Fault {
    SubmissionFault::Rejected { code: "encrypted".to_owned(), message: "No.".to_owned() }.into()
}

#[tokio::test]
async fn case_45_thirty_documents_of_one_submission_are_counted_exactly() {
    let case = Case::begin();
    for index in 0..30 {
        let name = format!("{index}.txt");
        match index % 6 {
            4 => drop(case.upload(&name, []).await),
            5 => drop(case.upload_with_lasting(&name, text(), refusal()).await),
            _ => drop(case.upload(&name, text()).await),
        }
    }
    let (submission, _) = case.settled(30).await;
    let counts = submission.counts;
    assert_eq!((counts.ready, counts.rejected, counts.failed, counts.open), (20, 5, 5, 0));
    assert_eq!(submission.state.as_str(), "NeedsAttention");
}

/// The registrations add to the counts of one submission, so their transactions conflict. A transaction that conflicts in
/// each attempt leaves its message on the queue, where it becomes visible again after 24 s. That is rare.
#[tokio::test]
async fn a02_thirty_files_that_are_uploaded_at_once_are_registered_soon_although_their_transactions_conflict()
{
    const FILES: usize = 30;
    const REGISTERED_SOON: Duration = Duration::from_secs(20);
    let case = Case::begin();
    let conflicts = case.stack.transaction_conflicts().await;
    let mut uploads = JoinSet::new();
    for index in 0..FILES {
        let case = Case::begin_as(case.submission.as_str());
        uploads.spawn(async move { case.upload(&format!("{index}.txt"), text()).await });
    }
    let uploads = uploads.join_all().await;
    let uploaded = SystemClock.now();
    case.settled(FILES).await;
    let mut late = Vec::new();
    for upload in &uploads {
        let document = case.stack.ready(upload).await;
        let received =
            OffsetDateTime::parse(&document.times[DocumentState::Received.as_str()], &Rfc3339).unwrap();
        late.extend((received - uploaded >= REGISTERED_SOON).then_some(received - uploaded));
    }
    assert!(late.len() <= FILES / 10, "registered late: {late:?}");
    assert!(case.stack.transaction_conflicts().await > conflicts, "no transactions conflicted");
}

/// The faults of one document in the mixed run, and the final state that it must reach.
type Way = (Vec<Fault>, Vec<Fault>, DocumentState);

/// All combinations of the mixed run: faults that apply once, faults that last, and the final state.
fn ways() -> Vec<Way> {
    let once = |fault: Fault| (vec![fault], Vec::new(), DocumentState::Ready);
    let fails = |fault: Fault| (Vec::new(), vec![fault], DocumentState::Failed);
    let good = || (Vec::new(), Vec::new(), DocumentState::Ready);
    vec![
        good(),
        good(),
        good(),
        good(),
        once(SubmissionFault::RateLimited { retry_after: Some(RetryAfter::Seconds(20)) }.into()),
        once(SubmissionFault::NoRoom { retry_in: 20 }.into()),
        once(SubmissionFault::ServerError { status: 503 }.into()),
        once(SubmissionFault::Unauthorized { status: 401 }.into()),
        once(SubmissionFault::LoseAnswer.into()),
        once(SubmissionFault::ResetUpload { after_bytes: 10 }.into()),
        once(JobFault::EarlyCallback.into()),
        once(JobFault::DoubleCallback { same_id: false }.into()),
        once(JobFault::NoCallback { status: ReportedStatus::Succeeded }.into()),
        once(JobFault::NoCallback { status: ReportedStatus::Unknown }.into()),
        once(JobFault::LateCallback { delay_ms: 10_000, status: ReportedStatus::Working }.into()),
        once(JobFault::ContradictoryCallback { order: Contradiction::SucceededThenFailed }.into()),
        once(JobFault::DefectiveCallback { defect: CallbackDefect::BadSignature, then_proper: true }.into()),
        once(FileFault::FileAltered.into()),
        once(FileFault::FileTruncated { keep_bytes: Some(1) }.into()),
        once(FileFault::FileUnavailable { status: 500 }.into()),
        fails(refusal()),
        fails(JobFault::JobFails { code: "unreadable".to_owned(), message: "No.".to_owned() }.into()),
        fails(FileFault::FileOversized { factor: 10 }.into()),
        fails(FileFault::DeclaredSha256 { sha256: None }.into()),
        fails(FileFault::FileName { name: "../../x".to_owned() }.into()),
        fails(FileFault::FileUrl { url: "http://169.254.169.254/".to_owned() }.into()),
    ]
}

/// A small random number generator: the same seed repeats a run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }
}

#[tokio::test]
async fn nothing_is_lost_in_a_mixed_run_of_sixty_documents() {
    const DOCUMENTS: usize = 60;
    let case = Case::begin();
    #[expect(clippy::disallowed_methods, reason = "the test's own setting, not the product's")]
    let seed = std::env::var("LECTERN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    println!("seed of the mixed run: LECTERN_SEED={seed}");
    let mut dice = Dice::new(seed);
    let ways = ways();
    let mut expected = BTreeMap::new();
    let mut uploads: Vec<Upload> = Vec::new();
    for index in 0..DOCUMENTS {
        // Each combination at least once, then random ones.
        let which = if index < ways.len() { index } else { dice.roll(ways.len() + 4) };
        let upload = match ways.get(which) {
            None if which == ways.len() => {
                case.upload(&format!("{index}.pdf"), sample("bad/empty.pdf")).await
            }
            None => case.upload(&format!("{index}.pdf"), sample("bad/renamed.pdf")).await,
            Some((once, lasting, _)) => {
                let bytes = match dice.roll(4) {
                    0 => video(),
                    1 => text_of(50_000),
                    _ => text(),
                };
                let name = if bytes.starts_with(b"Lesson") {
                    format!("{index}.txt")
                } else {
                    format!("{index}.mp4")
                };
                for fault in lasting {
                    case.stack.add_fault(&crate::third_party_admin::for_content(&bytes, fault.clone())).await;
                }
                case.upload_with(&name, bytes, once.clone()).await
            }
        };
        expected.insert(upload.id(), ways.get(which).map_or(DocumentState::Rejected, |way| way.2));
        if dice.roll(3) == 0 {
            case.stack.send_event_again(&upload).await;
        }
        uploads.push(upload);
    }
    let (submission, documents) = case.settled(DOCUMENTS).await;
    let ends: BTreeMap<_, _> =
        documents.iter().map(|document| (document.reference.document_id, document.state)).collect();
    assert_eq!(ends, expected, "every upload is exactly one document in its expected final state");
    let count =
        |state| documents.iter().filter(|document: &&Document| document.state == state).count() as u64;
    let counted = (submission.counts.ready, submission.counts.rejected, submission.counts.failed);
    let counts = (count(DocumentState::Ready), count(DocumentState::Rejected), count(DocumentState::Failed));
    assert_eq!(counted, counts);
    for upload in uploads {
        agrees(&case, &upload, expected[&upload.id()]).await;
    }
}

impl Stack {
    /// The number of writes to the table that `DynamoDB` has refused because of another transaction.
    async fn transaction_conflicts(&self) -> u64 {
        let now_s = i64::try_from(now_ms() / 1000).unwrap();
        let request = json!({
            "Namespace": "AWS/DynamoDB", "MetricName": "TransactionConflict", "Statistics": ["Sum"],
            "Dimensions": [{ "Name": "TableName", "Value": self.is.table }],
            "StartTime": now_s - 86_400, "EndTime": now_s + 60, "Period": 86_400,
        });
        let found = cloudwatch(self, "GetMetricStatistics", &request).await;
        let sums = found["Datapoints"].as_array().unwrap().iter().filter_map(|point| point["Sum"].as_f64());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let sum = sums.sum::<f64>() as u64;
        sum
    }
}

/// Checks that the document's execution and jobs agree with its final state.
async fn agrees(case: &Case, upload: &Upload, state: DocumentState) {
    // If the file itself is the cause of a failure, the execution succeeds.
    let ends = [
        (DocumentState::Ready, ExecutionStatus::Succeeded),
        (DocumentState::Failed, ExecutionStatus::Succeeded),
        (DocumentState::Failed, ExecutionStatus::Failed),
    ];
    let ends = ends.into_iter().filter(|(of, _)| *of == state).map(|(_, status)| Some(status));
    let wanted: Vec<_> = if state == DocumentState::Rejected { vec![None] } else { ends.collect() };
    eventually("the execution agrees with the document", SOON, async || {
        let found = case.stack.execution_status(upload).await.map(|(status, _)| status);
        if wanted.contains(&found) {
            Ok(())
        } else {
            Err(format!("{} is {state}, its execution {found:?}", upload.id()))
        }
    })
    .await;
    let jobs = case.stack.jobs(upload.id()).await;
    assert!(jobs.len() <= MAX_ROUNDS, "{jobs:?}");
    let mut keys: Vec<_> = jobs.iter().map(|job| &job.idempotency_key).collect();
    keys.dedup();
    assert_eq!(keys.len(), jobs.len(), "each round has one job: {jobs:?}");
    assert!(state != DocumentState::Ready || !jobs.is_empty());
    assert!(state != DocumentState::Rejected || jobs.is_empty());
}
