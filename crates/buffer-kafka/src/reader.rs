//! Looking at the cluster without joining the group: watermarks, commits, and records of any offset.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use buffer::Error;
use model::clock::EpochMs;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::client::{self, Speech, Trouble, failure};
use crate::lock::lock;
use crate::options::{Options, Start};
use crate::place::PARTITIONS_MAX;

/// How long one look for a record waits before the deadline is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Most things a client may have to say at once.
const SAID_MAX: usize = 64;

/// The first offset that is there and the one after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

/// What the group has committed of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// Where a partition begins of which the group has committed nothing. If it has committed something of
/// others, this one was added since: it begins with its first record.
pub(crate) fn start(options: &Options, committed: &[Option<Committed>]) -> Start {
    if committed.iter().any(Option::is_some) { Start::Earliest } else { options.start }
}

/// A client that asks.
struct Asking {
    consumer: BaseConsumer<Speech>,
    /// That it may not use the group: a client says so once, and does not answer what is asked of the group.
    denied: Option<KafkaError>,
}

impl Asking {
    /// What it had to say since the last time.
    fn listen(&mut self) -> Option<KafkaError> {
        let said = said_meanwhile(&self.consumer);
        let denied = Some(RDKafkaErrorCode::GroupAuthorizationFailed);
        if said.as_ref().is_some_and(|said| said.rdkafka_error_code() == denied) {
            self.denied.clone_from(&said);
        }
        said
    }
}

/// Clients that never join. Everything here blocks.
pub(crate) struct Reader {
    options: Options,
    /// Asks.
    asking: Mutex<Option<Asking>>,
    /// Reads records, one reader at a time.
    reading: Mutex<Option<BaseConsumer<Speech>>>,
}

