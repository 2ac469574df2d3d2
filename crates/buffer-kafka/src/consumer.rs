//! The thread that is a member of the group: reads, commits, and gives partitions up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use buffer::Error;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use crate::client::{self, failure};
use crate::commit::send;
use crate::rebalance::Member;
use crate::record;
use crate::running::{Command, Running};
use crate::shared::Shared;

/// How long one look for records waits; commands wait as long at most.
const POLL: Duration = Duration::from_millis(10);
/// Most records taken in at once.
const TAKEN_MAX: usize = 500;
/// How often what is done is committed.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// How often all of it is committed, changed or not: an answer that was lost is made up for.
const COMMIT_ALL_EVERY: Duration = Duration::from_secs(2);
/// Before a member that could not go on begins anew.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Most payload bytes held of all partitions before reading pauses (64 MiB).
const WINDOW_BYTES_MAX: usize = 64 << 20;

/// Starts the thread, which becomes a member.
pub(crate) fn start(shared: &Arc<Shared>) -> Result<Running, Error> {
    let (commands, received) = channel();
    let (over, ended) = oneshot::channel();
    let shared = Arc::clone(shared);
    shared.revive();
    let work = move || {
        run(&shared, &received);
        let _ = over.send(());
    };
    thread::Builder::new()
        .name("kafka-consumer".to_owned())
        .spawn(work)
        .map_err(|error| Error::Unavailable(format!("no thread could be started: {error}")))?;
    Ok(Running::new(commands, ended))
}

/// How a membership ended.
enum End {
    /// As it was told.
    Stopped,
    /// It can't go on and is to be begun anew.
    Failed(String),
}

