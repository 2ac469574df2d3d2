//! What a process does when it begins to serve a table, and what it promises of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use buffer::{Class, Classify as _, Location};
use model::clock::Clock;
use model::units::grouped;
use runtime::Line;
use store::tables::Mode;
use store::{Error, Table};
use tokio::task::block_in_place;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Definition, Front, Mark};

impl Definition {
    /// What is promised of its rows, which are in the buffers of `line`.
    #[must_use]
    pub fn promise(&self, line: &Line) -> String {
        let Self { name, target } = self;
        let survives = line.buffer.survives();
        let how = match target.mode {
            Mode::Insert => "the first row of a key stands".to_owned(),
            Mode::Upsert { version, .. } => {
                let version = &target.columns[version].name;
                format!("the greater {version} of a key wins, whatever comes when")
            }
        };
        // The greater version wins in any order.
        let is_first = matches!(target.mode, Mode::Insert);
        let unordered = line.accepting().find_map(|buffer| buffer.unordered());
        let unordered = unordered.filter(|_| is_first).map_or_else(String::new, |unordered| {
            format!(" {}", unordered.said("another row than the first one may stand"))
        });
        let spill = line.spill.as_ref().map_or_else(String::new, |spill| {
            format!(" While its buffer is out of reach, rows spill into {}.", spill.place())
        });
        format!(
            "Table {name}: accepted rows survive {survives}; {how} in {target}.{spill}{unordered}"
        )
    }

    /// Looks whether `made` is as it is defined, and makes it where it is missing and `create` says so. Returns
    /// whether it was made, and what keeps rows from being written. A process that `offers` rows alone needs no
    /// store to do so.
    ///
    /// # Errors
    /// If the store can't be looked at.
    pub async fn ready(
        &self,
        made: &dyn Table,
        create: bool,
        offers: bool,
    ) -> Result<(bool, Vec<String>), Error> {
        let created = create && made.create().await?;
        match made.problems().await {
            Err(error) if offers && error.class() == Class::Retryable => {
                tracing::warn!(%error, table = self.name, "cannot look at the table yet");
                Ok((false, Vec::new()))
            }
            problems => Ok((created, problems?)),
        }
    }
}

impl Mark {
    /// Opens the mark at `path` of the table `name`. After a crash it waits until the clock has passed the mark, which
    /// takes a second at most, so that stamps do not run ahead of other processes'. Returns as well what to say where
    /// the clock was set back. Blocks on the disk, so that the runtime needs a second thread.
    ///
    /// # Errors
    /// As [`Mark::open`].
    pub async fn begin(
        path: &Path,
        clock: &dyn Clock,
        name: &str,
    ) -> std::io::Result<(Self, Option<String>)> {
        let mark = block_in_place(|| Self::open(path))?;
        let now_us = clock.now_ms().saturating_mul(1_000);
        sleep(Duration::from_micros(mark.wait_us(now_us))).await;
        let behind_s = mark.found().saturating_sub(now_us) / 1_000_000;
        let is_back = behind_s > 0 && mark.wait_us(now_us) == 0;
        let said = is_back.then(|| {
            format!(
                "Table {name}: THE CLOCK WAS SET BACK by {} s or less. Stamps stay ahead of the clock until it has \
                 caught up.",
                grouped(behind_s.unsigned_abs() + 1)
            )
        });
        Ok((mark, said))
    }
}

impl Front {
    /// Reads what `buffers` held before this process started, so that it is read before it is settled, and keeps what
    /// is known of the table fresh until the guard is dropped. Returns as well what to say of it.
    pub async fn begin<'a>(
        &self,
        buffers: impl Iterator<Item = &'a Arc<dyn Location>>,
    ) -> (DropGuard, Option<String>) {
        let name = &self.definition().name;
        if let Err(error) = self.learn_bounds().await {
            tracing::warn!(%error, table = name, "cannot read the bounds; HTTP checks none until it can");
        }
        // Of a key that has moved, the later rows are in the next one; what was spilled is later, too.
        let beyond = self.remember_all(buffers).await;
        let said = (beyond > 0).then(|| {
            let beyond = grouped(beyond);
            format!(
                "Table {name}: {beyond} of the rows in the buffer are read only once they are settled: they are \
                 more than pending_max."
            )
        });
        let sweeping = CancellationToken::new();
        tokio::spawn(self.clone().sweep(sweeping.clone()));
        (sweeping.drop_guard(), said)
    }
}
