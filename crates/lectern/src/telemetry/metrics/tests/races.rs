//! A callback and a probe at the same time, and runs that die between two writes.

use super::*;

/// A third party that calls back during a probe.
struct CallsBack<'a>(&'a MemoryWorld, &'a DocumentRef);

impl ThirdParty for CallsBack<'_> {
    async fn submit(&self, _: JobRequest) -> Result<String, Error> {
        unreachable!("it is only asked")
    }

    async fn status(&self, _: &str) -> Result<Option<JobStatus>, Error> {
        self.0.call_back(self.1, failed("x")).await;
        let CallbackEvent::Failed(job) = failed("x") else { unreachable!("it failed") };
        Ok(Some(JobStatus::Failed(job)))
    }

    fn verify_callback(
        _: &http::HeaderMap,
        _: &[u8],
        _: &SigningSecrets,
        _: OffsetDateTime,
    ) -> Result<VerifiedCallback, VerifyError> {
        unreachable!("it is only asked")
    }
}

#[test]
fn callback_that_comes_while_it_is_asked_for_is_not_missed() {
    let found = recorded(async {
        let (world, document) = awaited_document().await;
        let (attempt, round) = (Attempt(1000), Round(1));
        let third_party = CallsBack(&world, &document);
        let input = probe_job::Input { envelope: Envelope::new(document.clone(), attempt), round };
        probe_job::Ports { store: &world.store, third_party: &third_party, clock: &world.clock }
            .handle(input)
            .await
            .unwrap();
    });
    assert_eq!(found.values("Status"), ["resultStored"]);
    assert_eq!(found.values("CallbackMissed"), [json!(0)], "the callback's own");
}

/// A function that dies between storing and reporting loses the count, and no document is counted twice.
#[test]
fn callback_that_is_missing_is_counted_once_at_most() {
    for (cut, count) in [(Cut::Before, 1), (Cut::After, 0)] {
        let found = recorded(async {
            let (world, document) = awaited_document().await;
            let (attempt, round) = (Attempt(1000), Round(1));
            let CallbackEvent::Failed(job) = failed("x") else { unreachable!("it failed") };
            let key = idempotency_key(document.document_id, round);
            world.third_party.set_status(&key, JobStatus::Failed(job));
            let input = probe_job::Input { envelope: Envelope::new(document, attempt), round };
            world.faults.cut_next("record_result", cut);
            for _ in 0..3 {
                let _ = world.probe(input.clone()).await;
            }
        });
        assert_eq!(found.values("CallbackMissed").len(), count, "{cut:?}");
    }
}
