//! Events that a buffer holds, as they are seen from outside.

use model::clock::EpochMs;
use model::terminal::escaped;
use model::units::time;
use model::{Event, mask};
use serde_json::{Value, json};

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

impl Held {
    /// One line. Card numbers in the payload are masked unless `reveal`.
    #[must_use]
    pub fn line(&self, reveal: bool) -> String {
        let payload = mask::unless(self.event.payload(), reveal);
        let id = String::from_utf8_lossy(self.event.id());
        let accepted_at = time(self.accepted_at_ms);
        format!("{}  {accepted_at}  {}  {}", self.seq, escaped(&id), escaped(&payload))
    }

    /// The same for a script: an object.
    #[must_use]
    pub fn json(&self, reveal: bool) -> Value {
        json!({
            "seq": self.seq,
            "id": String::from_utf8_lossy(self.event.id()),
            "accepted_at": time(self.accepted_at_ms),
            "payload": mask::unless(self.event.payload(), reveal),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(count: u64, mut wanted: usize) -> Vec<u64> {
        let event = Event::new(b"a", b"", b"").unwrap();
        // Every third number holds no event.
        let there: Vec<u64> = (0..count).filter(|seq| seq % 3 > 0).collect();
        let page = |from, max| {
            let from = there.iter().filter(move |seq| **seq >= from).take(max);
            let held = |seq: &u64| Held { seq: *seq, accepted_at_ms: 0, event: event.clone() };
            std::future::ready(Ok(from.map(held).collect()))
        };
        let mut seen = Vec::new();
        let mut each = |held: Held| {
            seen.push(held.seq);
            wanted -= 1;
            wanted > 0
        };
        in_pages(page, &mut each).await.unwrap();
        seen
    }

    #[tokio::test]
    async fn all_pages_are_read_once_and_none_after_the_last_that_is_wanted() {
        let all: Vec<u64> = (0..5_000).filter(|seq| seq % 3 > 0).collect();
        assert_eq!(read(5_000, usize::MAX).await, all);
        assert_eq!(read(5_000, 1_001).await, all[..1_001]);
        assert_eq!(read(0, 1).await, [0_u64; 0]);
    }
}
