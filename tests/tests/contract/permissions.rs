//! Permissions: each function has exactly the permissions that its code needs.

use std::collections::{BTreeMap, BTreeSet};

use lectern::ports::ScanStatus;
use serde_json::{Value, json};

use super::{
    sources::{captures, folders, is_test_file, pascal_case, product_code, rust_files},
    template::{Template, list, texts, walk},
};

/// The calls to AWS that each function's code makes, `<file below crates/lectern-aws/src>:<SDK method>`.
const CALLS: [(&str, &[&str]); 12] = [
    (
        "receive-upload",
        &[
            "s3/uploads.rs:head_object",
            "s3/uploads.rs:get_object",
            "s3/uploads.rs:get_object_tagging",
            "dynamodb.rs:get_item",
            "dynamodb/register.rs:get_item",
            "dynamodb/submission_write.rs:get_item",
            "dynamodb.rs:transact_write_items",
            "sfn.rs:start_execution",
            "sqs.rs:change_message_visibility",
        ],
    ),
    (
        "admit-document",
        &[
            "dynamodb/admission.rs:get_item",
            "dynamodb/admission.rs:update_item",
            "dynamodb.rs:transact_write_items",
            "sfn.rs:send_task_success",
            "sfn.rs:send_task_heartbeat",
            "sqs.rs:send_message",
            "sqs.rs:change_message_visibility",
        ],
    ),
    (
        "transfer-document",
        &[
            "s3/uploads.rs:head_object",
            "s3/uploads.rs:get_object",
            "s3/uploads.rs:get_object_tagging",
            "dynamodb.rs:get_item",
            "dynamodb.rs:put_item",
            "dynamodb/results.rs:update_item",
            "secrets.rs:get_secret_value",
            "sfn.rs:send_task_success",
            "sfn.rs:send_task_failure",
            "sqs.rs:send_message",
            "sfn.rs:send_task_heartbeat",
            "sqs.rs:change_message_visibility",
        ],
    ),
    (
        "receive-callback",
        &[
            "dynamodb/results.rs:get_item",
            "dynamodb/results.rs:update_item",
            "dynamodb/results.rs:put_item",
            "secrets.rs:get_secret_value",
            "sfn.rs:send_task_success",
            "sfn.rs:send_task_failure",
            "sqs.rs:send_message",
        ],
    ),
    (
        "probe-job",
        &[
            "dynamodb.rs:get_item",
            "dynamodb.rs:put_item",
            "dynamodb/results.rs:update_item",
            "secrets.rs:get_secret_value",
        ],
    ),
    (
        "verify-returned-file",
        &[
            "dynamodb.rs:get_item",
            "s3/returned.rs:head_object",
            "s3/returned.rs:get_object",
            "s3/returned.rs:create_multipart_upload",
            "s3/returned.rs:upload_part",
            "s3/returned.rs:complete_multipart_upload",
            "s3/returned.rs:abort_multipart_upload",
            "s3/returned.rs:copy_object",
            "s3/returned.rs:delete_object",
        ],
    ),
    (
        "normalize-document",
        &[
            "dynamodb.rs:get_item",
            "dynamodb.rs:put_item",
            "dynamodb/submission_write.rs:get_item",
            "dynamodb.rs:transact_write_items",
            "s3/returned.rs:get_object",
            "s3/returned.rs:put_object",
            "sfn.rs:send_task_success",
            "sfn.rs:send_task_failure",
            "sfn.rs:send_task_heartbeat",
            "sqs.rs:change_message_visibility",
        ],
    ),
    (
        "fail-document",
        &[
            "dynamodb.rs:get_item",
            "dynamodb/submission_write.rs:get_item",
            "dynamodb.rs:transact_write_items",
        ],
    ),
    (
        "erase-submission",
        &[
            "dynamodb.rs:get_item",
            "dynamodb/submission_write.rs:get_item",
            "dynamodb/browse.rs:query",
            "dynamodb.rs:transact_write_items",
            "dynamodb/erasure.rs:update_item",
            "dynamodb/erasure.rs:query",
            "dynamodb/erasure.rs:delete_item",
            "s3/submission.rs:list_object_versions",
            "s3/submission.rs:delete_object",
            "s3/submission.rs:list_multipart_uploads",
            "s3/submission.rs:abort_multipart_upload",
            "secrets.rs:get_secret_value",
            "sfn.rs:stop_execution",
        ],
    ),
    (
        "serve-api",
        &[
            "dynamodb.rs:get_item",
            "dynamodb.rs:transact_write_items",
            "dynamodb/admission.rs:get_item",
            "dynamodb/audit.rs:put_item",
            "dynamodb/browse.rs:query",
            "dynamodb/browse.rs:batch_get_item",
            "dynamodb/erasure.rs:update_item",
            "dynamodb/events.rs:batch_get_item",
            "dynamodb/events.rs:delete_item",
            "dynamodb/events.rs:get_item",
            "dynamodb/events.rs:put_item",
            "dynamodb/events.rs:query",
            "dynamodb/events.rs:update_item",
            "dynamodb/hand_in.rs:get_item",
            "dynamodb/hand_in.rs:query",
            "dynamodb/hand_in.rs:update_item",
            "dynamodb/operations.rs:query",
            "dynamodb/submission_write.rs:get_item",
            "s3/uploads.rs:head_object",
            "s3/uploads.rs:get_object",
            "s3/uploads.rs:get_object_tagging",
            "s3/returned.rs:head_object",
            "s3/returned.rs:get_object",
            "s3/returned.rs:get_object_tagging",
            "s3/sign.rs:create_multipart_upload",
            "s3/sign.rs:list_parts",
            "s3/sign.rs:upload_part",
            "s3/sign.rs:complete_multipart_upload",
            "s3/sign.rs:abort_multipart_upload",
            "s3/sign.rs:delete_object",
            "s3/sign.rs:get_object",
            "sfn.rs:start_execution",
            "sfn.rs:describe_execution",
            "sfn.rs:stop_execution",
            "sqs.rs:get_queue_attributes",
            "sqs.rs:send_message_batch",
        ],
    ),
    ("route-events", &["dynamodb/events.rs:query", "event_bus.rs:put_events", "sqs.rs:send_message_batch"]),
    (
        "deliver-events",
        &[
            "dynamodb/events.rs:batch_get_item",
            "dynamodb/events.rs:batch_write_item",
            "dynamodb/events.rs:get_item",
            "dynamodb/events.rs:update_item",
            "sns.rs:publish",
            "sqs.rs:change_message_visibility",
            "sqs.rs:send_message",
            "sqs.rs:send_message_batch",
        ],
    ),
];

