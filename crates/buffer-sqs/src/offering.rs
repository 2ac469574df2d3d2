//! Offers: batches of ten, of which each entry may fail alone.

use std::collections::HashMap;
use std::time::Duration;

use buffer::Error;
use futures_util::stream::{self, StreamExt as _};
use model::Event;
use serde_json::Value;

use crate::api::{BATCH_MAX, Told};
use crate::client::{Failure, hex};
use crate::message;
use crate::shared::{Shared, full};

/// How old the count of SQS may be, past which an offer looks again.
const COUNT_AGE_MAX: Duration = Duration::from_secs(1);
/// The same when the queue seems full.
const FULL_AGE_MAX: Duration = Duration::from_millis(50);
/// How often what failed of a batch is sent.
const TRIES_MAX: u32 = 3;
/// The pause before it is sent again; doubled each time.
const PAUSE: Duration = Duration::from_millis(50);
/// Most batches under way at once, for one offer.
const AT_ONCE_MAX: usize = 8;

/// Some entries that are sent together.
#[derive(Debug, Default)]
struct Batch {
    entries: Vec<Value>,
    bytes: usize,
}

impl Batch {
    fn takes(&self, bytes: usize, bytes_max: usize) -> bool {
        self.entries.len() < BATCH_MAX
            && (self.entries.is_empty() || self.bytes + bytes <= bytes_max)
    }

    fn push(&mut self, entry: Value, bytes: usize) {
        self.entries.push(entry);
        self.bytes += bytes;
    }
}

