//! Events that a buffer holds, as they are seen from outside.

use model::Event;
use model::clock::EpochMs;

use crate::Error;

/// Events read at once.
const PAGE_EVENTS: usize = 1_000;

/// An event that a buffer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its place in the buffer.
    pub seq: u64,
    /// When it was accepted.
    pub accepted_at_ms: EpochMs,
    /// The event.
    pub event: Event,
}

/// Takes one event after the other, and returns whether it wants another.
pub type Each<'a> = &'a mut (dyn FnMut(Held) -> bool + Send);

/// Hands the events of `page` to `each`. `page` returns up to so many events from a number on, in order of
/// [`Held::seq`], and none only where there are no more.
///
/// # Errors
/// The first of `page`.
pub async fn in_pages<Page>(
    page: impl Fn(u64, usize) -> Page + Send,
    each: Each<'_>,
) -> Result<(), Error>
where
    Page: Future<Output = Result<Vec<Held>, Error>> + Send,
{
    let mut from = 0;
    loop {
        let held = page(from, PAGE_EVENTS).await?;
        let Some(last) = held.last() else { return Ok(()) };
        from = last.seq + 1;
        for one in held {
            if !each(one) {
                return Ok(());
            }
        }
    }
}