/// The calls of the command `lectern` beyond reads of single items. docs/deploying.md lists the operator's actions.
const CALLS_OF_THE_COMMAND: [(&str, &str); 13] = [
    ("dynamodb/audit.rs:query", "`Query`"),
    ("dynamodb/erasure.rs:update_item", "`UpdateItem`"),
    ("dynamodb/erasure.rs:query", "`Query`"),
    ("dynamodb/erasure.rs:delete_item", "`DeleteItem`"),
    ("s3/submission.rs:list_object_versions", "`ListBucketVersions`"),
    ("s3/submission.rs:delete_object", "`DeleteObjectVersion`"),
    ("s3/submission.rs:list_multipart_uploads", "`ListBucketMultipartUploads`"),
    ("s3/submission.rs:abort_multipart_upload", "`AbortMultipartUpload`"),
    // A transaction needs the actions of its parts.
    ("dynamodb.rs:transact_write_items", "`DeleteItem`"),
    ("secrets.rs:get_secret_value", "`secretsmanager:GetSecretValue`"),
    ("sfn.rs:start_execution", "`StartExecution`"),
    ("sfn.rs:describe_execution", "`DescribeExecution`"),
    ("sfn.rs:stop_execution", "`StopExecution`"),
];

/// The IAM actions that a call needs. The code reads uploads by version, and returned files by key only.
fn actions(function: &str, call: &str) -> &'static [&'static str] {
    match call {
        "s3/uploads.rs:head_object" | "s3/uploads.rs:get_object" => &["s3:GetObjectVersion"],
        "s3/returned.rs:head_object" | "s3/returned.rs:get_object" => &["s3:GetObject"],
        // transfer-document asks only for the current version.
        "s3/uploads.rs:get_object_tagging" if function == "transfer-document" => &["s3:GetObjectTagging"],
        "s3/uploads.rs:get_object_tagging" => &["s3:GetObjectTagging", "s3:GetObjectVersionTagging"],
        "s3/returned.rs:get_object_tagging" => &["s3:GetObjectTagging"],
        "s3/returned.rs:copy_object" => &["s3:GetObject", "s3:PutObject"],
        "s3/returned.rs:put_object"
        | "s3/returned.rs:create_multipart_upload"
        | "s3/returned.rs:upload_part"
        | "s3/returned.rs:complete_multipart_upload"
        | "s3/sign.rs:create_multipart_upload"
        | "s3/sign.rs:upload_part"
        | "s3/sign.rs:complete_multipart_upload" => &["s3:PutObject"],
        "s3/returned.rs:abort_multipart_upload"
        | "s3/sign.rs:abort_multipart_upload"
        | "s3/submission.rs:abort_multipart_upload" => &["s3:AbortMultipartUpload"],
        "s3/returned.rs:delete_object" | "s3/sign.rs:delete_object" => &["s3:DeleteObject"],
        "s3/sign.rs:list_parts" => &["s3:ListMultipartUploadParts"],
        // Only the bucket's URL is taken from it.
        "s3/sign.rs:get_object" => &[],
        "s3/submission.rs:list_object_versions" => &["s3:ListBucketVersions"],
        "s3/submission.rs:delete_object" => &["s3:DeleteObjectVersion"],
        "s3/submission.rs:list_multipart_uploads" => &["s3:ListBucketMultipartUploads"],
        // These transactions end stopped documents, and delete documents with their files.
        "dynamodb.rs:transact_write_items" if function == "erase-submission" => {
            &["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]
        }
        // These transactions register documents and delete their pending files; create, declare and forget those.
        "dynamodb.rs:transact_write_items" if ["receive-upload", "serve-api"].contains(&function) => {
            &["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]
        }
        // This transaction writes the admission state, and writes and deletes waiting documents.
        "dynamodb.rs:transact_write_items" if function == "admit-document" => {
            &["dynamodb:UpdateItem", "dynamodb:DeleteItem"]
        }
        // A transaction needs the actions of its parts: it puts documents and updates submissions.
        "dynamodb.rs:transact_write_items" => &["dynamodb:PutItem", "dynamodb:UpdateItem"],
        "sfn.rs:start_execution" => &["states:StartExecution"],
        "sfn.rs:describe_execution" => &["states:DescribeExecution"],
        "sqs.rs:get_queue_attributes" => &["sqs:GetQueueAttributes"],
        "sfn.rs:stop_execution" => &["states:StopExecution"],
        "sfn.rs:send_task_success" => &["states:SendTaskSuccess"],
        "sfn.rs:send_task_failure" => &["states:SendTaskFailure"],
        "sfn.rs:send_task_heartbeat" => &["states:SendTaskHeartbeat"],
        "secrets.rs:get_secret_value" => &["secretsmanager:GetSecretValue"],
        "sqs.rs:change_message_visibility" => &["sqs:ChangeMessageVisibility"],
        "sqs.rs:send_message" | "sqs.rs:send_message_batch" => &["sqs:SendMessage"],
        "sns.rs:publish" => &["sns:Publish"],
        "event_bus.rs:put_events" => &["events:PutEvents"],
        _ => match call.split(':').next_back() {
            Some("get_item") => &["dynamodb:GetItem"],
            Some("batch_get_item") => &["dynamodb:BatchGetItem"],
            // Unlike a transaction, a batch needs no action of its parts.
            Some("batch_write_item") => &["dynamodb:BatchWriteItem"],
            Some("query") => &["dynamodb:Query"],
            Some("put_item") => &["dynamodb:PutItem"],
            Some("update_item") => &["dynamodb:UpdateItem"],
            Some("delete_item") => &["dynamodb:DeleteItem"],
            _ => panic!("say in this test which actions {call} needs"),
        },
    }
}

/// Actions that a function needs and [`CALLS`] does not show.
fn actions_without_a_call(function: &str) -> &'static [&'static str] {
    match function {
        // S3 answers 404 for a missing object only if the caller may list the bucket; otherwise 403.
        "normalize-document" | "verify-returned-file" => &["s3:ListBucket"],
        // They also read the current version, without naming it.
        "receive-upload" | "transfer-document" | "serve-api" => &["s3:ListBucket", "s3:GetObject"],
        // Lambda reads the stream with the function's role.
        "route-events" => &[
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
        ],
        _ => &[],
    }
}

const POLLING: [&str; 4] =
    ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"];

fn granted(function: &Value) -> BTreeSet<&str> {
    Template::statements(function).into_iter().flat_map(|statement| texts(&statement["Action"])).collect()
}

#[test]
fn every_call_to_aws_in_the_adapters_is_accounted_for_by_some_function() {
    let clients = [r"\bclient\s*\.([a-z_0-9]+)\(\)", r"\bself\s*\.0\s*\.([a-z_0-9]+)\(\)"];
    let mut found = BTreeSet::new();
    for file in rust_files(&["crates/lectern-aws/src"]).iter().filter(|file| !is_test_file(&file.path)) {
        let path = file.path.trim_start_matches("crates/lectern-aws/src/");
        let code = product_code(&file.text);
        let calls = clients.iter().flat_map(|client| captures(client, &code));
        let calls = calls.filter(|call| !["clone", "get"].contains(&call.as_str()));
        found.extend(calls.map(|call| format!("{path}:{call}")));
    }
    let of_functions = CALLS.iter().flat_map(|(_, calls)| calls.iter());
    let of_the_command = CALLS_OF_THE_COMMAND.iter().map(|(call, _)| call);
    let accounted: BTreeSet<String> =
        of_functions.chain(of_the_command).map(|call| (*call).to_owned()).collect();
    assert_eq!(
        found, accounted,
        "left: in crates/lectern-aws/src; right: CALLS of this test, which names their functions"
    );
}

#[test]
fn every_function_is_allowed_exactly_what_its_code_does() {
    let template = Template::load();
    let calls = BTreeMap::from(CALLS);
    assert_eq!(calls.keys().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), folders("functions"));
    for (function, calls) in calls {
        let resource = format!("{}Function", pascal_case(function));
        let properties = template.resource("AWS::Serverless::Function", &resource);
        let mut needed: BTreeSet<&str> =
            calls.iter().flat_map(|call| actions(function, call)).copied().collect();
        needed.extend(actions_without_a_call(function));
        if needed.contains("sqs:ChangeMessageVisibility") {
            needed.extend(POLLING);
        }
        assert_eq!(
            granted(properties),
            needed,
            "{resource}: left: granted by template.yaml; right: needed by its code"
        );
    }
}