impl Shared {
    pub(crate) async fn offer_now(&self, events: &[Event]) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let max = self.options.events_max;
        if events.len() > max {
            return Err(Error::TooMany { got: events.len(), max });
        }
        if events.is_empty() {
            return Ok(());
        }
        let waves = self.waves(events)?;
        self.ensure_open().await?;
        self.take_room(events.len()).await?;
        let sent = self.send_waves(waves).await;
        self.room().answered(events.len() as u64);
        self.changed.notify_waiters();
        sent
    }

    /// Sends events for which there is room.
    pub(crate) async fn send_events(&self, events: &[Event]) -> Result<(), Error> {
        self.send_waves(self.waves(events)?).await
    }

    /// Sends entries that belong together, and again what failed of them.
    pub(crate) async fn send(&self, queue: &str, entries: Vec<Value>) -> Result<(), Error> {
        // A FIFO queue takes an entry once, however often it is sent.
        let once = self.options.fifo();
        let mut left = entries;
        let mut tries = 1;
        loop {
            let why = match self.client.batch("SendMessageBatch", queue, &left).await {
                Ok(told) => {
                    let mut told = told.into_iter();
                    let mut why = None;
                    left.retain(|_| match told.next() {
                        Some(Told::Done) => false,
                        Some(Told::Failed(reason)) => {
                            why = Some(reason);
                            true
                        }
                        Some(Told::Stale) | None => {
                            why = Some("SQS finds an entry wrong".to_owned());
                            true
                        }
                    });
                    match why {
                        None => return Ok(()),
                        Some(why) => Error::Unavailable(format!("sqs: {why}")),
                    }
                }
                Err(Failure::Lost(why)) if once => Error::Unavailable(format!("sqs: {why}")),
                Err(failure) => return Err(failure.error()),
            };
            if tries == TRIES_MAX {
                return Err(why);
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
            tries += 1;
        }
    }

    /// Takes room for so many, until [`Room::answered`](crate::room::Room::answered).
    pub(crate) async fn take_room(&self, count: usize) -> Result<(), Error> {
        let max = self.options.events_max as u64;
        for age_max in [COUNT_AGE_MAX, FULL_AGE_MAX] {
            self.look(age_max).await.map_err(Failure::error)?;
            if self.room().take(count as u64, max) {
                return Ok(());
            }
        }
        Err(full(format!("events_max = {max} events")))
    }

    async fn send_waves(&self, waves: Vec<Vec<Batch>>) -> Result<(), Error> {
        for wave in waves {
            let mut sends = Vec::with_capacity(wave.len());
            for batch in wave {
                sends.push(self.send(&self.queue, batch.entries));
            }
            let sent: Vec<_> = stream::iter(sends).buffered(AT_ONCE_MAX).collect().await;
            sent.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(())
    }

    /// What is sent one after the other, each of it batches that are sent at once. In a FIFO queue a
    /// group is in a wave once: an entry that fails must not be overtaken by a later one.
    fn waves(&self, events: &[Event]) -> Result<Vec<Vec<Batch>>, Error> {
        let bytes_max = self.options.message_bytes_max;
        let mut waves: Vec<Vec<Batch>> = vec![Vec::new()];
        let mut next_of: HashMap<String, usize> = HashMap::new();
        for event in events {
            let (wave, (entry, bytes)) = if self.options.fifo() {
                let group = message::group(event);
                let once = hex(&rand::random::<u128>().to_be_bytes());
                let entry = message::entry(event, Some((&group, &once)));
                let next = next_of.entry(group).or_default();
                *next += 1;
                (*next - 1, entry)
            } else {
                (0, message::entry(event, None))
            };
            if bytes > bytes_max {
                return Err(Error::TooMany { got: bytes, max: bytes_max });
            }
            if waves.len() <= wave {
                waves.push(Vec::new());
            }
            match waves[wave].last_mut() {
                Some(batch) if batch.takes(bytes, bytes_max) => batch.push(entry, bytes),
                _ => waves[wave].push(Batch { entries: vec![entry], bytes }),
            }
        }
        Ok(waves)
    }
}

#[cfg(test)]
mod tests {
    use buffer::foreign::Fields;

    use super::*;
    use crate::Options;

    fn sizes(queue: &str, message_bytes_max: usize, events: &[Event]) -> Vec<Vec<usize>> {
        let options =
            Options::new("http://127.0.0.1:1", "1", queue, "r", Fields::named("id", "key"));
        let shared = Shared::new(Options { message_bytes_max, ..options }).unwrap();
        let waves = shared.waves(events).unwrap();
        waves.iter().map(|wave| wave.iter().map(|batch| batch.entries.len()).collect()).collect()
    }

    fn event(key: &str, payload_bytes: usize) -> Event {
        Event::new(b"id", key.as_bytes(), &vec![b'x'; payload_bytes]).unwrap()
    }

    #[test]
    fn batches_have_ten_entries_and_weigh_no_more_than_a_message_may() {
        let small = vec![event("a", 1); 25];
        assert_eq!(sizes("q", 262_144, &small), [[10, 10, 5]]);
        let large = vec![event("a", 60_000); 9];
        assert_eq!(sizes("q", 262_144, &large), [[4, 4, 1]]);
        assert_eq!(sizes("q", 1 << 20, &large), [[9]]);
    }

    #[test]
    fn in_a_fifo_queue_a_key_waits_for_its_earlier_events() {
        let events: Vec<Event> = (0..30).map(|n| event(&format!("k{}", n % 12), 1)).collect();
        assert_eq!(sizes("q.fifo", 262_144, &events), [vec![10, 2], vec![10, 2], vec![6]]);
        assert_eq!(sizes("q.fifo", 262_144, &vec![event("hot", 1); 3]), [[1], [1], [1]]);
    }

    #[test]
    fn an_event_that_no_message_takes_is_refused_for_good() {
        let options = Options::new("http://127.0.0.1:1", "1", "q", "r", Fields::named("id", "key"));
        let shared = Shared::new(Options { message_bytes_max: 50_000, ..options }).unwrap();
        let refused = shared.waves(&[event("k", 60_000)]).unwrap_err();
        assert!(matches!(refused, Error::TooMany { max: 50_000, .. }), "{refused}");
    }
}
