//! Tests the step with the in-memory ports: only a file that matches its declaration is promoted out of quarantine.

use futures_util::stream;
use rstest::rstest;

use super::*;
use crate::{
    contract::wire::{CallbackEvent, FileRole, JobSucceeded},
    document::{Attempt, Round},
    ports::{ByteStream, Reopening as _, Transfers as _},
    testing::{
        Cut,
        world::{MemoryWorld, START, failed, object, returned_file, s3_event, succeeded},
    },
};

const CONTENT: &[u8] = b"The text of the lesson.";

fn declared() -> ReturnedFile {
    returned_file("text.txt", FileRole::Text, "text/plain", CONTENT)
}

/// A document whose job returned this file; the third party serves the bytes `served`.
async fn returned(file: ReturnedFile, served: &[u8]) -> (MemoryWorld, Input) {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    world.objects.upload(&object, None, b"%PDF-1.7".as_slice());
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let document = world.document(&object).unwrap().reference;
    world.store.begin_transfer(&document, Attempt(1000), Round(1), START).await.unwrap();
    world.third_party.serve(&file.url, served);
    world.call_back(&document, succeeded(&[file])).await;
    (world, Input { envelope: Envelope::new(document, Attempt(1000)), index: 0 })
}

fn code(error: &Error) -> String {
    assert_eq!(error.name(), "Returned.Mismatch", "{error}");
    error.reason().code
}

/// The code of an error after which the file is not fetched again.
fn final_code(error: &Error) -> String {
    assert_eq!(error.name(), "Record.Invalid", "{error}");
    error.reason().code
}

fn assert_not_readable(world: &MemoryWorld, input: &Input) {
    assert_eq!(world.objects.returned(&keys::returned_file(&input.envelope.document, input.index)), None);
}

#[tokio::test]
async fn file_that_is_as_declared_is_put_where_others_read() {
    let (world, input) = returned(declared(), CONTENT).await;
    assert_eq!(world.verify(input.clone()).await.unwrap(), Output { size_bytes: CONTENT.len() as u64 });
    assert_eq!(world.objects.returned(&keys::returned_file(&input.envelope.document, 0)).unwrap(), CONTENT);
    assert_eq!(world.objects.returned(&keys::quarantined_file(&input.envelope.document, 0)), None);
}

#[tokio::test]
async fn file_that_was_checked_before_is_not_fetched_again() {
    let (world, input) = returned(declared(), CONTENT).await;
    let first = world.verify(input.clone()).await.unwrap();
    world.third_party.serve(&declared().url, b"something else".as_slice());
    assert_eq!(world.verify(input.clone()).await.unwrap(), first);
    assert_eq!(world.count("fetch"), 1);
    assert_eq!(world.objects.returned(&keys::returned_file(&input.envelope.document, 0)).unwrap(), CONTENT);
}

/// Does what `lectern redrive` does when it discards the result: the document is reopened, and its next job returns
/// this file.
async fn another_job(world: &MemoryWorld, input: &Input, file: &ReturnedFile, served: &'static [u8]) {
    world.store.reopen(&input.envelope.document, 0, true, START).await.unwrap();
    world.store.begin_transfer(&input.envelope.document, Attempt(2000), Round(1), START).await.unwrap();
    world.third_party.serve(&file.url, served);
    let CallbackEvent::Succeeded(job) = succeeded(std::slice::from_ref(file)) else { unreachable!() };
    let job = JobSucceeded { job_id: "another-job".to_owned(), ..job };
    world.call_back(&input.envelope.document, CallbackEvent::Succeeded(job)).await;
}