/// S02: with the malware gate, the third party and people get only what `GuardDuty` has found clean.
#[test]
fn s02_files_that_leave_lectern_are_read_under_the_condition_of_the_scanners_tag() {
    let template = Template::load();
    let tag = format!("s3:ExistingObjectTag/{}", ScanStatus::TAG);
    let clean = json!({ "StringEquals": { tag: "NO_THREATS_FOUND" } });
    let condition = json!({ "Fn::If": ["ScansForMalware", clean, { "Ref": "AWS::NoValue" }] });
    for function in ["TransferDocumentFunction", "ServeApiFunction"] {
        let properties = template.resource("AWS::Serverless::Function", function);
        let mut gated = 0;
        for statement in Template::statements(properties) {
            let reads = texts(&statement["Action"])
                .iter()
                .any(|action| ["s3:GetObject", "s3:GetObjectVersion"].contains(action));
            let records =
                statement["Resource"]["Fn::Sub"].as_str().is_some_and(|arn| arn.contains("/records/"));
            if reads && !records {
                assert_eq!(statement["Condition"], condition, "{function}: {statement}");
                gated += 1;
            }
        }
        assert!(gated > 0, "{function} reads no files");
    }
}

/// S02: a stack without the gate needs no permission more than before.
#[test]
fn s02_only_a_stack_with_the_gate_may_read_tags() {
    let template = Template::load();
    for (name, function) in template.resources("AWS::Serverless::Function") {
        let policies = function["Policies"].as_array().into_iter().flatten();
        for statement in policies.flat_map(|policy| list(&policy["Statement"])) {
            let always = texts(&statement["Action"]);
            assert!(!always.iter().any(|action| action.ends_with("Tagging")), "{name}: {statement}");
            if let Some(branches) = statement.get("Fn::If") {
                // The only other statement that some stacks lack is that of the event bus.
                let is_of_the_bus = branches[1]["Action"] == json!(["events:PutEvents"]);
                let condition = if is_of_the_bus { "HasEventBus" } else { "ScansForMalware" };
                assert_eq!(
                    (&branches[0], &branches[2]),
                    (&json!(condition), &json!({ "Ref": "AWS::NoValue" }))
                );
            }
        }
    }
}

