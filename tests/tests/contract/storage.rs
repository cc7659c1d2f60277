//! Storage: buckets, the table and secrets.

use serde_json::{Value, json};

use super::template::{Template, walk};

#[test]
fn buckets_are_versioned_private_encrypted_and_kept() {
    let template = Template::load();
    for (name, bucket) in template.resources("AWS::S3::Bucket") {
        assert_eq!(bucket["VersioningConfiguration"], json!({"Status": "Enabled"}), "{name}");
        let block = bucket["PublicAccessBlockConfiguration"].as_object();
        let block = block.unwrap_or_else(|| panic!("{name}: block public access"));
        assert!(
            block.len() == 4 && block.values().all(|blocked| blocked == true),
            "{name}: set all four public-access blocks"
        );
        assert_eq!(
            bucket["OwnershipControls"]["Rules"],
            json!([{"ObjectOwnership": "BucketOwnerEnforced"}]),
            "{name}"
        );
        let encryption = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
        assert!(
            encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"].is_string(),
            "{name}: encrypt it"
        );
        let rules = bucket["LifecycleConfiguration"].to_string();
        assert!(
            rules.contains("AbortIncompleteMultipartUpload"),
            "{name}: without this rule, incomplete multipart uploads cost money for ever"
        );
        let resource = &template.0["Resources"][name];
        assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{name}");
    }
}

#[test]
fn buckets_refuse_requests_without_tls() {
    let template = Template::load();
    let policies = template.resources("AWS::S3::BucketPolicy");
    for (name, _) in template.resources("AWS::S3::Bucket") {
        let policy = policies.values().find(|policy| policy["Bucket"] == json!({"Ref": name}));
        let policy = policy.unwrap_or_else(|| panic!("{name}: give it a bucket policy that refuses HTTP"));
        let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
        let refusal = statements.iter().find(|statement| {
            statement["Effect"] == "Deny" && statement["Condition"]["Bool"]["aws:SecureTransport"] == "false"
        });
        let refusal = refusal.unwrap_or_else(|| panic!("{name}: deny requests without aws:SecureTransport"));
        let denied = (&refusal["Principal"], &refusal["Action"]);
        assert_eq!(denied, (&json!("*"), &json!("s3:*")), "{name}: deny it to everyone");
        let all = json!([{"Fn::GetAtt": format!("{name}.Arn")}, {"Fn::Sub": format!("${{{name}.Arn}}/*")}]);
        assert_eq!(refusal["Resource"], all, "{name}: the policy has to cover the bucket and its objects");
        // The one exception is the local cloud on this machine; no request to AWS can claim to come from it.
        let exception = &refusal["Condition"]["NotIpAddress"]["aws:SourceIp"];
        assert!(exception.is_null() || exception == "127.0.0.0/8", "{name}: {exception}");
        assert!(
            statements.iter().all(|statement| statement["Effect"] == "Deny"),
            "{name}: roles grant, not buckets"
        );
    }
}

#[test]
fn table_is_on_demand_with_point_in_time_recovery_and_encrypted() {
    let template = Template::load();
    let tables = template.resources("AWS::DynamoDB::Table");
    for (name, table) in tables {
        assert_eq!(table["BillingMode"], "PAY_PER_REQUEST", "{name}");
        let recovery = &table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"];
        assert_eq!(recovery, true, "{name}");
        assert_eq!(table["SSESpecification"]["SSEEnabled"], true, "{name}");
        assert_eq!(template.0["Resources"][name]["UpdateReplacePolicy"], "Retain", "{name}");
    }
}

#[test]
fn keys_of_the_table_and_its_index_are_those_of_the_adapter() {
    let items = super::sources::read("crates/lectern-aws/src/dynamodb/items.rs");
    let template = Template::load();
    let table = template.resource("AWS::DynamoDB::Table", "Table");
    let keys = |schema: &Value| -> Vec<String> {
        let parts = schema.as_array().unwrap().iter();
        parts.map(|part| part["AttributeName"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&table["KeySchema"]), ["pk", "sk"]);
    assert!(items.contains(r#"("pk".to_owned()"#) && items.contains(r#"("sk".to_owned()"#));
    for index in table["GlobalSecondaryIndexes"].as_array().unwrap() {
        let name = index["IndexName"].as_str().unwrap();
        assert!(items.contains(&format!("\"{name}\"")), "no code reads the index {name}");
        let code = super::sources::files(&["crates/lectern-aws/src/dynamodb"], "rs");
        for key in keys(&index["KeySchema"]) {
            let written = code.iter().any(|file| file.text.contains(&key));
            assert!(written, "no code writes {key}, a key of the index {name}");
        }
    }
}

#[test]
fn uploads_are_announced_to_the_queue_of_receive_upload() {
    let template = Template::load();
    let uploads = template.resource("AWS::S3::Bucket", "UploadsBucket");
    let events = json!([{"Event": "s3:ObjectCreated:*", "Queue": {"Fn::GetAtt": "ReceiveUploadQueue.Arn"}}]);
    assert_eq!(uploads["NotificationConfiguration"]["QueueConfigurations"], events);
    let policy = template.resource("AWS::SQS::QueuePolicy", "ReceiveUploadQueuePolicy");
    let statement = &policy["PolicyDocument"]["Statement"][0];
    assert_eq!(statement["Principal"], json!({"Service": "s3.amazonaws.com"}));
    let account = &statement["Condition"]["StringEquals"]["aws:SourceAccount"];
    assert!(account.is_object(), "without aws:SourceAccount, a bucket of any account could send");
}

#[test]
fn secrets_are_generated_and_never_written_in_the_template() {
    let template = Template::load();
    for (name, secret) in template.resources("AWS::SecretsManager::Secret") {
        assert!(secret.get("SecretString").is_none(), "{name}: let Secrets Manager generate the secret");
        assert!(template.number(&secret["GenerateSecretString"]["PasswordLength"]) >= 32, "{name}");
    }
    for name in template.0["Parameters"].as_object().unwrap().keys() {
        let secret = ["Secret", "Password", "Token", "ApiKey"].iter().any(|word| name.contains(word));
        assert!(!secret, "the parameter {name} would put a secret into the template's history");
    }
    walk(&template.0, "", &mut |path, value| {
        let resolves = value.as_str().is_some_and(|text| text.contains("{{resolve:"));
        assert!(!resolves, "{path} puts a secret into a property; read it at run time");
    });
}