/// Seen in review: only the size was compared, so the first job's bytes were kept under the second job's hash.
#[tokio::test]
async fn file_of_another_job_is_fetched_and_replaces_the_first_ones_though_it_has_its_size() {
    const OTHER: &[u8] = b"The text of the 1esson.";
    let (world, input) = returned(declared(), CONTENT).await;
    world.verify(input.clone()).await.unwrap();
    let other = returned_file("text.txt", FileRole::Text, "text/plain", OTHER);
    assert_eq!(other.size_bytes, declared().size_bytes);
    another_job(&world, &input, &other, OTHER).await;
    for _ in 0..2 {
        world.verify(input.clone()).await.unwrap();
        assert_eq!(world.count("fetch"), 2, "once for each job");
        assert_eq!(world.objects.returned(&keys::returned_file(&input.envelope.document, 0)).unwrap(), OTHER);
    }
    assert_eq!(world.objects.returned(&keys::quarantined_file(&input.envelope.document, 0)), None);
}

#[tokio::test]
async fn file_of_another_job_is_checked_like_the_first_ones() {
    let (world, input) = returned(declared(), CONTENT).await;
    world.verify(input.clone()).await.unwrap();
    let other = ReturnedFile { sha256: "0".repeat(64), ..declared() };
    another_job(&world, &input, &other, CONTENT).await;
    assert_eq!(code(&world.verify(input.clone()).await.unwrap_err()), "wrongHash");
    assert_eq!(
        world.objects.returned(&keys::quarantined_file(&input.envelope.document, 0)).unwrap(),
        CONTENT
    );
}

#[tokio::test]
async fn same_bytes_of_another_job_are_fetched_only_if_they_are_declared_as_another_type() {
    let (world, input) = returned(declared(), CONTENT).await;
    world.verify(input.clone()).await.unwrap();
    another_job(&world, &input, &declared(), CONTENT).await;
    world.verify(input.clone()).await.unwrap();
    assert_eq!(world.count("fetch"), 1);
    let (world, input) = returned(declared(), CONTENT).await;
    world.verify(input.clone()).await.unwrap();
    let other = ReturnedFile { media_type: "application/pdf".to_owned(), ..declared() };
    another_job(&world, &input, &other, CONTENT).await;
    assert_eq!(final_code(&world.verify(input).await.unwrap_err()), "wrongType");
}

/// A file that was promoted without its hash.
#[tokio::test]
async fn file_that_stands_there_without_its_hash_is_fetched_once_more() {
    let (world, input) = returned(declared(), CONTENT).await;
    world.objects.put_returned(&keys::returned_file(&input.envelope.document, 0), CONTENT);
    for _ in 0..2 {
        world.verify(input.clone()).await.unwrap();
        assert_eq!(world.count("fetch"), 1);
    }
}

#[rstest]
#[case::truncated(&CONTENT[..10], "wrongSize")]
#[case::nothing(b"", "wrongSize")]
#[case::one_byte_more(b"The text of the lesson.!", "wrongSize")]
#[case::altered(b"The text of the 1esson.", "wrongHash")]
#[tokio::test]
async fn case_42_file_with_other_bytes_stays_in_quarantine(#[case] served: &[u8], #[case] expected: &str) {
    let (world, input) = returned(declared(), served).await;
    assert_eq!(code(&world.verify(input.clone()).await.unwrap_err()), expected);
    assert_eq!(world.objects.returned(&keys::quarantined_file(&input.envelope.document, 0)).unwrap(), served);
    assert_not_readable(&world, &input);
}

#[tokio::test]
async fn case_42_file_of_ten_times_the_size_is_cut_off_and_stays_in_quarantine() {
    let (world, input) = returned(declared(), &CONTENT.repeat(10)).await;
    assert_eq!(code(&world.verify(input.clone()).await.unwrap_err()), "wrongSize");
    let kept = world.objects.returned(&keys::quarantined_file(&input.envelope.document, 0)).unwrap();
    assert_eq!(kept.len(), CONTENT.len() + 1, "no more is read than shows that it is too much");
    assert_not_readable(&world, &input);
}