impl Reader {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, asking: Mutex::new(None), reading: Mutex::new(None) }
    }

    /// How many partitions a topic has; none if there is no such topic, or it has no leaders yet.
    pub(crate) fn partitions(&self, topic: &str) -> Result<Option<i32>, Error> {
        self.ask(|consumer, timeout| {
            let told = consumer.fetch_metadata(Some(topic), timeout)?;
            let topic = told.topics().iter().find(|one| one.name() == topic);
            let Some(topic) = topic else { return Ok(None) };
            match topic.error().map(RDKafkaErrorCode::from) {
                None => {}
                Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    return Err(KafkaError::MetadataFetch(code));
                }
                Some(_) => return Ok(None),
            }
            let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
            let count = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
            Ok(Some(count).filter(|count| *count > 0 && led))
        })
    }

    /// Over how many brokers a topic's records are spread, at least.
    pub(crate) fn replication(&self, topic: &str) -> Result<usize, Error> {
        self.ask(|consumer, timeout| {
            let told = consumer.fetch_metadata(Some(topic), timeout)?;
            let topic = told.topics().iter().find(|one| one.name() == topic);
            let replicas = topic.and_then(|topic| {
                topic.partitions().iter().map(|partition| partition.replicas().len()).min()
            });
            Ok(replicas.unwrap_or(0))
        })
    }

    /// What is there of each partition.
    pub(crate) fn ranges(&self, topic: &str, partitions: i32) -> Result<Vec<Range>, Error> {
        let lows = self.offsets(topic, partitions, Offset::Beginning)?;
        let highs = self.highs(topic, partitions)?;
        Ok(lows.into_iter().zip(highs).map(|(low, high)| Range { low, high }).collect())
    }

    /// The offset after the last record of each partition.
    pub(crate) fn highs(&self, topic: &str, partitions: i32) -> Result<Vec<i64>, Error> {
        self.offsets(topic, partitions, Offset::End)
    }

    fn offsets(&self, topic: &str, partitions: i32, which: Offset) -> Result<Vec<i64>, Error> {
        self.ask(|consumer, timeout| {
            let mut list = TopicPartitionList::new();
            for partition in 0..partitions {
                list.add_partition_offset(topic, partition, which)?;
            }
            let told = consumer.offsets_for_times(list, timeout)?;
            let mut offsets = Vec::new();
            for element in told.elements() {
                element.error()?;
                offsets.push(element.offset().to_raw().unwrap_or(0).max(0));
            }
            Ok(offsets)
        })
    }

    /// The first offset of each partition whose record is of this time or later, if there is one.
    pub(crate) fn first_since(
        &self,
        topic: &str,
        partitions: i32,
        since_ms: EpochMs,
    ) -> Result<Vec<Option<i64>>, Error> {
        self.ask(|consumer, timeout| {
            let mut list = TopicPartitionList::new();
            for partition in 0..partitions {
                // Negative times have meanings of their own.
                list.add_partition_offset(topic, partition, Offset::Offset(since_ms.max(0)))?;
            }
            let told = consumer.offsets_for_times(list, timeout)?;
            let mut offsets = Vec::new();
            for element in told.elements() {
                element.error()?;
                offsets.push(match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                });
            }
            Ok(offsets)
        })
    }

    /// What the group has committed of each partition.
    pub(crate) fn committed(&self, partitions: i32) -> Result<Vec<Option<Committed>>, Error> {
        let committed = self.ask(|consumer, timeout| {
            let mut list = TopicPartitionList::new();
            list.add_partition_range(&self.options.topic, 0, partitions - 1);
            committed(&consumer.committed_offsets(list, timeout)?)
        })?;
        if let Some(asking) = &mut *lock(&self.asking) {
            asking.denied = None;
        }
        Ok(committed)
    }

    /// Commits these offsets of the topic for a group that has no members.
    pub(crate) fn commit(&self, offsets: &[(i32, i64)]) -> Result<(), Error> {
        self.ask(|consumer, _| {
            let mut list = TopicPartitionList::new();
            for (partition, offset) in offsets {
                list.add_partition_offset(
                    &self.options.topic,
                    *partition,
                    Offset::Offset(*offset),
                )?;
            }
            consumer.commit(&list, CommitMode::Sync)
        })
    }

    /// Whether a member of the group may commit. Nothing is committed: no topic has a partition of the
    /// number that is asked with.
    pub(crate) fn may_commit(&self) -> Result<bool, Error> {
        use RDKafkaErrorCode as Code;
        self.ask(|consumer, _| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(
                &self.options.topic,
                PARTITIONS_MAX.into(),
                Offset::Offset(0),
            )?;
            let error = match consumer.commit(&list, CommitMode::Sync) {
                Ok(()) => return Ok(true),
                Err(error) => error,
            };
            match error.rdkafka_error_code() {
                Some(Code::GroupAuthorizationFailed) => Ok(false),
                // The right to read the topic is asked for by itself; the last one says that there are members.
                Some(
                    Code::UnknownTopicOrPartition
                    | Code::TopicAuthorizationFailed
                    | Code::UnknownMemberId,
                ) => Ok(true),
                _ => Err(error),
            }
        })
    }

    /// Hands every record of a partition from `from` up to `to` (not included) to `each`, for as
    /// long as it says to go on. Returns the offset after the last one that was read.
    pub(crate) fn read(
        &self,
        topic: &str,
        partition: i32,
        (from, to): (i64, i64),
        mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<bool, Error>,
    ) -> Result<i64, Error> {
        if from >= to {
            return Ok(from);
        }
        let mut next = from;
        self.scan(topic, &BTreeMap::from([(partition, from)]), |told| {
            let Ok(record) = told else {
                // The end: what was left below it is no record.
                next = next.max(to);
                return Ok(false);
            };
            if record.offset() >= to {
                next = to;
                return Ok(false);
            }
            next = record.offset() + 1;
            Ok(each(record)? && next < to)
        })?;
        Ok(next)
    }

    /// Reads partitions from these offsets on, until `each` says that it is enough. The end of a
    /// partition is told by its number.
    pub(crate) fn scan(
        &self,
        topic: &str,
        from: &BTreeMap<i32, i64>,
        mut each: impl FnMut(Result<&BorrowedMessage<'_>, i32>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut reading = lock(&self.reading);
        let consumer = match &mut *reading {
            Some(consumer) => consumer,
            none => none.insert(self.client(true)?),
        };
        let mut list = TopicPartitionList::new();
        for (partition, offset) in from {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(|error| failure(&error))?;
        }
        consumer.assign(&list).map_err(|error| failure(&error))?;
        let read = follow(consumer, client::timeout(&self.options), &mut each);
        let unassigned = consumer.unassign();
        read.and(unassigned.map_err(|error| failure(&error)))
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(&BaseConsumer<Speech>, Duration) -> Result<T, KafkaError>,
    ) -> Result<T, Error> {
        let mut asking = lock(&self.asking);
        let asking = match &mut *asking {
            Some(asking) => asking,
            none => none.insert(Asking { consumer: self.client(false)?, denied: None }),
        };
        // What else it had to say before is of no interest.
        asking.listen();
        let answer = question(&asking.consumer, client::timeout(&self.options));
        answer.map_err(|error| {
            let said = asking.listen();
            match asking.denied.clone().or(said) {
                // A question that is not answered in time does not say that we were not let in.
                Some(why) => match (failure(&error), failure(&why)) {
                    (Error::Unavailable(_), Error::Open(why)) => Error::Open(why),
                    (Error::Unavailable(what), why) => Error::Unavailable(format!("{what}; {why}")),
                    (other, _) => other,
                },
                None => failure(&error),
            }
        })
    }

    fn client(&self, ends: bool) -> Result<BaseConsumer<Speech>, Error> {
        client::consumer_config(&self.options)
            .set("enable.partition.eof", if ends { "true" } else { "false" })
            .create_with_context(Speech(Trouble::default()))
            .map_err(|error| failure(&error))
    }
}

