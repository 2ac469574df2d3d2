//! A handler of calls as a domain has it: one read for many admissions, one transaction for many answers.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use buffer::Envelope;
use engine::Failure;
use engine::calls::{Admission, Called, Calls, Outcome};
use guard::{BreakerOptions, BudgetOptions, Guard, LimitOptions, Pace};
use http::Uri;
use outbound::{Client, Kind};
use store::tables::{Column, Mode, Name, Record, Type, Value, Written};
use store::{Error, Table, Target};
use tokio::sync::watch;

use super::events::request;

/// Attempts that may begin in a second: no bound that any figure reaches.
const PER_SECOND: u32 = 1_000_000;

pub(super) struct Posting {
    pub(super) client: Client,
    pub(super) url: Uri,
    pub(super) guard: Mutex<Guard>,
    pub(super) answers: Arc<dyn Table>,
    /// Nothing is admitted while this is false.
    pub(super) is_open: watch::Receiver<bool>,
    pub(super) longest: Duration,
}

/// What the service answered.
pub(super) struct Answer {
    status: u16,
    body: String,
}

/// A guard of a service without a rate, with a limit between the bounds given.
pub(super) fn guard(limit: LimitOptions) -> Mutex<Guard> {
    let options = guard::Options {
        pace: Pace::per_second(PER_SECOND, PER_SECOND),
        limit,
        breaker: BreakerOptions::default(),
        budget: BudgetOptions::default(),
    };
    Mutex::new(Guard::new(options, Instant::now()))
}

/// One row for each event: the answer, and the mark that the event is done.
pub(super) fn target() -> Target {
    let column = |of: &str, kind| {
        let name = Name::new(of).expect("it is short and plain");
        Column { name, kind, nullable: false }
    };
    Target {
        schema: None,
        table: Name::new("bench_answers").expect("it is short and plain"),
        columns: vec![
            column("id", Type::Text),
            column("status", Type::Bigint),
            column("answer", Type::Text),
        ],
        keys: vec![0],
        mode: Mode::Insert,
    }
}

fn id(event: &Envelope) -> Value {
    Value::Text(String::from_utf8_lossy(event.event.id()).into_owned())
}

#[async_trait]
impl Calls for Posting {
    type Answer = Answer;

    fn pipeline(&self) -> &str {
        "calls"
    }

    fn guard(&self) -> &Mutex<Guard> {
        &self.guard
    }

    async fn admit(&self, batch: &[&Envelope]) -> Result<Vec<Admission>, Failure> {
        let mut is_open = self.is_open.clone();
        // The bench lives longer than its engine.
        let _ = is_open.wait_for(|is_open| *is_open).await;
        let keys = batch.iter().map(|event| vec![id(event)]).collect();
        let answered = self.answers.read_many(keys).await.map_err(failure)?;
        let admission = |answer: Option<Record>| match answer {
            Some(_) => Admission::Done(Outcome::Duplicate),
            None => Admission::Call,
        };
        Ok(answered.into_iter().map(admission).collect())
    }

    async fn call(&self, event: &Envelope, _: u32) -> Called<Answer> {
        let (outcome, answer) =
            match self.client.send(request(&self.url, &event.event), self.longest).await {
                Ok(answer) if answer.status.is_success() => {
                    let body = String::from_utf8_lossy(&answer.body).into_owned();
                    let answer = Answer { status: answer.status.as_u16(), body };
                    (guard::Outcome::Good, Some(answer))
                }
                Ok(answer) if answer.status.as_u16() == 429 => (guard::Outcome::Overloaded, None),
                Err(failure) if failure.kind == Kind::TimedOut => (guard::Outcome::TimedOut, None),
                Ok(_) | Err(_) => (guard::Outcome::Failed, None),
            };
        Called { outcome, retry_after: None, answer }
    }

    fn give_up(&self, _: &Envelope) -> Answer {
        Answer { status: 0, body: "no answer".to_owned() }
    }

    async fn record(&self, answers: &[(&Envelope, &Answer)]) -> Result<Vec<Outcome>, Failure> {
        let row = |(event, answer): &(&Envelope, &Answer)| {
            vec![id(event), Value::Bigint(answer.status.into()), Value::Text(answer.body.clone())]
        };
        let written = self.answers.write(answers.iter().map(row).collect()).await;
        let outcome = |written: Written| match written {
            Written::Written => Outcome::Settled,
            Written::Same | Written::Older | Written::Another(_) => Outcome::Duplicate,
        };
        Ok(written.map_err(failure)?.into_iter().map(outcome).collect())
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Unavailable(cause) => Failure::Unavailable(cause),
        Error::Refused(reason) => Failure::Refused(reason),
        Error::Rejected(reason) => Failure::Rejected(reason),
        Error::Fatal(cause) => Failure::Fatal(cause),
    }
}
