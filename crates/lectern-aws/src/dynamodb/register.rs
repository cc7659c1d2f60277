//! Registers a document: writes its item, its callback id, its file's current version and its submission in one
//! transaction.

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use lectern::{
    document::transitions,
    document::{Document, DocumentRef},
    error::{Error, StoreError},
    ports::{NewDocument, Register, Registration, Sequencer},
    telemetry::trace::TRACEPARENT,
};
use serde::{Deserialize, Serialize};

use super::{
    DynamoDbStore,
    items::{Assignment, EXPIRES_AT, Item, StoredDocument, callback_key, file_key, from_item, to_item},
    update, write,
};
use crate::error::failed;

/// The current version of a file: `SUBMISSION#<id>` / `FILE#<hash of bucket and key>`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrentVersion {
    #[serde(flatten)]
    document: DocumentRef,
    #[serde(default)]
    sequencer: String,
}

impl Register for DynamoDbStore {
    async fn register(&self, new: NewDocument) -> Result<Registration, Error> {
        if let Some(known) = self.stored(&new.reference).await? {
            return Ok(Registration::Known(known.document));
        }
        let reference = new.reference.clone();
        let (sequencer, upload, now) = (new.sequencer.clone(), new.upload, new.now);
        let file_key = file_key(&reference.submission_id, &new.object);
        let (file, current) = self.current_version(file_key).await?;
        let mut plan = transitions::register(
            new,
            current.as_ref().map(|(stored, sequencer)| (stored.document.clone(), sequencer.clone())),
        );
        if plan.document.state.is_terminal() {
            plan.document.expires_at = self.retention.expires_at(now);
        }
        let Some(count) = self.count(&plan.document, plan.change, now).await? else {
            return Ok(Registration::Erased);
        };
        let mut writes = vec![
            self.put_once(to_item(&StoredDocument::new(plan.document.clone()))?)?,
            self.put_callback(&plan.document)?,
        ];
        if plan.is_current {
            writes.push(self.put_current(file, &plan.document, &sequencer)?);
        }
        if let (Some(superseded), Some((stored, _))) = (plan.superseded, current) {
            writes.push(self.put_moved(stored, superseded)?);
        }
        if let Some(upload) = upload {
            writes.push(self.fulfil(&reference.submission_id, &upload)?);
        }
        writes.push(count);
        match self.transact(writes).await {
            Ok(()) => {
                tracing::debug!(
                    isCurrent = plan.is_current,
                    "The document, its callback id and its file were written."
                );
                Ok(Registration::New(plan.document))
            }
            // Another delivery of the same event or a write for another document came first. In the latter case, SQS
            // delivers this message again.
            Err(conflict @ Error::Store(StoreError::Conflict)) => match self.stored(&reference).await? {
                Some(known) => Ok(Registration::Known(known.document)),
                None => Err(conflict),
            },
            Err(error) => Err(error),
        }
    }
}

impl DynamoDbStore {
    /// A file's item, which holds at least its key, and its current version.
    pub(super) async fn current_version(
        &self,
        file_key: Item,
    ) -> Result<(Item, Option<(StoredDocument, Sequencer)>), Error> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(file_key.clone()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("GetItem", error))?;
        let Some(item) = answer.item else { return Ok((file_key, None)) };
        let current: CurrentVersion = from_item(item.clone())?;
        let stored = self.stored(&current.document).await?;
        Ok((item, stored.map(|stored| (stored, Sequencer::new(&current.sequencer)))))
    }

    fn put_once(&self, item: Item) -> Result<TransactWriteItem, Error> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        write(put)
    }

    fn put_callback(&self, document: &Document) -> Result<TransactWriteItem, Error> {
        let mut item = callback_key(&document.callback_id);
        item.extend(to_item(&document.reference)?);
        if let Some(traceparent) = document.traceparent {
            item.insert(TRACEPARENT.to_owned(), AttributeValue::S(traceparent.to_string()));
        }
        item.extend(expiry(document));
        self.put_once(item)
    }

    /// Makes the document its file's current version, unless the current version has changed in the meantime.
    fn put_current(
        &self,
        file: Item,
        document: &Document,
        sequencer: &Sequencer,
    ) -> Result<TransactWriteItem, Error> {
        let mut item = file;
        // The document of the version before may have expired already.
        let replaced = item.get("documentId").cloned();
        item.extend(to_item(&CurrentVersion {
            document: document.reference.clone(),
            sequencer: sequencer.as_str().to_owned(),
        })?);
        item.remove(EXPIRES_AT);
        item.extend(expiry(document));
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        write(match replaced {
            None => put.condition_expression("attribute_not_exists(pk)").build(),
            Some(replaced) => put
                .condition_expression("documentId = :replaced")
                .expression_attribute_values(":replaced", replaced)
                .build(),
        })
    }

    /// The writes that let the document's callback id and, if the document is its file's current version, the file expire
    /// with the document, or not expire any more. None if the document's time of expiry has not changed.
    ///
    /// The items do not expire in an order, so an item may be gone when its document is reopened; the write creates it.
    pub(super) fn put_expiry(
        &self,
        before: &Document,
        document: &Document,
    ) -> Result<Vec<TransactWriteItem>, Error> {
        if before.expires_at == document.expires_at {
            return Ok(Vec::new());
        }
        let is_current = document.superseded_by.is_none();
        let file = is_current.then(|| file_key(&document.reference.submission_id, &document.object));
        let keys = [Some(callback_key(&document.callback_id)), file];
        let updates = keys.into_iter().flatten().map(|key| {
            let mut attributes = to_item(&document.reference)?;
            attributes.extend(expiry(document));
            let removed: &[&str] = if document.expires_at.is_some() { &[] } else { &[EXPIRES_AT] };
            let Assignment { expression, names, values } = Assignment::of(attributes, removed);
            let item =
                Update::builder().table_name(&self.table).set_key(Some(key)).update_expression(expression);
            update(
                item.set_expression_attribute_names(Some(names))
                    .set_expression_attribute_values(Some(values))
                    .build(),
            )
        });
        updates.collect()
    }
}

/// The attribute that lets the items of a document expire, if they do.
fn expiry(document: &Document) -> Option<(String, AttributeValue)> {
    let expires_at = document.expires_at?;
    Some((EXPIRES_AT.to_owned(), AttributeValue::N(expires_at.to_string())))
}
