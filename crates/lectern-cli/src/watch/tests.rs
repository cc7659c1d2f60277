//! Tests of what is shown, and when the command ends.

use serde_json::json;

use super::*;
use crate::api::testing::*;

fn quick() -> Duration {
    Duration::from_millis(5)
}

async fn watched(stack: &FakeStack) -> (Exit, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console::new(&mut out, &mut err, false);
    let exit = watch(&stack.client, SUBMISSION, quick(), &mut console).await.unwrap();
    (exit, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn each_change_is_shown_once_until_all_files_are_ready() {
    let stack = FakeStack::start().await;
    stack.shared().pending.push(json!({ "fileId": "f", "name": "plan.docx", "sizeBytes": 10 }));
    let changing = async {
        for state in ["Received", "Processing", "Ready"] {
            let before = stack.number_of("GET /v1/submissions");
            while stack.number_of("GET /v1/submissions") < before + 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let mut shared = stack.shared();
            shared.pending.clear();
            shared.documents = vec![document("plan.docx", 10, state)];
        }
    };
    let ((exit, said), ()) = tokio::join!(watched(&stack), changing);
    assert_eq!(exit, Exit::Done);
    let time = "2026-11-30T08:00:00.000Z";
    assert_eq!(
        said,
        format!(
            "plan.docx  not yet uploaded; submission created 2026-11-30T07:59:00.000Z\n\
             {time}  plan.docx  Received\n{time}  plan.docx  Processing\n{time}  plan.docx  Ready\n1 file ready.\n\
             To read plan.docx: lectern record {SUBMISSION}/{DOCUMENT}\n"
        )
    );
}

#[tokio::test]
async fn rejected_file_is_shown_with_its_reason_and_needs_attention() {
    let stack = FakeStack::start().await;
    let mut rejected = document("plan.docx", 10, "Rejected");
    rejected["reason"] = json!({ "code": "empty", "message": "The file is empty." });
    let mut replaced = document("old.docx", 10, "Failed");
    replaced["documentId"] = json!("0f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f");
    replaced["supersededBy"] = json!(DOCUMENT);
    stack.shared().documents = vec![rejected, replaced];
    let (exit, said) = watched(&stack).await;
    assert_eq!(exit, Exit::Attention);
    assert_eq!(
        said,
        "2026-11-30T08:00:00.000Z  plan.docx  Rejected: The file is empty.\n0 files ready, 1 rejected.\n"
    );
}
