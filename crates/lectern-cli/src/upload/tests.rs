//! Tests of what is sent, and of what is sent again.

use std::fs;

use serde_json::json;

use super::*;
use crate::api::testing::*;

/// Content whose parts differ.
fn content(bytes: usize) -> Vec<u8> {
    let lines = (0..).map(|number| format!("{number:0999}\n"));
    let mut content: Vec<u8> = lines.take(bytes.div_ceil(1000)).collect::<String>().into();
    content.truncate(bytes);
    content
}

/// Four parts.
const LARGE: usize = 8 * 1024 * 1024 + 12_345;

impl FakeStack {
    fn file(&self, name: &str, content: &[u8]) -> LocalFile {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        files::find(&[path]).unwrap().files.remove(0)
    }

    async fn upload(&self, to: Option<&str>, files: Vec<LocalFile>) -> Result<UploadReport, Problem> {
        let title = to.is_none().then(|| "Fractions".to_owned());
        let options = Upload { paths: Vec::new(), title, submission: to.map(str::to_owned) };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        upload(&self.client, &options, files, &mut Console::new(&mut out, &mut err, false)).await
    }
}

fn text(report: &UploadReport) -> String {
    let mut out = Vec::new();
    crate::console::Report::write(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn small_files_are_sent_whole_and_large_ones_in_parts() {
    let stack = FakeStack::start().await;
    let (large, small) = (content(LARGE), content(2000));
    let files = vec![stack.file("lesson.mp4", &large), stack.file("plan.docx", &small)];
    let report = stack.upload(None, files).await.unwrap();
    assert_eq!(report.exit(), Exit::Done, "{}", text(&report));
    assert_eq!(
        text(&report),
        format!(
            "lesson.mp4    8.40 MB  sent\nplan.docx     2.00 kB  sent\nSubmission {SUBMISSION}\n\
             To follow its progress: lectern watch {SUBMISSION}\n"
        )
    );
    assert_eq!((stack.number_of("PUT /s3/"), stack.number_of("POST /s3/")), (4, 1));
    let shared = stack.shared();
    assert!(shared.arrived["lesson.mp4"] == large && shared.arrived["plan.docx"] == small);
}

#[tokio::test]
async fn part_is_signed_and_sent_again_after_a_403_and_other_temporary_answers() {
    for status in [403, 503, 400, 429] {
        let stack = FakeStack::start().await;
        stack.fail("PUT /s3/file-0/2", status, 2);
        let file = stack.file("lesson.mp4", &content(LARGE));
        let report = stack.upload(None, vec![file]).await.unwrap();
        assert_eq!(report.exit(), Exit::Done, "{status}: {}", text(&report));
        assert_eq!(stack.number_of("PUT /s3/file-0/2"), 3);
        assert_eq!(
            stack.number_of("POST /v1/submissions/0af7651916cd43dd8448eb211c80319c/files/file-0/parts"),
            6
        );
        assert!(stack.shared().arrived["lesson.mp4"] == content(LARGE));
    }
}

#[tokio::test]
async fn form_is_made_again_after_a_403() {
    let stack = FakeStack::start().await;
    stack.fail("POST /s3/file-0", 403, 1);
    let report = stack.upload(None, vec![stack.file("plan.docx", &content(10))]).await.unwrap();
    assert_eq!(report.exit(), Exit::Done, "{}", text(&report));
    assert_eq!(
        stack.number_of("POST /v1/submissions/0af7651916cd43dd8448eb211c80319c/files/file-0/upload"),
        2
    );
}

#[tokio::test]
async fn upload_that_was_given_up_says_how_to_continue_and_names_no_signature() {
    let stack = FakeStack::start().await;
    stack.fail("PUT /s3/file-0/3", 500, 5);
    let files = vec![stack.file("lesson.mp4", &content(LARGE)), stack.file("plan.docx", &content(10))];
    let report = stack.upload(None, files).await.unwrap();
    assert_eq!(report.exit(), Exit::Failed);
    let said = text(&report);
    assert!(said.contains("failed: the storage answered with 500"), "{said}");
    assert!(said.contains(&format!("with --submission {SUBMISSION} instead of --title")), "{said}");
    assert!(!said.contains("signature") && !said.contains("http:"), "{said}");
    assert!(stack.shared().arrived.contains_key("plan.docx"), "the other file was sent");

    let large = stack.file("lesson.mp4", &content(LARGE));
    let small = stack.file("plan.docx", &content(10));
    let sent_before = stack.number_of("PUT /s3/file-0/");
    let kept = stack.shared().parts.len();
    let report = stack.upload(Some(SUBMISSION), vec![large, small]).await.unwrap();
    assert_eq!(report.exit(), Exit::Done, "{}", text(&report));
    assert_eq!(stack.number_of("PUT /s3/file-0/") - sent_before, 4 - kept, "only the missing parts are sent");
    assert!(text(&report).contains("of it had arrived before"), "{}", text(&report));
    assert!(text(&report).contains("was handed in before"), "{}", text(&report));
    assert!(stack.shared().arrived["lesson.mp4"] == content(LARGE));
}

#[tokio::test]
async fn part_that_differs_from_the_file_is_sent_again() {
    let stack = FakeStack::start().await;
    let file = stack.file("lesson.mp4", &content(LARGE));
    stack.shared().pending.push(json!({ "fileId": "file-0", "name": "lesson.mp4", "sizeBytes": LARGE }));
    let (good, other) = (content(PART_BYTES), vec![b'-'; PART_BYTES]);
    stack.shared().parts.insert(("file-0".to_owned(), 1), good.into());
    stack.shared().parts.insert(("file-0".to_owned(), 2), other.into());
    let report = stack.upload(Some(SUBMISSION), vec![file]).await.unwrap();
    assert_eq!(report.files[0].outcome, Outcome::Sent { kept_bytes: PART_BYTES as u64 });
    assert_eq!((stack.number_of("PUT /s3/file-0/1"), stack.number_of("PUT /s3/file-0/2")), (0, 1));
    assert!(stack.shared().arrived["lesson.mp4"] == content(LARGE));
}

#[tokio::test]
async fn lost_answers_of_the_last_step_are_no_failure() {
    let stack = FakeStack::start().await;
    stack.lose_answer("POST /s3/", 1);
    stack.lose_answer("POST /v1/submissions/0af7651916cd43dd8448eb211c80319c/files/file-0/complete", 1);
    let files = vec![stack.file("lesson.mp4", &content(LARGE)), stack.file("plan.docx", &content(10))];
    let report = stack.upload(None, files).await.unwrap();
    assert_eq!(report.exit(), Exit::Done, "{}", text(&report));
    assert_eq!(stack.number_of("POST /s3/"), 1);
    assert_eq!(stack.shared().arrived.len(), 2);
}

#[tokio::test]
async fn parts_that_the_storage_lacks_at_the_end_are_sent_again() {
    let stack = FakeStack::start().await;
    // The storage takes the part and loses it.
    stack.fail("PUT /s3/file-0/2", 200, 1);
    let report = stack.upload(None, vec![stack.file("lesson.mp4", &content(LARGE))]).await.unwrap();
    assert_eq!(report.exit(), Exit::Done, "{}", text(&report));
    assert_eq!((stack.number_of("PUT /s3/file-0/2"), stack.number_of("PUT /s3/")), (2, 5));
}

#[tokio::test]
async fn file_that_is_removed_meanwhile_is_a_failure() {
    let stack = FakeStack::start().await;
    let complete = "POST /v1/submissions/0af7651916cd43dd8448eb211c80319c/files/file-0/complete";
    stack.refuse(complete, 404, problem("not-found", 404, "No."), 1);
    let report = stack.upload(None, vec![stack.file("lesson.mp4", &content(LARGE))]).await.unwrap();
    assert_eq!(report.exit(), Exit::Failed);
    assert!(text(&report).contains("the submission no longer lists this file"), "{}", text(&report));
}

#[tokio::test]
async fn refused_files_are_said_in_the_words_of_the_api_and_the_others_are_sent() {
    let stack = FakeStack::start().await;
    let detail = "tool.exe: Programs cannot be handed in.";
    stack.refuse("POST /v1/submissions", 422, problem("file-refused", 422, detail), 1);
    let files = vec![stack.file("tool.exe", b"MZ"), stack.file("plan.docx", &content(10))];
    let report = stack.upload(None, files).await.unwrap();
    assert_eq!(report.exit(), Exit::Attention);
    assert!(
        text(&report).contains("2 B  not accepted: Programs cannot be handed in.\n"),
        "{}",
        text(&report)
    );
    assert_eq!(stack.shared().arrived.len(), 1);
}

#[tokio::test]
async fn no_submission_is_created_for_refused_files_alone() {
    let stack = FakeStack::start().await;
    stack.refuse("POST /v1/submissions", 422, problem("file-refused", 422, "No."), 1);
    let report = stack.upload(None, vec![stack.file("tool.exe", b"MZ")]).await.unwrap();
    assert_eq!((report.exit(), stack.shared().pending.len()), (Exit::Attention, 0));
    assert!(text(&report).ends_with("No submission was created.\n"), "{}", text(&report));
}

#[tokio::test]
async fn file_that_failed_before_is_handed_in_again() {
    let stack = FakeStack::start().await;
    stack.shared().documents.push(document("plan.docx", 10, "Failed"));
    let report = stack.upload(Some(SUBMISSION), vec![stack.file("plan.docx", &content(10))]).await.unwrap();
    assert_eq!(report.files[0].outcome, Outcome::Sent { kept_bytes: 0 }, "{}", text(&report));
}