#[rstest]
#[case::pdf_as_text("text/plain", b"%PDF-1.7\0")]
#[case::html_as_captions("text/vtt", b"<html></html>")]
#[case::text_as_pdf("application/pdf", b"just text")]
#[case::text_as_json("application/json", b"just text")]
#[case::pdf_as_png("image/png", b"%PDF-1.7")]
#[tokio::test]
async fn case_42_f08_file_of_another_type_stays_in_quarantine_and_is_not_fetched_again(
    #[case] media_type: &str,
    #[case] content: &[u8],
) {
    let file = returned_file("file", FileRole::Attachment, media_type, content);
    let (world, input) = returned(file, content).await;
    assert_eq!(final_code(&world.verify(input.clone()).await.unwrap_err()), "wrongType");
    assert_eq!(
        world.objects.returned(&keys::quarantined_file(&input.envelope.document, 0)).unwrap(),
        content
    );
    assert_not_readable(&world, &input);
}

#[rstest]
#[case::wave("audio/wav", b"RIFF\x24\0\0\0WAVEfmt ")]
#[case::wave_of_the_iana("audio/vnd.wave", b"RIFF\x24\0\0\0WAVEfmt ")]
#[case::picture("image/svg+xml", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>")]
#[case::unknown_type("application/vnd.example", b"\x89PNG\r\n\x1A\n")]
#[case::text_about_pdf("text/plain", b"It starts with %PDF-1.7.")]
#[case::text_with_a_nul("text/plain", b"one\0two")]
#[case::nothing("application/pdf", b"")]
#[case::silent_lesson("text/vtt", b"")]
#[tokio::test]
async fn f08_v07_file_that_its_type_does_not_contradict_is_taken(
    #[case] media_type: &str,
    #[case] content: &[u8],
) {
    let file = returned_file("file", FileRole::Attachment, media_type, content);
    let (world, input) = returned(file, content).await;
    world.verify(input.clone()).await.unwrap();
    assert_eq!(world.objects.returned(&keys::returned_file(&input.envelope.document, 0)).unwrap(), content);
    assert_eq!(world.count("fetch"), 1);
}

#[rstest]
#[case("../../records/s1/x.json")]
#[case("/etc/passwd")]
#[case("..")]
#[case(".")]
#[case("")]
#[case("a\\b")]
#[tokio::test]
async fn case_42_path_like_name_is_refused_before_anything_is_fetched(#[case] name: &str) {
    let (world, input) = returned(ReturnedFile { name: name.into(), ..declared() }, CONTENT).await;
    assert_eq!(final_code(&world.verify(input.clone()).await.unwrap_err()), "unsafeName");
    assert_eq!(world.count("fetch") + world.count("promote"), 0);
    assert_not_readable(&world, &input);
}

#[tokio::test]
async fn case_42_file_declared_larger_than_can_be_kept_is_refused_before_anything_is_fetched() {
    let file = ReturnedFile { size_bytes: MAX_RETURNED_FILE_BYTES + 1, ..declared() };
    let (world, input) = returned(file, CONTENT).await;
    assert_eq!(final_code(&world.verify(input).await.unwrap_err()), "tooLarge");
    assert_eq!(world.count("fetch"), 0);
}

#[tokio::test]
async fn case_42_file_that_is_right_at_the_second_fetch_is_taken() {
    let (world, input) = returned(declared(), &CONTENT[..3]).await;
    world.verify(input.clone()).await.unwrap_err();
    world.third_party.serve(&declared().url, CONTENT);
    world.verify(input.clone()).await.unwrap();
    assert_eq!(world.objects.returned(&keys::returned_file(&input.envelope.document, 0)).unwrap(), CONTENT);
    assert_eq!(world.objects.returned(&keys::quarantined_file(&input.envelope.document, 0)), None);
}

/// A third party whose body breaks off.
struct Breaks;

impl Fetch for Breaks {
    async fn fetch(&self, _: &ReturnedFile) -> Result<ByteStream, Error> {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        Ok(Box::pin(stream::iter([Ok(CONTENT[..5].into()), Err(reset)])))
    }
}

