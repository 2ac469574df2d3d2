//! What a process does when it begins to serve a table, and what it promises of it.

use std::path::Path;
use std::time::Duration;

use buffer::{Class, Classify as _, Location};
use model::clock::Clock;
use store::tables::Mode;
use store::{Error, Table};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::{Definition, Mark};

impl Definition {
    /// One sentence on what is promised of its rows. `survives` is what accepted ones survive, as a noun; `spill` is
    /// where they go while the buffer is out of reach.
    #[must_use]
    pub fn promise(&self, survives: &str, spill: Option<&dyn Location>) -> String {
        let Self { name, target } = self;
        let how = match target.mode {
            Mode::Insert => "the first row of a key stands".to_owned(),
            Mode::Upsert { version, .. } => {
                let version = &target.columns[version].name;
                format!("the greater {version} of a key wins, whatever comes when")
            }
        };
        let spill = spill.map_or_else(String::new, |spill| {
            format!(" While its buffer is out of reach, rows spill into {}.", spill.place())
        });
        format!("Table {name}: accepted rows survive {survives}; {how} in {target}.{spill}")
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
    /// Opens the mark at `path`. After a crash it waits until the clock has passed the mark, which takes a second at
    /// most, so that stamps do not run ahead of other processes'. Returns as well by how many seconds the clock was
    /// set back, if it was. Blocks on the disk, so that the runtime needs a second thread.
    ///
    /// # Errors
    /// As [`Mark::open`].
    pub async fn begin(path: &Path, clock: &dyn Clock) -> std::io::Result<(Self, Option<u64>)> {
        let mark = block_in_place(|| Self::open(path))?;
        let now_us = clock.now_ms().saturating_mul(1_000);
        sleep(Duration::from_micros(mark.wait_us(now_us))).await;
        let behind_s = mark.found().saturating_sub(now_us) / 1_000_000;
        let is_back = behind_s > 0 && mark.wait_us(now_us) == 0;
        Ok((mark, is_back.then(|| behind_s.unsigned_abs() + 1)))
    }
}
