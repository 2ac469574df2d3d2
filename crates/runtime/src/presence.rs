//! Tells the store that this process lives, and what its pipelines do. Where the rate of calls is of several
//! processes, it tells the guards of this process what the others do.

use std::sync::Arc;
use std::time::Duration;

use model::{Class, Classify};
use store::Processes;
use store::processes::{HEARTBEAT_EVERY, Heard, Process};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::fleet::Fleet;
use crate::outage::Outage;
use crate::sharing::{Share, VIEW_MAX};

/// How often it is looked whether a pipeline has changed its state. A change is written at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long one heartbeat may take, with the reading of the others' where it is needed.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// How long leaving may hold up the end of the process.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// The pause after an error that an operator has to correct.
const FATAL_PAUSE: Duration = Duration::from_secs(30);

const _: () = assert!(
    2 * (HEARTBEAT_EVERY.as_millis() + LOOK_EVERY.as_millis()) < VIEW_MAX.as_millis(),
    "one failed heartbeat ends no view"
);

/// Writes heartbeats until it leaves. Dropping it stops nothing.
#[derive(Debug)]
pub struct Presence {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Beating {
    fleet: Fleet,
    processes: Arc<dyn Processes>,
    me: Process,
    outage: Outage,
    /// A heartbeat was written, or may have been.
    is_there: bool,
}

impl Presence {
    /// Begins to write what `me` and the pipelines of `fleet` are.
    #[must_use]
    pub fn begin(fleet: &Fleet, processes: Arc<dyn Processes>, me: Process) -> Self {
        let (stop, fleet) = (CancellationToken::new(), fleet.clone());
        let outage = Outage::new("write the heartbeat of this process");
        let beating = Beating { fleet, processes, me, outage, is_there: false };
        let task = tokio::spawn(beating.run(stop.clone()));
        Self { stop, task }
    }

    /// Removes the row of this process, if there is time.
    pub async fn leave(mut self) {
        self.stop.cancel();
        if timeout(LEAVE_MAX, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Beating {
    async fn run(mut self, stop: CancellationToken) {
        // A heartbeat under way is waited for: it could write the row again after it was removed.
        self.beat(&stop).await;
        if !self.is_there {
            return;
        }
        // The others find out by themselves when it fails.
        if let Err(error) = self.processes.leave(&self.me.id).await {
            tracing::debug!(%error, "the row of this process was not removed");
        }
    }

    /// Ends when it is stopped.
    async fn beat(&mut self, stop: &CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tried: Option<Instant> = None;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let pipelines = self.fleet.pipelines();
            let is_due = tried.is_none_or(|tried| tried.elapsed() >= HEARTBEAT_EVERY);
            if !is_due && pipelines == self.me.pipelines {
                continue;
            }
            self.me.pipelines = pipelines;
            tried = Some(Instant::now());
            self.write(stop).await;
        }
    }

    async fn write(&mut self, stop: &CancellationToken) {
        self.is_there = true;
        let (began, shares) = (Instant::now(), Share::all(&self.fleet));
        shares.iter().for_each(|share| share.announce(&self.me));
        match timeout(WRITE_MAX, self.exchange(!shares.is_empty())).await {
            Ok(Ok(heard)) => {
                self.outage.is_over();
                shares.iter().for_each(|share| share.heard(&heard, &self.me.id, began));
            }
            Ok(Err(error)) => {
                self.outage.begins(&error);
                if error.class() != Class::Retryable {
                    stop.run_until_cancelled(sleep(FATAL_PAUSE)).await;
                }
            }
            Err(late) => self.outage.begins(&late),
        }
    }

    /// Writes the row of this process, and reads all rows if it is to.
    async fn exchange(&self, reads: bool) -> Result<Vec<Heard>, store::Error> {
        self.processes.heartbeat(&self.me).await?;
        if reads { self.processes.heard().await } else { Ok(Vec::new()) }
    }
}
