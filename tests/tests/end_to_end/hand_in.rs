//! A teacher hands in through the API, and the bucket takes nothing but what the API has signed.

use std::collections::BTreeMap;

use aws_sdk_s3::{
    config::{Credentials, SharedCredentialsProvider},
    error::ProvideErrorMetadata as _,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lectern::{
    display_text::Label,
    document::{DocumentState, Owner, SubmissionId, UploadId, keys},
    ports::{
        Audit as _, AuditAction, Browse as _, Clock as _, PartToSign, PendingFile, SignUploads as _,
        SignedPart, Upload, UploadForm,
    },
};
use lectern_aws::{AuditTrail, SystemClock, UploadDesk};
use lectern_content::MediaType;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    api::Person,
    aws_json,
    content::{text, video},
    ports::OwnBucket,
    stack::{Description, Stack},
    wait::{LATER, SOON, eventually},
};

/// A submission that was handed in through the API.
pub(crate) struct HandedIn {
    pub(crate) by: Person,
    /// Its path in the API.
    pub(crate) path: String,
}

impl HandedIn {
    fn id(&self) -> SubmissionId {
        self.path.rsplit('/').next().unwrap().parse().unwrap()
    }
}

/// Hands in one small file.
pub(crate) async fn hand_in(stack: &Stack, by: Person, name: &str, bytes: &[u8]) -> HandedIn {
    let file = json!({ "name": name, "sizeBytes": bytes.len() });
    let created = stack.post(by, "/v1/submissions", &json!({ "title": "Rivers", "files": [file] })).await;
    let id = created["submission"]["submissionId"].as_str().unwrap();
    let handed_in = HandedIn { by, path: format!("/v1/submissions/{id}") };
    stack.upload_file(&handed_in, &created["pending"][0], bytes).await;
    handed_in
}

impl Stack {
    /// Uploads a pending file in one request, as a page does.
    async fn upload_file(&self, to: &HandedIn, pending: &Value, bytes: &[u8]) {
        let path = format!("{}/files/{}/upload", to.path, pending["fileId"].as_str().unwrap());
        let checksum = STANDARD.encode(Sha256::digest(bytes));
        let plan = self.post(to.by, &path, &json!({ "checksumSha256": checksum })).await;
        assert_eq!(plan["method"], "post");
        let fields: BTreeMap<String, String> = serde_json::from_value(plan["fields"].clone()).unwrap();
        let status = self.send_form(plan["url"].as_str().unwrap(), &fields, bytes).await;
        assert!(status.is_success(), "{status}");
    }

    /// Sends a form with a file as its last field.
    async fn send_form(&self, url: &str, fields: &BTreeMap<String, String>, bytes: &[u8]) -> StatusCode {
        let boundary = Uuid::new_v4().simple().to_string();
        let mut body = Vec::new();
        for (name, value) in fields {
            let field =
                format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend(field.into_bytes());
        }
        let file = "content-disposition: form-data; name=\"file\"; filename=\"file\"";
        body.extend(
            format!("--{boundary}\r\n{file}\r\ncontent-type: application/octet-stream\r\n\r\n").into_bytes(),
        );
        body.extend(bytes);
        body.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let request = self.http.post(url).header(header::CONTENT_TYPE, content_type).body(body);
        request.send().await.unwrap().status()
    }

    /// Waits until a submission of one file is ready.
    pub(crate) async fn ready_document(&self, submission: &HandedIn) -> Value {
        self.with_ready(submission, 1).await
    }

    /// Waits until this many files of a submission are ready.
    async fn with_ready(&self, submission: &HandedIn, files: u64) -> Value {
        eventually(&submission.path, LATER, async || {
            let read = self.read_as(submission.by, &submission.path).await;
            let is_ready = read["submission"]["ready"] == files && read["submission"]["state"] == "Ready";
            if is_ready { Ok(read) } else { Err(read["submission"].to_string()) }
        })
        .await
    }
}