/// These two functions handle what leaves Lectern, so their roles reach no item of a submission. An item's partition key
/// begins with one of these words.
#[test]
fn functions_of_events_reach_only_the_items_of_events() {
    let template = Template::load();
    let items = super::sources::read("crates/lectern-aws/src/dynamodb/items.rs");
    for built in [r#""SUBSCRIBERS""#, r#"format!("DELIVERIES#{id}")"#, r#"format!("EVENTS#{id}")"#] {
        assert!(items.contains(built), "items.rs builds no key by {built}; correct the conditions");
    }
    let conditions = [
        (
            "RouteEventsFunction",
            json!({ "ForAllValues:StringEquals": { "dynamodb:LeadingKeys": ["SUBSCRIBERS"] } }),
        ),
        (
            "DeliverEventsFunction",
            json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["SUBSCRIBERS", "DELIVERIES#*", "EVENTS#*"] } }),
        ),
    ];
    for (function, condition) in conditions {
        let mut limited = 0;
        for statement in Template::statements(template.resource("AWS::Serverless::Function", function)) {
            let of_the_table =
                texts(&statement["Action"]).iter().any(|action| action.starts_with("dynamodb:"));
            if of_the_table && statement["Resource"] == json!({ "Fn::GetAtt": "Table.Arn" }) {
                assert_eq!(statement["Condition"], condition, "{function}: {statement}");
                limited += 1;
            } else {
                let of_the_stream = statement["Resource"] == json!({ "Fn::GetAtt": "Table.StreamArn" });
                assert!(!of_the_table || of_the_stream, "{function}: {statement}");
            }
        }
        assert_eq!(limited, 1, "{function}");
    }
}