#[tokio::test]
async fn body_that_breaks_off_is_unavailable_and_not_a_mismatch() {
    let (world, input) = returned(declared(), CONTENT).await;
    let error = world.verify_from(&Breaks, input.clone()).await.unwrap_err();
    assert_eq!(error.name(), "ThirdParty.Unavailable");
    assert_not_readable(&world, &input);
}

#[tokio::test]
async fn third_party_that_does_not_serve_the_file_is_unavailable() {
    let (world, input) = returned(declared(), CONTENT).await;
    world.third_party.refuse_next(Error::Unavailable("503".to_owned()));
    assert_eq!(world.verify(input.clone()).await.unwrap_err().name(), "ThirdParty.Unavailable");
    assert_not_readable(&world, &input);
}

#[tokio::test]
async fn index_beyond_the_files_and_a_failed_job_are_mismatches() {
    let (world, input) = returned(declared(), CONTENT).await;
    assert_eq!(code(&world.verify(Input { index: 1, ..input }).await.unwrap_err()), "noSuchFile");
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    world.objects.upload(&object, None, b"%PDF-1.7".as_slice());
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let document = world.document(&object).unwrap().reference;
    let input = Input { envelope: Envelope::new(document.clone(), Attempt(1000)), index: 0 };
    assert_eq!(code(&world.verify(input.clone()).await.unwrap_err()), "noResult");
    world.call_back(&document, failed("encrypted")).await;
    assert_eq!(code(&world.verify(input).await.unwrap_err()), "noResult");
}

/// A third party that is so slow that the document is reopened and gets another job's file before the first file
/// arrives.
struct Slow<'w>(&'w MemoryWorld, &'w Input);

impl Fetch for Slow<'_> {
    async fn fetch(&self, file: &ReturnedFile) -> Result<ByteStream, Error> {
        let Self(world, input) = self;
        let body = world.third_party.fetch(file).await?;
        let newer = ReturnedFile {
            url: format!("{}-2", file.url),
            ..returned_file("text.txt", FileRole::Text, "text/plain", NEWER)
        };
        another_job(world, input, &newer, NEWER).await;
        world.verify((*input).clone()).await?;
        Ok(body)
    }
}

const NEWER: &[u8] = b"The lesson's newer text";

#[tokio::test]
async fn run_that_outlasts_its_execution_does_not_replace_the_next_jobs_file() {
    let (world, input) = returned(declared(), CONTENT).await;
    assert_eq!(NEWER.len(), CONTENT.len());
    let error = world.verify_from(&Slow(&world, &input), input.clone()).await.unwrap_err();
    assert_eq!(code(&error), "noResult");
    assert_eq!(world.objects.returned(&keys::returned_file(&input.envelope.document, 0)).unwrap(), NEWER);
}

/// Cases 19 and 20, for this step.
#[tokio::test]
async fn case_19_case_20_run_killed_at_any_call_gives_the_same_result() {
    let calls = {
        let (world, input) = returned(declared(), CONTENT).await;
        let before = world.faults.calls().len();
        world.verify(input).await.unwrap();
        world.faults.calls().split_off(before)
    };
    assert_eq!(calls, ["load", "promoted", "fetch", "quarantine", "load", "promote"]);
    for call in calls {
        for cut in [Cut::Before, Cut::After] {
            let (world, input) = returned(declared(), CONTENT).await;
            world.faults.cut_next(call, cut);
            assert_eq!(world.verify(input.clone()).await.unwrap_err().name(), "Store.Unavailable");
            for _ in 0..2 {
                let output = world.verify(input.clone()).await.unwrap();
                assert_eq!(output.size_bytes, CONTENT.len() as u64, "{call} {cut:?}");
            }
            let readable = world.objects.returned(&keys::returned_file(&input.envelope.document, 0));
            assert_eq!(readable.unwrap(), CONTENT, "{call} {cut:?}");
            let quarantined = world.objects.returned(&keys::quarantined_file(&input.envelope.document, 0));
            assert_eq!(quarantined, None, "{call} {cut:?}");
        }
    }
}
