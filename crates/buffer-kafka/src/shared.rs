//! What the parts of a buffer share.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use buffer::Error;
use tokio::sync::{Notify, OnceCell};

use crate::client::{Trouble, blocking};
use crate::lag::Lag;
use crate::letters::Index;
use crate::lock::lock;
use crate::options::Start;
use crate::producer::{Producer, Record};
use crate::reader::Reader;
use crate::record::{self, Told};
use crate::running::Running;
use crate::window::Window;
use crate::{Mode, Options, durability, place, topic};

/// Most misplaced records that are written where they belong at once.
const REROUTED_MAX: usize = 500;
/// After a failure to do so, the pause before the next try.
const REROUTE_PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) dead_topic: String,
    /// What the keys of our records there begin with: sources may share one topic of dead letters.
    /// Empty in a topic of ours.
    pub(crate) letters_of: String,
    pub(crate) reader: Arc<Reader>,
    pub(crate) producer: Producer,
    /// Whether what this Kafka promises is durable, and what in words.
    pub(crate) durable: OnceLock<(bool, &'static str)>,
    opened: OnceCell<()>,
    partitions: AtomicI32,
    window: Mutex<Window>,
    /// Something may be ready.
    pub(crate) changed: Notify,
    /// Something was acked, released or buried: who waits for a partition to drain looks again.
    pub(crate) given_back: Condvar,
    /// Something lies in another partition than its key's.
    pub(crate) misplaced: Notify,
    pub(crate) lag: Lag,
    pub(crate) dead: Mutex<Index>,
    /// Held while dead letters are written, so that their bound holds in this process.
    pub(crate) burying: tokio::sync::Mutex<()>,
    pub(crate) closed: AtomicBool,
    pub(crate) running: Mutex<Option<Running>>,
    /// What is wrong with the membership.
    pub(crate) trouble: Trouble,
    /// When the consumer's thread was last at work.
    alive_at: Mutex<Instant>,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            dead_topic: options.dead_topic(),
            letters_of: match options.mode {
                Mode::Own => String::new(),
                // No name of a topic has a slash.
                Mode::Source => format!("{}/", options.topic),
            },
            reader: Arc::new(Reader::new(options.clone())),
            producer: Producer::new(options.clone()),
            durable: OnceLock::new(),
            opened: OnceCell::new(),
            partitions: AtomicI32::new(0),
            window: Mutex::new(Window::new(options.mode)),
            changed: Notify::new(),
            given_back: Condvar::new(),
            misplaced: Notify::new(),
            lag: Lag::default(),
            dead: Mutex::default(),
            burying: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            running: Mutex::default(),
            trouble: Trouble::default(),
            alive_at: Mutex::new(Instant::now()),
            options,
        }
    }

    /// Makes the topics if they are not there, asks how they are kept, and settles where a new group
    /// begins. Done once it has succeeded.
    pub(crate) async fn ensure_open(&self) -> Result<(), Error> {
        let opened = self.opened.get_or_try_init(|| async {
            let partitions = topic::ensure(&self.reader, &self.options).await?;
            self.set_partitions(partitions);
            let found = durability::asked(&self.reader, &self.options).await?;
            for problem in found.problems.iter().chain(&found.warnings) {
                tracing::warn!("{problem}");
            }
            if self.options.start == Start::Latest {
                self.begin_at_the_end(partitions).await?;
            }
            let _ = self.durable.set((found.durable, found.survives));
            Ok::<_, Error>(())
        });
        opened.await.copied()
    }

    /// For a group that has committed nothing, commits the end of each partition: what is accepted from
    /// here on is settled, whenever the first worker comes.
    async fn begin_at_the_end(&self, partitions: i32) -> Result<(), Error> {
        let (reader, topic) = (Arc::clone(&self.reader), self.options.topic.clone());
        blocking(move || {
            start_at(
                || Ok((0..partitions).zip(reader.highs(&topic, partitions)?).collect()),
                || Ok(reader.committed(partitions)?.iter().all(Option::is_none)),
                |ends: &Vec<(i32, i64)>| reader.commit(ends),
            )
        })
        .await
    }

    pub(crate) fn partitions(&self) -> i32 {
        self.partitions.load(Ordering::Relaxed)
    }

    pub(crate) fn set_partitions(&self, partitions: i32) {
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn session(&self) -> Duration {
        Duration::from_millis(self.options.session_ms)
    }

    /// The consumer's thread is at work. False if it was not for longer than a session lasts: others
    /// may have our partitions by now, and we stay [fenced](Self::is_fenced) until they are given up
    /// here and we are [at work anew](Self::revive).
    pub(crate) fn alive(&self) -> bool {
        let mut at = lock(&self.alive_at);
        let in_time = at.elapsed() <= self.session();
        if in_time {
            *at = Instant::now();
        }
        in_time
    }

    /// Nothing is held, and the consumer's thread is at work.
    pub(crate) fn revive(&self) {
        *lock(&self.alive_at) = Instant::now();
    }

    /// Whether what is held may be another's by now though nobody has told us, as after this process
    /// was suspended.
    pub(crate) fn is_fenced(&self) -> bool {
        lock(&self.running).is_some() && lock(&self.alive_at).elapsed() > self.session()
    }

    /// Whether the record lies in another partition than its key belongs to. One without a key lies
    /// well anywhere, and so does one that is buried as it is, and each of a source.
    pub(crate) fn is_misplaced(&self, told: &Told) -> bool {
        self.options.mode == Mode::Own
            && told.unfit.is_none()
            && !told.event.key().is_empty()
            && place::home(&told.event, self.partitions()) != told.place.partition
    }

    /// Writes records that lie in another partition than their keys belong to where they belong, for
    /// as long as it is let.
    pub(crate) async fn reroute(self: Arc<Self>) {
        loop {
            let waiting = self.misplaced.notified();
            let told = self.window().begin_reroute(REROUTED_MAX);
            if told.is_empty() {
                waiting.await;
                continue;
            }
            let partitions = self.partitions();
            let records = told.iter().map(|one| Record {
                topic: &self.options.topic,
                partition: place::home(&one.event, partitions),
                key: Some(one.event.key()),
                payload: Some(one.event.payload()),
                headers: Some(record::headers(&one.event, Some(one.accepted_at_ms))),
            });
            let written = self.producer.write(records).await;
            self.window().end_reroute(&told, written.is_ok());
            self.given_back.notify_all();
            match written {
                Ok(()) => {
                    metrics::counter!("buffer_kafka_rerouted_total").increment(told.len() as u64);
                }
                Err(error) => {
                    tracing::warn!(%error, "records of other partitions could not be handed on");
                    tokio::time::sleep(REROUTE_PAUSE).await;
                    self.misplaced.notify_one();
                }
            }
        }
    }
}