/// S02: nobody can forge the scanner's tag, and both buckets are scanned under the prefixes that people's files have.
#[test]
fn s02_only_the_scanner_tags_and_it_scans_uploads_and_returned_files() {
    let template = Template::load();
    for (bucket, prefix) in [("Uploads", "submissions/"), ("Returned", "returned/")] {
        let plan = template
            .resource("AWS::GuardDuty::MalwareProtectionPlan", &format!("{bucket}MalwareProtectionPlan"));
        let scanned = &plan["ProtectedResource"]["S3Bucket"];
        assert_eq!(scanned["BucketName"], json!({ "Ref": format!("{bucket}Bucket") }));
        assert_eq!(scanned["ObjectPrefixes"], json!([prefix]));
        assert_eq!(plan["Actions"]["Tagging"]["Status"], "ENABLED");
        let policy = template.resource("AWS::S3::BucketPolicy", &format!("{bucket}BucketPolicy"));
        let statements = list(&policy["PolicyDocument"]["Statement"]);
        let denies =
            statements.iter().map(|statement| &statement["Fn::If"][1]).find(|it| it["Effect"] == "Deny");
        let denies = denies.unwrap_or_else(|| panic!("{bucket}BucketPolicy lets others tag"));
        assert_eq!(
            denies["Condition"]["ArnNotEquals"]["aws:PrincipalArn"],
            json!({ "Fn::GetAtt": "MalwareScanRole.Arn" })
        );
        for action in ["s3:PutObjectTagging", "s3:PutObjectVersionTagging"] {
            assert!(texts(&denies["Action"]).contains(&action), "{bucket}BucketPolicy: {action}");
        }
    }
    let keys = super::sources::read("crates/lectern/src/document/keys.rs");
    assert!(
        keys.contains("\"submissions/\"") && keys.contains("format!(\"returned/"),
        "the prefixes of keys.rs"
    );
}

