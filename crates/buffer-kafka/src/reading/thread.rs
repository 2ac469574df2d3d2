//! The thread that reads.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use buffer::Error;
use model::clock::EpochMs;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::mpsc::Sender;

use super::batch::{Batch, Record, Until};
use crate::Options;
use crate::client::{self, Speech, Trouble, failure};
use crate::reader::Reader;

/// How long one look for a record waits before the caller is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How often new partitions are looked for.
const PARTITIONS_EVERY: Duration = Duration::from_secs(10);
/// librdkafka wants a group of every consumer. Nothing joins this one or commits for it.
const NO_GROUP: &str = "forebay-reads-without-a-group";

pub(super) struct Thread {
    topic: String,
    reader: Reader,
    consumer: BaseConsumer<Speech>,
    /// The offset that comes next, of each partition.
    next: BTreeMap<i32, i64>,
    /// Where the partitions end that are not read to their end yet; none where reading goes on and on.
    ends: Option<BTreeMap<i32, i64>>,
    patience: Duration,
    sender: Sender<Result<Vec<Record>, Error>>,
}

impl Thread {
    /// Looks where to begin and to end, and starts. Blocks.
    pub(super) fn start(
        options: Options,
        since_ms: EpochMs,
        until: Until,
        sender: Sender<Result<Vec<Record>, Error>>,
    ) -> Result<(), Error> {
        let (topic, patience) = (options.topic.clone(), client::timeout(&options));
        let made = client::consumer_config(&options)
            .set("group.id", NO_GROUP)
            .set("enable.partition.eof", "true")
            .create_with_context(Speech(Trouble::default()));
        let consumer = made.map_err(|error| failure(&error))?;
        let reader = Reader::new(Options { group: NO_GROUP.to_owned(), ..options });
        let partitions = reader.partitions(&topic)?.ok_or_else(|| {
            Error::Open(format!("kafka: cannot read the topic {topic}: there is no such topic"))
        })?;
        let highs = reader.highs(&topic, partitions)?;
        let begins = reader.first_since(&topic, partitions, since_ms)?;
        let next: BTreeMap<i32, i64> = (0..)
            .zip(begins.iter().zip(&highs).map(|(begin, high)| begin.unwrap_or(*high)))
            .collect();
        let ends = (until == Until::End).then(|| {
            let ends = (0..).zip(highs);
            ends.filter(|(partition, end)| next[partition] < *end).collect()
        });
        let mut thread = Self { topic, reader, consumer, next, ends, patience, sender };
        thread.assign()?;
        thread::Builder::new()
            .name("kafka-reader".to_owned())
            .spawn(move || {
                if let Err(error) = thread.run() {
                    let _ = thread.sender.blocking_send(Err(error));
                }
            })
            .map_err(|error| Error::Unavailable(format!("no thread could be started: {error}")))?;
        Ok(())
    }

