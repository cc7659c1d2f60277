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
        let encryption = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["Fn::If"];
        for index in [1, 2] {
            let algorithm = &encryption[index]["ServerSideEncryptionByDefault"]["SSEAlgorithm"];
            assert!(algorithm.is_string(), "{name}: encrypt it");
        }
        let rules = bucket["LifecycleConfiguration"].to_string();
        assert!(
            rules.contains("AbortIncompleteMultipartUpload"),
            "{name}: without this rule, incomplete multipart uploads cost money for ever"
        );
        let resource = &template.0["Resources"][name];
        assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{name}");
    }
}

/// The lifecycle rules that are in force unless `condition` holds, each with its prefix.
fn expirations(bucket: &Value, condition: &str, parameter: &str) -> Vec<String> {
    let rules = bucket["LifecycleConfiguration"]["Rules"].as_array().unwrap().iter();
    let conditional = rules.filter_map(|rule| match rule["Fn::If"].as_array().map(Vec::as_slice) {
        Some([when, none, rule]) => {
            assert_eq!((when, none), (&json!(condition), &json!({ "Ref": "AWS::NoValue" })));
            Some(rule)
        }
        _ => None,
    });
    let prefixes = conditional.map(|rule| {
        assert_eq!(rule["Status"], "Enabled");
        assert_eq!(rule["ExpirationInDays"], json!({ "Ref": parameter }), "{rule}");
        rule["Prefix"].as_str().unwrap_or_default().to_owned()
    });
    prefixes.collect()
}

#[test]
fn a08_every_prefix_expires_by_a_parameter_and_old_versions_follow() {
    let template = Template::load();
    let bucket = |name: &str| template.resource("AWS::S3::Bucket", name);
    let uploads = expirations(bucket("UploadsBucket"), "KeepsUploads", "UploadRetentionDays");
    assert_eq!(uploads, [""], "all uploads, also those of foreign prefixes");
    let returned = expirations(bucket("ReturnedBucket"), "KeepsRecords", "RecordRetentionDays");
    let id = "s1".parse().unwrap();
    for prefix in lectern::document::keys::returned_of(&id) {
        let kind = prefix.trim_end_matches("s1/");
        // The rule of quarantine has a number of days of its own.
        assert!(kind == "quarantine/" || returned.contains(&kind.to_owned()), "{kind} never expires");
    }
    for (condition, parameter) in
        [("KeepsUploads", "UploadRetentionDays"), ("KeepsRecords", "RecordRetentionDays")]
    {
        let keeps = json!({ "Fn::Equals": [{ "Ref": parameter }, "0"] });
        assert_eq!(template.0["Conditions"][condition], keeps);
    }
    let days = lectern::document::retention::Retention::OLD_VERSIONS.as_secs() / (24 * 3600);
    for name in ["UploadsBucket", "ReturnedBucket"] {
        let rules = bucket(name)["LifecycleConfiguration"]["Rules"].as_array().unwrap();
        let rule =
            |id: &str| rules.iter().find(|rule| rule["Id"] == id).unwrap_or_else(|| panic!("{name}: {id}"));
        let old = rule("old-versions");
        assert_eq!(old["NoncurrentVersionExpiration"]["NoncurrentDays"], days, "{name}");
        assert!(old["Prefix"].is_null(), "{name}: versions of all prefixes");
        assert_eq!(rule("delete-markers")["ExpiredObjectDeleteMarker"], true, "{name}");
    }
}

#[test]
fn a08_retention_is_for_good_or_longer_than_a_document_is_in_progress() {
    let template = Template::load();
    for parameter in ["UploadRetentionDays", "RecordRetentionDays"] {
        let parameter = &template.0["Parameters"][parameter];
        let pattern =
            super::sources::regex(&format!("^(?:{})$", parameter["AllowedPattern"].as_str().unwrap()));
        for (days, is_allowed) in [
            ("0", true),
            ("30", true),
            ("365", true),
            ("29", false),
            ("1", false),
            ("-1", false),
            ("030", false),
        ] {
            assert_eq!(pattern.is_match(days), is_allowed, "{days}");
        }
        assert!(pattern.is_match(parameter["Default"].as_str().unwrap()));
        assert_ne!(
            parameter["Default"], "0",
            "people's data is not kept for good unless an operator decides so"
        );
    }
}

