//! Admitting and recording: many events together, in parts where the store does not take all of them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use buffer::Envelope;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::caller::{Caller, Ended, Stop, said};
use super::schedule::{Id, Step};
use super::together::Together;
use super::{Admission, Calls, Outcome};
use crate::backoff::is_said;
use crate::{Error, Failure};

/// What a failure means for the events that were taken together.
enum Verdict {
    /// Taken again, in the same order.
    Again,
    /// This one alone waits.
    Wait(Id, Duration),
    /// This one alone is buried.
    Bury(Id, String),
}

impl<H: Calls> Caller<H> {
    pub(super) fn begin_admission(&mut self, now: Instant) {
        let Some(ids) = self.begin_together(Step::Admit, now) else { return };
        let handler = Arc::clone(&self.handler);
        let envelopes: Vec<_> = ids.iter().map(|id| self.schedule.envelope(*id)).collect();
        let began_ms = self.shared.clock.now_ms();
        self.tasks.spawn(async move {
            let batch: Vec<&Envelope> = envelopes.iter().map(|one| &**one).collect();
            let admitted = AssertUnwindSafe(handler.0.admit(&batch)).catch_unwind().await;
            let admitted = admitted.unwrap_or_else(|panic| Err(panicked(said(&*panic))));
            Ended::Admitted(ids, admitted, began_ms)
        });
    }

    pub(super) fn begin_recording(&mut self, now: Instant) {
        let Some(ids) = self.begin_together(Step::Record, now) else { return };
        let handler = Arc::clone(&self.handler);
        let answered =
            ids.iter().map(|id| (self.schedule.envelope(*id), self.schedule.answer(*id)));
        let answered: Vec<_> =
            answered.map(|(one, answer)| (one, answer.expect("an answer is recorded"))).collect();
        let began_ms = self.shared.clock.now_ms();
        self.tasks.spawn(async move {
            let answers: Vec<_> =
                answered.iter().map(|(one, answer)| (&**one, &**answer)).collect();
            let recorded = AssertUnwindSafe(handler.0.record(&answers)).catch_unwind().await;
            let recorded = recorded.unwrap_or_else(|panic| Err(panicked(said(&*panic))));
            Ended::Recorded(ids, recorded, began_ms)
        });
    }

    fn begin_together(&mut self, step: Step, now: Instant) -> Option<Vec<Id>> {
        let due = self.schedule.due(step);
        let waited = self.together(step).waited(due, now);
        let is_free = self.schedule.under_way(step) == 0 && due > 0;
        let is_paused = self.together(step).paused_until(now).is_some();
        let max = self.together(step).now;
        if !is_free || is_paused || (due < max && self.may_wait(step, waited, now)) {
            return None;
        }
        self.together(step).begun();
        Some(self.schedule.begin(step, max))
    }

    /// Whether a part of a batch waits until there is more of it: a batch costs the store as much as one event.
    fn may_wait(&mut self, step: Step, waited: Duration, now: Instant) -> bool {
        if step == Step::Admit {
            // Enough are admitted for the next calls. While none but probes pass, they may all be retries, and a
            // probe is a first attempt.
            let has_enough = self.schedule.due(Step::Call) >= self.handler.1.calls_max;
            return has_enough && self.guard().passes_all(now.into_std());
        }
        let linger = Duration::from_millis(self.shared.options.linger_ms);
        let may_wait = waited < linger && self.schedule.under_way(Step::Call) > 0;
        if may_wait {
            self.lingers_until = Some(now + (linger - waited));
        }
        may_wait
    }

    pub(super) fn admitted(
        &mut self,
        ids: Vec<Id>,
        admitted: Result<Vec<Admission>, Failure>,
        began_ms: i64,
    ) -> Result<(), Stop> {
        let Some(admissions) = self.outcomes(Step::Admit, &ids, admitted, began_ms)? else {
            return Ok(());
        };
        let mut done = Vec::new();
        for (id, admission) in ids.into_iter().zip(admissions) {
            match admission {
                Admission::Call => match self.quiet_until(id) {
                    Some(until) => self.schedule.later(id, Step::Call, until),
                    None => self.schedule.follow(id, Step::Call),
                },
                Admission::Done(outcome) => done.push((id, outcome)),
            }
        }
        self.finish(done, began_ms);
        Ok(())
    }

