//! The queues after all other tests.

use aws_sdk_sqs::types::QueueAttributeName;

use crate::{
    stack::Stack,
    wait::{LATER, eventually},
};

#[tokio::test]
async fn every_queue_is_empty_in_the_end_and_no_dead_letter_is_left_over() {
    let stack = Stack::open();
    let (queues, dead) = (&stack.is.queue_urls, &stack.is.dead_letter_queue_urls);
    for url in [queues, dead].into_iter().flat_map(|urls| {
        [&urls.receive_upload, &urls.admit_document, &urls.transfer_document, &urls.normalize_document]
    }) {
        let name = url.rsplit('/').next().unwrap();
        eventually(&format!("{name} is empty"), LATER, async || {
            let counts = [
                QueueAttributeName::ApproximateNumberOfMessages,
                QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
                QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            ];
            let request =
                stack.sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(counts.to_vec()));
            let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
            let found = answer.attributes.unwrap_or_default();
            let empty = counts.iter().all(|count| found.get(count).is_some_and(|number| number == "0"));
            if empty { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }
}