#[test]
fn a08_every_item_of_a_document_can_expire() {
    let template = Template::load();
    let table = template.resource("AWS::DynamoDB::Table", "Table");
    assert_eq!(table["TimeToLiveSpecification"], json!({ "AttributeName": "expiresAt", "Enabled": true }));
    let model = super::sources::read("docs/data-model.md");
    let row = |name: &str| {
        let row = model.lines().find(|line| line.starts_with(&format!("| {name}")));
        row.unwrap_or_else(|| panic!("docs/data-model.md has no item {name}"))
    };
    for item in [
        "document",
        "submission",
        "newest version of a file",
        "callback id",
        "well-signed callback",
        "event that waits for a subscriber",
    ] {
        assert!(row(item).contains("`expiresAt`"), "docs/data-model.md says when {item} expires");
    }
}

/// What holds people's data is encrypted with the customer managed key, if one is given.
#[test]
fn a08_customer_managed_key_encrypts_everything_and_every_role_may_use_it() {
    let template = Template::load();
    let key = json!({ "Ref": "KmsKeyArn" });
    let none = json!({ "Ref": "AWS::NoValue" });
    let if_key = |yes: &Value, no: &Value| json!({ "Fn::If": ["HasKmsKey", yes, no] });
    for (kind, property) in [
        ("AWS::SQS::Queue", "KmsMasterKeyId"),
        ("AWS::Logs::LogGroup", "KmsKeyId"),
        ("AWS::SecretsManager::Secret", "KmsKeyId"),
    ] {
        for (name, resource) in template.resources(kind) {
            assert_eq!(resource[property], if_key(&key, &none), "{name}");
        }
    }
    for (name, queue) in template.resources("AWS::SQS::Queue") {
        assert_eq!(queue["SqsManagedSseEnabled"], if_key(&none, &json!(true)), "{name}");
    }
    for (name, bucket) in template.resources("AWS::S3::Bucket") {
        let rule = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["Fn::If"];
        assert_eq!(rule[1]["ServerSideEncryptionByDefault"]["KMSMasterKeyID"], key, "{name}");
    }
    let table = template.resource("AWS::DynamoDB::Table", "Table");
    assert_eq!(table["SSESpecification"]["Fn::If"][1]["KMSMasterKeyId"], key);
    let policy = template.resource("AWS::IAM::ManagedPolicy", "KmsKeyPolicy");
    assert_eq!(template.0["Resources"]["KmsKeyPolicy"]["Condition"], "HasKmsKey");
    let statement = &policy["PolicyDocument"]["Statement"][0];
    assert_eq!(
        (&statement["Resource"], &statement["Action"]),
        (&key, &json!(["kms:Decrypt", "kms:GenerateDataKey"]))
    );
    let functions = template.resources("AWS::Serverless::Function").into_keys();
    let machines = template.resources("AWS::Serverless::StateMachine").into_keys();
    let roles: Vec<String> = functions.chain(machines).map(|name| format!("{name}Role")).collect();
    let allowed: Vec<&str> =
        policy["Roles"].as_array().unwrap().iter().filter_map(|role| role["Ref"].as_str()).collect();
    for role in &roles {
        assert!(allowed.contains(&role.as_str()), "{role} may not use the key");
    }
    assert_eq!(allowed.len(), roles.len());
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
            statements.iter().all(|statement| {
                statement.get("Fn::If").map_or(statement, |branches| &branches[1])["Effect"] == "Deny"
            }),
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
        for index in [1, 2] {
            assert_eq!(table["SSESpecification"]["Fn::If"][index]["SSEEnabled"], true, "{name}");
        }
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
fn uploads_and_deletions_are_announced_to_the_queue_of_receive_upload() {
    let template = Template::load();
    let uploads = template.resource("AWS::S3::Bucket", "UploadsBucket");
    let queue = json!({"Fn::GetAtt": "ReceiveUploadQueue.Arn"});
    let events =
        ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"].map(|event| json!({"Event": event, "Queue": queue}));
    assert_eq!(uploads["NotificationConfiguration"]["QueueConfigurations"], json!(events));
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
