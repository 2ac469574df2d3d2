//! Taking a buffer away again.

use std::time::Duration;

use buffer::Error;
use buffer::erasing::{Obstacles, refusal};

use crate::failure::Failure;
use crate::options::Options;
use crate::place::Place;

/// For how long after [`erase`] nothing makes the buffer anew: a process that was started before, or starts late with
/// old settings, is refused.
pub const ERASED_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Removes the buffer and its keys, if it holds nothing and no process leases from it. It stays erased for
/// [`ERASED_FOR`]. Until then, opening, offering and leasing return [`Error::Open`]. One
/// script does all of it, so an offer is either refused, or keeps the buffer from being erased.
///
/// # Errors
/// [`Error::Held`] with what it holds or who leases from it, [`Error::Open`] if it is another kind of buffer or the
/// user lacks a right, [`Error::Unavailable`] if Redis can't be reached: it may be erased all the same.
pub async fn erase(options: &Options) -> Result<(), Error> {
    type Found = (u64, u64, u64, u64, Vec<String>);
    let place = Place::checked(options)?;
    let erased_ms = u64::try_from(ERASED_FOR.as_millis()).unwrap_or(u64::MAX);
    let layout = if place.is_stream() { "stream" } else { "list" };
    let told: Result<Found, Failure> = place
        .call(&place.rest, &place.scripts.erase, |cmd| {
            cmd.arg(layout).arg(options.shards).arg(erased_ms);
        })
        .await;
    let (ready, leased, delayed, dead, members) = told.map_err(Failure::at_open)?;
    let found = Obstacles { ready, leased, delayed, dead, members };
    match refusal(&format!("the {layout} {}", options.name), &found) {
        Some(refused) => Err(refused),
        None => Ok(()),
    }
}

/// Removes the buffer with everything it holds, its source and its dead letters, and that it was erased: for buffers
/// made to measure or to try. Does nothing where there is none. A process that still has it open makes
/// it anew, empty.
///
/// # Errors
/// If Redis can't be reached.
pub async fn purge(options: &Options) -> Result<(), Error> {
    let place = Place::checked(options)?;
    let removed: Result<u64, Failure> = place.call(&place.rest, &place.scripts.purge, |_| {}).await;
    removed.map(drop).map_err(Failure::at_open)
}