#[test]
fn permissions_name_their_resources() {
    // (resource, action prefix, why it cannot be narrower)
    let wide = [
        ("AdmitDocumentFunction", "states:SendTask", "the token names the task, and AWS checks it"),
        ("TransferDocumentFunction", "states:SendTask", "the token names the task, and AWS checks it"),
        ("NormalizeDocumentFunction", "states:SendTask", "the token names the task, and AWS checks it"),
        ("ReceiveCallbackFunction", "states:SendTask", "the token names the task, and AWS checks it"),
        ("DocumentStateMachine", "logs:", "AWS documents log delivery with every resource only"),
    ];
    let template = Template::load();
    let mut used: BTreeSet<&(&str, &str, &str)> = BTreeSet::new();
    for (name, resource) in template.0["Resources"].as_object().unwrap() {
        for statement in Template::statements(&resource["Properties"]) {
            assert_eq!(statement["Effect"], "Allow", "{name}: {statement}");
            for action in texts(&statement["Action"]) {
                assert!(!action.contains('*'), "{name}: name the actions instead of {action}");
                let anything =
                    list(&statement["Resource"]).into_iter().any(|resource| *resource == json!("*"));
                if anything {
                    let reason =
                        wide.iter().find(|(owner, start, _)| owner == name && action.starts_with(start));
                    assert!(
                        reason.is_some(),
                        "{name}: {action} on every resource; name the resources, or list the action here with a reason"
                    );
                    used.extend(reason);
                }
            }
        }
    }
    assert_eq!(used.len(), wide.len(), "remove the unused entries from the list: {wide:?}, used: {used:?}");
}

#[test]
fn functions_send_only_to_the_queues_that_they_feed_and_to_their_own_dead_letter_queue() {
    let template = Template::load();
    for (name, function) in template.resources("AWS::Serverless::Function") {
        for statement in Template::statements(function) {
            if texts(&statement["Action"]).contains(&"sqs:SendMessage") {
                // admit-document also puts orders of newer code back into its queue (A07).
                let queues: &[&str] = match name {
                    "RouteEventsFunction" | "ServeApiFunction" => &["DeliverEventsQueue"],
                    // The next run of a subscriber, messages of newer code, and timers.
                    "DeliverEventsFunction" => {
                        &["DeliverEventsQueue", "DeliverEventsDeadLetterQueue", "EventTimersQueue"]
                    }
                    "ReceiveCallbackFunction" | "TransferDocumentFunction" => &["AdmitDocumentQueue"],
                    "AdmitDocumentFunction" => &["AdmitDocumentQueue", "AdmitDocumentDeadLetterQueue"],
                    _ => panic!("{name} sends to no queue"),
                };
                let arns: Vec<Value> =
                    queues.iter().map(|queue| json!({"Fn::GetAtt": format!("{queue}.Arn")})).collect();
                assert_eq!(list(&statement["Resource"]), arns.iter().collect::<Vec<_>>(), "{name}");
            }
        }
    }
}

