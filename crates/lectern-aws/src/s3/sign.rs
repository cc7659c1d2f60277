//! Requests to the uploads bucket that the API signs for a person: forms, and parts of multipart uploads.

use std::{collections::BTreeMap, time::SystemTime};

use aws_sdk_s3::{
    Client,
    config::{Credentials, ProvideCredentials as _, SharedCredentialsProvider},
    presigning::PresigningConfig,
    types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, Part},
};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lectern::{
    document::{
        ObjectVersion,
        metadata::{FileName, NAME, OWNER, UPLOAD},
    },
    error::{Error, StoreError, rfc3339},
    limits::UPLOAD_SIGNATURE_LIFETIME,
    ports::{PartToSign, SignUploads, SignedPart, Upload, UploadForm, UploadedPart, Uploads as _},
};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::format_description};

use super::{UploadsBucket, is_missing};
use crate::error::{defect, failed};

/// The uploads bucket, as the API hands it out.
#[derive(Clone, Debug)]
pub struct UploadDesk {
    client: Client,
    bucket: String,
    region: String,
    credentials: SharedCredentialsProvider,
    scans_for_malware: bool,
}

impl UploadDesk {
    /// The bucket of this name. The credentials sign the forms.
    pub fn new(
        client: Client,
        bucket: String,
        region: String,
        credentials: SharedCredentialsProvider,
    ) -> Self {
        Self { client, bucket, region, credentials, scans_for_malware: false }
    }

    /// Reads nothing of a version that may not be clean, if the malware gate is on.
    #[must_use]
    pub fn with_malware_gate(self, is_on: bool) -> Self {
        Self { scans_for_malware: is_on, ..self }
    }

    /// The URL of the bucket, without a slash at the end.
    ///
    /// # Errors
    /// A defect, if the SDK cannot sign.
    pub async fn url(&self) -> Result<String, Error> {
        bucket_url(&self.client, &self.bucket).await
    }

    async fn credentials(&self) -> Result<Credentials, Error> {
        let credentials = self.credentials.provide_credentials().await;
        credentials.map_err(|error| defect("the credentials could not be read", error))
    }
}

/// The URL of a bucket, without a slash at the end, in the form that the SDK chooses for it.
///
/// # Errors
/// A defect, if the SDK cannot sign.
pub(crate) async fn bucket_url(client: &Client, bucket: &str) -> Result<String, Error> {
    let config = PresigningConfig::expires_in(UPLOAD_SIGNATURE_LIFETIME);
    let config = config.map_err(|error| defect("presigning", error))?;
    let request = client.get_object().bucket(bucket).key("k").presigned(config).await;
    let request = request.map_err(|error| failed("presigning GetObject", error))?;
    let url = request.uri().split('?').next().and_then(|url| url.strip_suffix("/k"));
    Ok(url.ok_or_else(|| StoreError::defect("a bucket's URL has an unknown form"))?.to_owned())
}

/// The metadata of an upload, as headers without their prefix.
fn metadata(upload: &Upload<'_>) -> [(&'static str, String); 3] {
    let name = FileName::new(&upload.file.name).map(|name| name.encode());
    [
        (OWNER, upload.owner.expose().to_owned()),
        (NAME, name.unwrap_or_default()),
        (UPLOAD, upload.file.upload_id.to_string()),
    ]
}

