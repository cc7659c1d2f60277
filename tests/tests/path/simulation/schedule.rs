//! Chooses the next activity of a run.

use super::*;

/// The executions that can take a step now, and the times at which others can.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Executions that can take a step now.
    ready: BTreeSet<DocumentRef>,
    /// With simulated time: when an execution's wait, pause or task ends.
    due: BTreeMap<DocumentRef, OffsetDateTime>,
    /// The entries of `due` in order of time.
    timers: BTreeSet<(OffsetDateTime, DocumentRef)>,
    /// Executions whose task was answered, but whose answer arrives only at the time in `due`.
    delayed: BTreeSet<DocumentRef>,
}

impl Schedule {
    /// Removes the document's time; returns whether it had one.
    pub(super) fn clear(&mut self, document: &DocumentRef) -> bool {
        self.delayed.remove(document);
        let Some(at) = self.due.remove(document) else { return false };
        self.timers.remove(&(at, document.clone()));
        true
    }

    pub(super) fn set(&mut self, document: &DocumentRef, at: OffsetDateTime) {
        self.clear(document);
        self.due.insert(document.clone(), at);
        self.timers.insert((at, document.clone()));
    }

    /// Delays the task's answer until this time.
    pub(super) fn delay(&mut self, document: &DocumentRef, until: OffsetDateTime) {
        self.set(document, until);
        self.delayed.insert(document.clone());
    }
}

impl Simulation {
    /// Whether the task that the execution waits for has an answer; `None` if it waits for no task.
    fn is_answered(&self, execution: &Execution) -> Option<bool> {
        let token = execution.token.as_ref()?;
        Some(self.world.states.answer(&TaskToken::new(token)).is_some())
    }

    /// Updates whether the document's execution can take a step.
    pub(super) fn refresh(&mut self, document: &DocumentRef) {
        if self.can_step(document) {
            self.schedule.ready.insert(document.clone());
        } else {
            self.schedule.ready.remove(document);
        }
    }

    fn can_step(&self, document: &DocumentRef) -> bool {
        let Some(execution) = self.executions.get(document).filter(|execution| !execution.is_over()) else {
            return false;
        };
        let is_early = self.schedule.due.get(document).is_some_and(|due| self.world.clock.now() < *due);
        match self.is_answered(execution) {
            Some(answered) => answered && !(is_early && self.schedule.delayed.contains(document)),
            None => !is_early,
        }
    }

    /// Compares `ready` with the executions. Only valid without simulated time, with which `ready` may lag behind.
    pub(super) fn assert_schedule(&self) {
        let ready: BTreeSet<_> =
            self.executions.keys().filter(|document| self.can_step(document)).cloned().collect();
        assert_eq!(ready, self.schedule.ready);
    }

    pub(super) fn next(&mut self) -> Option<Activity> {
        let now = self.world.clock.now();
        if let Some(document) = self.look_at_the_clock(now) {
            return Some(Activity::TimeOut(document));
        }
        let callbacks = self.callbacks();
        let is_first = [CallbackTime::First, CallbackTime::Late].contains(&self.callback_time);
        if let Some(first) = callbacks.first().filter(|_| is_first) {
            return Some(Activity::CallBack(*first));
        }
        let (steps, messages) = (self.schedule.ready.len(), self.queues.len());
        let orders = usize::from(!self.admissions.is_empty());
        let is_idle = steps + messages + orders == 0;
        let callbacks =
            if self.callback_time == CallbackTime::WhenAwaited && !is_idle { Vec::new() } else { callbacks };
        let count = steps + messages + orders + callbacks.len();
        if self.by_the_clock && count == 0 {
            return self.next_by_the_clock(now);
        }
        let impatient = self.roughness.timeouts > 0 && self.dice.percent(4);
        if (count == 0 || impatient)
            && let Some(document) = self.choose_timeout(count == 0)
        {
            return Some(Activity::TimeOut(document));
        }
        if count == 0 {
            return None;
        }
        let chosen = self.dice.below(count);
        Some(if chosen < steps {
            Activity::Step(self.schedule.ready.iter().nth(chosen).unwrap().clone())
        } else if chosen < steps + messages {
            Activity::Deliver(chosen - steps)
        } else if chosen < steps + messages + orders {
            Activity::Admit
        } else {
            Activity::CallBack(callbacks[chosen - steps - messages - orders])
        })
    }

    /// The callbacks that may come now.
    fn callbacks(&self) -> Vec<usize> {
        let now = self.world.clock.now();
        let probed =
            || self.executions.values().any(|execution| execution.path.iter().any(|s| s == "ProbeJob"));
        let is_down = self.outage.is_some_and(|outage| outage.lasts_at(now));
        if is_down || self.callback_time == CallbackTime::Late && !probed() {
            return Vec::new();
        }
        self.sender.pending(now)
    }

    /// Chooses a task that times out. `is_idle`: nothing else can happen.
    fn choose_timeout(&mut self, is_idle: bool) -> Option<DocumentRef> {
        let waits = |(document, execution): (&DocumentRef, &Execution)| {
            (!self.is_answered(execution)?).then(|| document.clone())
        };
        let waits: Vec<DocumentRef> = self.executions.iter().filter_map(waits).collect();
        if waits.is_empty() {
            return None;
        }
        if !is_idle {
            self.roughness.timeouts -= 1;
            return Some(self.dice.pick(&waits));
        }
        // The wait for a permit must not time out while another document may still release its lease.
        let others = waits.iter().filter(|document| self.executions[*document].state != "AwaitPermit");
        let others: Vec<DocumentRef> = others.cloned().collect();
        if others.is_empty() {
            self.let_leases_end();
            return Some(self.dice.pick(&waits));
        }
        Some(self.dice.pick(&others))
    }

    /// Advances the time to the next event.
    fn next_by_the_clock(&mut self, now: OffsetDateTime) -> Option<Activity> {
        let outage = self.outage.filter(|outage| outage.lasts_at(now));
        let callback = self.sender.next_at().map(|at| outage.map_or(at, |outage| at.max(outage.until)));
        let timer = self.schedule.timers.first().map(|(at, _)| *at);
        let arrival = self.arrivals.first().map(|(at, _)| *at);
        let at = [callback, timer, arrival].into_iter().flatten().min()?.max(now);
        self.world.clock.advance((at - now).try_into().unwrap_or_default());
        self.next()
    }

    /// Handles what is due: uploads, ended pauses, and the first task that has timed out.
    fn look_at_the_clock(&mut self, now: OffsetDateTime) -> Option<DocumentRef> {
        while let Some((_, (document, message))) = pop_due(&mut self.arrivals, now) {
            self.arrived.insert(document);
            self.send(UPLOADS, message);
        }
        while let Some((_, document)) = pop_due(&mut self.schedule.timers, now) {
            if self.is_answered(&self.executions[&document]) == Some(false) {
                return Some(document);
            }
            self.refresh(&document);
        }
        None
    }
}

fn pop_due<T: Ord>(
    times: &mut BTreeSet<(OffsetDateTime, T)>,
    now: OffsetDateTime,
) -> Option<(OffsetDateTime, T)> {
    if times.first().is_some_and(|(due, _)| *due <= now) { times.pop_first() } else { None }
}
