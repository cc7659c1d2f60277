//! Nothing that holds messages or data is replaced by a deployment, and nothing that outlives its stack blocks the next one.
//! docs/changing.md says what to do instead of a replacement.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::template::Template;

/// The resources that hold messages or data. `CloudFormation` takes a resource with another logical id for another resource:
/// it creates an empty one, and deletes or abandons the old one with what it holds.
const HOLDING: [(&str, &str); 20] = [
    ("AdmitDocumentDeadLetterQueue", "messages that an operator has to look at"),
    ("AdmitDocumentQueue", "orders; running executions send to its URL for 60 days"),
    ("DeliverEventsDeadLetterQueue", "messages that an operator has to look at"),
    ("DeliverEventsQueue", "events; each is routed once"),
    ("DocumentStateMachine", "running executions, which would be deleted with it"),
    ("EraseSubmissionStateMachine", "erasures that are not complete"),
    ("EventTimersDeadLetterQueue", "messages that an operator has to look at"),
    ("EventTimersQueue", "timers of events that wait"),
    ("HttpApi", "the host of the callback URLs that the third party was given"),
    ("NormalizeDocumentDeadLetterQueue", "messages that an operator has to look at"),
    ("NormalizeDocumentQueue", "messages; running executions send to its URL for 60 days"),
    ("ReceiveUploadDeadLetterQueue", "messages that an operator has to look at"),
    ("ReceiveUploadQueue", "S3 events; each is sent once"),
    ("ReturnedBucket", "returned files and records"),
    ("Table", "all state"),
    ("ThirdPartyApiKey", "the key that the third party knows"),
    ("TransferDocumentDeadLetterQueue", "messages that an operator has to look at"),
    ("TransferDocumentQueue", "messages; running executions send to its URL for 60 days"),
    ("UploadsBucket", "uploads"),
    ("UserPool", "the users"),
];
/// The resources that may be found in the template besides [`HOLDING`], with the same types.
const RENEWABLE: [(&str, &str); 1] =
    [("WebhookSigningSecret", "a rotation replaces its value; both are accepted meanwhile")];
const TYPES: [&str; 7] = [
    "AWS::SQS::Queue",
    "AWS::S3::Bucket",
    "AWS::DynamoDB::Table",
    "AWS::SecretsManager::Secret",
    "AWS::Cognito::UserPool",
    "AWS::ApiGatewayV2::Api",
    "AWS::Serverless::StateMachine",
];

/// The properties whose change replaces a resource of a type, by `CloudFormation`'s reference ("Update requires:
/// Replacement").
const REPLACING: [(&str, &[&str]); 7] = [
    ("AWS::SQS::Queue", &["QueueName", "FifoQueue"]),
    ("AWS::S3::Bucket", &["BucketName", "BucketNamePrefix", "BucketNamespace", "ObjectLockEnabled"]),
    (
        "AWS::DynamoDB::Table",
        // With another view type the table stays, and gets another stream: what the old one holds is not read.
        &[
            "TableName",
            "KeySchema",
            "LocalSecondaryIndexes",
            "ImportSourceSpecification",
            "StreamSpecification",
        ],
    ),
    ("AWS::SecretsManager::Secret", &["Name"]),
    ("AWS::Cognito::UserPool", &["UsernameAttributes", "AliasAttributes", "UsernameConfiguration"]),
    ("AWS::ApiGatewayV2::Api", &["ProtocolType"]),
    ("AWS::Serverless::StateMachine", &["Name", "Type"]),
];

/// The values of these properties; a resource that is not listed has none of them.
fn pinned() -> BTreeMap<(&'static str, &'static str), Value> {
    BTreeMap::from([
        (("AdmitDocumentQueue", "FifoQueue"), json!(true)),
        (("AdmitDocumentDeadLetterQueue", "FifoQueue"), json!(true)),
        (("DeliverEventsQueue", "FifoQueue"), json!(true)),
        (("DeliverEventsDeadLetterQueue", "FifoQueue"), json!(true)),
        (("Table", "StreamSpecification"), json!({"StreamViewType": "NEW_AND_OLD_IMAGES"})),
        (
            ("Table", "KeySchema"),
            json!([
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ]),
        ),
        (("UserPool", "UsernameAttributes"), json!(["email"])),
        (("UserPool", "UsernameConfiguration"), json!({"CaseSensitive": false})),
        (("HttpApi", "ProtocolType"), json!("HTTP")),
        (("DocumentStateMachine", "Type"), json!("STANDARD")),
        (("EraseSubmissionStateMachine", "Type"), json!("STANDARD")),
    ])
}