    /// Fetches from here on what is still to be read.
    fn assign(&mut self) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        for (partition, next) in &self.next {
            if self.ends.as_ref().is_none_or(|ends| ends.contains_key(partition)) {
                list.add_partition_offset(&self.topic, *partition, Offset::Offset(*next))
                    .map_err(|error| failure(&error))?;
            }
        }
        self.consumer.assign(&list).map_err(|error| failure(&error))
    }

    fn run(&mut self) -> Result<(), Error> {
        let (mut heard, mut looked) = (Instant::now(), Instant::now());
        while !self.is_over() {
            let (batch, refused) = self.batch(&mut heard)?;
            if !batch.records.is_empty() {
                if self.sender.blocking_send(Ok(batch.records)).is_err() {
                    return Ok(());
                }
                // What the caller took its time for is no silence.
                heard = Instant::now();
            }
            if let Some(error) = refused {
                self.look_at(&error)?;
            }
            let silent = heard.elapsed();
            if self.ends.is_some() && silent > self.patience {
                let why = self.consumer.client().context().0.get().unwrap_or_default();
                return Err(Error::Unavailable(format!("kafka is silent: {why}")));
            }
            if self.ends.is_none() && looked.elapsed() >= PARTITIONS_EVERY {
                self.look_for_partitions()?;
                looked = Instant::now();
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.sender.is_closed() || self.ends.as_ref().is_some_and(BTreeMap::is_empty)
    }

    /// What has come, up to a bound, and the failure that cut it short; waits a little for the first of it.
    /// Notes when something was heard.
    fn batch(&mut self, heard: &mut Instant) -> Result<(Batch, Option<KafkaError>), Error> {
        let (mut batch, mut wait) = (Batch::default(), POLL);
        while !batch.is_full() && !self.is_over() {
            let (consumer, next, ends) = (&self.consumer, &mut self.next, &mut self.ends);
            let done = match consumer.poll(wait) {
                None => break,
                Some(Ok(record)) => take(&record, next, ends.as_ref(), &mut batch),
                Some(Err(KafkaError::PartitionEOF(partition))) => Some(partition),
                Some(Err(error)) => return Ok((batch, Some(error))),
            };
            (*heard, wait) = (Instant::now(), Duration::ZERO);
            if let (Some(partition), Some(ends)) = (done, ends)
                && ends.remove(&partition).is_some()
            {
                let mut list = TopicPartitionList::new();
                list.add_partition(&self.topic, partition);
                consumer.pause(&list).map_err(|error| failure(&error))?;
            }
        }
        Ok((batch, None))
    }

    /// Whether a failure ends reading. Most pass by themselves.
    fn look_at(&self, error: &KafkaError) -> Result<(), Error> {
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(self.lost()?),
            Some(
                Code::TopicAuthorizationFailed
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::SaslAuthenticationFailed
                | Code::Fatal,
            ) => Err(failure(error)),
            _ => {
                tracing::debug!(%error, "kafka could not be read");
                Ok(())
            }
        }
    }

    /// What was to be read next and is gone, as an error.
    fn lost(&self) -> Result<Error, Error> {
        let partitions = i32::try_from(self.next.len()).unwrap_or(i32::MAX);
        let ranges = self.reader.ranges(&self.topic, partitions)?;
        let topic = &self.topic;
        for ((partition, next), range) in self.next.iter().zip(ranges) {
            let lost = range.low - next;
            let is_read = self.ends.as_ref().is_none_or(|ends| ends.contains_key(partition));
            if is_read && lost > 0 {
                metrics::counter!("buffer_kafka_gone_total").increment(lost.unsigned_abs());
                return Ok(Error::Unavailable(format!(
                    "kafka: {lost} offsets of topic {topic}, partition {partition}, from {next} on were deleted \
                     before they were read; read again from a time after them"
                )));
            }
        }
        Ok(Error::Unavailable(format!(
            "kafka: the topic {topic} ends before the offset that is read next; it was made anew"
        )))
    }

    /// Reads partitions that were added from their first record on.
    fn look_for_partitions(&mut self) -> Result<(), Error> {
        let known = i32::try_from(self.next.len()).unwrap_or(i32::MAX);
        // An outage is waited out.
        let Ok(Some(count)) = self.reader.partitions(&self.topic) else { return Ok(()) };
        let Ok(ranges) = self.reader.ranges(&self.topic, count) else { return Ok(()) };
        if count > known {
            let lows = (0..).zip(ranges).skip(self.next.len());
            self.next.extend(lows.map(|(partition, range)| (partition, range.low)));
            self.assign()?;
        }
        Ok(())
    }
}

/// Takes a record in. Returns its partition if that is read to its end.
fn take(
    record: &BorrowedMessage<'_>,
    next: &mut BTreeMap<i32, i64>,
    ends: Option<&BTreeMap<i32, i64>>,
    batch: &mut Batch,
) -> Option<i32> {
    let (partition, offset) = (record.partition(), record.offset());
    let end = ends.map(|ends| ends.get(&partition).copied().unwrap_or(0));
    if end.is_none_or(|end| offset < end) {
        let (key, value) = (record.key().map(<[u8]>::to_vec), record.payload().map(<[u8]>::to_vec));
        batch.bytes += key.as_ref().map_or(0, Vec::len) + value.as_ref().map_or(0, Vec::len);
        let at_ms = record.timestamp().to_millis().filter(|ms| *ms >= 0).unwrap_or(0);
        batch.records.push(Record { partition, offset, at_ms, key, value });
        next.insert(partition, offset + 1);
    }
    end.filter(|end| offset + 1 >= *end).map(|_| partition)
}
