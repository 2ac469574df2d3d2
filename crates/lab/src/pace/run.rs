//! The loop.

use std::time::Duration;

use model::units::grouped;
use model::{Class, Classify, Event};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Outcome, Profile};
use crate::sink::{Error, Fate, Sink};

/// How far from the schedule a rate may be and still count as held.
pub const RATE_TOLERANCE: f64 = 0.02;
/// How long a sink may be out of reach, without a break, before the run is given up.
pub const OUTAGE_MAX: Duration = Duration::from_secs(30);
/// The shortest wait before offering again what was refused or failed: a sink that says "at once"
/// is not asked in a tight loop.
pub const PAUSE_MIN: Duration = Duration::from_millis(10);
/// How long to wait after a failure. A whole outage is then at most some hundred attempts.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(250);

/// How far behind its schedule a run may be while it is under way and still count as held: the
/// events of the last tick and of an offer under way are not late yet.
const LAG_TOLERANCE: Duration = Duration::from_millis(50);

/// What to do with events that were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRefusal {
    /// Forget them, and count them as refused.
    #[default]
    Drop,
    /// Offer them again once the sink says it makes sense, before anything newer.
    Retry,
}

/// What to offer, when, and what to do when it is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How the rate moves.
    pub profile: Profile,
    /// The mean rate, in events a second.
    pub tps: f64,
    /// For how long events are due.
    pub duration: Duration,
    /// How often to look for what is due.
    pub tick: Duration,
    /// The most events offered at once.
    pub batch_max: usize,
    /// What to do with what is refused.
    pub on_refusal: OnRefusal,
    /// How long after `duration` overdue events may still be offered.
    pub overrun_max: Duration,
}

impl Plan {
    /// A steady plan: looks every 2 ms, offers up to 1,000 at once, drops what is refused, and has
    /// 30 s for what is overdue at the end.
    #[must_use]
    pub fn steady(tps: f64, duration: Duration) -> Self {
        Self {
            profile: Profile::Steady,
            tps,
            duration,
            tick: Duration::from_millis(2),
            batch_max: 1_000,
            on_refusal: OnRefusal::Drop,
            overrun_max: Duration::from_secs(30),
        }
    }

    /// How many events it has in all.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and a plan without end or with a negative rate has none to lose"
    )]
    pub fn total(&self) -> u64 {
        (self.tps * self.duration.as_secs_f64()).round() as u64
    }

    /// When the event at `index` (from 0) is due.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 events")]
    pub fn at(&self, index: u64) -> Duration {
        let share = index as f64 / self.total().max(1) as f64;
        self.duration.mul_f64(self.profile.when(share).clamp(0.0, 1.0))
    }

    /// How many events are due once `elapsed` has passed.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "between 0 and a total that is far below 2^52"
    )]
    pub fn due(&self, elapsed: Duration) -> u64 {
        let total = self.total();
        if elapsed >= self.duration {
            return total;
        }
        let x = elapsed.as_secs_f64() / self.duration.as_secs_f64();
        // The first event is due at once, hence one more than the share that has passed.
        ((self.profile.share(x) * total as f64) as u64 + 1).min(total)
    }

    /// Why a run that was not stopped left some of its events out, if it did. What is refused is offered
    /// again, so something is counted as refused only where there was no room up to the end.
    #[must_use]
    pub fn shortfall(&self, outcome: &Outcome) -> Option<String> {
        let unsent = outcome.refused + outcome.unoffered;
        let why = if outcome.refused > 0 { "the buffer is full" } else { "the target is too slow" };
        let overrun_s = self.overrun_max.as_secs();
        (unsent > 0).then(|| {
            let unsent = grouped(unsent);
            format!("gave up {overrun_s} s after the last was due: {why}; {unsent} were not sent")
        })
    }
}

/// The events of `plan`, as fast as `sink` takes them.
///
/// # Errors
/// The first of the sink's.
pub async fn unpaced(
    plan: &Plan,
    make: &mut (dyn FnMut(Duration) -> Event + Send),
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    let total = plan.total();
    let mut made = 0;
    while made < total {
        let to = total.min(made + plan.batch_max as u64);
        let batch: Vec<_> = (made..to).map(|index| make(plan.at(index))).collect();
        sink.offer(&batch).await?;
        made = to;
    }
    Ok(())
}

