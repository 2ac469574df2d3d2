//! Commits of our group: how far each partition is done.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::shared::Shared;
use crate::window::Progress;

/// Commits this much.
pub(crate) fn send<C: ConsumerContext>(
    shared: &Shared,
    consumer: &BaseConsumer<C>,
    progress: &[Progress],
    mode: CommitMode,
) -> KafkaResult<()> {
    if progress.is_empty() {
        return Ok(());
    }
    let mut list = TopicPartitionList::new();
    for Progress { partition, low, metadata } in progress {
        let mut element = list.add_partition(&shared.options.topic, *partition);
        element.set_offset(Offset::Offset(*low))?;
        element.set_metadata(metadata);
    }
    match consumer.commit(&list, mode) {
        // There is nothing that could be committed.
        Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset) => Ok(()),
        Err(error) => {
            let partitions: Vec<i32> = progress.iter().map(|one| one.partition).collect();
            shared.window().uncommitted(&partitions);
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}
