//! What all ways are measured with.

use std::time::Duration;

use anyhow::{Context, Result};
use buffer::Location;
use jiff::Timestamp;
use model::units::grouped;
use store::plain::Plain;
use tokio_util::sync::CancellationToken;

use crate::phases::processor::{self, Server};
use crate::phases::{Comparison, Figures, Machine, Setting};

/// What all ways are measured with.
pub struct Plan {
    /// Payments of each way.
    pub events: usize,
    /// A plain way ends after this long, however many it has written.
    pub limit: Duration,
    /// Connections of the pool.
    pub pool: usize,
    /// Most payments that the pipeline settles at once.
    pub batch_max: usize,
    /// Its lanes.
    pub lanes: usize,
    /// The servers, as far as they run on this machine.
    pub servers: Vec<Server>,
    /// Cancelled when the bench is to stop.
    pub stop: CancellationToken,
}

impl Plan {
    /// What `work` comes to, unless a signal asks to stop.
    pub(super) async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let worked = self.stop.run_until_cancelled(work).await;
        worked.context("stopped before all was measured")
    }

    /// Runs `work` in `store`, which is made for it and gone afterwards.
    ///
    /// # Errors
    /// If the store can't be made or removed, or `work` fails.
    pub async fn in_scratch(
        store: &dyn Plain,
        work: impl AsyncFnOnce() -> Result<Figures>,
    ) -> Result<Figures> {
        store.make().await?;
        let figures = work().await;
        let left_over = || format!("{} is left over; drop it", store.name());
        store.discard().await.with_context(left_over)?;
        figures
    }

    /// The servers of `store` and `buffer`, as far as they run on this machine.
    ///
    /// # Errors
    /// If one can't be asked.
    pub async fn servers(store: &dyn Plain, buffer: &dyn Location) -> Result<Vec<Server>> {
        let mut root = None;
        let mut look = |process: store::plain::Server| {
            root = processor::root_of(process.pid, process.program);
        };
        store.while_connected(&mut look).await?;
        let of_buffer = buffer.server().await?;
        let of_buffer =
            of_buffer.map(|server| (server.name, processor::root_of(server.pid, server.program)));
        let all = [(store.server(), root)].into_iter().chain(of_buffer);
        let named = |(name, root): (&str, Option<u32>)| {
            Some(Server { name: name.to_owned(), pids: vec![root?] })
        };
        Ok(all.filter_map(named).collect())
    }

    /// All ways side by side. `server` is that of the store, `notes` what to know before.
    ///
    /// # Errors
    /// If there are more than 2^64 events.
    pub fn comparison(
        &self,
        server: &str,
        phases: Vec<Figures>,
        notes: Vec<String>,
    ) -> Result<Comparison> {
        let setting = |name: &str, value: String| Setting::new(name, value);
        Ok(Comparison {
            title: format!("Three ways into {server}"),
            date: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            machine: Machine::read(),
            payload: "card payments of some 250 bytes of JSON, 15 columns, all indexes".to_owned(),
            settings: vec![
                setting("payments in each phase", grouped(u64::try_from(self.events)?)),
                setting("a direct phase ends after", format!("{} s", self.limit.as_secs())),
                setting("connections of phase 2", self.pool.to_string()),
                setting("batch of phase 3, at most", self.batch_max.to_string()),
                setting("lanes of phase 3", self.lanes.to_string()),
            ],
            notes,
            phases,
        })
    }
}
