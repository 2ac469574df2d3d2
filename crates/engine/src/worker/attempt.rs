//! Calling the handler until it gives an answer that stands.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use buffer::Envelope;
use futures_util::FutureExt;

use super::Worker;
use super::steps::{Stop, Verdict};
use crate::backoff::is_said;
use crate::{Error, Failure, Outcome};

impl Worker {
    /// Tries `events` together: for ever while the handler is unavailable, `tries_max` times when
    /// it fails otherwise, once when it rejects or refuses them.
    pub(super) async fn attempt(
        &mut self,
        events: &[Envelope],
        tries_max: u32,
    ) -> Result<Verdict, Stop> {
        let (mut unavailable, mut tries) = (0u32, 0);
        loop {
            let failure = match self.call(events).await? {
                Ok(outcomes) if outcomes.len() == events.len() => {
                    if unavailable > 0 {
                        let lane = self.index;
                        tracing::info!(lane, failures = unavailable, "settling works again");
                    }
                    return Ok(Verdict::Done(outcomes));
                }
                Ok(outcomes) => {
                    let (got, asked) = (outcomes.len(), events.len());
                    return Err(self.fatal(format!("it gave {got} outcomes for {asked} events")));
                }
                Err(failure) => failure,
            };
            self.shared.stats.attempt_failed();
            let is_outage = matches!(failure, Failure::Unavailable(_));
            let is_refusal = matches!(failure, Failure::Refused(_));
            if !(is_outage || is_refusal) || is_outage && is_said(unavailable.saturating_add(1)) {
                let (lane, count) = (self.index, events.len());
                tracing::warn!(lane, events = count, %failure, "an attempt failed");
            }
            let wait = match failure {
                Failure::Fatal(cause) => return Err(self.fatal(cause)),
                Failure::Rejected(reason) => return Ok(Verdict::Hopeless(reason)),
                Failure::Refused(reason) => return Ok(Verdict::Refused(reason)),
                Failure::Unavailable(_) => {
                    unavailable = unavailable.saturating_add(1);
                    self.backoff.after(unavailable)
                }
                Failure::Retryable(cause) => {
                    tries += 1;
                    if tries >= tries_max {
                        return Ok(Verdict::Hopeless(format!("failed {tries} times: {cause}")));
                    }
                    unavailable = 0;
                    self.backoff.after(tries)
                }
            };
            if !self.pause(wait).await {
                return Err(Stop::Abandoned);
            }
        }
    }

    /// Calls the handler once. A panic is a failure like any other, but costs the lane its state:
    /// nobody knows how much of it was changed.
    async fn call(&mut self, events: &[Envelope]) -> Result<Result<Vec<Outcome>, Failure>, Stop> {
        let call = self.shared.calls.begin();
        let answer = tokio::select! {
            biased;
            () = self.shared.abandon.cancelled() => return Err(Stop::Abandoned),
            answer = AssertUnwindSafe(self.lane.settle(events)).catch_unwind() => answer,
        };
        match answer {
            Ok(answer) => {
                if answer.as_ref().is_ok_and(|outcomes| outcomes.contains(&Outcome::Settled)) {
                    self.shared.calls.wrote(call);
                }
                Ok(answer)
            }
            Err(panic) => {
                let said = said(&*panic);
                self.lane = catch_unwind(AssertUnwindSafe(|| self.handler.lane()))
                    .map_err(|_| self.fatal(format!("its lane can't be rebuilt after: {said}")))?;
                Ok(Err(Failure::Retryable(format!("the handler panicked: {said}"))))
            }
        }
    }

    fn fatal(&self, cause: String) -> Stop {
        Stop::Failed(Error::Handler { pipeline: self.handler.pipeline().into(), cause })
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
