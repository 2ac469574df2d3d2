//! The contract over a folder: a buffer in memory leases, and each event that it holds has a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use buffer::memory::{self, Memory};
use buffer::{Buffer, DeadLetter, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use model::Event;
use model::clock::Clock;
use tokio::sync::Mutex;

use crate::file;
use crate::options::Options;

/// A buffer in a folder.
pub struct FolderBuffer {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    memory: Memory,
    /// Held over each step that adds events, so that both number them in one order.
    files: Mutex<Files>,
}

/// Which file each event in memory has.
#[derive(Default)]
struct Files {
    /// The number of the last event in memory.
    last_seq: u64,
    /// The number of the last file.
    last_file: u64,
    paths: BTreeMap<u64, PathBuf>,
}

impl Files {
    fn hold(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            self.last_seq += 1;
            self.paths.insert(self.last_seq, path);
        }
    }
}

impl FolderBuffer {
    /// Opens the buffer with the events that are in its folder. Makes the folder where it is missing.
    ///
    /// # Errors
    /// If the folder can't be made or read, or holds more events than the buffer may hold.
    pub async fn open(options: &Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let folder = options.folder.clone();
        fs::create_dir_all(&folder).map_err(unavailable)?;
        let Options { events_max, dead_max, lease_ms, .. } = *options;
        let bounds =
            memory::Options { events_max, dead_max, lease_ms, ..memory::Options::default() };
        let memory = Memory::new(bounds, clock.clone());
        let mut files = Files::default();
        for number in file::numbers(&folder).map_err(unavailable)? {
            let Some(held) = file::read(&folder, number).map_err(unavailable)? else { continue };
            memory.offer(&[held.event]).await?;
            files.hold(vec![folder.join(number.to_string())]);
            files.last_file = number;
        }
        Ok(Self { folder, clock, memory, files: Mutex::new(files) })
    }

    /// Gives each of `events` a file. Those that were written before an error are removed again.
    fn write(&self, files: &mut Files, events: &[Event]) -> Result<Vec<PathBuf>, Error> {
        let mut written = Vec::new();
        for event in events {
            files.last_file += 1;
            let now_ms = self.clock.now_ms();
            match file::write(&self.folder, files.last_file, now_ms, event) {
                Ok(path) => written.push(path),
                Err(error) => {
                    remove(&written);
                    return Err(unavailable(error));
                }
            }
        }
        Ok(written)
    }

    async fn settled(&self, receipt: Receipt) {
        remove(self.files.lock().await.paths.remove(&receipt.seq).as_slice());
    }
}

/// A file that stays is an event that comes again, which the store dedupes.
fn remove(paths: &[PathBuf]) {
    for path in paths {
        let _ = fs::remove_file(path);
    }
}

pub(crate) fn unavailable(error: std::io::Error) -> Error {
    Error::Unavailable(error.to_string())
}

#[async_trait]
impl Buffer for FolderBuffer {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        let mut files = self.files.lock().await;
        let written = self.write(&mut files, events)?;
        match self.memory.offer(events).await {
            Ok(()) => files.hold(written),
            Err(refused) => {
                remove(&written);
                return Err(refused);
            }
        }
        Ok(())
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        self.memory.lease(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        let mut acked = 0;
        for receipt in receipts {
            if self.memory.ack(&[*receipt]).await? == 1 {
                self.settled(*receipt).await;
                acked += 1;
            }
        }
        Ok(acked)
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        self.memory.release(receipts, delay).await
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        let mut buried = 0;
        for burial in burials {
            if self.memory.bury(std::slice::from_ref(burial)).await? == 1 {
                self.settled(burial.0).await;
                buried += 1;
            }
        }
        Ok(buried)
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        self.memory.extend(receipts, by).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.memory.depth().await
    }

    fn kind(&self) -> Kind {
        Kind {
            name: "folder",
            survives: "nothing that may be relied on: no file is synced, and dead letters have none",
            durable: false,
            shared: false,
            counts_leases: false,
        }
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self
    }

    async fn close(&self) -> Result<(), Error> {
        self.memory.close().await
    }
}

#[async_trait]
impl DeadLetters for FolderBuffer {
    async fn list(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.memory.list(from, max).await
    }

    async fn replay(&self, seqs: &[u64]) -> Result<usize, Error> {
        let mut files = self.files.lock().await;
        let letters = self.memory.list(0, usize::MAX).await?.into_iter();
        let events: Vec<Event> =
            letters.filter(|one| seqs.contains(&one.seq)).map(|one| one.event).collect();
        let written = self.write(&mut files, &events)?;
        match self.memory.replay(seqs).await {
            Ok(replayed) => {
                files.hold(written);
                Ok(replayed)
            }
            Err(refused) => {
                remove(&written);
                Err(refused)
            }
        }
    }

    async fn drop_letters(&self, seqs: &[u64]) -> Result<usize, Error> {
        self.memory.drop_letters(seqs).await
    }
}
