//! What is kept in the returned bucket, under `quarantine/`, which its lifecycle empties: poison, and how often a failed
//! invocation was made again, since Lambda's record has no room for that.

use aws_sdk_s3::{error::ProvideErrorMetadata as _, primitives::ByteStream};
use serde_json::json;

use super::judged::Judged;
use crate::{cloud::Cloud, problem::Problem};

/// Where a poisonous letter is kept.
pub(super) fn quarantine_key(queue: &str, mark: &str) -> String {
    format!("quarantine/dead-letters/{queue}/{mark}.json")
}

fn marker_key(queue: &str, mark: &str) -> String {
    format!("quarantine/dead-letters/{queue}/{mark}.redrives")
}

/// Keeps a letter with all that it holds; only an operator reads there.
pub(super) async fn quarantine(cloud: &Cloud, queue: &str, judged: &Judged) -> Result<String, Problem> {
    let key = quarantine_key(queue, &judged.mark());
    let letter = &judged.letter;
    let kept = json!({
        "queue": queue,
        "messageId": letter.id,
        "class": judged.verdict.class,
        "why": judged.verdict.why,
        "sentAt": letter.sent.map(lectern::error::rfc3339),
        "redrives": judged.redrives,
        "attributes": letter.texts(),
        "body": letter.body,
    });
    put(cloud, &key, kept.to_string(), "application/json").await?;
    Ok(key)
}

/// How often an invocation was made again.
pub(super) async fn read(cloud: &Cloud, queue: &str, mark: &str) -> Result<u32, Problem> {
    let request = cloud.s3.get_object().bucket(&cloud.stack.returned_bucket).key(marker_key(queue, mark));
    match request.send().await {
        Ok(answer) => {
            let bytes = answer.body.collect().await;
            let bytes = bytes
                .map_err(|_| Problem::new("GetObject: its answer broke off", "Run the command again."))?;
            let text = String::from_utf8(bytes.to_vec()).unwrap_or_default();
            Ok(text.trim().parse().unwrap_or_default())
        }
        Err(error) if matches!(error.code(), Some("NoSuchKey" | "NotFound")) => Ok(0),
        Err(error) => Err(Problem::aws("GetObject", &error)),
    }
}

/// Keeps how often an invocation was made again.
pub(super) async fn write(cloud: &Cloud, queue: &str, mark: &str, redrives: u32) -> Result<(), Problem> {
    put(cloud, &marker_key(queue, mark), redrives.to_string(), "text/plain").await
}

async fn put(cloud: &Cloud, key: &str, content: String, media_type: &str) -> Result<(), Problem> {
    let request = cloud.s3.put_object().bucket(&cloud.stack.returned_bucket).key(key);
    let request = request.content_type(media_type).body(ByteStream::from(content.into_bytes()));
    request.send().await.map(drop).map_err(|error| Problem::aws("PutObject", &error))
}
