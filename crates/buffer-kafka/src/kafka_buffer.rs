//! The buffer: the contract's steps, handed to where they are done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use buffer::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use model::Event;
use tokio::task::JoinHandle;

use crate::lock::lock;
use crate::producer::Record;
use crate::shared::Shared;
use crate::window::Burial;
use crate::{Mode, Options, client, consumer, durability, place, record, topic};

/// Most bytes of one offer (256 MiB).
const OFFER_BYTES_MAX: usize = 256 << 20;
/// How often it is looked whether what was wrong has passed.
const TROUBLE_EVERY: Duration = Duration::from_secs(1);
/// How often what is settled is deleted, where it is.
const DELETE_EVERY: Duration = Duration::from_secs(10);

/// A buffer in Kafka.
pub struct KafkaBuffer {
    pub(crate) shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl KafkaBuffer {
    /// Opens the buffer in this topic. Makes its topics if they are not there, but none of a
    /// [source](Mode::Source). Needs a tokio runtime, for as long as it is open. Becomes a member of the
    /// group when it first leases.
    ///
    /// # Errors
    /// [`Error::Open`] if the options can't be used or Kafka refuses, [`Error::Unavailable`] if it
    /// can't be reached (unless [`Options::lazy`]).
    pub async fn open(options: Options) -> Result<Self, Error> {
        options.validate()?;
        let (lazy, deletes) = (options.lazy, options.delete_settled);
        let shared = Arc::new(Shared::new(options));
        match shared.ensure_open().await {
            Err(Error::Unavailable(why)) if lazy => {
                tracing::warn!(%why, "kafka can't be reached yet; it is tried again when needed");
            }
            opened => opened?,
        }
        let mut tasks = vec![
            tokio::spawn(Arc::clone(&shared).reroute()),
            tokio::spawn(watch(Arc::clone(&shared))),
        ];
        if deletes {
            tasks.push(tokio::spawn(delete_settled(Arc::clone(&shared))));
        }
        Ok(Self { shared, tasks })
    }
}

impl Drop for KafkaBuffer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.closed.store(true, Ordering::SeqCst);
        if let Some(running) = &*lock(&self.shared.running) {
            // It commits and leaves by itself; nobody waits for it.
            running.stop();
        }
    }
}

#[async_trait]
impl Buffer for KafkaBuffer {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        let shared = &self.shared;
        if shared.is_closed() {
            return Err(Error::Closed);
        }
        shared.is_own("offer", "send the events with a producer of that topic")?;
        shared.fits(events)?;
        if events.is_empty() {
            return Ok(());
        }
        shared.ensure_open().await?;
        shared.reserve(events.len()).await?;
        let _offered = Offered { shared, count: events.len() };
        shared.producer.write(shared.records(events)).await
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        self.shared.lease_now(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        if self.shared.is_fenced() {
            return Ok(0);
        }
        let acked = self.shared.window().ack(receipts);
        self.shared.lag.done(acked);
        self.shared.given_back(false);
        Ok(acked)
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        if self.shared.is_fenced() {
            return Ok(0);
        }
        let released = self.shared.window().release(receipts, Instant::now() + delay);
        self.shared.given_back(released > 0);
        Ok(released)
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        if burials.is_empty() || self.shared.is_fenced() {
            return Ok(0);
        }
        self.shared.ensure_open().await?;
        self.shared.bury_now(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        if self.shared.is_fenced() {
            return Ok(0);
        }
        let extended = self.shared.window().extend(receipts, Instant::now() + by);
        if extended > 0 {
            self.shared.changed.notify_waiters();
        }
        Ok(extended)
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.shared.ensure_open().await?;
        self.shared.depth().await
    }

    fn empty_places(&self) -> u64 {
        self.shared.window().empty()
    }

    fn kind(&self) -> Kind {
        let known = self.shared.durable.get();
        let (durable, survives) = known.copied().unwrap_or((false, durability::UNKNOWN));
        Kind { name: "kafka", survives, durable, shared: true, counts_leases: false }
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self
    }

    async fn close(&self) -> Result<(), Error> {
        self.shared.close_now().await
    }
}

impl Shared {
    /// Refuses to write into a source.
    pub(crate) fn is_own(&self, what: &str, instead: &str) -> Result<(), Error> {
        if self.options.mode == Mode::Own {
            return Ok(());
        }
        let topic = &self.options.topic;
        Err(Error::Unsupported(format!(
            "cannot {what} into the topic {topic}: it belongs to other producers (mode=source); {instead}"
        )))
    }

    /// Refuses what could never be offered at once.
    pub(crate) fn fits(&self, events: &[Event]) -> Result<(), Error> {
        let max = self.options.events_max;
        if events.len() > max {
            return Err(Error::TooMany { got: events.len(), max });
        }
        let bytes: usize = events.iter().map(|event| event.as_bytes().len()).sum();
        if bytes > OFFER_BYTES_MAX {
            return Err(Error::TooMany { got: bytes, max: OFFER_BYTES_MAX });
        }
        Ok(())
    }

