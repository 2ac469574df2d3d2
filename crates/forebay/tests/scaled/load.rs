//! A producer that offers until it is told to stop, and remembers what was accepted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lab::generator::{EventTime, Generator};
use lab::sink::{Fate, Sink};
use model::clock::{Clock, System};
use model::{Class, Classify, Event};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::audit;

/// Offered together, this often.
const BATCH: usize = 25;
const EVERY: Duration = Duration::from_millis(8);
/// How long so many may take to be accepted.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Load {
    stop: CancellationToken,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<Offered>,
}

/// What became of all that was offered.
#[derive(Default)]
pub(crate) struct Offered {
    /// In order.
    pub(crate) accepted: Vec<Event>,
    /// Events that a server would not take because they are bad.
    pub(crate) rejected: usize,
    /// How often events were offered again, by id.
    again: BTreeMap<String, usize>,
}

impl Offered {
    /// How often this event was offered: the buffer may hold it as often, for an offer that failed may have
    /// been taken all the same.
    pub(crate) fn times(&self, id: &str) -> usize {
        1 + self.again.get(id).copied().unwrap_or(0)
    }

    /// What was offered after it.
    pub(crate) fn add(&mut self, more: Self) {
        self.accepted.extend(more.accepted);
        self.rejected += more.rejected;
        for (id, times) in more.again {
            *self.again.entry(id).or_default() += times;
        }
    }
}

impl Load {
    /// Begins to offer these into `sink`.
    pub(crate) fn start(
        runtime: &tokio::runtime::Runtime,
        sink: Box<dyn Sink>,
        payments: Payments,
    ) -> Self {
        let stop = CancellationToken::new();
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = runtime.spawn(offer(sink, payments, stop.clone(), Arc::clone(&accepted)));
        Self { stop, accepted, task }
    }

    /// Waits until so many are accepted: fewer would show nothing.
    pub(crate) fn until(&self, events: usize) {
        let end = Instant::now() + ACCEPTED_WITHIN;
        loop {
            let accepted = self.accepted.load(Ordering::Relaxed);
            if accepted >= events {
                return;
            }
            assert!(Instant::now() < end, "only {accepted} accepted: too few");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until so many more are accepted.
    pub(crate) fn until_more(&self, events: usize) {
        self.until(self.accepted.load(Ordering::Relaxed) + events);
    }

    /// Stops, and returns what was offered until then.
    pub(crate) fn stop(self, runtime: &tokio::runtime::Runtime) -> Offered {
        self.stop.cancel();
        runtime.block_on(self.task).unwrap()
    }
}

/// One producer: what is not accepted of a batch is offered again until it is, before the next one is.
async fn offer(
    mut sink: Box<dyn Sink>,
    mut payments: Payments,
    stop: CancellationToken,
    accepted: Arc<AtomicUsize>,
) -> Offered {
    let mut all = Offered::default();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        ticks.tick().await;
        let mut batch = payments.batch();
        while !batch.is_empty() {
            let fates = match sink.offer(&batch).await {
                Ok(offered) => offered.fates(),
                Err(error) => {
                    assert_eq!(error.class(), Class::Retryable, "{error}");
                    vec![Fate::Refused; batch.len()]
                }
            };
            let mut again = Vec::new();
            for (event, fate) in batch.into_iter().zip(fates) {
                match fate {
                    Fate::Accepted => all.accepted.push(event),
                    Fate::Rejected => all.rejected += 1,
                    Fate::Refused => {
                        *all.again.entry(audit::id(&event)).or_default() += 1;
                        again.push(event);
                    }
                    Fate::Unknown => panic!("a batch has few bad ones, and all are named"),
                }
            }
            accepted.store(all.accepted.len(), Ordering::Relaxed);
            batch = again;
            if !batch.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    sink.finish().await.unwrap();
    all
}

/// Payments of few cards, many of them frauds, spread over days, and some that can't be settled.
pub(crate) struct Payments {
    generator: Generator,
    time: EventTime,
    made: usize,
    /// One in so many is no payment that could be settled.
    bad_one_in: usize,
}

impl Payments {
    /// With the seed in front of each `tx_id`.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, 0.05, 400)
    }

    /// More frauds and more bad ones, so that few events show as much.
    pub(crate) fn dense(seed: u64) -> Self {
        Self::with(seed, 0.2, 50)
    }

    fn with(seed: u64, fraud_share: f64, bad_one_in: usize) -> Self {
        let options = lab::generator::Options {
            seed,
            users: 150,
            fraud_share,
            ..lab::generator::Options::default()
        };
        let start_ms = System.now_ms() - 20 * 86_400_000;
        let time = EventTime { start_ms, speed: 1.0 };
        Self { generator: Generator::new(&options).unwrap(), time, made: 0, bad_one_in }
    }

    pub(crate) fn batch(&mut self) -> Vec<Event> {
        (0..BATCH).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Event {
        self.made += 1;
        let at = Duration::from_millis(3_000 * self.made as u64);
        let (event, _) = self.generator.event(self.time.at(at));
        if !self.made.is_multiple_of(self.bad_one_in) {
            return event;
        }
        let text = std::str::from_utf8(event.payload()).unwrap();
        let spoilt = match self.made / self.bad_one_in % 2 {
            0 => text.replacen("\"card_number\":\"", "\"card_number\":\"12345678901234567890", 1),
            _ => text.replacen("\"merchant\":\"", "\"merchant\":\"\\u0000", 1),
        };
        assert_ne!(spoilt, text, "the payment should be spoilt");
        Event::new(event.id(), event.key(), spoilt.as_bytes()).unwrap()
    }
}
