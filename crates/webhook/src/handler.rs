//! One call for each event.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use buffer::Envelope;
use bytes::Bytes;
use engine::Failure;
use engine::calls::{Admission, Called, Outcome};
use guard::Guard;
use model::clock::Clock;
use notify::{Sender, Undelivered};

use crate::entry::ATTEMPTS_MAX;
use crate::events::unfit;

/// Delivers the events of a pipeline.
pub struct Handler {
    pipeline: String,
    sender: Sender,
    guard: Arc<Mutex<Guard>>,
    give_up: Duration,
    clock: Arc<dyn Clock>,
}

/// How the delivery of an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The receiver has it.
    Delivered,
    /// It is not delivered any more, and this is why.
    Undelivered(String),
}

impl Handler {
    /// Delivers over `sender`, bounded by `guard`. An event that is older than `give_up` becomes a dead letter at its
    /// next failure.
    #[must_use]
    pub fn new(
        pipeline: String,
        sender: Sender,
        guard: Arc<Mutex<Guard>>,
        give_up: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { pipeline, sender, guard, give_up, clock }
    }

    /// Why this failure is the last one, if it is.
    fn last(&self, envelope: &Envelope, attempt: u32, undelivered: &Undelivered) -> Option<String> {
        let why = &undelivered.why;
        if undelivered.is_final {
            return Some(why.clone());
        }
        let age_ms = self.clock.now_ms().saturating_sub(envelope.accepted_at_ms);
        let is_old = u128::try_from(age_ms).unwrap_or(0) >= self.give_up.as_millis();
        if is_old {
            let hours = self.give_up.as_secs() / 3600;
            return Some(format!("not delivered within {hours} h; the last attempt: {why}"));
        }
        let had_all = attempt >= ATTEMPTS_MAX;
        had_all.then(|| format!("not delivered in {ATTEMPTS_MAX} attempts; the last one: {why}"))
    }
}

#[async_trait]
impl engine::calls::Calls for Handler {
    type Answer = Answer;

    fn pipeline(&self) -> &str {
        &self.pipeline
    }

    fn guard(&self) -> &Mutex<Guard> {
        &self.guard
    }

    async fn admit(&self, batch: &[&Envelope]) -> Result<Vec<Admission>, Failure> {
        let admission = |envelope: &&Envelope| match unfit(&envelope.event) {
            Some(why) => Admission::Done(Outcome::Rejected(why)),
            None => Admission::Call,
        };
        Ok(batch.iter().map(admission).collect())
    }

    async fn call(&self, envelope: &Envelope, attempt: u32) -> Called<Answer> {
        let payload = Bytes::copy_from_slice(envelope.event.payload());
        match self.sender.deliver(envelope.event.id(), payload).await.result {
            Ok(()) => {
                let answer = Some(Answer::Delivered);
                Called { outcome: guard::Outcome::Good, retry_after: None, answer }
            }
            Err(undelivered) => {
                let answer = self.last(envelope, attempt, &undelivered).map(Answer::Undelivered);
                Called {
                    outcome: undelivered.outcome,
                    retry_after: undelivered.retry_after,
                    answer,
                }
            }
        }
    }

    fn give_up(&self, _: &Envelope) -> Answer {
        Answer::Undelivered(format!("not delivered in {ATTEMPTS_MAX} attempts"))
    }

    async fn record(&self, answers: &[(&Envelope, &Answer)]) -> Result<Vec<Outcome>, Failure> {
        let outcome = |answer: &Answer| match answer {
            Answer::Delivered => Outcome::Settled,
            Answer::Undelivered(why) => Outcome::Rejected(why.clone()),
        };
        Ok(answers.iter().map(|(_, answer)| outcome(answer)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use buffer::Receipt;
    use guard::{BreakerOptions, BudgetOptions, LimitOptions, Pace};
    use model::Event;
    use model::clock::Manual;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn handler(clock: &Manual) -> Handler {
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let (url, timeout) = ("http://h/x".parse().unwrap(), Duration::from_secs(1));
        let sender = Sender::new(url, None, 1, timeout, clock.clone()).unwrap();
        let options = guard::Options {
            pace: Pace::per_second(1, 1),
            limit: LimitOptions { min: 1, max: 1, start: 1 },
            breaker: BreakerOptions::default(),
            budget: BudgetOptions::default(),
        };
        let guard = Arc::new(Mutex::new(Guard::new(options, Instant::now())));
        Handler::new("webhook:orders".to_owned(), sender, guard, Duration::from_secs(7_200), clock)
    }

    fn envelope(payload: &[u8]) -> Envelope {
        let event = Event::new(b"o-1", b"k", payload).unwrap();
        let receipt = Receipt { seq: 1, epoch: 1 };
        Envelope { receipt, accepted_at_ms: HOUR_MS, attempt: 1, term: 0, shard: None, event }
    }

    #[test]
    fn an_event_is_given_up_at_once_once_it_is_old_or_after_all_attempts() {
        let why = "the receiver answered 500 Internal Server Error".to_owned();
        let undelivered = Undelivered::for_now(guard::Outcome::Failed, why.clone());
        let check =
            |after_ms: i64, attempt: u32, undelivered: &Undelivered, expect: Option<String>| {
                let handler = handler(&Manual::at(HOUR_MS + after_ms));
                assert_eq!(handler.last(&envelope(b"{}"), attempt, undelivered), expect);
            };
        check(2 * HOUR_MS - 1, 9_999, &undelivered, None);
        let old = format!("not delivered within 2 h; the last attempt: {why}");
        check(2 * HOUR_MS, 1, &undelivered, Some(old));
        let all = format!("not delivered in 10000 attempts; the last one: {why}");
        check(0, 10_000, &undelivered, Some(all));
        check(0, 1, &Undelivered { is_final: true, ..undelivered.clone() }, Some(why.clone()));
    }
}
