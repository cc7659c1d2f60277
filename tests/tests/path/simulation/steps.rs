//! One step of an execution: does the work of its state on the in-memory ports.

use super::*;

impl Simulation {
    pub(super) async fn transfer(
        &mut self,
        input: transfer_document::Input,
        again: bool,
    ) -> Result<transfer_document::Outcome, Error> {
        let (document, attempt) = (input.envelope.document.clone(), input.envelope.attempt);
        let fails = self.dice.percent(self.scattered_failures);
        let instead = fails.then_some(Behaviour::Fails).or_else(|| self.instead.pop_front());
        let before = self.log.requests().len();
        let outcome = self.world.transfer_by(u64::MAX, &self.observed(attempt, instead), input, again).await;
        let is_sent = self.log.requests().len() > before;
        let usual = self.behaviours.get(&document.document_id).copied().unwrap_or_default();
        if let Behaviour::TimesOut(after, behind) = instead.unwrap_or(usual)
            && self.by_the_clock
            && is_sent
        {
            let until = self.world.clock.now() + after;
            self.schedule.delay(&document, until);
            self.open_requests.extend((behind != Behind::Job).then_some(until));
        }
        outcome
    }

    fn observed(&self, attempt: Attempt, instead: Option<Behaviour>) -> Observed<'_> {
        Observed {
            inside: &self.world.third_party,
            log: &self.log,
            outage: self.outage,
            behaviours: &self.behaviours,
            instead,
            attempt,
            now: self.world.clock.now(),
        }
    }

    pub(super) async fn step(&mut self, document: &DocumentRef) {
        let mut execution = self.executions.remove(document).unwrap();
        let now = self.world.clock.now();
        execution.now = now;
        let was_due = self.schedule.clear(document);
        if let Some(token) = execution.token.clone().map(TaskToken::new) {
            let cause = self.world.states.cause(&token).unwrap_or_default().to_string();
            match self.world.states.answer(&token).unwrap() {
                Ok(output) => {
                    if execution.state == "AwaitPermit" {
                        self.receive_permit(document, &output);
                    }
                    execution.succeed(&self.machine, &output);
                }
                Err(name) => execution.fail(&self.machine, name, &cause),
            }
        } else if was_due && execution.sleeps(&self.machine) {
            execution.wake(&self.machine);
        } else {
            let token = format!("token-{}", self.tokens.len());
            self.tokens.insert(token.clone(), document.clone());
            match execution.step(&self.machine, &token) {
                Work::Moved | Work::Over => {}
                Work::Send(sending) => {
                    if !sending.waits {
                        execution.succeed(&self.machine, &json!({}));
                    }
                    self.send_for(document, sending);
                }
                Work::Sleep(sleep) => {
                    let until = match sleep {
                        Sleep::Until(text) => OffsetDateTime::parse(&text, &Rfc3339).unwrap(),
                        Sleep::Seconds(seconds) => now + Duration::from_secs(seconds),
                    };
                    if self.by_the_clock {
                        self.schedule.set(document, until);
                    } else {
                        execution.wake(&self.machine);
                    }
                }
                Work::AwaitCallback => {
                    if self.world.store.await_callback(document, TaskToken::new(&token), now) {
                        execution.token = Some(token);
                    } else {
                        execution.fail(&self.machine, "DynamoDb.ConditionalCheckFailedException", "");
                    }
                }
                Work::BeginVerify => match self.begin_verify(document) {
                    Some(output) => execution.succeed(&self.machine, &output),
                    None => execution.fail(&self.machine, "DynamoDb.ConditionalCheckFailedException", ""),
                },
                Work::Invoke(function, payload) => match self.invoke(&function, payload).await {
                    Ok(output) => execution.succeed(&self.machine, &json!({ "Payload": output })),
                    Err(error) => execution.fail(&self.machine, error.name(), &envelope(&error)),
                },
                Work::Map(payloads) => match self.map(payloads).await {
                    Ok(outputs) => execution.succeed(&self.machine, &outputs),
                    Err(error) => execution.fail(&self.machine, error.name(), &envelope(&error)),
                },
            }
        }
        let pause = execution.take_retry_pause();
        if let Some(pause) = pause.filter(|_| self.by_the_clock) {
            self.schedule.set(document, now + pause);
        }
        if self.by_the_clock && execution.token.is_some() {
            self.schedule.set(document, now + Duration::from_secs(execution.timeout_s(&self.machine)));
        }
        self.executions.insert(document.clone(), execution);
        self.refresh(document);
    }

    fn send_for(&mut self, document: &DocumentRef, Sending { queue, group, body, .. }: Sending) {
        let stem = queue.split("Queue").next().unwrap();
        let queue = [ADMISSIONS, TRANSFERS, NORMALIZATIONS].into_iter().find(|known| *known == stem).unwrap();
        let expected = if queue == ADMISSIONS { "admission" } else { document.submission_id.as_str() };
        assert_eq!(group, expected, "the message group of {queue}");
        if queue == ADMISSIONS {
            self.admissions.send(body.to_string(), self.world.clock.now());
        } else {
            self.send(queue, body.to_string());
        }
    }

    fn begin_verify(&self, document: &DocumentRef) -> Option<Value> {
        let result = self.world.store.begin_verify(document, self.world.clock.now())?;
        let files = if let JobResult::Succeeded(job) = &result { job.files.len() } else { 0 };
        let attributes =
            json!({ "resultOutcome": { "S": result.outcome() }, "resultFiles": { "N": files.to_string() } });
        Some(json!({ "Attributes": attributes }))
    }

    async fn map(&mut self, payloads: Vec<Value>) -> Result<Value, Error> {
        let mut outputs = Vec::new();
        for payload in payloads {
            let mut tried = Vec::new();
            loop {
                match self.invoke("VerifyReturnedFile", payload.clone()).await {
                    Ok(output) => break outputs.push(output),
                    Err(error) if Execution::retries_file(&self.machine, &mut tried, error.name()) => {
                        self.sender.mend_files(&self.world);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(outputs.into())
    }

    /// Invokes a function with the state machine's JSON and returns its output as JSON.
    async fn invoke(&mut self, function: &str, payload: Value) -> Result<Value, Error> {
        let first = self.call(function, payload.clone()).await?;
        if self.is_long {
            return Ok(first);
        }
        let before = self.snapshot();
        if let Ok(second) = self.call(function, payload).await {
            assert_eq!(second, first, "the second run of {function} returned another output");
        }
        assert!(self.snapshot() == before, "the second run of {function} changed something");
        Ok(first)
    }

    async fn call(&self, function: &str, payload: Value) -> Result<Value, Error> {
        let document: DocumentRef = serde_json::from_value(payload.clone()).unwrap();
        self.assert_trace(&document, serde_json::from_value(payload[TRACEPARENT].clone()).unwrap());
        let output = match function.split("Function").next().unwrap() {
            "ProbeJob" => {
                let input: probe_job::Input = serde_json::from_value(payload).unwrap();
                let MemoryWorld { store, clock, .. } = &self.world;
                let third_party = self.observed(input.envelope.attempt, None);
                serde_json::to_value(
                    probe_job::Ports { store, third_party: &third_party, clock }.handle(input).await?,
                )
            }
            "VerifyReturnedFile" => {
                serde_json::to_value(self.world.verify(serde_json::from_value(payload).unwrap()).await?)
            }
            "FailDocument" => {
                serde_json::to_value(self.world.fail(serde_json::from_value(payload).unwrap()).await?)
            }
            other => panic!("no function {other}"),
        };
        Ok(output.unwrap())
    }
}

/// The error that Step Functions catches from Lambda.
fn envelope(error: &Error) -> String {
    json!({ "errorType": error.name(), "errorMessage": error.cause().to_string() }).to_string()
}
