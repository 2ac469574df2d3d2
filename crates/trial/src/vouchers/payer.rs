//! Asks which vouchers are paid, calls the service for the others, and records what it answered.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;
use buffer::Envelope;
use bytes::Bytes;
use engine::calls::{self, Admission, Called, Calls, Outcome};
use engine::{Failure, Handling};
use guard::{BreakerOptions, BudgetOptions, Guard, LimitOptions, Pace};
use http::{HeaderMap, Request, StatusCode, Uri, header};
use outbound::{Client, Kind};
use settings::Settings;
use store::Table;
use store::tables::{Value, Written};

use super::keys::{self, PIPELINE};
use super::voucher::Voucher;
use crate::handler::failure;

/// What the service answered.
pub(super) enum Answer {
    Paid,
    /// It will never pay this one, or gave no answer for too long.
    Refused(String),
}

struct Payer {
    paid: Arc<dyn Table>,
    client: Client,
    url: Uri,
    timeout: Duration,
    guard: Mutex<Guard>,
}

/// What pays the vouchers that `paid` does not have.
pub(super) fn handling(settings: &Settings, paid: Arc<dyn Table>) -> Result<Handling> {
    let calls_max = settings.count(keys::CALLS_MAX);
    let timeout_ms = settings.number(keys::TIMEOUT_MS);
    let client = Client::new(outbound::Options { calls_max, ..outbound::Options::default() })
        .context("cannot read the certificates of this machine")?;
    let url = settings.text(keys::URL).parse().context(keys::URL)?;
    let guard = Mutex::new(Guard::new(guard_of(settings), Instant::now()));
    let timeout = Duration::from_millis(timeout_ms);
    let options = calls::Options {
        calls_max,
        timeout_ms,
        attempts_max: 10_000,
        backoff_max_ms: 1_000,
        ..calls::Options::default()
    };
    Ok(Handling::calls(Payer { paid, client, url, timeout, guard }, options))
}

fn guard_of(settings: &Settings) -> guard::Options {
    let most = |key| u32::try_from(settings.whole(key)).unwrap_or(u32::MAX);
    let (min, max) = (most(keys::CALLS_MIN), most(keys::CALLS_MAX));
    guard::Options {
        pace: Pace::per_second(1_000_000, 10_000),
        limit: LimitOptions { min, max, start: max },
        breaker: BreakerOptions {
            open: Duration::from_millis(500),
            open_max: Duration::from_secs(2),
            ..BreakerOptions::default()
        },
        budget: BudgetOptions::default(),
    }
}

#[async_trait]
impl Calls for Payer {
    type Answer = Answer;

    fn pipeline(&self) -> &str {
        PIPELINE
    }

    fn guard(&self) -> &Mutex<Guard> {
        &self.guard
    }

    async fn admit(&self, batch: &[&Envelope]) -> Result<Vec<Admission>, Failure> {
        let mut admissions = vec![Admission::Call; batch.len()];
        // Which event of the batch each key is of.
        let (mut keys, mut at) = (Vec::new(), Vec::new());
        for (n, envelope) in batch.iter().enumerate() {
            match Voucher::read(envelope.event.payload()) {
                Ok(voucher) => {
                    keys.push(vec![Value::Text(voucher.id)]);
                    at.push(n);
                }
                Err(reason) => admissions[n] = Admission::Done(Outcome::Rejected(reason)),
            }
        }
        let rows = self.paid.read_many(keys).await.map_err(failure)?;
        for (n, _) in at.into_iter().zip(rows).filter(|(_, row)| row.is_some()) {
            admissions[n] = Admission::Done(Outcome::Duplicate);
        }
        Ok(admissions)
    }

    async fn call(&self, event: &Envelope, _: u32) -> Called<Answer> {
        let request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", event.event.id())
            .body(Bytes::copy_from_slice(event.event.payload()));
        let request = match request {
            Ok(request) => request,
            Err(error) => return refused(error.to_string()),
        };
        match self.client.send(request, self.timeout).await {
            Ok(answer) => judged(answer.status, &answer.headers),
            Err(error) => {
                let is_late = error.kind == Kind::TimedOut;
                let outcome =
                    if is_late { guard::Outcome::TimedOut } else { guard::Outcome::Failed };
                Called { outcome, retry_after: None, answer: None }
            }
        }
    }

    fn give_up(&self, _: &Envelope) -> Answer {
        Answer::Refused("the service gave no answer".to_owned())
    }

    async fn record(&self, answers: &[(&Envelope, &Answer)]) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes = vec![Outcome::Settled; answers.len()];
        // Which of the answers each row is of.
        let (mut rows, mut at) = (Vec::new(), Vec::new());
        for (n, (envelope, answer)) in answers.iter().enumerate() {
            let voucher = match answer {
                Answer::Paid => Voucher::read(envelope.event.payload()),
                Answer::Refused(reason) => Err(reason.clone()),
            };
            match voucher {
                Ok(voucher) => {
                    rows.push(voucher.row());
                    at.push(n);
                }
                Err(reason) => outcomes[n] = Outcome::Rejected(reason),
            }
        }
        let written = self.paid.write(rows).await.map_err(failure)?;
        for (n, written) in at.into_iter().zip(written) {
            outcomes[n] = match written {
                Written::Written => Outcome::Settled,
                Written::Same | Written::Older => Outcome::Duplicate,
                Written::Another(how) => {
                    Outcome::Rejected(format!("another voucher of this id ({how})"))
                }
            };
        }
        Ok(outcomes)
    }
}

fn judged(status: StatusCode, headers: &HeaderMap) -> Called<Answer> {
    let seconds =
        headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    let again = |outcome| Called { outcome, retry_after, answer: None };
    match status {
        _ if status.is_success() => {
            Called { outcome: guard::Outcome::Good, retry_after: None, answer: Some(Answer::Paid) }
        }
        StatusCode::TOO_MANY_REQUESTS => again(guard::Outcome::Overloaded),
        _ if status.is_client_error() => refused(status.to_string()),
        _ => again(guard::Outcome::Failed),
    }
}

fn refused(reason: String) -> Called<Answer> {
    let answer = Some(Answer::Refused(reason));
    Called { outcome: guard::Outcome::Rejected, retry_after: None, answer }
}
