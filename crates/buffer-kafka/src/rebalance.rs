//! Partitions come and go: where reading begins, and what is done before another has them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use buffer::Error;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::Speech;
use crate::options::Start;
use crate::reader::{Committed, Range};
use crate::shared::Shared;
use crate::{commit, progress, reader};

/// How often a partition that is being drained is looked at though nothing was given back.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long it is tried to learn where to begin.
const BEGIN_MAX: Duration = Duration::from_secs(30);
/// Between two tries.
const BEGIN_PAUSE: Duration = Duration::from_millis(200);

/// A member of the group, as librdkafka calls it back.
pub(crate) struct Member {
    pub(crate) shared: Arc<Shared>,
    /// It can't go on.
    pub(crate) failed: Arc<AtomicBool>,
}

/// Where reading a partition begins.
struct Beginning {
    partition: i32,
    next: i64,
    done: BTreeSet<i64>,
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Speech::default().log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Speech(self.shared.trouble.clone()).error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assigned(list);
            if cooperative { consumer.incremental_assign(list) } else { consumer.assign(list) }
        } else {
            self.revoked(consumer, list);
            if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() }
        };
        if let Err(error) = done {
            tracing::warn!(%error, "a rebalance could not be followed");
            self.failed.store(true, Ordering::Relaxed);
        }
        self.shared.alive();
        self.shared.changed.notify_waiters();
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        match result {
            Ok(()) => self.shared.trouble.clear(),
            Err(error) => {
                tracing::debug!(%error, "a commit failed and is made again");
                let partitions: Vec<i32> =
                    offsets.elements().iter().map(|element| element.partition()).collect();
                self.shared.window().uncommitted(&partitions);
            }
        }
    }
}

impl Member {
    fn assigned(&self, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> =
            list.elements().iter().map(|element| element.partition()).collect();
        if partitions.is_empty() {
            return;
        }
        let started = Instant::now();
        let beginnings = loop {
            self.shared.alive();
            match self.beginnings(&partitions) {
                Ok(beginnings) => break beginnings,
                Err(error) if started.elapsed() > BEGIN_MAX || self.shared.is_closed() => {
                    tracing::warn!(%error, "where to begin could not be read");
                    self.failed.store(true, Ordering::Relaxed);
                    return;
                }
                Err(_) => std::thread::sleep(BEGIN_PAUSE),
            }
        };
        let mut window = self.shared.window();
        for Beginning { partition, next, done } in beginnings {
            let offset = Offset::Offset(next);
            if list.set_partition_offset(&self.shared.options.topic, partition, offset).is_ok() {
                window.assign(partition, next, done);
            }
        }
        drop(window);
        self.shared.trouble.clear();
        tracing::debug!(?partitions, "partitions are ours");
    }

    fn beginnings(&self, partitions: &[i32]) -> Result<Vec<Beginning>, Error> {
        let (shared, topic) = (&self.shared, &self.shared.options.topic);
        let count = shared.reader.partitions(topic)?;
        let count = count.ok_or_else(|| Error::Unavailable(format!("kafka: no topic {topic}")))?;
        shared.set_partitions(count);
        let ranges = shared.reader.ranges(topic, count)?;
        let committed = shared.reader.committed(count)?;
        let start = reader::start(&shared.options, &committed);
        let known = |partition: i32| {
            let index = usize::try_from(partition).ok()?;
            Some((*ranges.get(index)?, committed.get(index)?.as_ref()))
        };
        partitions
            .iter()
            .map(|partition| {
                let (range, committed) = known(*partition)
                    .ok_or_else(|| Error::Unavailable("kafka: a partition is new".to_owned()))?;
                let (next, done) = beginning(*partition, range, committed, start);
                Ok(Beginning { partition: *partition, next, done })
            })
            .collect()
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let shared = &self.shared;
        let partitions: Vec<i32> =
            list.elements().iter().map(|element| element.partition()).collect();
        if consumer.assignment_lost() {
            // Others have them already: whatever we would commit is theirs to say.
            shared.window().lose(&partitions);
            tracing::warn!(?partitions, "partitions were lost");
            return;
        }
        self.drain(&partitions);
        // What is acked between this and the end of the commit is not among it, so it must not count.
        let progress = {
            let mut window = shared.window();
            let progress = window.progress(Some(&partitions), true);
            window.lose(&partitions);
            progress
        };
        if let Err(error) = commit::send(shared, consumer, &progress, CommitMode::Sync) {
            tracing::warn!(%error, ?partitions, "what was done last comes again elsewhere");
        }
        tracing::debug!(?partitions, "partitions were given up");
    }

    /// Waits until nobody holds anything of these, as long as it may.
    fn drain(&self, partitions: &[i32]) {
        let shared = &self.shared;
        let until = Instant::now() + Duration::from_millis(shared.options.drain_ms);
        let mut window = shared.window();
        window.begin_revoke(partitions);
        // After closing, what is held may never be given back.
        while window.held_by_leases(partitions, Instant::now()) > 0
            && Instant::now() < until
            && !shared.is_closed()
        {
            shared.alive();
            let waited = shared.given_back.wait_timeout(window, LOOK_EVERY);
            window = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

/// Where to begin a partition: never anywhere that was not chosen here.
fn beginning(
    partition: i32,
    range: Range,
    committed: Option<&Committed>,
    start: Start,
) -> (i64, BTreeSet<i64>) {
    let Some(Committed { offset, metadata }) = committed else {
        let next = if start == Start::Earliest { range.low } else { range.high };
        return (next, BTreeSet::new());
    };
    let offset = *offset;
    if offset > range.high {
        tracing::error!(
            partition,
            committed = offset,
            end = range.high,
            "the topic ends before what was committed: it was made anew, or has lost events; all of \
             it is read again"
        );
        return (range.low, BTreeSet::new());
    }
    let mut done = progress::done(offset, metadata);
    if offset < range.low {
        let gone = range.low - offset;
        let gone = gone - i64::try_from(done.range(..range.low).count()).unwrap_or(gone);
        if gone > 0 {
            metrics::counter!("buffer_kafka_gone_total").increment(gone.unsigned_abs());
            tracing::error!(partition, gone, "events were deleted before they were settled");
        }
        done = done.split_off(&range.low);
    }
    (offset.max(range.low), done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_where_it_was_told_and_never_past_what_is_there() {
        let range = Range { low: 10, high: 20 };
        let check = |committed: Option<(i64, &str)>, start: Start, expect: i64, done: &[i64]| {
            let committed = committed
                .map(|(offset, metadata)| Committed { offset, metadata: metadata.to_owned() });
            let (next, found) = beginning(0, range, committed.as_ref(), start);
            assert_eq!((next, found), (expect, done.iter().copied().collect()));
        };
        check(None, Start::Earliest, 10, &[]);
        check(None, Start::Latest, 20, &[]);
        check(Some((15, "f1:1.1")), Start::Latest, 15, &[16]);
        check(Some((15, "theirs")), Start::Earliest, 15, &[]);
        check(Some((20, "")), Start::Earliest, 20, &[]);
        // Deleted meanwhile, or made anew: from the first that is there.
        check(Some((8, "f1:1.2")), Start::Latest, 10, &[10]);
        check(Some((21, "f1:1.1")), Start::Latest, 10, &[]);
    }
}
