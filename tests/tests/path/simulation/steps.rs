//! One step of an execution: what its state asks for is done over the ports in memory.

use super::*;

impl Simulation {
    pub(super) async fn transfer(
        &self,
        input: transfer_document::Input,
    ) -> Result<transfer_document::Outcome, Error> {
        let door = self.door(input.attempt);
        self.world.transfer_by(DeliveryMode::Push, &door, input).await
    }

    fn door(&self, attempt: Attempt) -> Door<'_> {
        Door {
            inside: &self.world.third_party,
            outage: self.outage,
            attempt,
            now: self.world.clock.now(),
            knocks: &self.knocks,
            questions: &self.questions,
        }
    }

    pub(super) async fn step(&mut self, document: &DocumentRef) {
        let mut execution = self.executions[document].clone();
        let was_due = self.due.remove(document).is_some();
        if let Some(token) = execution.token.clone().map(TaskToken::new) {
            let cause = self.world.states.cause(&token).unwrap_or_default().to_string();
            match self.world.states.answer(&token).unwrap() {
                Ok(output) => {
                    if execution.state == "AwaitTurn" {
                        self.takes_turn(document, &output);
                    }
                    execution.succeed(&self.machine, &output);
                }
                Err(name) => execution.fail(&self.machine, name, &cause),
            }
        } else if was_due && execution.sleeps(&self.machine) {
            execution.wake(&self.machine);
        } else {
            self.tokens += 1;
            let token = format!("token-{}", self.tokens);
            match execution.step(&self.machine, &token) {
                Work::Moved | Work::Over => {}
                Work::Send(sending) => {
                    if !sending.waits {
                        execution.succeed(&self.machine, &json!({}));
                    }
                    self.send_for(document, sending);
                }
                Work::Sleep(sleep) => {
                    let now = self.world.clock.now();
                    let until = match sleep {
                        Sleep::Until(text) => OffsetDateTime::parse(&text, &Rfc3339).unwrap(),
                        Sleep::Seconds(seconds) => now + Duration::from_secs(seconds),
                    };
                    if self.by_the_clock {
                        self.due.insert(document.clone(), until);
                    } else {
                        execution.wake(&self.machine);
                    }
                }
                Work::AwaitCallback => {
                    let now = self.world.clock.now();
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
            self.due.insert(document.clone(), self.world.clock.now() + pause);
        }
        if self.by_the_clock && execution.token.is_some() {
            let end = self.world.clock.now() + Duration::from_secs(execution.timeout_s(&self.machine));
            self.due.insert(document.clone(), end);
        }
        self.executions.insert(document.clone(), execution);
    }

    fn send_for(&mut self, document: &DocumentRef, Sending { queue, group, body, .. }: Sending) {
        let stem = queue.split("Queue").next().unwrap();
        let queue = [TURNS, TRANSFERS, NORMALIZATIONS].into_iter().find(|known| *known == stem).unwrap();
        let expected = if queue == TURNS { "turns" } else { document.submission_id.as_str() };
        assert_eq!(group, expected, "the message group of {queue}");
        if queue == TURNS {
            self.turns.send(body.to_string(), self.world.clock.now());
        } else {
            self.send(queue, body.to_string());
        }
    }

    /// Each turn is newer than all that the document had before.
    fn takes_turn(&mut self, document: &DocumentRef, turn: &Value) {
        let attempt: Attempt = serde_json::from_value(turn["attempt"].clone()).unwrap();
        assert!(attempt.is_turn());
        let before = self.attempts.insert(document.clone(), attempt);
        assert!(before.is_none_or(|before| before < attempt), "{before:?}, then {attempt:?}");
    }

    fn begin_verify(&self, document: &DocumentRef) -> Option<Value> {
        let result = self.world.store.begin_verify(document, self.world.clock.now())?;
        let (outcome, files) = match result {
            JobResult::Succeeded(job) => ("succeeded", job.files.len()),
            JobResult::Failed(_) => ("failed", 0),
        };
        let attributes =
            json!({ "resultOutcome": { "S": outcome }, "resultFiles": { "N": files.to_string() } });
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

    /// Invokes a function with the very JSON of the state machine, and gives its output as JSON.
    async fn invoke(&mut self, function: &str, payload: Value) -> Result<Value, Error> {
        let first = self.call(function, payload.clone()).await?;
        let before = self.snapshot();
        if let Ok(second) = self.call(function, payload).await {
            assert_eq!(second, first, "the second run of {function} answered otherwise");
        }
        assert!(self.snapshot() == before, "the second run of {function} changed something");
        Ok(first)
    }

    /// Every message and every payload has the trace of its document.
    pub(super) fn assert_trace(&self, document: &DocumentRef, traceparent: Option<TraceParent>) {
        let stored = self.world.store.get(document).unwrap().traceparent;
        assert!(stored.is_some() && traceparent == stored, "{traceparent:?} instead of {stored:?}");
    }

    async fn call(&self, function: &str, payload: Value) -> Result<Value, Error> {
        let document: DocumentRef = serde_json::from_value(payload.clone()).unwrap();
        self.assert_trace(&document, serde_json::from_value(payload[TRACEPARENT].clone()).unwrap());
        let output = match function.split("Function").next().unwrap() {
            "ProbeJob" => {
                let input: probe_job::Input = serde_json::from_value(payload).unwrap();
                let (MemoryWorld { store, clock, .. }, door) = (&self.world, self.door(input.attempt));
                serde_json::to_value(probe_job::handle(store, &door, clock, input).await?)
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

/// What Step Functions catches from Lambda.
fn envelope(error: &Error) -> String {
    json!({ "errorType": error.name(), "errorMessage": error.cause().to_string() }).to_string()
}
