//! Queues, their dead-letter queues, alarms and event source mappings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{asl::Machine, template::Template};

const QUEUE: &str = "AWS::SQS::Queue";
const MAPPING: &str = "AWS::Lambda::EventSourceMapping";
/// The FIFO queues.
const FIFO: [&str; 2] = ["AdmitDocumentQueue", "DeliverEventsQueue"];

/// Whether a mapping reads a stream of the table, and no queue.
pub(crate) fn is_of_a_stream(mapping: &Value) -> bool {
    mapping["EventSourceArn"]["Fn::GetAtt"].as_str().is_some_and(|arn| arn.ends_with(".StreamArn"))
}

/// The function that a queue invokes, both without their suffixes. `deliver-events` has a second queue for its timers,
/// because a message of a FIFO queue has no delay of its own.
fn function_of(queue: &str) -> &str {
    if queue == "EventTimers" { "DeliverEvents" } else { queue }
}

/// Source queues and their dead-letter queues.
fn pairs(template: &Template) -> BTreeMap<&str, &str> {
    let (dead, sources): (Vec<_>, Vec<_>) =
        template.resources(QUEUE).into_iter().partition(|(name, _)| name.ends_with("DeadLetterQueue"));
    let mut unused: BTreeSet<&str> = dead.into_iter().map(|(name, _)| name).collect();
    let pairs = sources.into_iter().map(|(name, queue)| {
        let target = queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"].as_str();
        let dead = target.and_then(|target| target.strip_suffix(".Arn"));
        let dead = dead.and_then(|dead| unused.take(dead));
        (
            name,
            dead.unwrap_or_else(|| {
                panic!("{name}: give it a RedrivePolicy to a dead-letter queue of its own")
            }),
        )
    });
    let pairs = pairs.collect();
    assert!(unused.is_empty(), "{unused:?} have no source queue");
    pairs
}

#[test]
fn every_queue_has_a_dead_letter_queue_that_keeps_messages_longer() {
    let template = Template::load();
    for (source, dead) in pairs(&template) {
        let retention = |name| template.number(&template.resource(QUEUE, name)["MessageRetentionPeriod"]);
        assert!(retention(dead) > retention(source), "{dead} has to keep messages longer than {source}");
        let stem = source.trim_end_matches("Queue");
        assert_eq!(dead, format!("{stem}DeadLetterQueue"), "name it after its queue");
    }
}

#[test]
fn every_queue_is_encrypted_and_none_has_a_name_of_its_own() {
    let template = Template::load();
    for (name, queue) in template.resources(QUEUE) {
        let encrypted = json!({ "Fn::If": ["HasKmsKey", { "Ref": "AWS::NoValue" }, true] });
        assert_eq!(queue["SqsManagedSseEnabled"], encrypted, "{name}: encrypt it");
        assert!(queue.get("QueueName").is_none(), "{name}: a fixed name would collide between two stacks");
    }
}

#[test]
fn messages_are_received_at_least_five_times() {
    let template = Template::load();
    for source in pairs(&template).keys() {
        let times = &template.resource(QUEUE, source)["RedrivePolicy"]["maxReceiveCount"];
        let branches =
            times["Fn::If"].as_array().map_or_else(|| vec![times], |of| of.iter().skip(1).collect());
        for times in branches.into_iter().map(|times| template.number(times)) {
            assert!(
                times >= 5,
                "{source}: maxReceiveCount {times} is below 5; SQS also counts receives that reach no function"
            );
        }
    }
}

/// A failing message blocks all later messages of its message group, which SQS redelivers with it for as long as `DynamoDB`
/// is down.
#[test]
fn case_23_messages_of_fifo_queues_are_received_as_often_as_sqs_allows() {
    let template = Template::load();
    for name in FIFO {
        let queue = template.resource(QUEUE, name);
        let times = template.number(&queue["RedrivePolicy"]["maxReceiveCount"]);
        assert_eq!(
            times, 1_000,
            "{name}: 1,000 is the maximum of SQS; the function itself moves unreadable messages to the dead-letter queue"
        );
        // An order that SQS has deleted is repeated within the hour, and the events of a message are not.
        let received_s = times * template.number(&queue["VisibilityTimeout"]);
        let kept_s = template.number(&queue["MessageRetentionPeriod"]);
        assert!(
            name != "DeliverEventsQueue" || kept_s > received_s,
            "{name}: SQS deletes a message before its last delivery, so it never becomes a dead letter"
        );
    }
}

