//! Submissions that teachers create, and files that they declare.
//!
//! A pending file is an item of its own, which the transaction that registers its upload deletes
//! ([`DynamoDbStore::fulfil`]). Pending files and submissions without documents expire after some days.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, Select, TransactWriteItem, Update};
use lectern::{
    document::{Owner, SubmissionId, UploadId, submission::SubmissionState},
    error::{Error, StoreError, rfc3339},
    limits::PENDING_LIFETIME,
    ports::{Declared, HandIn, NewSubmission, OpenWork, PendingFile},
};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{
    DynamoDbStore,
    erasure::ERASURE_STATE,
    items::{
        EXPIRES_AT, SUBMISSIONS_BY_OWNER, created_order, from_item, owner_state, submission_key,
        submission_pk, to_item, upload_key,
    },
    update, write,
};
use crate::error::{defect, failed};

/// An open submission in the index of a teacher's submissions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    #[serde(default)]
    declared_bytes: u64,
}

impl HandIn for DynamoDbStore {
    async fn create(&self, new: &NewSubmission) -> Result<(), Error> {
        let id = &new.submission_id;
        let created_at = rfc3339(new.now);
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: u64| AttributeValue::N(number.to_string());
        let state = SubmissionState::Draft;
        let mut item = submission_key(id);
        item.extend([
            ("submissionId".to_owned(), text(id.as_str())),
            ("owner".to_owned(), text(new.owner.expose())),
            ("title".to_owned(), text(&new.title)),
            ("state".to_owned(), text(state.as_str())),
            ("ownerState".to_owned(), AttributeValue::S(owner_state(&new.owner, state))),
            ("createdOrder".to_owned(), AttributeValue::S(created_order(&created_at, id))),
            ("createdAt".to_owned(), AttributeValue::S(created_at)),
            ("declaredFiles".to_owned(), number(new.files.len() as u64)),
            ("declaredBytes".to_owned(), number(new.files.iter().map(|file| file.size_bytes).sum())),
            (EXPIRES_AT.to_owned(), expires_at(new.now)),
        ]);
        item.extend(["open", "ready", "rejected", "failed"].map(|count| (count.to_owned(), number(0))));
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let mut writes = vec![write(put.condition_expression("attribute_not_exists(pk)").build())?];
        for file in &new.files {
            writes.push(self.put_pending(file, new.now)?);
        }
        self.transact(writes).await
    }

    async fn open_work(&self, owner: &Owner, max: u64) -> Result<OpenWork, Error> {
        let mut open = OpenWork::default();
        for state in SubmissionState::OPEN {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(SUBMISSIONS_BY_OWNER)
                .key_condition_expression("ownerState = :partition")
                .expression_attribute_values(":partition", AttributeValue::S(owner_state(owner, state)))
                .select(Select::AllProjectedAttributes)
                .limit(i32::try_from(max).unwrap_or(i32::MAX));
            let answer = query.send().await.map_err(|error| failed("Query", error))?;
            for item in answer.items.unwrap_or_default() {
                let Open { declared_bytes } = from_item(item)?;
                open.submissions += 1;
                open.bytes += declared_bytes;
            }
        }
        Ok(open)
    }

    async fn declare(
        &self,
        file: &PendingFile,
        owner: &Owner,
        max_files: u64,
        now: OffsetDateTime,
    ) -> Result<Declared, Error> {
        let id = &file.submission_id;
        let counted = Update::builder()
            .table_name(&self.table)
            .set_key(Some(submission_key(id)))
            .update_expression("ADD declaredFiles :one, declaredBytes :bytes")
            .condition_expression(
                "#owner = :owner AND declaredFiles < :max AND attribute_not_exists(erasureState)",
            )
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", AttributeValue::S(owner.expose().to_owned()))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .expression_attribute_values(":bytes", AttributeValue::N(file.size_bytes.to_string()))
            .expression_attribute_values(":max", AttributeValue::N(max_files.to_string()));
        match self.transact(vec![update(counted.build())?, self.put_pending(file, now)?]).await {
            Ok(()) => Ok(Declared::Pending),
            Err(conflict @ Error::Store(StoreError::Conflict)) => match self.submission_now(id).await? {
                Some(submission) if !submission.is_of(owner) => Ok(Declared::Unknown),
                Some(submission) if submission.declared_files >= max_files => Ok(Declared::TooManyFiles),
                Some(_) => Err(conflict),
                None => Ok(Declared::Unknown),
            },
            Err(error) => Err(error),
        }
    }

