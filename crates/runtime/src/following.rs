//! Follows what operators want of the pipelines of this process: a row of the store for each.

use std::sync::Arc;
use std::time::Duration;

use model::{Class, Classify};
use store::Pipelines;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fleet::Fleet;
use crate::outage::Outage;

/// How often the rows are read.
pub const READ_EVERY: Duration = Duration::from_secs(1);
/// How long one reading may take.
const READ_MAX: Duration = Duration::from_secs(5);
/// The pause after an error that an operator has to correct.
const FATAL_PAUSE: Duration = Duration::from_secs(30);

/// Applies the rows to a fleet until it is dropped. A store that is out of reach changes nothing: what was
/// read last holds.
#[derive(Debug)]
pub struct Following(#[expect(dead_code, reason = "it acts when it is dropped")] DropGuard);

impl Following {
    /// Reads the rows and applies them to `fleet`, which has no pipeline yet, so that one that is paused
    /// leases no event; then goes on reading.
    ///
    /// A role that may not read them gets a warning, and its pipelines run as they are configured.
    ///
    /// # Errors
    /// [`store::Error::Unavailable`] when the store is out of reach.
    pub async fn begin(fleet: &Fleet, pipelines: Arc<dyn Pipelines>) -> Result<Self, store::Error> {
        let mut outage = outage();
        match pipelines.wanted().await {
            Ok(wanted) => fleet.want(wanted),
            Err(error) if error.class() == Class::Retryable => return Err(error),
            Err(error) => outage.begins(&error),
        }
        Ok(Self::spawn(fleet, pipelines, outage))
    }

    /// The same, without waiting for a first reading: for a process that leases nothing.
    #[must_use]
    pub fn begin_later(fleet: &Fleet, pipelines: Arc<dyn Pipelines>) -> Self {
        Self::spawn(fleet, pipelines, outage())
    }

    fn spawn(fleet: &Fleet, pipelines: Arc<dyn Pipelines>, outage: Outage) -> Self {
        let stop = CancellationToken::new();
        let (stopped, fleet) = (stop.clone(), fleet.clone());
        tokio::spawn(async move {
            stopped.run_until_cancelled(follow(fleet, pipelines, outage)).await;
        });
        Self(stop.drop_guard())
    }
}

fn outage() -> Outage {
    Outage::new("read which pipelines are to be paused")
}

/// Never ends.
async fn follow(fleet: Fleet, pipelines: Arc<dyn Pipelines>, mut outage: Outage) {
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match timeout(READ_MAX, pipelines.wanted()).await {
            Ok(Ok(wanted)) => {
                fleet.want(wanted);
                outage.is_over();
            }
            Ok(Err(error)) => {
                outage.begins(&error);
                if error.class() != Class::Retryable {
                    sleep(FATAL_PAUSE).await;
                }
            }
            Err(late) => outage.begins(&late),
        }
    }
}