/// An asynchronous invocation that fails is lost, or needs a destination with an alarm. So S3's events come through a
/// queue, and the state machine and the API wait for a function's answer.
#[test]
fn nothing_invokes_a_function_asynchronously() {
    let template = Template::load();
    for (name, bucket) in template.resources("AWS::S3::Bucket") {
        let configuration = &bucket["NotificationConfiguration"];
        let configuration = configuration.get("Fn::If").map_or(configuration, |branches| &branches[1]);
        for (kind, _) in configuration.as_object().into_iter().flatten() {
            // EventBridge is for GuardDuty, which scans new objects. No rule of the template invokes a function.
            let is_known = ["QueueConfigurations", "EventBridgeConfiguration"].contains(&kind.as_str());
            assert!(is_known, "{name}: {kind}: send its events to a queue");
        }
    }
    for (name, permission) in template.resources("AWS::Lambda::Permission") {
        assert_eq!(permission["Principal"], "apigateway.amazonaws.com", "{name}: send it through a queue");
    }
    for (name, function) in template.resources("AWS::Serverless::Function") {
        assert!(function.get("Events").is_none(), "{name}: feed it by a queue and an event source mapping");
    }
    let machine = Machine::load();
    for (name, task) in machine.of_type("Task") {
        let invocation = &task["Arguments"]["InvocationType"];
        assert!(invocation.is_null(), "{name}: without an InvocationType, the state waits for the answer");
    }
}

#[test]
fn queues_and_functions_belong_together_by_their_names() {
    let template = Template::load();
    let mappings = template.resources(MAPPING);
    let sources: BTreeSet<String> =
        pairs(&template).keys().map(|queue| queue.trim_end_matches("Queue").to_owned()).collect();
    let (streams, of_queues): (BTreeMap<_, _>, BTreeMap<_, _>) =
        mappings.into_iter().partition(|(_, mapping)| is_of_a_stream(mapping));
    assert_eq!(streams.into_keys().collect::<Vec<_>>(), ["RouteEventsEventSource"]);
    let mapped = of_queues.keys().map(|mapping| mapping.trim_end_matches("EventSource").to_owned());
    assert_eq!(sources, mapped.collect(), "left: queues; right: event source mappings");
    for (name, mapping) in of_queues {
        let stem = name.trim_end_matches("EventSource");
        let invoked = function_of(stem);
        assert_eq!(mapping["FunctionName"], json!({"Ref": format!("{invoked}Function.Alias")}), "{name}");
        assert_eq!(mapping["EventSourceArn"], json!({"Fn::GetAtt": format!("{stem}Queue.Arn")}), "{name}");
        let function = template.resource("AWS::Serverless::Function", &format!("{invoked}Function"));
        let variable = if invoked == stem { "QUEUE_URL" } else { "EVENT_TIMERS_QUEUE_URL" };
        assert_eq!(
            function["Environment"]["Variables"][variable],
            json!({"Ref": format!("{stem}Queue")}),
            "{invoked}Function has to pause messages of {stem}Queue"
        );
    }
}

/// One message group for each subscriber. Deduplication of the whole queue would limit its throughput, and would take the
/// same text for two subscribers for one message.
#[test]
fn subscribers_share_neither_a_message_group_nor_an_invocation() {
    let template = Template::load();
    let queue = template.resource(QUEUE, "DeliverEventsQueue");
    assert_eq!(queue["DeduplicationScope"], "messageGroup");
    assert_eq!(queue["FifoThroughputLimit"], "perMessageGroupId");
    assert_eq!(template.resource(MAPPING, "DeliverEventsEventSource")["BatchSize"], 1);
    let sends = super::sources::read("crates/lectern-aws/src/sqs.rs");
    assert!(sends.contains(".message_group_id(subscriber.as_str())"), "the group is the subscriber");
    let concurrency = &template.resource(MAPPING, "DeliverEventsEventSource")["ScalingConfig"];
    let runs = template.number(&concurrency["MaximumConcurrency"]);
    let subscribers = lectern::api::MAX_SUBSCRIBERS as u64;
    assert!(
        runs > subscribers,
        "{runs} runs at a time; a stalled subscriber would take the place of another one"
    );
}

#[test]
fn state_machine_sends_to_the_queue_that_is_named_like_its_state() {
    let machine = Machine::load();
    for (name, task) in machine.of_type("Task") {
        let Some(queue) = task["Arguments"]["QueueUrl"].as_str() else { continue };
        let kind = &task["Arguments"]["MessageBody"]["kind"];
        let stem = if kind.is_string() { "AdmitDocument" } else { name };
        assert_eq!(queue, format!("{stem}Queue"), "{name}");
        Template::load().resource(QUEUE, queue);
    }
}

