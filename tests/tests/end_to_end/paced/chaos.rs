//! Seeded chaos: functions die, messages come twice and late, the third party goes down, callbacks are lost and
//! doubled, and AWS throttles, fails, is slow and loses answers. Afterwards nothing is lost, nothing was done twice, and
//! no limit was exceeded. The same seed causes the same disturbances in the same order, but the local cloud's threads may
//! run in another order.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use aws_sdk_sqs::types::MessageSystemAttributeName;
use serde_json::json;
use third_party::{Fault, FaultRule, FileFault, JobFault, ReportedStatus, SubmissionFault};
use uuid::Uuid;

use super::load::{
    assert_all_ready, assert_no_lease_is_left, assert_within_limits, documents, documents_of, limit, summary,
};
use crate::{
    case::{Case, Upload},
    content::text_saying,
    crowd::Dice,
    stack::{Stack, setting},
    third_party_admin::for_content,
    wait::{LATER, eventually},
};

/// The functions that the test kills, including `admit-document`, which enforces the limits.
const MORTAL: [&str; 8] = [
    "ReceiveUploadFunction",
    "AdmitDocumentFunction",
    "TransferDocumentFunction",
    "ReceiveCallbackFunction",
    "ProbeJobFunction",
    "VerifyReturnedFileFunction",
    "NormalizeDocumentFunction",
    "FailDocumentFunction",
];
/// How many processes the test kills per ten documents.
const DEATHS_PER_TEN: usize = 2;
/// The share of the functions' requests, and of the state machine's calls, that meet a fault of AWS.
const AWS_FAULTS: f64 = 0.03;
/// The length of the third party's outage.
const OUTAGE: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_millis(700);

#[tokio::test]
async fn chaos_loses_nothing_does_nothing_twice_and_exceeds_no_limit() {
    let seed = setting("LECTERN_SEED", Uuid::new_v4().as_u64_pair().0);
    println!("seed of the chaos: LECTERN_SEED={seed}");
    // Each document's faults have their own random numbers, independent of the other disturbances.
    let (mut dice, mut documents_dice) = (Dice::new(seed), Dice::new(!seed));
    let case = Case::begin_as(&format!("chaos-{seed}-{}", Uuid::new_v4().simple()));
    limit(&case.stack).await;
    case.stack.begin_aws_faults(seed, AWS_FAULTS).await;
    let mut functions = Vec::new();
    for resource in MORTAL {
        functions.push(case.stack.function(resource).await);
    }

    let count = documents();
    let mut uploads: Vec<Upload> = Vec::new();
    let mut deaths = count * DEATHS_PER_TEN / 10;
    let mut killed = 0;
    let (mut down, mut outage) = (None, Vec::new());
    let bound = Instant::now() + 2 * LATER + Duration::from_secs(count as u64);
    loop {
        // Uploads come in waves between the disturbances, the same waves for the same seed.
        for _ in 0..dice.roll(count / 6 + 2).min(count - uploads.len()) {
            let text = text_saying(&format!("Lesson {} of {}.", uploads.len(), case.submission));
            if let Some(fault) = bad_habit(&mut documents_dice) {
                case.stack.add_fault(&for_content(&text, fault).times(1)).await;
            }
            uploads.push(case.upload(&format!("{}.txt", uploads.len()), text).await);
            if documents_dice.roll(5) == 0 {
                case.stack.send_event_again(uploads.last().unwrap()).await;
            }
        }
        disturb(&case.stack, &mut dice).await;
        if deaths > 0 && dice.roll(2) == 0 {
            deaths -= 1;
            killed += case.stack.kill(&functions[dice.roll(functions.len())]);
        }
        if outage.is_empty() && uploads.len() * 3 > count {
            let everything: [Fault; 2] =
                [SubmissionFault::Unreachable.into(), FileFault::FileUnavailable { status: 503 }.into()];
            for fault in everything {
                outage.push(case.stack.add_fault(&FaultRule::for_all(fault)).await);
            }
            down = Some(Instant::now());
        }
        if down.is_some_and(|since| since.elapsed() > OUTAGE) {
            for rule in &outage {
                case.stack.remove_fault(*rule).await;
            }
            down = None;
        }
        let ended = documents_of(&case.stack, &case.submission).await;
        let ended = ended.iter().filter(|document| document.state.is_terminal()).count();
        if deaths == 0 && down.is_none() && uploads.len() == count && ended == count {
            break;
        }
        assert!(Instant::now() < bound, "{ended} of {count} documents have ended");
        // This sleep does not wait for an effect; it is the pause between two disturbances.
        tokio::time::sleep(PAUSE).await;
    }
    println!("{killed} processes of functions were killed.");
    assert!(killed > 0, "nothing died");
    let faults = case.stack.end_aws_faults().await;
    println!("{} requests met a fault of AWS: {faults:?}", faults.values().sum::<u64>());
    for service in ["s3", "dynamodb", "sqs", "states", "arn:aws:states:::sqs:sendMessage"] {
        let met = faults.keys().any(|fault| fault.starts_with(&format!("{service} ")));
        assert!(met, "no request to {service} met a fault");
    }

    assert_all_ready(&case, &uploads).await;
    assert_no_lease_is_left(&case.stack, &uploads).await;
    for upload in &uploads {
        let jobs = case.stack.jobs(upload.id()).await;
        let states: Vec<&str> = jobs.iter().map(|job| job.status.as_str()).collect();
        assert_eq!(states, ["succeeded"], "no job is forgotten, so each document has one: {jobs:?}");
    }
    let usage = case.stack.usage().await;
    println!("{} documents with chaos: {}", uploads.len(), summary(&usage));
    assert_within_limits(&usage);
    assert_no_dead_letter_message_is_left(&case.stack).await;
}

