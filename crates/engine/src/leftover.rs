//! What an engine leaves in the buffer at its end, and the next engine of its pipeline waits for.
//!
//! Two things keep earlier events of a key away from the next engine while later ones can be leased: the
//! pause of events that were given back, and leases that could not be released. Neither is known to the
//! buffer's next reader in the same process. So an engine leases nothing before both are over.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buffer::{Buffer, Receipt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backoff::{Backoff, is_said};

/// How long one release may take.
const RELEASE_MAX: Duration = Duration::from_secs(2);

/// Shared by the engines of one pipeline, which run one after the other.
#[derive(Default)]
pub(crate) struct Leftover(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the last event that was given back can be leased again.
    away_until: Option<Instant>,
    /// Events that an engine could not release at its end.
    leased: Vec<Receipt>,
    /// When the last of their leases has ended.
    leased_until: Option<Instant>,
}

impl Leftover {
    /// Events were given back, and stay away this long from now.
    pub(crate) fn stay_away(&self, pause: Duration) {
        let until = Some(Instant::now() + pause);
        let mut state = self.state();
        state.away_until = state.away_until.max(until);
    }

    /// The leases of these could not be released. All of them end by `until`.
    pub(crate) fn stay_leased(&self, receipts: Vec<Receipt>, until: Instant) {
        let mut state = self.state();
        state.leased.extend(receipts);
        state.leased_until = state.leased_until.max(Some(until));
    }

    /// Resolves when every event that an earlier engine held or gave back can be leased again: at the
    /// latest when its pause or its lease has ended. May be dropped, and called again.
    pub(crate) async fn is_back(&self, buffer: &dyn Buffer, backoff: &mut Backoff) {
        let mut failures = 0;
        while let Some(receipts) = self.leased() {
            match timeout(RELEASE_MAX, buffer.release(&receipts, Duration::ZERO)).await {
                Ok(Ok(_)) => self.forget_leased(),
                Ok(Err(error)) => warn(&mut failures, receipts.len(), &error),
                Err(late) => warn(&mut failures, receipts.len(), &late),
            }
            if failures > 0 {
                sleep(backoff.after(failures)).await;
            }
        }
        let away_until = self.state().away_until;
        if let Some(until) = away_until
            && until > Instant::now()
        {
            tracing::info!("waits until events that were given back can be leased again");
            sleep_until(until).await;
        }
    }

    /// What is still leased, as far as is known here.
    fn leased(&self) -> Option<Vec<Receipt>> {
        let mut state = self.state();
        if state.leased_until.is_none_or(|until| until <= Instant::now()) {
            state.leased.clear();
        }
        (!state.leased.is_empty()).then(|| state.leased.clone())
    }

    fn forget_leased(&self) {
        self.state().leased.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn(failures: &mut u32, held: usize, error: &dyn std::fmt::Display) {
    *failures += 1;
    if is_said(*failures) {
        tracing::warn!(%error, held, "cannot release events of the last engine; trying again");
    }
}
