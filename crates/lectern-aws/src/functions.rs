//! The Lambda functions: each one connects a step with its ports and with the event that invokes the function.

use lambda_runtime::Error;
use lectern::steps::{
    admit_document, deliver_events, erase_submission, fail_document, normalize_document, probe_job,
    receive_callback, receive_upload, route_events, transfer_document, verify_returned_file,
};

use crate::{
    Environment, HttpThirdParty, SystemClock,
    clock::SystemRandom,
    lambda::{self, HttpRequest, Received},
    stream,
};

/// `admit-document`: batches of orders from its FIFO queue.
///
/// # Errors
/// If a setting is missing or the runtime fails; the same holds for each function of this module.
pub async fn admit_document() -> Result<(), Error> {
    let env = &Environment::load()?;
    let (store, tasks) = (&env.store()?, &env.task_tokens());
    let (limits, invoking) = (&env.config.third_party_limits()?, &env.source_queue()?);
    let ports = admit_document::Ports { store, tasks, clock: &SystemClock, limits };
    lambda::run_batches(env, invoking, async |inputs, again| {
        ports.handle(admit_document::Batch { inputs, again }).await
    })
    .await
}

/// `deliver-events`: messages for one subscriber from its FIFO queue, and timers.
pub async fn deliver_events() -> Result<(), Error> {
    let env = &Environment::load()?;
    let (invoking, store, queue) = (&env.queues_of_deliver_events()?, &env.store()?, &env.event_queue()?);
    let (endpoints, alarms) = (&env.endpoints()?, &env.alarm_topic()?);
    let (clock, random, source) = (&SystemClock, &SystemRandom, &env.event_source()?);
    let ports = deliver_events::Ports { store, queue, endpoints, alarms, clock, random, source };
    lambda::run_batches(env, invoking, async |inputs, again| {
        ports.handle(deliver_events::Batch { inputs, again }).await
    })
    .await
}

/// `erase-submission`: the task of the state machine of erasures.
pub async fn erase_submission() -> Result<(), Error> {
    let env = &Environment::load()?;
    let (store, objects) = (&env.store()?, &env.objects_of_submissions()?);
    let (third_party, executions) = (&env.third_party()?, &env.document_executions()?);
    let functions_end_within = env.config.stopped_document_time()?;
    let clock = &SystemClock;
    let ports =
        erase_submission::Ports { store, objects, third_party, executions, clock, functions_end_within };
    lambda::run_task(env, async |input| ports.erase_submission(&input).await).await
}

/// `fail-document`: a task of the state machine.
pub async fn fail_document() -> Result<(), Error> {
    let env = &Environment::load()?;
    let ports = fail_document::Ports { store: &env.store_with_retention()?, clock: &SystemClock };
    lambda::run_task(env, async |input| ports.handle(input).await).await
}

/// `normalize-document`: messages of the state machine.
pub async fn normalize_document() -> Result<(), Error> {
    let env = &Environment::load()?;
    let (store, files) = (&env.store_with_retention()?, &env.returned_files()?);
    let tasks = &env.task_tokens();
    let provider = &env.config.third_party_name()?;
    let ports = normalize_document::Ports { store, files, tasks, clock: &SystemClock, provider };
    lambda::run_messages(env, async |input, again| ports.handle(input, again).await).await
}

/// `probe-job`: a task of the state machine.
pub async fn probe_job() -> Result<(), Error> {
    let env = &Environment::load()?;
    let (store, third_party) = (&env.store()?, &env.third_party()?);
    let ports = probe_job::Ports { store, third_party, clock: &SystemClock };
    lambda::run_task(env, async |input| ports.handle(input).await).await
}

/// `receive-callback`: requests to the webhook.
pub async fn receive_callback() -> Result<(), Error> {
    let env = &Environment::load()?;
    let (store, tasks, orders) = (&env.store()?, &env.task_tokens(), &env.admission_queue()?);
    let secrets = &env.signing_secrets()?;
    let ports = receive_callback::Ports { store, tasks, orders, secrets, clock: &SystemClock };
    lambda::run_webhook(env, async |request: HttpRequest| {
        let (callback_id, headers, body) = (request.path_id(), &request.headers, request.body.as_slice());
        let request = receive_callback::WebhookRequest { callback_id, headers, body };
        ports.handle::<HttpThirdParty>(request).await.status()
    })
    .await
}

/// `receive-upload`: events of S3 from its queue.
pub async fn receive_upload() -> Result<(), Error> {
    let env = &Environment::load()?;
    let (uploads, store) = (&env.uploads()?, &env.store_with_retention()?);
    let executions = &env.state_machine()?;
    let max_upload_bytes = env.config.max_upload_bytes()?;
    let scans_for_malware = env.config.scans_for_malware()?;
    let (clock, random) = (&SystemClock, &SystemRandom);
    let ports = receive_upload::Ports {
        uploads,
        store,
        executions,
        clock,
        random,
        max_upload_bytes,
        scans_for_malware,
    };
    lambda::run_sqs(env, async |Received { body, xray_header, .. }| {
        ports.handle(receive_upload::Message { body: &body, xray_header: xray_header.as_deref() }).await
    })
    .await
}

/// `route-events`: changes of the table.
pub async fn route_events() -> Result<(), Error> {
    let env = &Environment::load()?;
    let (store, queue, bus) = (&env.store()?, &env.event_queue()?, &env.event_bus()?);
    let ports = route_events::Ports { store, queue, bus };
    stream::run_stream(env, async |changes: Vec<_>| ports.handle(&changes).await).await
}

/// `transfer-document`: messages of the state machine.
pub async fn transfer_document() -> Result<(), Error> {
    let env = &Environment::load()?;
    let (store, uploads, tasks) = (&env.store()?, &env.uploads()?, &env.task_tokens());
    let (third_party, settings) = (&env.third_party()?, &env.config.transfer_settings()?);
    let (orders, clock) = (&env.admission_queue()?, &SystemClock);
    let ports = transfer_document::Ports { store, uploads, third_party, tasks, orders, clock, settings };
    lambda::run_messages(env, async |input, again| ports.handle(input, again).await).await
}

/// `verify-returned-file`: a task of the state machine.
pub async fn verify_returned_file() -> Result<(), Error> {
    let env = &Environment::load()?;
    let (store, files) = (&env.store()?, &env.returned_files()?);
    let third_party = &env.returned_file_fetcher()?;
    let ports = verify_returned_file::Ports { store, third_party, files };
    lambda::run_task(env, async |input| ports.handle(input).await).await
}
