//! Dead letters: records of a topic of their own, one partition, compacted. A letter's number is its
//! offset there, which Kafka never gives twice; its record's key says where the event lay, so that an
//! event that is buried twice is one letter; a record of that key without a payload says that the
//! letter is gone. A replay writes that record and the event in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use buffer::{DeadLetter, DeadLetters, Error};
use model::Event;
use rdkafka::Message;

use crate::client::blocking;
use crate::kafka_buffer::{KafkaBuffer, Offered};
use crate::lag::full;
use crate::letters::{Index, is_of};
use crate::lock::lock;
use crate::producer::Record;
use crate::record;
use crate::shared::Shared;
use crate::transaction::Transaction;
use crate::window::Burial;

/// Letters replayed in one transaction, at most.
const REPLAYED_AT_ONCE: usize = 1_000;

impl Shared {
    /// Reads what has been written to the dead letters since the last time.
    fn catch_up(&self) -> Result<(), Error> {
        let mut index = lock(&self.dead);
        let range = self.reader.ranges(&self.dead_topic, 1)?.remove(0);
        if index.next > range.high {
            // Made anew by somebody.
            *index = Index::default();
        }
        let from = index.next.max(range.low);
        index.next = self.reader.read(&self.dead_topic, 0, (from, range.high), |told| {
            let is_letter = record::read_dead(told).is_some();
            let key = told.key().unwrap_or_default();
            if is_of(&self.letters_of, key) {
                index.take_in(told.offset(), key, is_letter);
            }
            Ok(true)
        })?;
        Ok(())
    }

    pub(crate) async fn dead_count(self: &Arc<Self>) -> Result<u64, Error> {
        let shared = Arc::clone(self);
        blocking(move || {
            shared.catch_up()?;
            Ok(lock(&shared.dead).by_number.len() as u64)
        })
        .await
    }

    /// Up to `max` letters with a number of at least `from`.
    pub(crate) async fn letters(
        self: &Arc<Self>,
        from: u64,
        max: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let shared = Arc::clone(self);
        blocking(move || {
            shared.catch_up()?;
            let from = i64::try_from(from).unwrap_or(i64::MAX);
            let wanted: BTreeSet<i64> = {
                let index = lock(&shared.dead);
                index.by_number.range(from..).take(max).map(|(number, _)| *number).collect()
            };
            let mut letters = Vec::new();
            let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
                return Ok(letters);
            };
            shared.reader.read(&shared.dead_topic, 0, (*first, last + 1), |told| {
                if wanted.contains(&told.offset())
                    && let Some((event, reason, accepted_at_ms, attempts)) = record::read_dead(told)
                {
                    letters.push(DeadLetter {
                        seq: told.offset().unsigned_abs(),
                        reason,
                        buried_at_ms: told.timestamp().to_millis().unwrap_or(0).max(accepted_at_ms),
                        accepted_at_ms,
                        attempts,
                        event,
                    });
                }
                Ok(true)
            })?;
            Ok(letters)
        })
        .await
    }

    /// Writes these to the dead letters, if there is room.
    pub(crate) async fn write_letters(
        self: &Arc<Self>,
        burials: &[Burial],
        reasons: &[String],
    ) -> Result<(), Error> {
        let dead_max = self.options.dead_max;
        let there = usize::try_from(self.dead_count().await?).unwrap_or(usize::MAX);
        if there.saturating_add(burials.len()) > dead_max {
            return Err(full(format!("dead_max = {dead_max} dead letters")));
        }
        let keys: Vec<String> = burials
            .iter()
            .map(|Burial { told, .. }| {
                // With its time, because the places of a topic that is made anew are used again.
                let (of, place) = (&self.letters_of, told.place);
                format!("{of}{}-{}-{}", place.partition, place.offset, told.accepted_at_ms)
            })
            .collect();
        let records = burials.iter().zip(reasons).zip(&keys).map(|((burial, reason), key)| {
            let Burial { told, attempts, .. } = burial;
            let (event, accepted_at_ms) = (&told.event, told.accepted_at_ms);
            Record {
                topic: &self.dead_topic,
                partition: 0,
                key: Some(key.as_bytes()),
                payload: Some(event.payload()),
                headers: Some(record::dead_headers(event, accepted_at_ms, *attempts, reason)),
            }
        });
        self.producer.write(records).await
    }

    /// The numbers among these that are letters, each once.
    async fn known(self: &Arc<Self>, seqs: &[u64]) -> Result<Vec<(i64, Vec<u8>)>, Error> {
        self.dead_count().await?;
        let asked: BTreeSet<i64> = seqs.iter().filter_map(|seq| i64::try_from(*seq).ok()).collect();
        let index = lock(&self.dead);
        let letter = |number: i64| Some((number, index.by_number.get(&number)?.clone()));
        Ok(asked.into_iter().filter_map(letter).collect())
    }

    /// The records that say of these that they are gone.
    fn gone<'a>(
        &'a self,
        letters: &'a [(i64, Vec<u8>)],
    ) -> impl Iterator<Item = Record<'a>> + Send {
        letters.iter().map(|(_, key)| Record {
            topic: &self.dead_topic,
            partition: 0,
            key: Some(key),
            payload: None,
            headers: None,
        })
    }

    /// Offers letters and drops them in one step.
    async fn replay_now(self: &Arc<Self>, seqs: &[u64]) -> Result<usize, Error> {
        // Before the letters are looked at: no other replay can commit behind this line.
        let id = format!("forebay-replay-{}", self.dead_topic);
        let transaction = Transaction::prepare(&self.options, id).await?;
        let mut replayed = 0;
        let events_max = self.options.events_max;
        for some in seqs.chunks(REPLAYED_AT_ONCE.min(events_max).max(1)) {
            let known = self.known(some).await?;
            let Some((first, _)) = known.first() else { continue };
            let wanted: BTreeSet<u64> =
                known.iter().map(|(number, _)| number.unsigned_abs()).collect();
            let letters = self.letters(first.unsigned_abs(), usize::MAX).await?;
            let letters = letters.into_iter().filter(|letter| wanted.contains(&letter.seq));
            let events: Vec<Event> = letters.map(|letter| letter.event).collect();
            if events.len() != known.len() {
                return Err(Error::Corrupt(
                    "a dead letter that was there can't be read".to_owned(),
                ));
            }
            self.fits(&events)?;
            self.reserve(events.len()).await?;
            let _offered = Offered { shared: self, count: events.len() };
            transaction.write(self.records(&events).chain(self.gone(&known))).await?;
            replayed += known.len();
        }
        Ok(replayed)
    }
}

#[async_trait]
impl DeadLetters for KafkaBuffer {
    async fn list(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.shared.ensure_open().await?;
        self.shared.letters(from, max).await
    }

    async fn replay(&self, seqs: &[u64]) -> Result<usize, Error> {
        if seqs.is_empty() {
            return Ok(0);
        }
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        self.shared.is_own(
            "replay dead letters",
            "send their events with a producer of that topic, and drop the letters with `forebay dead drop`",
        )?;
        self.shared.ensure_open().await?;
        let _one_at_a_time = self.shared.burying.lock().await;
        self.shared.replay_now(seqs).await
    }

    async fn drop_letters(&self, seqs: &[u64]) -> Result<usize, Error> {
        if seqs.is_empty() {
            return Ok(0);
        }
        self.shared.ensure_open().await?;
        let _one_at_a_time = self.shared.burying.lock().await;
        let known = self.shared.known(seqs).await?;
        self.shared.producer.write(self.shared.gone(&known)).await?;
        Ok(known.len())
    }
}