/// What a client that has no assignment had to say: the last failure, or that it was not let in.
fn said_meanwhile(consumer: &BaseConsumer<Speech>) -> Option<KafkaError> {
    let mut said = None;
    for _ in 0..SAID_MAX {
        match consumer.poll(Duration::ZERO) {
            None => break,
            Some(Err(error)) => {
                let refused = said.as_ref().is_some_and(|e| matches!(failure(e), Error::Open(_)));
                if !refused {
                    said = Some(error);
                }
            }
            Some(Ok(_)) => {}
        }
    }
    said
}

/// What a list says is committed.
pub(crate) fn committed(list: &TopicPartitionList) -> Result<Vec<Option<Committed>>, KafkaError> {
    let mut all = Vec::new();
    for element in list.elements() {
        element.error()?;
        all.push(match element.offset() {
            Offset::Offset(offset) => {
                Some(Committed { offset, metadata: element.metadata().to_owned() })
            }
            _ => None,
        });
    }
    Ok(all)
}

fn follow(
    consumer: &BaseConsumer<Speech>,
    patience: Duration,
    each: &mut impl FnMut(Result<&BorrowedMessage<'_>, i32>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut heard = Instant::now();
    loop {
        let go_on = match consumer.poll(POLL) {
            Some(Ok(record)) => each(Ok(&record))?,
            Some(Err(KafkaError::PartitionEOF(partition))) => each(Err(partition))?,
            Some(Err(error)) => {
                use RDKafkaErrorCode as Code;
                match error.rdkafka_error_code() {
                    Some(
                        Code::AutoOffsetReset
                        | Code::OffsetOutOfRange
                        | Code::TopicAuthorizationFailed,
                    ) => {
                        return Err(failure(&error));
                    }
                    // The client goes on by itself, as far as the deadline allows.
                    _ if heard.elapsed() < patience => continue,
                    _ => return Err(failure(&error)),
                }
            }
            None if heard.elapsed() < patience => continue,
            None => {
                let why = consumer.client().context().0.get().unwrap_or_default();
                return Err(Error::Unavailable(format!("kafka is silent: {why}")));
            }
        };
        if !go_on {
            return Ok(());
        }
        heard = Instant::now();
    }
}