    async fn pending(&self, submission: &SubmissionId) -> Result<Vec<PendingFile>, Error> {
        let mut items = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :uploads)")
            .expression_attribute_values(":pk", AttributeValue::S(submission_pk(submission)))
            .expression_attribute_values(":uploads", AttributeValue::S("UPLOAD#".to_owned()))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut files: Vec<PendingFile> = Vec::new();
        while let Some(item) = items.next().await {
            files.push(from_item(item.map_err(|error| failed("Query", error))?)?);
        }
        files.sort_by(|a, b| (&a.created_at, a.upload_id).cmp(&(&b.created_at, b.upload_id)));
        Ok(files)
    }

    async fn pending_file(
        &self,
        submission: &SubmissionId,
        upload: &UploadId,
    ) -> Result<Option<PendingFile>, Error> {
        let request = self.client.get_item().table_name(&self.table).consistent_read(true);
        let answer = request.set_key(Some(upload_key(submission, upload))).send().await;
        answer.map_err(|error| failed("GetItem", error))?.item.map(from_item).transpose()
    }

    async fn begin_parts(&self, file: &PendingFile, multipart_id: &str) -> Result<Option<String>, Error> {
        let replaced = file.multipart_id.clone().unwrap_or_default();
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(upload_key(&file.submission_id, &file.upload_id)))
            .update_expression("SET multipartId = :new")
            // S3 may have ended the multipart upload that was stored before.
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(multipartId) OR multipartId = :replaced)",
            )
            .expression_attribute_values(":new", AttributeValue::S(multipart_id.to_owned()))
            .expression_attribute_values(":replaced", AttributeValue::S(replaced));
        let stored = match request.send().await.map_err(|error| failed("UpdateItem", error)) {
            Ok(_) => return Ok(Some(multipart_id.to_owned())),
            Err(Error::Store(StoreError::Conflict)) => {
                self.pending_file(&file.submission_id, &file.upload_id).await?
            }
            Err(error) => return Err(error),
        };
        Ok(stored.and_then(|stored| stored.multipart_id))
    }

    async fn forget(&self, file: &PendingFile) -> Result<(), Error> {
        let gone = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(upload_key(&file.submission_id, &file.upload_id)))
            .condition_expression("attribute_exists(pk)")
            .build()
            .map_err(|error| defect("a delete could not be built", error))?;
        let counted = Update::builder()
            .table_name(&self.table)
            .set_key(Some(submission_key(&file.submission_id)))
            .update_expression("ADD declaredFiles :one, declaredBytes :bytes")
            .condition_expression(format!("attribute_exists(pk) AND attribute_not_exists({ERASURE_STATE})"))
            .expression_attribute_values(":one", AttributeValue::N("-1".to_owned()))
            .expression_attribute_values(":bytes", AttributeValue::N(format!("-{}", file.size_bytes)));
        let writes = vec![TransactWriteItem::builder().delete(gone).build(), update(counted.build())?];
        match self.transact(writes).await {
            // It was forgotten or registered before, or the submission is erased.
            Err(Error::Store(StoreError::Conflict)) => {
                match self.pending_file(&file.submission_id, &file.upload_id).await? {
                    None => Ok(()),
                    Some(_) => Err(StoreError::Conflict.into()),
                }
            }
            other => other,
        }
    }
}

impl DynamoDbStore {
    /// The write that deletes a pending file, when its upload is registered.
    pub(super) fn fulfil(
        &self,
        submission: &SubmissionId,
        upload: &UploadId,
    ) -> Result<TransactWriteItem, Error> {
        let gone =
            Delete::builder().table_name(&self.table).set_key(Some(upload_key(submission, upload))).build();
        let gone = gone.map_err(|error| defect("a delete could not be built", error))?;
        Ok(TransactWriteItem::builder().delete(gone).build())
    }

    fn put_pending(&self, file: &PendingFile, now: OffsetDateTime) -> Result<TransactWriteItem, Error> {
        let mut item = to_item(file)?;
        item.extend(upload_key(&file.submission_id, &file.upload_id));
        item.insert(EXPIRES_AT.to_owned(), expires_at(now));
        write(Put::builder().table_name(&self.table).set_item(Some(item)).build())
    }
}

fn expires_at(now: OffsetDateTime) -> AttributeValue {
    AttributeValue::N((now + PENDING_LIFETIME).unix_timestamp().to_string())
}