/// Commits the ends for a group that has committed nothing. The ends are read before the group is
/// looked at: another process accepts events only once it has committed, so none lies below them.
fn start_at<Ends>(
    ends: impl FnOnce() -> Result<Ends, Error>,
    is_new: impl Fn() -> Result<bool, Error>,
    commit: impl FnOnce(&Ends) -> Result<(), Error>,
) -> Result<(), Error> {
    let ends = ends()?;
    if !is_new()? {
        return Ok(());
    }
    match commit(&ends) {
        // Another process was quicker, and has joined the group.
        Err(_) if !is_new()? => Ok(()),
        committed => committed,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_another_process_accepts_while_this_one_starts_stays_above_the_watermark() {
        let (high, committed) = (Cell::new(7), Cell::new(None));
        // The other process commits the end and accepts event 7 just after step `after` of this one.
        for after in 0..3 {
            high.set(7);
            committed.set(None);
            let step = Cell::new(0);
            let done = || {
                if step.replace(step.get() + 1) == after {
                    committed.set(committed.get().or(Some(high.get())));
                    high.set(8);
                }
            };
            let ends = || {
                let ends = high.get();
                done();
                Ok(ends)
            };
            let is_new = || {
                let is_new = committed.get().is_none();
                done();
                Ok(is_new)
            };
            let commit = |ends: &i64| {
                committed.set(Some(*ends));
                done();
                Ok(())
            };
            start_at(ends, is_new, commit).unwrap();
            assert_eq!(committed.get(), Some(7), "after step {after}");
        }
    }
}