impl SignUploads for UploadDesk {
    /// Signs a POST policy
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>). The SDK has no call for it.
    async fn form(
        &self,
        upload: &Upload<'_>,
        checksum_sha256: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<UploadForm, Error> {
        let credentials = self.credentials().await?;
        let unformatted = |error| defect("a time could not be written", error);
        let date = now.format(format_description!("[year][month][day]")).map_err(unformatted)?;
        let stamp = format_description!("[year][month][day]T[hour][minute][second]Z");
        let stamp = now.format(stamp).map_err(unformatted)?;
        let scope = format!("{}/{date}/{}/s3/aws4_request", credentials.access_key_id(), self.region);
        let mut fields = BTreeMap::from([
            ("key".to_owned(), upload.file.key.clone()),
            ("content-type".to_owned(), upload.file.media_type.as_str().to_owned()),
            ("success_action_status".to_owned(), "204".to_owned()),
            ("x-amz-algorithm".to_owned(), "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential".to_owned(), scope),
            ("x-amz-date".to_owned(), stamp),
        ]);
        fields.extend(metadata(upload).map(|(name, value)| (format!("x-amz-meta-{name}"), value)));
        if let Some(checksum) = checksum_sha256 {
            fields.insert("x-amz-checksum-sha256".to_owned(), checksum.to_owned());
        }
        if let Some(token) = credentials.session_token() {
            fields.insert("x-amz-security-token".to_owned(), token.to_owned());
        }
        let size = upload.file.size_bytes;
        let mut conditions: Vec<Value> = fields.iter().map(|(name, value)| json!({ name: value })).collect();
        conditions.extend([json!({ "bucket": self.bucket }), json!(["content-length-range", size, size])]);
        let policy =
            json!({ "expiration": rfc3339(now + UPLOAD_SIGNATURE_LIFETIME), "conditions": conditions });
        let policy = STANDARD.encode(policy.to_string());
        let key =
            generate_signing_key(credentials.secret_access_key(), SystemTime::from(now), &self.region, "s3");
        fields.insert("x-amz-signature".to_owned(), calculate_signature(key, policy.as_bytes()));
        fields.insert("policy".to_owned(), policy);
        let url = format!("{}/", self.url().await?);
        Ok(UploadForm { url, fields, expires_in_s: UPLOAD_SIGNATURE_LIFETIME.as_secs() })
    }

    async fn begin(&self, upload: &Upload<'_>) -> Result<String, Error> {
        let mut request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(&upload.file.key)
            .content_type(upload.file.media_type.as_str())
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_type(ChecksumType::Composite);
        for (name, value) in metadata(upload) {
            request = request.metadata(name, value);
        }
        let answer = request.send().await.map_err(|error| failed("CreateMultipartUpload", error))?;
        Ok(answer
            .upload_id
            .ok_or_else(|| StoreError::defect("CreateMultipartUpload: the answer has no id"))?)
    }

    async fn parts(&self, key: &str, multipart_id: &str) -> Result<Option<Vec<UploadedPart>>, Error> {
        let mut pages = self
            .client
            .list_parts()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(multipart_id)
            .into_paginator()
            .send();
        let mut parts = Vec::new();
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => parts.extend(page.parts.unwrap_or_default().into_iter().filter_map(uploaded)),
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => return Err(failed("ListParts", error)),
            }
        }
        Ok(Some(parts))
    }

    async fn sign_part(&self, key: &str, multipart_id: &str, part: &PartToSign) -> Result<SignedPart, Error> {
        let config = PresigningConfig::expires_in(UPLOAD_SIGNATURE_LIFETIME);
        let config = config.map_err(|error| defect("presigning", error))?;
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(multipart_id)
            .part_number(i32::try_from(part.part_number).unwrap_or(i32::MAX))
            .content_length(i64::try_from(part.size_bytes).unwrap_or(i64::MAX))
            .checksum_sha256(&part.checksum_sha256)
            .presigned(config)
            .await
            .map_err(|error| failed("presigning UploadPart", error))?;
        // A browser sends the host and the length by itself. The SDK also gives headers that the signature does not cover.
        let headers = request.headers().filter(|(name, _)| name.starts_with("x-amz-"));
        Ok(SignedPart {
            part_number: part.part_number,
            url: request.uri().to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            expires_in_s: UPLOAD_SIGNATURE_LIFETIME.as_secs(),
        })
    }

    async fn complete(&self, key: &str, multipart_id: &str, parts: &[UploadedPart]) -> Result<(), Error> {
        let parts = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(i32::try_from(part.part_number).unwrap_or(i32::MAX))
                .e_tag(&part.tag)
                .checksum_sha256(&part.checksum_sha256)
                .build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(key);
        let request =
            request.upload_id(multipart_id).checksum_type(ChecksumType::Composite).multipart_upload(parts);
        match request.send().await {
            // Another request has completed it at the same time. S3 answers 404 with NoSuchUpload.
            Err(error) if is_missing(&error) => Ok(()),
            answer => answer.map(drop).map_err(|error| failed("CompleteMultipartUpload", error)),
        }
    }

    async fn newest_version(&self, key: &str) -> Result<Option<String>, Error> {
        let uploads = UploadsBucket::new(self.client.clone()).with_malware_gate(self.scans_for_malware);
        let (bucket, version_id) = (self.bucket.clone(), String::new());
        uploads.current_version(&ObjectVersion { bucket, key: key.to_owned(), version_id }).await
    }

    async fn abort(&self, key: &str, multipart_id: &str) -> Result<(), Error> {
        let request =
            self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(multipart_id);
        match request.send().await {
            Err(error) if is_missing(&error) => Ok(()),
            answer => answer.map(drop).map_err(|error| failed("AbortMultipartUpload", error)),
        }
    }

    async fn delete(&self, object: &ObjectVersion) -> Result<bool, Error> {
        let newest = self.newest_version(&object.key).await?;
        if newest.is_some_and(|newest| newest != object.version_id) {
            return Ok(false);
        }
        let request = self.client.delete_object().bucket(&self.bucket).key(&object.key);
        request.send().await.map(|_| true).map_err(|error| failed("DeleteObject", error))
    }
}

fn uploaded(part: Part) -> Option<UploadedPart> {
    Some(UploadedPart {
        part_number: u32::try_from(part.part_number?).ok()?,
        size_bytes: u64::try_from(part.size?).ok()?,
        checksum_sha256: part.checksum_sha256?,
        tag: part.e_tag?,
    })
}