    /// The records of new events.
    pub(crate) fn records<'a>(
        &'a self,
        events: &'a [Event],
    ) -> impl Iterator<Item = Record<'a>> + Send {
        let partitions = self.partitions();
        events.iter().map(move |event| Record {
            topic: &self.options.topic,
            partition: place::home(event, partitions),
            key: (!event.key().is_empty()).then(|| event.key()),
            payload: Some(event.payload()),
            headers: Some(record::headers(event, None)),
        })
    }

    async fn lease_now(
        self: &Arc<Self>,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Envelope>, Error> {
        let until = Instant::now() + wait;
        if !self.is_closed() && max > 0 {
            self.ensure_open().await?;
            self.join()?;
        }
        let lease = Duration::from_millis(self.options.lease_ms.unsigned_abs());
        loop {
            // Made before looking, so that what happens between looking and sleeping wakes us.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_closed() || max == 0 {
                return Ok(Vec::new());
            }
            let now = Instant::now();
            let (leased, due) = {
                let mut window = self.window();
                (window.lease(max, now, now + lease), window.next_due())
            };
            if !leased.is_empty() {
                return Ok(leased);
            }
            if now >= until {
                return match self.trouble.get() {
                    Some(why) => Err(Error::Unavailable(format!("kafka: {why}"))),
                    None => Ok(leased),
                };
            }
            let wake = due.map_or(until, |due| due.min(until));
            // Either way we look again: a wake-up and a passed deadline ask for the same thing.
            let _ = tokio::time::timeout_at(wake.into(), changed).await;
        }
    }

    fn join(self: &Arc<Self>) -> Result<(), Error> {
        let mut running = lock(&self.running);
        if running.is_none() && !self.is_closed() {
            *running = Some(consumer::start(self)?);
        }
        Ok(())
    }

    /// Something that was held is not any more.
    fn given_back(&self, is_ready: bool) {
        self.given_back.notify_all();
        if is_ready {
            self.changed.notify_waiters();
        }
        if self.is_closed()
            && self.window().leased(Instant::now()) == 0
            && let Some(running) = &*lock(&self.running)
        {
            running.stop();
        }
    }

    async fn bury_now(self: &Arc<Self>, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        let _one_at_a_time = self.burying.lock().await;
        let held = self.window().begin_bury(burials.iter().map(|(receipt, _)| *receipt));
        if held.is_empty() {
            return Ok(0);
        }
        let reason = |receipt: Receipt| {
            let named = burials.iter().find(|(one, _)| *one == receipt);
            named.map_or("", |(_, reason)| reason.as_str())
        };
        let known = |burial: &Burial| burial.told.unfit.clone();
        let reasons: Vec<String> = held
            .iter()
            .map(|burial| known(burial).unwrap_or_else(|| reason(burial.receipt).to_owned()))
            .collect();
        let mut kept = Kept { shared: self, burials: &held, durable: false };
        let written = self.write_letters(&held, &reasons).await;
        kept.durable = written.is_ok();
        let buried = kept.end();
        written.map(|()| buried)
    }

    async fn close_now(self: &Arc<Self>) -> Result<(), Error> {
        let again = self.closed.swap(true, Ordering::SeqCst);
        self.changed.notify_waiters();
        let patience = client::timeout(&self.options);
        let held = self.window().leased(Instant::now()) > 0;
        let (committed, ended) = {
            let running = lock(&self.running);
            let Some(running) = &*running else { return Ok(()) };
            // What somebody still holds can be acked yet: the partitions stay ours until then.
            let committed = running.commit();
            (committed, if held { None } else { running.stop() })
        };
        let committed = match tokio::time::timeout(patience, committed).await {
            Ok(Ok(committed)) => committed,
            // It had ended before.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(Error::Unavailable("kafka did not confirm the last progress".to_owned())),
        };
        if let Some(ended) = ended
            && tokio::time::timeout(patience, ended).await.is_err()
        {
            tracing::warn!("kafka could not be told in time that this process ends");
        }
        if again { Ok(()) } else { committed }
    }
}

/// An offer under way, whether or not anybody waits for its end.
pub(crate) struct Offered<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) count: usize,
}

impl Drop for Offered<'_> {
    fn drop(&mut self) {
        self.shared.lag.confirmed(self.count);
    }
}

/// Burials under way. Should whoever waits for them go away, they are leased again.
struct Kept<'a> {
    shared: &'a Arc<Shared>,
    burials: &'a [Burial],
    durable: bool,
}

impl Kept<'_> {
    fn end(&mut self) -> usize {
        let buried = self.shared.window().end_bury(self.burials, self.durable);
        self.burials = &[];
        self.shared.lag.done(buried);
        self.shared.given_back(false);
        buried
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if !self.burials.is_empty() {
            self.end();
        }
    }
}

/// Looks now and then whether what was wrong has passed: where nothing comes, nothing else says so.
async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(TROUBLE_EVERY).await;
        if shared.trouble.get().is_some() && !shared.is_closed() {
            let (reader, topic) = (Arc::clone(&shared.reader), shared.options.topic.clone());
            let partitions = shared.partitions();
            if client::blocking(move || reader.highs(&topic, partitions)).await.is_ok() {
                shared.trouble.clear();
            }
        }
    }
}

/// Deletes what is settled of our own partitions, below what was committed.
async fn delete_settled(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(DELETE_EVERY).await;
        let ours: Vec<i32> =
            shared.window().positions().iter().map(|(number, _)| *number).collect();
        if ours.is_empty() {
            continue;
        }
        let (reader, partitions) = (Arc::clone(&shared.reader), shared.partitions());
        let Ok(committed) = client::blocking(move || reader.committed(partitions)).await else {
            continue;
        };
        let lows: Vec<(i32, i64)> = (0..)
            .zip(committed)
            .filter(|(partition, _)| ours.contains(partition))
            .filter_map(|(partition, committed)| Some((partition, committed?.offset)))
            .filter(|(_, low)| *low > 0)
            .collect();
        if lows.is_empty() {
            continue;
        }
        if let Err(error) = topic::delete_below(&shared.options, &lows).await {
            tracing::warn!(%error, "settled records could not be deleted");
        }
    }
}