#[tokio::test]
async fn teacher_hands_in_a_lesson_adds_a_late_file_and_withdraws_it() {
    let stack = Stack::open();
    let lesson = hand_in(&stack, Person::Teacher, "Wasserkreislauf – 7b.mp4", &video()).await;
    let ready = stack.ready_document(&lesson).await;
    assert_eq!(ready["documents"][0]["fileName"], "Wasserkreislauf – 7b.mp4");
    let late = text();
    let pending = json!({ "name": "plan.txt", "sizeBytes": late.len() });
    let pending = stack.post(Person::Teacher, &format!("{}/files", lesson.path), &pending).await;
    stack.upload_file(&lesson, &pending, &late).await;
    let read = stack.with_ready(&lesson, 2).await;
    assert_eq!(read["pending"], json!([]));
    for document in read["documents"].as_array().unwrap() {
        let path = format!("{}/documents/{}", lesson.path, document["documentId"].as_str().unwrap());
        stack.read_as(Person::Evaluator, &format!("{path}/record")).await;
        let files = stack.read_as(Person::Evaluator, &format!("{path}/files")).await;
        stack.download(files["files"][0]["url"].as_str().unwrap()).await;
    }

    let withdrawn = stack.request(Person::Teacher, Method::DELETE, &lesson.path, &Value::Null).await;
    assert_eq!(withdrawn.status(), StatusCode::ACCEPTED);
    for person in [Person::Teacher, Person::Evaluator, Person::Operator] {
        assert_eq!(stack.get(person, &lesson.path).await.status(), StatusCode::NOT_FOUND);
    }
    let id = lesson.id();
    eventually("no object is left", LATER, async || {
        let (bucket, prefix) = (&stack.is.uploads_bucket, keys::uploads_of(&id));
        let versions = stack.s3.list_object_versions().bucket(bucket).prefix(prefix).send().await.unwrap();
        let left = versions.versions().len() + versions.delete_markers().len();
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    assert_eq!(stack.store.summary(&id).await.unwrap(), None);
}

#[tokio::test]
async fn s06_reads_and_changes_are_in_the_audit_trail() {
    let stack = Stack::open();
    let lesson = hand_in(&stack, Person::Teacher, "plan.txt", &text()).await;
    let document = stack.ready_document(&lesson).await["documents"][0]["documentId"].clone();
    let path = format!("{}/documents/{}", lesson.path, document.as_str().unwrap());
    stack.read(&format!("{path}/record")).await;
    stack.read(&format!("{path}/files")).await;
    let trail = AuditTrail::new(stack.dynamodb.clone(), stack.is.table.clone());
    let entries = trail.entries(&lesson.id(), None, 100).await.unwrap().entries;
    let actions: Vec<AuditAction> = entries.iter().map(|entry| entry.action).collect();
    assert_eq!(actions[0], AuditAction::CreateSubmission);
    assert_eq!(actions[actions.len() - 2..], [AuditAction::ReadRecord, AuditAction::GetFileUrls]);
    let subjects = [&entries[0].subject, &entries[entries.len() - 1].subject];
    assert_ne!(subjects[0], subjects[1], "the teacher and the evaluator");
    let last = entries.last().unwrap().document_id.unwrap();
    assert_eq!(document, last.to_string());
}

#[tokio::test]
async fn s02_rejected_upload_can_be_downloaded_by_nobody() {
    let stack = Stack::open();
    // The name promises a PDF, and the bytes are a program.
    let lesson = hand_in(&stack, Person::Teacher, "plan.pdf", b"MZ\x90\x00 is no PDF").await;
    let documents = eventually("the file is rejected", SOON, async || {
        let read = stack.read_as(Person::Teacher, &lesson.path).await;
        let is_rejected = read["documents"][0]["state"] == DocumentState::Rejected.as_str();
        if is_rejected { Ok(read["documents"].clone()) } else { Err(read) }
    })
    .await;
    let path = format!("{}/documents/{}/files", lesson.path, documents[0]["documentId"].as_str().unwrap());
    for person in [Person::Teacher, Person::Evaluator, Person::Operator] {
        assert_eq!(stack.get(person, &path).await.status(), StatusCode::NOT_FOUND);
    }
}

/// A bucket of the test's own, the desk that signs for it, and a file to send.
#[expect(clippy::struct_field_names, reason = "the desk is what the tests use")]
struct Desk {
    stack: Stack,
    desk: UploadDesk,
    bucket: OwnBucket,
    file: PendingFile,
    owner: Owner,
}

impl Desk {
    async fn open(size_bytes: u64) -> Self {
        let (stack, bucket) = (Stack::open(), OwnBucket::create().await);
        let Description { region, access_key_id, secret_access_key, .. } = stack.is.clone();
        let credentials = Credentials::new(access_key_id, secret_access_key, None, None, "stack.json");
        let credentials = SharedCredentialsProvider::new(credentials);
        let desk = UploadDesk::new(bucket.client.clone(), bucket.name.clone(), region, credentials);
        let (submission_id, upload_id) = ("signed".parse().unwrap(), UploadId::new(1));
        let file = PendingFile {
            key: keys::upload(&submission_id, upload_id, MediaType::Pdf),
            submission_id,
            upload_id,
            name: Label::new("Plan „1“.pdf"),
            size_bytes,
            media_type: MediaType::Pdf,
            created_at: String::new(),
            replaces: None,
            multipart_id: None,
        };
        Self { stack, desk, bucket, file, owner: "teacher-1".parse().unwrap() }
    }

    async fn form(&self, checksum: Option<&str>) -> UploadForm {
        let upload = Upload { file: &self.file, owner: &self.owner };
        self.desk.form(&upload, checksum, SystemClock.now()).await.unwrap()
    }

    async fn put_part(&self, part: &SignedPart, bytes: &[u8]) -> StatusCode {
        let mut request = self.stack.http.put(&part.url).body(bytes.to_vec());
        for (name, value) in &part.headers {
            request = request.header(name, value);
        }
        request.send().await.unwrap().status()
    }
}

#[tokio::test]
async fn s01_form_uploads_exactly_the_declared_object() {
    let desk = Desk::open(7).await;
    let form = desk.form(None).await;
    for (field, value) in [
        ("key", "submissions/another/1.pdf"),
        ("content-type", "text/html"),
        ("x-amz-meta-owner", "teacher-2"),
        ("x-amz-meta-name", "other.pdf"),
        ("x-amz-meta-upload", "2"),
        ("x-amz-signature", "0"),
    ] {
        let mut changed = form.fields.clone();
        assert!(changed.insert(field.to_owned(), value.to_owned()).is_some(), "the form has {field}");
        let status = desk.stack.send_form(&form.url, &changed, b"7 bytes").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "another {field}");
    }
    let mut more = form.fields.clone();
    more.insert("x-amz-meta-more".to_owned(), "metadata".to_owned());
    assert_eq!(desk.stack.send_form(&form.url, &more, b"7 bytes").await, StatusCode::FORBIDDEN);
    for bytes in [&b"6 byte"[..], b"8 bytes!", b""] {
        let status = desk.stack.send_form(&form.url, &form.fields, bytes).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{} bytes", bytes.len());
    }
    let checksum = STANDARD.encode(Sha256::digest(b"7 bytes"));
    let checked = desk.form(Some(&checksum)).await;
    assert_eq!(
        desk.stack.send_form(&checked.url, &checked.fields, b"7 bites").await,
        StatusCode::BAD_REQUEST
    );

    let listed = desk.bucket.client.list_objects_v2().bucket(&desk.bucket.name).send().await.unwrap();
    assert_eq!(listed.contents().len(), 0, "nothing was taken");
    assert_eq!(desk.stack.send_form(&checked.url, &checked.fields, b"7 bytes").await, StatusCode::NO_CONTENT);
    let head =
        desk.bucket.client.head_object().bucket(&desk.bucket.name).key(&desk.file.key).send().await.unwrap();
    assert_eq!(head.content_type.as_deref(), Some("application/pdf"));
    let metadata = head.metadata.unwrap();
    assert_eq!(metadata["owner"], "teacher-1");
    assert_eq!(metadata["upload"], desk.file.upload_id.to_string());
}

/// A user of this account whose own permissions allow everything of S3.
struct S3User {
    name: String,
    s3: aws_sdk_s3::Client,
}

impl S3User {
    async fn create(stack: &Stack) -> Self {
        let name = format!("e2e-{}", Uuid::new_v4().simple());
        let allow = json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*" });
        let policy = json!({ "Version": "2012-10-17", "Statement": [allow] }).to_string();
        Self::iam(stack, "CreateUser", &name, &[]).await;
        let policy = [("PolicyName", "s3"), ("PolicyDocument", policy.as_str())];
        Self::iam(stack, "PutUserPolicy", &name, &policy).await;
        let key = Self::iam(stack, "CreateAccessKey", &name, &[]).await;
        let element = |element: &str| {
            let (_, rest) = key.split_once(&format!("<{element}>")).expect("the answer has the element");
            rest.split('<').next().unwrap().to_owned()
        };
        let credentials =
            Credentials::new(element("AccessKeyId"), element("SecretAccessKey"), None, None, "the test");
        let config = stack.s3.config().to_builder().credentials_provider(credentials).build();
        Self { name, s3: aws_sdk_s3::Client::from_conf(config) }
    }

    async fn iam(stack: &Stack, action: &str, user: &str, more: &[(&str, &str)]) -> String {
        let fields = [("Action", action), ("Version", "2010-05-08"), ("UserName", user)];
        aws_json::form(stack, "iam", &[&fields, more].concat()).await
    }

    /// Puts an object; `true` if S3 takes it, `false` if it denies access.
    async fn puts(&self, bucket: &str, key: &str) -> bool {
        let put = self.s3.put_object().bucket(bucket).key(key).body(text().into()).send().await;
        put.map_err(|error| assert_eq!(error.code(), Some("AccessDenied"), "{error:?}")).is_ok()
    }
}

#[tokio::test]
async fn s01_bucket_takes_no_object_from_a_user_who_may_write_everywhere() {
    let stack = Stack::open();
    let user = S3User::create(&stack).await;
    let key = format!("submissions/{}/plan.txt", user.name);
    let own = OwnBucket::create().await;
    assert!(user.puts(&own.name, &key).await, "the user's own permissions allow it");
    assert!(!user.puts(&stack.is.uploads_bucket, &key).await, "the bucket's policy denies it");
    let begun = user.s3.create_multipart_upload().bucket(&stack.is.uploads_bucket).key(&key).send().await;
    assert_eq!(begun.unwrap_err().code(), Some("AccessDenied"));
    S3User::iam(&stack, "DeleteUserPolicy", &user.name, &[("PolicyName", "s3")]).await;
    assert!(!user.puts(&own.name, &key).await, "without the permission");
}

#[tokio::test]
async fn s01_part_with_another_checksum_is_refused() {
    let desk = Desk::open(7).await;
    let upload = Upload { file: &desk.file, owner: &desk.owner };
    let id = desk.desk.begin(&upload).await.unwrap();
    let checksum_sha256 = STANDARD.encode(Sha256::digest(b"7 bytes"));
    let part = PartToSign { part_number: 1, size_bytes: 7, checksum_sha256 };
    let signed = desk.desk.sign_part(&desk.file.key, &id, &part).await.unwrap();
    assert_eq!(desk.put_part(&signed, b"7 bites").await, StatusCode::BAD_REQUEST);
    let parts = desk.desk.parts(&desk.file.key, &id).await.unwrap().unwrap();
    assert_eq!(parts, []);
    assert_eq!(desk.put_part(&signed, b"7 bytes").await, StatusCode::OK);
    let parts = desk.desk.parts(&desk.file.key, &id).await.unwrap().unwrap();
    desk.desk.complete(&desk.file.key, &id, &parts).await.unwrap();
    let object =
        desk.bucket.client.get_object().bucket(&desk.bucket.name).key(&desk.file.key).send().await.unwrap();
    assert_eq!(object.metadata().unwrap()["owner"], "teacher-1");
    assert_eq!(object.body.collect().await.unwrap().to_vec(), b"7 bytes");
}