#[test]
fn objects_are_allowed_by_the_prefix_that_keys_rs_builds() {
    let keys = super::sources::read("crates/lectern/src/document/keys.rs");
    let template = Template::load();
    for (name, function) in template.resources("AWS::Serverless::Function") {
        for statement in Template::statements(function) {
            for resource in list(&statement["Resource"]) {
                let Some(arn) = resource["Fn::Sub"].as_str() else { continue };
                let Some(prefix) = arn.strip_prefix("${ReturnedBucket.Arn}/") else { continue };
                let built = keys.contains(&format!("format!(\"{}", prefix.trim_end_matches('*')));
                assert!(built && prefix.ends_with("/*"), "{name}: no key of keys.rs starts like {arn}");
            }
        }
    }
}

#[test]
fn state_machine_may_do_what_its_states_do() {
    let template = Template::load();
    let machine = super::asl::Machine::load();
    let resources = machine.of_type("Task").into_iter().filter_map(|(_, task)| task["Resource"].as_str());
    let mut needed: BTreeSet<&str> = resources
        .map(|resource| match resource.trim_end_matches(".waitForTaskToken") {
            "arn:aws:states:::sqs:sendMessage" => "sqs:SendMessage",
            "arn:aws:states:::lambda:invoke" => "lambda:InvokeFunction",
            "arn:aws:states:::aws-sdk:dynamodb:updateItem" => "dynamodb:UpdateItem",
            other => panic!("say in this test which action {other} needs"),
        })
        .collect();
    let properties = template.resource("AWS::Serverless::StateMachine", "DocumentStateMachine");
    let delivery = |action: &&str| action.starts_with("logs:") || action.starts_with("xray:");
    needed.extend(granted(properties).into_iter().filter(delivery));
    assert_eq!(granted(properties), needed, "left: granted by template.yaml; right: needed by the states");
    walk(&properties["Policies"], "", &mut |path, value| {
        assert!(value != "lambda:*" && value != "dynamodb:*", "{path}");
    });
}

#[test]
fn nobody_may_scan_and_no_code_does() {
    for path in ["template.yaml", "statemachines/document.asl.json"] {
        let scans = captures(r"(dynamodb:(?:[Ss]can|PartiQL\w*|\*))", &super::sources::read(path));
        assert!(scans.is_empty(), "{path}: {scans:?}; serve the access pattern by a key");
    }
    for file in rust_files(&["crates", "functions"]) {
        for call in [".scan()", ".execute_statement()", "Scan {"] {
            assert!(!product_code(&file.text).contains(call), "{} calls {call}", file.path);
        }
    }
}

#[test]
fn a08_operators_role_is_documented_for_every_call_of_the_command() {
    let docs = super::sources::read("docs/deploying.md");
    let rows: String = docs.lines().filter(|line| line.starts_with('|')).collect();
    for (call, action) in CALLS_OF_THE_COMMAND {
        assert!(
            rows.contains(action),
            "{call}: list {action} among the operator's actions in docs/deploying.md"
        );
    }
}

/// The permissions of an operator are in the docs only, because the template creates no role for operators. The command
/// invokes no function, so an operator needs no such permission.
#[test]
fn s14_a14_operators_role_invokes_no_function_and_reads_histories_with_care() {
    let docs = super::sources::read("docs/deploying.md");
    let rows = docs.lines().filter(|line| line.starts_with('|'));
    assert_eq!(rows.filter(|row| row.contains("InvokeFunction")).count(), 0, "{docs}");
    assert!(!super::sources::read("crates/lectern-cli/Cargo.toml").contains("aws-sdk-lambda"));
    for rule in ["`ServeApiFunction`", "states:GetExecutionHistory", "states:SendTaskSuccess"] {
        assert!(docs.contains(rule), "docs/deploying.md lacks {rule}");
    }
}