fn run(shared: &Arc<Shared>, commands: &Receiver<Command>) {
    loop {
        let End::Failed(why) = membership(shared, commands) else { return };
        shared.window().lose_all();
        tracing::warn!(%why, "the kafka consumer begins anew");
        shared.trouble.set(why);
        let again_at = Instant::now() + AGAIN_AFTER;
        loop {
            let left = again_at.saturating_duration_since(Instant::now());
            match commands.recv_timeout(left) {
                Ok(Command::Commit(told)) => drop(told.send(Ok(()))),
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        shared.revive();
    }
}

fn membership(shared: &Arc<Shared>, commands: &Receiver<Command>) -> End {
    let failed = Arc::new(AtomicBool::new(false));
    let member = Member { shared: Arc::clone(shared), failed: Arc::clone(&failed) };
    let session_ms = shared.options.session_ms;
    let made = client::consumer_config(&shared.options)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", session_ms.to_string())
        .set("heartbeat.interval.ms", (session_ms / 4).clamp(200, 3_000).to_string())
        .set("max.poll.interval.ms", session_ms.max(300_000).to_string())
        .create_with_context::<_, BaseConsumer<Member>>(member);
    let consumer = match made {
        Ok(consumer) => consumer,
        Err(error) => return End::Failed(failure(&error).to_string()),
    };
    if let Err(error) = consumer.subscribe(&[&shared.options.topic]) {
        return End::Failed(failure(&error).to_string());
    }
    let end = serve(shared, commands, &consumer, &failed);
    // Leaves the group; partitions that are still ours are committed and given up on the way.
    drop(consumer);
    shared.window().lose_all();
    end
}

fn serve(
    shared: &Shared,
    commands: &Receiver<Command>,
    consumer: &BaseConsumer<Member>,
    failed: &AtomicBool,
) -> End {
    let mut paused = BTreeSet::new();
    let (mut committed_at, mut all_committed_at) = (Instant::now(), Instant::now());
    let mut asked: Option<(oneshot::Sender<Result<(), Error>>, Instant)> = None;
    loop {
        if let Some((told, since)) = asked.take() {
            let committed = commit(shared, consumer);
            let again = matches!(&committed, Err(error) if passes(error));
            if again && since.elapsed() < client::timeout(&shared.options) {
                asked = Some((told, since));
            } else {
                let _ = told.send(committed.map_err(|error| failure(&error)));
            }
        } else {
            match commands.try_recv() {
                Ok(Command::Commit(told)) => {
                    asked = Some((told, Instant::now()));
                    continue;
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return End::Stopped,
                Err(TryRecvError::Empty) => {}
            }
        }
        if !shared.alive() {
            shared.window().lose_all();
            return End::Failed("this process stood still for longer than session_ms".to_owned());
        }
        if let Err(why) = take(shared, consumer) {
            return End::Failed(why);
        }
        if failed.load(Ordering::Relaxed) {
            return End::Failed("where to begin could not be read".to_owned());
        }
        pace(shared, consumer, &mut paused);
        if committed_at.elapsed() >= COMMIT_EVERY {
            committed_at = Instant::now();
            let all = all_committed_at.elapsed() >= COMMIT_ALL_EVERY;
            if all {
                all_committed_at = Instant::now();
            }
            pass_gaps(shared, consumer);
            let progress = shared.window().progress(None, all);
            if let Err(error) = send(shared, consumer, &progress, CommitMode::Async) {
                tracing::warn!(%error, "progress can't be committed yet");
            }
        }
    }
}

/// Takes in what has come, up to a bound. Each record is taken in as it is read: a partition may be
/// given up and come back while the next one is waited for, and begin before this one then.
fn take(shared: &Shared, consumer: &BaseConsumer<Member>) -> Result<(), String> {
    let (mut taken, mut any_misplaced) = (0, false);
    let mut wait = POLL;
    while taken < TAKEN_MAX {
        match consumer.poll(wait) {
            None => break,
            Some(Ok(told)) => {
                let told = record::read(&told, &shared.options.fields)
                    .map_err(|error| error.to_string())?;
                let misplaced = shared.is_misplaced(&told);
                any_misplaced |= misplaced;
                shared.window().ingest(told, misplaced);
                taken += 1;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => {
                look_at(shared, consumer, &error)?;
                break;
            }
        }
        wait = Duration::ZERO;
    }
    if taken > 0 {
        shared.trouble.clear();
        shared.changed.notify_waiters();
    }
    if any_misplaced {
        shared.misplaced.notify_one();
    }
    Ok(())
}

/// Passes over offsets that hold no record. librdkafka reads control records and aborted records
/// without handing them out, and moves its position past them. It moves the position past a record
/// only when it hands the record out, and this thread ingests each one before it asks for the next:
/// so no record below the position is missing from the window. A new assignment and a seek reset
/// the position. The call reads local state; it costs no request.
fn pass_gaps(shared: &Shared, consumer: &BaseConsumer<Member>) {
    let positions = match consumer.position() {
        Ok(positions) => positions,
        Err(error) => {
            tracing::debug!(%error, "cannot ask the consumer for its position; asking again later");
            return;
        }
    };
    let mut window = shared.window();
    for element in positions.elements() {
        if let Offset::Offset(next) = element.offset() {
            window.pass_to(element.partition(), next);
        }
    }
}

/// What a failure to read asks for. Most pass by themselves.
fn look_at(
    shared: &Shared,
    consumer: &BaseConsumer<Member>,
    error: &KafkaError,
) -> Result<(), String> {
    use RDKafkaErrorCode as Code;
    if let KafkaError::MessageConsumptionFatal(code) = error {
        return Err(code.to_string());
    }
    tracing::debug!(%error, "kafka could not be read");
    match error.rdkafka_error_code() {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
            seek_into_range(shared, consumer).map_err(|error| error.to_string())
        }
        Some(code) => {
            shared.trouble.set(code.to_string());
            Ok(())
        }
        None => Ok(()),
    }
}

/// What was to be read next is gone from the topic: goes on with the first that is there, loudly.
fn seek_into_range(shared: &Shared, consumer: &BaseConsumer<Member>) -> Result<(), Error> {
    let topic = &shared.options.topic;
    let ranges = shared.reader.ranges(topic, shared.partitions())?;
    let positions = shared.window().positions();
    for (partition, next) in positions {
        let range = usize::try_from(partition).ok().and_then(|n| ranges.get(n));
        let Some(range) = range.filter(|range| next < range.low || next > range.high) else {
            continue;
        };
        let gone = range.low.saturating_sub(next).max(0).unsigned_abs();
        metrics::counter!("buffer_kafka_gone_total").increment(gone);
        tracing::error!(
            partition,
            from = next,
            to = range.low,
            gone,
            "events are gone from the topic"
        );
        shared.window().skip_to(partition, range.low);
        consumer
            .seek(topic, partition, Offset::Offset(range.low), client::timeout(&shared.options))
            .map_err(|error| failure(&error))?;
    }
    Ok(())
}

/// Stops reading partitions whose window is full, and goes on with those that have room again.
fn pace(shared: &Shared, consumer: &BaseConsumer<Member>, paused: &mut BTreeSet<i32>) {
    let (spans, bytes) = {
        let window = shared.window();
        (window.spans(), window.bytes())
    };
    let max = shared.options.in_flight_max;
    let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
    paused.retain(|number| spans.iter().any(|(partition, _)| partition == number));
    for (partition, span) in spans {
        // With room for half of it, so that reading is not begun again for each single one.
        let full = span >= max || bytes > WINDOW_BYTES_MAX;
        let roomy = span <= max / 2 && bytes <= WINDOW_BYTES_MAX / 2;
        if full && paused.insert(partition) {
            pause.add_partition(&shared.options.topic, partition);
        } else if roomy && !full && paused.remove(&partition) {
            resume.add_partition(&shared.options.topic, partition);
        }
    }
    for (list, done) in [
        (&pause, (pause.count() > 0).then(|| consumer.pause(&pause))),
        (&resume, (resume.count() > 0).then(|| consumer.resume(&resume))),
    ] {
        if let Some(Err(error)) = done {
            tracing::debug!(%error, ?list, "partitions could not be paced");
        }
    }
}

/// Commits all there is, and returns when it is done.
fn commit(shared: &Shared, consumer: &BaseConsumer<Member>) -> KafkaResult<()> {
    pass_gaps(shared, consumer);
    let progress = shared.window().progress(None, true);
    send(shared, consumer, &progress, CommitMode::Sync)
}

/// Whether a commit failed for a rebalance that is under way, so that it may succeed after it.
fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::IllegalGeneration | Code::RebalanceInProgress | Code::WaitingForCoordinator)
    )
}