fn holding(template: &Template) -> impl Iterator<Item = (&str, &str, &Value)> {
    let all = template.0["Resources"].as_object().unwrap().iter();
    all.filter_map(|(name, resource)| {
        let kind = resource["Type"].as_str().unwrap();
        TYPES.contains(&kind).then_some((name.as_str(), kind, &resource["Properties"]))
    })
}

#[test]
fn a07_nothing_that_holds_messages_or_data_gets_another_logical_id() {
    let template = Template::load();
    let found: BTreeSet<&str> = holding(&template).map(|(name, ..)| name).collect();
    let listed: BTreeSet<&str> = HOLDING.iter().chain(&RENEWABLE).map(|(name, _)| *name).collect();
    assert_eq!(
        found, listed,
        "left: template.yaml; right: this test. List a new resource here. If one was renamed or removed, read \
         docs/changing.md, \"What is never replaced\": a deployment would take it away with what it holds"
    );
}

#[test]
fn a07_no_property_changes_that_replaces_what_holds_messages_or_data() {
    let template = Template::load();
    let replacing = BTreeMap::from(REPLACING);
    let mut found = BTreeMap::new();
    for (name, kind, properties) in holding(&template) {
        for property in replacing[kind] {
            if let Some(value) = properties.get(*property) {
                found.insert((name, *property), value.clone());
            }
        }
    }
    assert_eq!(
        found,
        pinned(),
        "left: template.yaml; right: this test. Another value replaces the resource; read docs/changing.md, \"What is \
         never replaced\""
    );
    let attributes = &template.resource("AWS::DynamoDB::Table", "Table")["AttributeDefinitions"];
    for attribute in attributes.as_array().unwrap() {
        assert_eq!(attribute["AttributeType"], "S", "another type of a key replaces the table");
    }
}

/// A stack that is created again would meet the old resource.
#[test]
fn a12_nothing_that_outlives_its_stack_has_a_fixed_name() {
    let template = Template::load();
    let mut kept = 0;
    for (name, resource) in template.0["Resources"].as_object().unwrap() {
        if resource.get("DeletionPolicy").is_none() {
            continue;
        }
        kept += 1;
        assert_eq!(resource["DeletionPolicy"], "RetainExceptOnCreate", "{name}");
        for fixed in ["BucketName", "TableName", "UserPoolName", "QueueName", "LogGroupName", "Name"] {
            assert!(resource["Properties"].get(fixed).is_none(), "{name}: let CloudFormation choose {fixed}");
        }
    }
    assert_eq!(kept, 4, "correct this test and docs/deploying.md, \"Deleting a stage\"");
}

/// `CloudFormation` names a bucket `<stack>-<logical id>-<suffix>`, in lower case. The bucket needs the queue's policy before
/// it exists, so the policy cannot name it.
#[test]
fn a12_policy_of_the_upload_queue_fits_the_name_that_cloudformation_gives_to_the_bucket() {
    let template = Template::load();
    let policy = template.resource("AWS::SQS::QueuePolicy", "ReceiveUploadQueuePolicy");
    let statement = &policy["PolicyDocument"]["Statement"][0];
    let source = &statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"];
    assert_eq!(source, "arn:${AWS::Partition}:s3:::${AWS::StackName}-uploadsbucket-*");
    template.resource("AWS::S3::Bucket", "UploadsBucket");
    let account = &statement["Condition"]["StringEquals"]["aws:SourceAccount"];
    assert_eq!(*account, json!({"Ref": "AWS::AccountId"}), "any account may name a bucket like that");
    let names =
        super::sources::captures(r#"(?m)^stack_name = "([^"]+)""#, &super::sources::read("samconfig.toml"));
    assert!(!names.is_empty());
    for name in names {
        // A bucket's name has 63 characters at most, and CloudFormation would shorten the stack's name in it.
        assert!(name == name.to_lowercase() && name.len() <= 32, "{name}");
    }
}
