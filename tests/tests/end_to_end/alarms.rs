//! Alarms and what their topic's subscribers receive. The local cloud extracts the metrics from the functions' log lines,
//! as `CloudWatch` does.

use std::collections::BTreeSet;

use aws_sdk_sqs::types::QueueAttributeName;
use lectern::ports::Clock as _;
use lectern_aws::SystemClock;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    aws_json::{call, form},
    stack::Stack,
    wait::{LATER, eventually},
};

pub(crate) fn now_ms() -> i128 {
    SystemClock.now().unix_timestamp_nanos() / 1_000_000
}

/// A queue that subscribes to the topic of the alarms, and what it has received so far.
pub(crate) struct Subscriber<'s> {
    stack: &'s Stack,
    queue_url: String,
    subscription: String,
    heard: BTreeSet<String>,
    /// The messages that are not from alarms.
    told: Vec<String>,
}

impl<'s> Subscriber<'s> {
    pub(crate) async fn subscribe(stack: &'s Stack) -> Self {
        let topic = stack.alarms().await[0]["AlarmActions"][0].as_str().unwrap().to_owned();
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" }, "Action": "sqs:SendMessage",
            "Resource": "*", "Condition": { "ArnEquals": { "aws:SourceArn": topic } }
        }] });
        let create = stack.sqs.create_queue().queue_name(format!("alarms-{}", Uuid::new_v4().simple()));
        let create = create.attributes(QueueAttributeName::Policy, policy.to_string());
        let queue_url = create.send().await.unwrap().queue_url.unwrap();
        let request = stack.sqs.get_queue_attributes().queue_url(&queue_url);
        let request = request.attribute_names(QueueAttributeName::QueueArn);
        let attributes = request.send().await.unwrap().attributes.unwrap();
        let endpoint = attributes[&QueueAttributeName::QueueArn].as_str();
        let subscribe = [
            ("Action", "Subscribe"),
            ("Version", "2010-03-31"),
            ("TopicArn", topic.as_str()),
            ("Protocol", "sqs"),
            ("Endpoint", endpoint),
        ];
        let answer = form(stack, "sns", &subscribe).await;
        let (_, rest) = answer.split_once("<SubscriptionArn>").expect("the subscription's ARN");
        let subscription = rest.split('<').next().unwrap().to_owned();
        Self { stack, queue_url, subscription, heard: BTreeSet::new(), told: Vec::new() }
    }

    /// Waits until the queue has received that this alarm, by its logical id in the template, is on.
    pub(crate) async fn goes_off(&mut self, alarm: &str) {
        let prefix = format!("{}-{alarm}", self.stack.is.stack_name);
        eventually(&format!("{alarm} goes off"), LATER, async || {
            self.receive().await?;
            let is_heard = self.heard.iter().any(|name| name.starts_with(&prefix));
            if is_heard { Ok(()) } else { Err(format!("{:?}", self.heard)) }
        })
        .await;
    }

    /// Waits for a message that is not from an alarm and contains this text.
    pub(crate) async fn is_told(&mut self, what: &str) -> String {
        eventually(what, LATER, async || {
            self.receive().await?;
            let told = self.told.iter().find(|told| told.contains(what));
            told.cloned().ok_or_else(|| format!("{:?}", self.told))
        })
        .await
    }

    async fn receive(&mut self) -> Result<(), String> {
        let sqs = &self.stack.sqs;
        let request = sqs.receive_message().queue_url(&self.queue_url).max_number_of_messages(10);
        let received = request.send().await.map_err(|error| format!("{error:?}"))?;
        for message in received.messages.unwrap_or_default() {
            let envelope: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            let text = envelope["Message"].as_str().unwrap();
            match serde_json::from_str::<Value>(text) {
                Ok(notice) => {
                    assert_eq!(notice["NewStateValue"], "ALARM", "the alarms notify of nothing else");
                    self.heard.insert(notice["AlarmName"].as_str().unwrap().to_owned());
                }
                // What Lectern itself publishes is for people.
                Err(_) => self.told.push(text.to_owned()),
            }
            let delete = sqs.delete_message().queue_url(&self.queue_url);
            let delete = delete.set_receipt_handle(message.receipt_handle);
            delete.send().await.map_err(|error| format!("{error:?}"))?;
        }
        Ok(())
    }

    pub(crate) async fn unsubscribe(self) {
        let arn = self.subscription.as_str();
        let fields = [("Action", "Unsubscribe"), ("Version", "2010-03-31"), ("SubscriptionArn", arn)];
        form(self.stack, "sns", &fields).await;
        self.stack.sqs.delete_queue().queue_url(self.queue_url).send().await.unwrap();
    }
}

impl Stack {
    /// The stack's alarms.
    pub(crate) async fn alarms(&self) -> Vec<Value> {
        let prefix = format!("{}-", self.is.stack_name);
        let request = json!({ "AlarmNamePrefix": prefix, "MaxRecords": 100 });
        let mut found = cloudwatch(self, "DescribeAlarms", &request).await;
        assert_eq!(found["NextToken"], Value::Null, "read further pages");
        serde_json::from_value(found["MetricAlarms"].take()).unwrap()
    }

    /// Makes all metrics so much older, as if that time had passed. No other test may run meanwhile.
    pub(crate) async fn age_metrics(&self, seconds: u32) {
        let url = format!("{}/_lectern/metrics/age", self.is.endpoint);
        let request = self.http.post(url).json(&json!({ "seconds": seconds }));
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// The lines in embedded metric format in a function's log.
    pub(crate) async fn metric_lines(&self, function: &str, began_ms: i128) -> Vec<Value> {
        let groups = call(self, "logs", "Logs_20140328.DescribeLogGroups", &json!({})).await;
        let mut names =
            groups["logGroups"].as_array().unwrap().iter().filter_map(|group| group["logGroupName"].as_str());
        let name = names.find(|name| name.ends_with(&format!("/{function}LogGroup")));
        let name = name.unwrap_or_else(|| panic!("{function} has no log group"));
        let body = json!({ "logGroupName": name, "startTime": began_ms, "limit": 10_000 });
        let page = call(self, "logs", "Logs_20140328.FilterLogEvents", &body).await;
        let events = page["events"].as_array().unwrap().iter();
        let texts = events.filter_map(|event| event["message"].as_str()).flat_map(str::lines);
        let lines = texts.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["_aws"].is_object()).collect()
    }
}

pub(crate) async fn cloudwatch(stack: &Stack, operation: &str, body: &Value) -> Value {
    call(stack, "monitoring", &format!("GraniteServiceVersion20100801.{operation}"), body).await
}
