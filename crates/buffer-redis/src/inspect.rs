//! Looking at a buffer without leasing from it or joining its members.

pub use buffer::backend::{Distribution, Held, Member};
use buffer::{DeadLetter, Depth, Error};
use model::clock::EpochMs;
use redis::Value;

pub use crate::durability::Persistence;
use crate::failure::Failure;
use crate::frame::{self, Told};
use crate::options::{Layout, Options};
use crate::place::Place;

/// Events read at once, at most.
const PAGE: usize = 500;

/// A held event, and whether a lease holds it. One that is not routed yet has the place it would get now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// The event.
    pub held: Held,
    /// Whether a lease holds it.
    pub leased: bool,
}

/// How much is held, read without making the buffer where there is none.
///
/// # Errors
/// If Redis can't be read.
pub async fn depth(options: &Options) -> Result<Depth, Error> {
    let place = Place::checked(options)?;
    place.depth().await.map_err(Failure::at_open)
}

/// Who holds what, read without joining.
///
/// # Errors
/// If Redis can't be read.
pub async fn distribution(options: &Options) -> Result<Distribution, Error> {
    type Row = (String, EpochMs, u64, u64, Vec<u16>);
    let place = Place::checked(options)?;
    let (now_ms, source, backlog, rows): (EpochMs, u64, Vec<u64>, Vec<Row>) = place
        .call(&place.rest, &place.scripts.distribution, |cmd| {
            cmd.arg(options.shards);
        })
        .await
        .map_err(Failure::at_open)?;
    let member = |(id, deadline_ms, leases, events, shards)| Member {
        id,
        deadline_ms,
        shards,
        leases,
        events,
    };
    Ok(Distribution { now_ms, members: rows.into_iter().map(member).collect(), backlog, source })
}

/// What this Redis promises.
///
/// # Errors
/// If Redis can't be read.
pub async fn durability(options: &Options) -> Result<Persistence, Error> {
    crate::durability::read(&Place::checked(options)?).await.map_err(Failure::at_open)
}

/// What keeps offers from being accepted or settled though Redis answers, and how to mend it, one
/// sentence each: another type under the name, a replica, fewer replicas than are waited for.
///
/// # Errors
/// If Redis can't be read.
pub async fn obstacles(options: &Options) -> Result<Vec<String>, Error> {
    crate::durability::obstacles(&Place::checked(options)?).await
}

/// The number of the process that serves this buffer, on its own machine; nothing if it would not
/// say.
///
/// # Errors
/// If Redis can't be read.
pub async fn process_id(options: &Options) -> Result<Option<u32>, Error> {
    let place = Place::checked(options)?;
    let told: Result<u32, Failure> = place.call(&place.rest, &place.scripts.process, |_| {}).await;
    Ok(Some(told.map_err(Failure::at_open)?).filter(|pid| *pid > 0))
}

/// Up to `max` held events with a `seq` of at least `from_seq`, in order of `seq`. Fewer than `max`
/// does not mean that there are no more: only an empty page does.
///
/// # Errors
/// If Redis can't be read.
pub async fn events(options: &Options, from_seq: u64, max: usize) -> Result<Vec<Peeked>, Error> {
    let place = Place::checked(options)?;
    let field = match &options.layout {
        Layout::Stream { field: Some(field), .. } => field.as_str(),
        _ => "",
    };
    let (flags, values): (Vec<u8>, Vec<Value>) = place
        .call(&place.rest, &place.scripts.peek, |cmd| {
            cmd.arg(from_seq).arg(max.min(PAGE)).arg(options.shards);
            cmd.arg(&options.fields.id).arg(&options.fields.key).arg(field);
        })
        .await
        .map_err(Failure::at_open)?;
    let told = frame::read(values, place.is_stream())?;
    Ok(told
        .into_iter()
        .zip(flags)
        .map(|(one, leased)| {
            let Told { seq, accepted_at_ms, event, .. } = one;
            Peeked { held: Held { seq, accepted_at_ms, event }, leased: leased == 1 }
        })
        .collect())
}

/// All dead letters, read in pages.
///
/// # Errors
/// If Redis can't be read.
pub async fn dead(options: &Options) -> Result<Vec<DeadLetter>, Error> {
    Place::checked(options)?.letters(0, usize::MAX).await
}
