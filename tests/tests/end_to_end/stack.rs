//! The stack that `tools/local.py up` described in `$LECTERN_STACK`, and clients of it.

use std::path::{Path, PathBuf};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_http_client::Builder as HttpBuilder;
use lectern_aws::DynamoDbStore;
use serde::{Deserialize, de::DeserializeOwned};

/// The fields of `stack.json` that the tests use.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Description {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) stack_name: String,
    pub(crate) api_url_local: String,
    pub(crate) callback_base_url: String,
    pub(crate) uploads_bucket: String,
    pub(crate) returned_bucket: String,
    pub(crate) table: String,
    pub(crate) state_machine_arn: String,
    pub(crate) erase_submission_state_machine_arn: String,
    pub(crate) user_pool_id: String,
    pub(crate) user_pool_client_id: String,
    pub(crate) queue_urls: QueueUrls,
    pub(crate) dead_letter_queue_urls: QueueUrls,
    pub(crate) third_party_url: String,
    pub(crate) third_party_admin_key: String,
    pub(crate) pages_url: String,
    pub(crate) people: People,
}

/// One URL for each queue.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueueUrls {
    pub(crate) receive_upload: String,
    pub(crate) admit_document: String,
    pub(crate) transfer_document: String,
    pub(crate) normalize_document: String,
    pub(crate) deliver_events: String,
}

/// The people whom `tools/local.py up` has created.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct People {
    pub(crate) teacher: User,
    pub(crate) second_teacher: User,
    pub(crate) evaluator: User,
    pub(crate) operator: User,
}

/// Credentials of a Cognito user.
#[derive(Clone, Deserialize)]
pub(crate) struct User {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// The secrets that Lectern shares with the reference third party.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SharedSecrets {
    pub(crate) api_key: String,
    pub(crate) signing_secret: String,
}

/// The stack, with clients that belong to the test's own runtime.
pub(crate) struct Stack {
    pub(crate) is: Description,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) store: DynamoDbStore,
    pub(crate) http: reqwest::Client,
    file: PathBuf,
}

impl Stack {
    pub(crate) fn open() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the test's own setting, not the product's")]
        let file = std::env::var("LECTERN_STACK").expect("LECTERN_STACK names stack.json; run `make e2e`");
        let file = PathBuf::from(file);
        let is: Description = read(&file);
        let credentials =
            Credentials::new(&is.access_key_id, &is.secret_access_key, None, None, "stack.json");
        let region = Region::new(is.region.clone());
        let http = HttpBuilder::new().build_http();
        // The SDK's builders have the same methods, but no common trait.
        macro_rules! config {
            ($sdk:ident) => {
                $sdk::config::Builder::new()
                    .behavior_version(BehaviorVersion::latest())
                    .region(region.clone())
                    .credentials_provider(credentials.clone())
                    .endpoint_url(&is.endpoint)
                    .http_client(http.clone())
            };
        }
        let s3 = aws_sdk_s3::Client::from_conf(config!(aws_sdk_s3).force_path_style(true).build());
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(config!(aws_sdk_dynamodb).build());
        Self {
            sqs: aws_sdk_sqs::Client::from_conf(config!(aws_sdk_sqs).build()),
            sfn: aws_sdk_sfn::Client::from_conf(config!(aws_sdk_sfn).build()),
            store: DynamoDbStore::new(dynamodb.clone(), is.table.clone()),
            s3,
            dynamodb,
            http: http_client(),
            is,
            file,
        }
    }

    /// The file that describes the stack.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn shared_secrets(&self) -> SharedSecrets {
        read(&self.file.with_file_name("third-party-secrets.json"))
    }
}

/// A client for plain HTTP to this machine. The builder needs a TLS provider nevertheless.
fn http_client() -> reqwest::Client {
    // Another test may have installed the provider before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

fn read<T: DeserializeOwned>(file: &Path) -> T {
    let text = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A number from the environment, or the default.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the test's own setting, not the product's")]
    let given = std::env::var(name).ok().filter(|text| !text.is_empty());
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