/// Runs `plan`: takes each event from `make`, which is given the time it is due, and offers it to
/// `sink`. Ends when all were offered, when `stop` is cancelled, when `overrun_max` is used up, or
/// when the sink fails for good. `progress` is called after every offer and every idle tick.
///
/// The sink is not finished ([`Sink::finish`]) here.
pub async fn run(
    plan: &Plan,
    make: &mut (dyn FnMut(Duration) -> Event + Send),
    sink: &mut dyn Sink,
    stop: &CancellationToken,
    progress: &mut (dyn FnMut(&Outcome) + Send),
) -> Outcome {
    let mut run = Run::new(plan, stop);
    let mut batch = Vec::with_capacity(plan.batch_max);
    let end = plan.duration + plan.overrun_max;
    while run.outcome.failure.is_none() && !stop.is_cancelled() {
        let elapsed = run.begun.elapsed();
        let (made, due) = (run.outcome.offered, plan.due(elapsed));
        if made == plan.total() || elapsed >= end {
            break;
        }
        if made >= due || Instant::now() < run.not_before {
            let wake = (Instant::now() + plan.tick).max(run.not_before.min(run.begun + end));
            run.sleep_until(wake).await;
        } else {
            batch.clear();
            let to = due.min(made + plan.batch_max.max(1) as u64);
            batch.extend((made..to).map(|index| make(plan.at(index))));
            run.outcome.offered = to;
            let late = elapsed.saturating_sub(plan.at(made)).as_secs_f64() * 1_000.0;
            run.outcome.late_ms_max = run.outcome.late_ms_max.max(late);
            run.offer(sink, &mut batch, run.begun + end).await;
        }
        run.measure();
        progress(&run.outcome);
    }
    run.outcome.unoffered = plan.due(run.begun.elapsed()).saturating_sub(run.outcome.offered);
    run.outcome
}

struct Run<'a> {
    plan: &'a Plan,
    stop: &'a CancellationToken,
    begun: Instant,
    /// The sink asked not to be offered anything earlier.
    not_before: Instant,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, stop: &'a CancellationToken) -> Self {
        let begun = Instant::now();
        let outcome = Outcome { target_tps: plan.tps, held: true, ..Outcome::default() };
        Self { plan, stop, begun, not_before: begun, outcome }
    }

    /// Offers `batch`; where refusals are retried, until nothing is left of it or `deadline`.
    async fn offer(&mut self, sink: &mut dyn Sink, batch: &mut Vec<Event>, deadline: Instant) {
        let drop = self.plan.on_refusal == OnRefusal::Drop;
        let mut outage: Option<(Instant, Error)> = None;
        loop {
            let answer = sink.offer(batch).await;
            let pause = match answer {
                Ok(answer) => {
                    outage = None;
                    self.outcome.add(&answer, drop);
                    let pause = answer.retry_after.unwrap_or(PAUSE_MIN).max(PAUSE_MIN);
                    if answer.refused > 0 {
                        self.not_before = Instant::now() + pause;
                    }
                    if answer.refused == 0 || drop {
                        return;
                    }
                    let mut fates = answer.fates().into_iter();
                    batch.retain(|_| fates.next() == Some(Fate::Refused));
                    pause
                }
                Err(error) => {
                    let began = outage.as_ref().map_or_else(Instant::now, |(began, _)| *began);
                    if error.class() != Class::Retryable || began.elapsed() >= OUTAGE_MAX {
                        return self.give_up(batch, Some(error));
                    }
                    if outage.is_none() {
                        tracing::warn!(%error, "events can't be offered; trying again");
                    }
                    outage = Some((began, error));
                    PAUSE_AFTER_FAILURE
                }
            };
            self.sleep_until((Instant::now() + pause).min(deadline)).await;
            if self.stop.is_cancelled() || Instant::now() >= deadline {
                // Refused for good, or else failed and nothing is known of them.
                let Some((_, error)) = outage else {
                    self.outcome.refused += batch.len() as u64;
                    return;
                };
                return self.give_up(batch, Some(error).filter(|_| !self.stop.is_cancelled()));
            }
        }
    }

    fn give_up(&mut self, batch: &[Event], failure: Option<Error>) {
        self.outcome.unknown += batch.len() as u64;
        self.outcome.failure = failure;
    }

    async fn sleep_until(&self, wake: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(wake) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Holds what was offered against what was due.
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 events")]
    fn measure(&mut self) {
        let plan = self.plan;
        let mut elapsed = self.begun.elapsed();
        let due = if self.outcome.offered == plan.total() {
            // The last event is due just before the end: a run that offered it early enough took
            // as long as it was meant to.
            elapsed = elapsed.max(plan.duration);
            plan.total() as f64 * (elapsed.as_secs_f64() / plan.duration.as_secs_f64())
        } else {
            plan.due(elapsed.saturating_sub(LAG_TOLERANCE)) as f64
        };
        self.outcome.duration = elapsed;
        self.outcome.achieved_tps =
            self.outcome.offered as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        self.outcome.held = self.outcome.offered as f64 >= due * (1.0 - RATE_TOLERANCE);
    }
}