    pub(super) fn recorded(
        &mut self,
        ids: Vec<Id>,
        recorded: Result<Vec<Outcome>, Failure>,
        began_ms: i64,
    ) -> Result<(), Stop> {
        if let Some(outcomes) = self.outcomes(Step::Record, &ids, recorded, began_ms)? {
            self.finish(ids.into_iter().zip(outcomes).collect(), began_ms);
        }
        Ok(())
    }

    /// One outcome for each event, or nothing where they are taken again or apart.
    fn outcomes<T>(
        &mut self,
        step: Step,
        ids: &[Id],
        result: Result<Vec<T>, Failure>,
        began_ms: i64,
    ) -> Result<Option<Vec<T>>, Stop> {
        let failure = match result {
            Ok(outcomes) if outcomes.len() == ids.len() => {
                self.together(step).took(ids);
                return Ok(Some(outcomes));
            }
            Ok(outcomes) => {
                let (got, asked) = (outcomes.len(), ids.len());
                return Err(self.fatal(format!("it gave {got} outcomes for {asked} events")));
            }
            Err(Failure::Fatal(cause)) => return Err(self.fatal(cause)),
            Err(failure) => failure,
        };
        self.shared.stats.attempt_failed();
        match self.judge(step, ids, &failure) {
            Verdict::Again => ids.iter().rev().for_each(|id| self.schedule.again(*id)),
            Verdict::Wait(id, wait) => self.schedule.later(id, step, Instant::now() + wait),
            Verdict::Bury(id, reason) => {
                self.together(step).suspects.remove(&id);
                self.finish(vec![(id, Outcome::Rejected(reason))], began_ms);
            }
        }
        Ok(None)
    }

    fn judge(&mut self, step: Step, ids: &[Id], failure: &Failure) -> Verdict {
        let attempts_max = self.shared.options.attempts_max;
        let alone = match ids {
            [id] => Some((*id, self.schedule.attempts(*id).saturating_add(1))),
            _ => None,
        };
        let pipeline = self.handler.0.pipeline().to_owned();
        let outages = &mut self.outages;
        let together = match step {
            Step::Admit => &mut self.admitting,
            _ => &mut self.recording,
        };
        if let Failure::Unavailable(cause) = failure {
            together.failures = together.failures.saturating_add(1);
            if is_said(together.failures) {
                let failures = together.failures;
                tracing::warn!(
                    pipeline,
                    failures,
                    cause,
                    "the store cannot be reached; trying again"
                );
            }
            together.paused_until = Some(Instant::now() + outages.after(together.failures));
            return Verdict::Again;
        }
        let Some((id, attempts)) = alone else {
            tracing::warn!(pipeline, events = ids.len(), %failure, "an attempt failed; trying parts of it");
            together.now = (ids.len() / 2).max(1);
            return Verdict::Again;
        };
        if let Failure::Rejected(reason) = failure {
            return Verdict::Bury(id, reason.clone());
        }
        let before = *together.suspects.entry(id).or_insert(together.taken);
        let others_were_taken = together.taken > before;
        let had_all = attempts >= attempts_max;
        if had_all && (others_were_taken || matches!(failure, Failure::Retryable(_))) {
            return Verdict::Bury(id, format!("{failure}; {attempts} attempts"));
        }
        if is_said(attempts) {
            tracing::warn!(pipeline, attempts, %failure, "the store refuses an event; it waits alone");
        }
        Verdict::Wait(id, outages.after(attempts))
    }

    fn together(&mut self, step: Step) -> &mut Together {
        match step {
            Step::Admit => &mut self.admitting,
            _ => &mut self.recording,
        }
    }

    pub(super) fn fatal(&self, cause: String) -> Stop {
        Stop::Failed(Error::Handler { pipeline: self.handler.0.pipeline().into(), cause })
    }
}

fn panicked(said: &str) -> Failure {
    Failure::Retryable(format!("the handler panicked: {said}"))
}