/// All orders to admit-document share one message group and are handled one after the other. On the other queues, a
/// submission with thousands of documents must not delay the messages of other submissions.
#[test]
fn messages_carry_the_group_that_their_queue_is_served_by() {
    let (machine, template) = (Machine::load(), Template::load());
    for (name, task) in machine.of_type("Task") {
        let Some(queue) = task["Arguments"]["QueueUrl"].as_str() else { continue };
        let fifo = template.resource(QUEUE, queue)["FifoQueue"] == true;
        let group = if fifo { "admission" } else { "{% $submissionId %}" };
        assert_eq!(task["Arguments"]["MessageGroupId"], group, "{name}");
        let deduplicated = task["Arguments"].get("MessageDeduplicationId").is_some();
        assert!(!deduplicated, "{name}: the queue deduplicates by content");
    }
    let group = r#"const GROUP: &str = "admission";"#;
    assert!(
        super::sources::read("crates/lectern-aws/src/sqs.rs").contains(group),
        "receive-callback sends to this queue, too"
    );
}

#[test]
fn dead_letter_queue_of_a_fifo_queue_is_a_fifo_queue_and_both_deduplicate_by_content() {
    let template = Template::load();
    for (source, dead) in pairs(&template) {
        let [source_queue, dead_queue] = [source, dead].map(|name| template.resource(QUEUE, name));
        assert_eq!(source_queue["FifoQueue"] == true, FIFO.contains(&source), "{source}");
        for field in ["FifoQueue", "ContentBasedDeduplication"] {
            assert_eq!(
                source_queue.get(field),
                dead_queue.get(field),
                "{dead}: use the settings of {source}"
            );
        }
        let by_content = source_queue["ContentBasedDeduplication"] == true;
        assert_eq!(by_content, source_queue["FifoQueue"] == true, "{source}");
    }
}

#[test]
fn mappings_report_failures_one_by_one_and_are_bounded() {
    let template = Template::load();
    for (name, mapping) in template.resources(MAPPING).into_iter().filter(|(_, it)| !is_of_a_stream(it)) {
        assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]), "{name}");
        let scaling =
            mapping["ScalingConfig"].get("Fn::If").map_or(&mapping["ScalingConfig"], |choice| &choice[2]);
        let concurrency = template.number(&scaling["MaximumConcurrency"]);
        assert!((2..=1000).contains(&concurrency), "{name}: MaximumConcurrency is {concurrency}");
    }
}

/// No change is skipped: from LATEST, Lambda may miss changes that are made while it creates or updates the mapping, and
/// with a limit of attempts or of age, Lambda discards a batch that fails.
#[test]
fn case_47_stream_is_read_from_its_beginning_and_a_failing_batch_is_repeated_until_it_expires() {
    let template = Template::load();
    let streams: Vec<_> =
        template.resources(MAPPING).into_iter().filter(|(_, mapping)| is_of_a_stream(mapping)).collect();
    assert!(!streams.is_empty());
    for (name, mapping) in streams {
        assert_eq!(mapping["StartingPosition"], "TRIM_HORIZON", "{name}");
        assert_eq!(mapping["BisectBatchOnFunctionError"], true, "{name}");
        for limit in ["MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "Enabled"] {
            assert!(mapping.get(limit).is_none(), "{name}: leave {limit} at its default");
        }
        assert!(
            mapping.get("ParallelizationFactor").is_none(),
            "{name}: changes of one submission are routed one after the other"
        );
    }
    let table = template.resource("AWS::DynamoDB::Table", "Table");
    assert_eq!(table["StreamSpecification"], json!({ "StreamViewType": "NEW_AND_OLD_IMAGES" }));
}

#[test]
fn messages_stay_hidden_for_six_times_as_long_as_their_function_may_take() {
    let template = Template::load();
    for source in pairs(&template).keys() {
        let stem = function_of(source.trim_end_matches("Queue"));
        let function = template.resource("AWS::Serverless::Function", &format!("{stem}Function"));
        let hidden_s = template.number(&template.resource(QUEUE, source)["VisibilityTimeout"]);
        let function_s = template.timeout_s(function);
        assert!(hidden_s >= 6 * function_s, "{source} hides {hidden_s} s; make it 6 × {function_s} s");
        assert!(hidden_s <= 43_200, "{source}: SQS hides a message for at most 12 hours");
    }
}

#[test]
fn nothing_runs_on_a_schedule() {
    let template = Template::load();
    for (name, resource) in template.0["Resources"].as_object().unwrap() {
        let kind = resource["Type"].as_str().unwrap();
        let scheduled = ["AWS::Scheduler::", "AWS::Pipes::"].iter().any(|of| kind.starts_with(of))
            || resource["Properties"].get("ScheduleExpression").is_some();
        assert!(!scheduled, "{name} is a {kind}; events start work, schedules do not");
        let events = resource["Properties"]["Events"].as_object();
        let types = events.into_iter().flatten().map(|(_, event)| &event["Type"]);
        for kind in types.filter_map(Value::as_str) {
            assert!(!kind.starts_with("Schedule"), "{name} has an event of the type {kind}");
        }
    }
}
