//! Reading a topic from a given time on, without a consumer group.
//!
//! Nothing is joined, committed, made or written: a principal needs `Read` on the topic alone. Each call
//! begins anew, so a caller that reads again after a failure meets records again.
//!
//! - Records of a partition come in the order of their offsets; partitions interleave.
//! - A partition begins with its first record whose time is the asked one or later. Records behind it may
//!   bear earlier times, because producers may set the times.
//! - Records of aborted and of open transactions do not come.
//! - What Kafka deletes before it is read is an error that says how many offsets are lost.
//! - At most [`BATCHES_MAX`] batches of [`BATCH_RECORDS_MAX`] records or [`BATCH_BYTES_MAX`] bytes wait for the
//!   caller, besides 16 MiB that the client fetches ahead. A slow caller slows reading.

mod batch;
mod thread;

use buffer::Error;
use model::clock::EpochMs;
use tokio::sync::mpsc;

use crate::Options;
use crate::client::blocking;
pub use batch::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BATCHES_MAX, Record, Until};
use thread::Thread;

/// Records that are being read. Reading ends when this is dropped.
#[derive(Debug)]
pub struct Records {
    batches: mpsc::Receiver<Result<Vec<Record>, Error>>,
}

impl Records {
    /// The next records, at least one; `None` at the end of an [`Until::End`], and after an error.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Kafka is silent for longer than [`Options::timeout_ms`] before the end, or has
    /// deleted records that were to be read; [`Error::Open`] if it refuses. With [`Until::Dropped`], an outage
    /// is waited out.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, Error> {
        self.batches.recv().await.transpose()
    }
}

/// Reads [`Options::topic`] from `since_ms` on. Of the other options those of the connection count. Needs a
/// tokio runtime.
///
/// # Errors
/// [`Error::Open`] if there is no such topic, the options can't be used, or Kafka refuses;
/// [`Error::Unavailable`] if it can't be reached.
pub async fn from_time(
    options: &Options,
    since_ms: EpochMs,
    until: Until,
) -> Result<Records, Error> {
    options.validate()?;
    let options = options.clone();
    let (sender, batches) = mpsc::channel(BATCHES_MAX);
    blocking(move || Thread::start(options, since_ms, until, sender)).await?;
    Ok(Records { batches })
}
