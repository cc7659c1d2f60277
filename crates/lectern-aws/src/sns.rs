//! SNS: the topic of all alarms, for what no `CloudWatch` alarm can name.

use aws_sdk_sns::Client;
use lectern::{error::Error, ports::Alarms};

use crate::error::failed;

/// The topic of all alarms.
#[derive(Clone, Debug)]
pub struct AlarmTopic {
    client: Client,
    arn: String,
}

impl AlarmTopic {
    /// Publishes to the topic with this ARN.
    pub fn new(client: Client, arn: String) -> Self {
        Self { client, arn }
    }
}

impl Alarms for AlarmTopic {
    async fn alarm(&self, subject: &str, text: &str) -> Result<(), Error> {
        let request = self.client.publish().topic_arn(&self.arn).subject(subject).message(text);
        request.send().await.map(drop).map_err(|error| failed("Publish", error))
    }
}
