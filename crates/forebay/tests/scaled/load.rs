//! A producer that offers until it is told to stop, and remembers what was accepted.

use std::time::Duration;

use buffer::Buffer;
use buffer_redis::{Options, RedisBuffer};
use lab::generator::{EventTime, Generator};
use model::clock::{Clock, System};
use model::{Class, Classify, Event};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Offered together, this often.
const BATCH: usize = 25;
const EVERY: Duration = Duration::from_millis(8);
/// One in so many is no payment that could be settled.
const BAD_ONE_IN: usize = 400;

pub(crate) struct Load {
    stop: CancellationToken,
    task: JoinHandle<Vec<Event>>,
}

impl Load {
    /// Begins to offer into the buffer of these options.
    pub(crate) fn start(runtime: &tokio::runtime::Runtime, options: Options, seed: u64) -> Self {
        let stop = CancellationToken::new();
        let task = runtime.spawn(offer(options, seed, stop.clone()));
        Self { stop, task }
    }

    /// Stops, and returns what was accepted, in order.
    pub(crate) fn accepted(self, runtime: &tokio::runtime::Runtime) -> Vec<Event> {
        self.stop.cancel();
        runtime.block_on(self.task).unwrap()
    }
}

/// One producer: a batch that fails is offered again until it is accepted, before the next one is.
async fn offer(options: Options, seed: u64, stop: CancellationToken) -> Vec<Event> {
    let buffer = RedisBuffer::open(options).await.unwrap();
    let mut payments = Payments::new(seed);
    let mut accepted = Vec::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        ticks.tick().await;
        let batch = payments.batch();
        while let Err(error) = buffer.offer(&batch).await {
            assert_eq!(error.class(), Class::Retryable, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        accepted.extend(batch);
    }
    buffer.close().await.unwrap();
    accepted
}

/// Payments of few cards, many of them frauds, spread over days, and some that can't be settled.
pub(crate) struct Payments {
    generator: Generator,
    time: EventTime,
    made: usize,
}

impl Payments {
    pub(crate) fn new(seed: u64) -> Self {
        let options = lab::generator::Options {
            seed,
            users: 150,
            fraud_share: 0.05,
            ..lab::generator::Options::default()
        };
        let start_ms = System.now_ms() - 20 * 86_400_000;
        let time = EventTime { start_ms, speed: 1.0 };
        Self { generator: Generator::new(&options).unwrap(), time, made: 0 }
    }

    pub(crate) fn batch(&mut self) -> Vec<Event> {
        (0..BATCH).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Event {
        self.made += 1;
        let at = Duration::from_millis(3_000 * self.made as u64);
        let (event, _) = self.generator.event(self.time.at(at));
        if !self.made.is_multiple_of(BAD_ONE_IN) {
            return event;
        }
        let text = std::str::from_utf8(event.payload()).unwrap();
        let spoilt = match self.made / BAD_ONE_IN % 2 {
            0 => text.replacen("\"card_number\":\"", "\"card_number\":\"12345678901234567890", 1),
            _ => text.replacen("\"merchant\":\"", "\"merchant\":\"\\u0000", 1),
        };
        assert_ne!(spoilt, text, "the payment should be spoilt");
        Event::new(event.id(), event.key(), spoilt.as_bytes()).unwrap()
    }
}