/// A random fault of the third party for one document; half of the documents have none.
fn bad_habit(dice: &mut Dice) -> Option<Fault> {
    Some(match dice.roll(100) {
        0..6 => JobFault::NoCallback { status: ReportedStatus::Succeeded }.into(),
        6..21 => JobFault::DoubleCallback { same_id: false }.into(),
        21..31 => JobFault::EarlyCallback.into(),
        31..41 => JobFault::LateCallback { delay_ms: 4_000, status: ReportedStatus::Working }.into(),
        41..46 => SubmissionFault::LoseAnswer.into(),
        46..51 => SubmissionFault::ServerError { status: 500 }.into(),
        _ => return None,
    })
}

/// Hides some messages for a while, and sends copies of some.
async fn disturb(stack: &Stack, dice: &mut Dice) {
    let urls = &stack.is.queue_urls;
    let queues =
        [&urls.receive_upload, &urls.transfer_document, &urls.normalize_document, &urls.admit_document];
    let queue = queues[dice.roll(queues.len())];
    let fifo = *queue == urls.admit_document;
    let hidden_s = if fifo { 1 } else { 1 + i32::try_from(dice.roll(3)).unwrap() };
    let request = stack.sqs.receive_message().queue_url(queue).visibility_timeout(hidden_s);
    let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
    let taken = request.max_number_of_messages(2).send().await.unwrap().messages.unwrap_or_default();
    for message in taken {
        if !fifo && dice.roll(2) == 0 {
            let delay_s = i32::try_from(dice.roll(4)).unwrap();
            let copy = stack.sqs.send_message().queue_url(queue).delay_seconds(delay_s);
            copy.message_body(message.body().unwrap()).send().await.unwrap();
        }
    }
}

impl Stack {
    /// Lets this share of the functions' requests and of the state machine's calls meet a fault of AWS.
    async fn begin_aws_faults(&self, seed: u64, share: f64) {
        let request = self.http.put(self.aws_faults()).json(&json!({ "seed": seed, "share": share }));
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// Ends the faults and returns how many of each kind there were.
    async fn end_aws_faults(&self) -> BTreeMap<String, u64> {
        let answer = self.http.delete(self.aws_faults()).send().await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    fn aws_faults(&self) -> String {
        format!("{}/_lectern/faults", self.is.endpoint)
    }
}

/// The workflow recovers from each of these disturbances, so no message may reach a dead-letter queue.
async fn assert_no_dead_letter_message_is_left(stack: &Stack) {
    let urls = &stack.is.dead_letter_queue_urls;
    let queues =
        [&urls.receive_upload, &urls.admit_document, &urls.transfer_document, &urls.normalize_document];
    for url in queues {
        eventually("no dead-letter message is left", Duration::from_secs(1), async || {
            let request = stack.sqs.receive_message().queue_url(url).visibility_timeout(0);
            let found = request.max_number_of_messages(10).send().await.map_err(|error| error.to_string())?;
            let bodies: Vec<_> =
                found.messages.unwrap_or_default().into_iter().filter_map(|message| message.body).collect();
            if bodies.is_empty() { Ok(()) } else { Err(format!("{url}: {bodies:?}")) }
        })
        .await;
    }
}
