//! Looking at a buffer without leasing from it or joining its group.

use std::sync::Arc;

pub use buffer::backend::Held;
use buffer::{DeadLetter, Depth, Error};

use crate::client::blocking;
pub use crate::durability::Retention;
use crate::place::Place;
use crate::record;
use crate::shared::Shared;
use crate::{Options, durability, rights, topic};

/// How much is held.
///
/// # Errors
/// If Kafka can't be read or there is no such topic.
pub async fn depth(options: &Options) -> Result<Depth, Error> {
    look(options).await?.depth().await
}

/// What the topics promise.
///
/// # Errors
/// If Kafka can't be read or there is no such topic.
pub async fn durability(options: &Options) -> Result<Retention, Error> {
    let shared = look(options).await?;
    durability::asked(&shared.reader, options).await
}

/// Rights that a worker needs and does not have, one sentence each: to read the topic and the dead letters, to
/// join the group and commit for it, and to write dead letters. The right to write into a topic of ours is
/// not asked for. Changes nothing.
///
/// # Errors
/// If Kafka can't be read, or there is no such topic or it may not be looked at.
pub async fn obstacles(options: &Options) -> Result<Vec<String>, Error> {
    rights::lacking(&look(options).await?).await
}

/// How many partitions the topic has.
///
/// # Errors
/// If Kafka can't be read or there is no such topic.
pub async fn partitions(options: &Options) -> Result<i32, Error> {
    Ok(look(options).await?.partitions())
}

/// Up to `max` held events with a `seq` of at least `from_seq`, in order of `seq`. Fewer than `max`
/// does not mean that there are no more: only an empty page does. What a process has acked and not
/// committed yet is among them.
///
/// # Errors
/// If Kafka can't be read or there is no such topic.
pub async fn events(options: &Options, from_seq: u64, max: usize) -> Result<Vec<Held>, Error> {
    let shared = look(options).await?;
    let from = Place::of(from_seq);
    let mut held = Vec::new();
    for (partition, mut unread) in shared.unread().await? {
        if partition < from.partition || held.len() >= max {
            continue;
        }
        if partition == from.partition {
            unread.from = unread.from.max(from.offset);
        }
        let (shared, left) = (Arc::clone(&shared), max - held.len());
        let page = blocking(move || {
            let mut page = Vec::new();
            let range = (unread.from, unread.to);
            shared.reader.read(&shared.options.topic, partition, range, |told| {
                let told = record::read(told, &shared.options.fields)?;
                if !unread.done.contains(&told.place.offset) {
                    let seq = told.place.seq();
                    page.push(Held { seq, accepted_at_ms: told.accepted_at_ms, event: told.event });
                }
                Ok(page.len() < left)
            })?;
            Ok(page)
        });
        held.extend(page.await?);
    }
    Ok(held)
}

/// All dead letters.
///
/// # Errors
/// If Kafka can't be read or there is no such topic.
pub async fn dead(options: &Options) -> Result<Vec<DeadLetter>, Error> {
    look(options).await?.letters(0, usize::MAX).await
}

/// Connections, without joining or making anything.
async fn look(options: &Options) -> Result<Arc<Shared>, Error> {
    options.validate()?;
    let shared = Arc::new(Shared::new(options.clone()));
    let partitions = topic::there(&shared.reader, options).await?;
    shared.set_partitions(partitions);
    Ok(shared)
}
