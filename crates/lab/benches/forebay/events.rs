//! Events to measure with.

use std::time::Duration;

use anyhow::{Result, ensure};
use buffer::Buffer;
use lab::generator::{Generator, Options};
use model::clock::{Clock, System};
use model::{Class, Classify, Event};

const OFFER_BATCH: usize = 1_000;

/// The size of the journal's bench events, in bytes, id and key among them.
pub(crate) const EVENT_BYTES: usize = 256;

/// `count` events of [`EVENT_BYTES`], numbered from `first` on.
pub(crate) fn plain(first: usize, count: usize) -> Vec<Event> {
    (first..first + count)
        .map(|n| {
            let (id, key) = (format!("tx-{n:013}"), format!("{:016}", n % 100_000));
            let payload = vec![b'x'; EVENT_BYTES - id.len() - key.len()];
            Event::new(id.as_bytes(), key.as_bytes(), &payload).expect("within bounds")
        })
        .collect()
}

/// Payments in order, event time a millisecond apart, ending now.
pub(crate) struct Source {
    generator: Generator,
    at_ms: i64,
}

impl Source {
    pub(crate) fn new(count: usize) -> Result<Self> {
        let generator = Generator::new(&Options::default())?;
        Ok(Self { generator, at_ms: System.now_ms() - i64::try_from(count)? })
    }

    pub(crate) fn batch(&mut self, count: usize) -> Vec<Event> {
        let from_ms = self.at_ms;
        self.at_ms += i64::try_from(count).expect("a batch is small");
        (from_ms..self.at_ms).map(|at_ms| self.generator.event(at_ms).0).collect()
    }
}

/// Offers `count` payments.
pub(crate) async fn fill(buffer: &dyn Buffer, count: usize) -> Result<()> {
    let mut source = Source::new(count)?;
    let mut made = 0;
    while made < count {
        let batch = source.batch(OFFER_BATCH.min(count - made));
        let mut tries = 0;
        while let Err(error) = buffer.offer(&batch).await {
            tries += 1;
            ensure!(error.class() == Class::Retryable && tries < 100, "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        made += batch.len();
    }
    Ok(())
}
