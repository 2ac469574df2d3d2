//! A memory buffer that fails, and waits, when told to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use buffer::memory::{Memory, Options};
use buffer::spill::Spill;
use buffer::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use model::Event;
use model::clock::{Clock, Manual};
use tokio::sync::watch;

/// What an offer meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    Up,
    /// Unavailable, nothing held.
    Down,
    /// Held, and then unavailable.
    Unheard,
    Full,
    /// A right is missing, nothing held.
    Denied,
    Poisoned,
    /// Takes no more than this many at once.
    AtMost(usize),
    /// Waits until the switch changes, and then meets that.
    Held,
}

pub(crate) struct Switched {
    pub(crate) memory: Memory,
    pub(crate) switch: watch::Sender<Switch>,
    /// How many offers have begun.
    pub(crate) offers: AtomicU64,
    /// Unless 0, draws how often each call gives way to other tasks.
    dice: AtomicU64,
}

impl Switched {
    pub(crate) fn new(options: Options, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (switch, _) = watch::channel(Switch::Up);
        let memory = Memory::new(options, clock);
        Arc::new(Self { memory, switch, offers: AtomicU64::new(0), dice: AtomicU64::new(0) })
    }

    pub(crate) fn set(&self, switch: Switch) {
        self.switch.send_replace(switch);
    }

    pub(crate) fn roll_dice(&self, seed: u64) {
        self.dice.store(seed | 1, Ordering::SeqCst);
    }

    async fn give_way(&self) {
        let dice = self.dice.load(Ordering::SeqCst);
        if dice == 0 {
            return;
        }
        let rolled = roll(dice);
        self.dice.store(rolled, Ordering::SeqCst);
        for _ in 0..rolled % 7 {
            tokio::task::yield_now().await;
        }
    }

    /// The ids of all it was offered and holds, in order, each where it came first.
    pub(crate) async fn ids(&self) -> Vec<String> {
        let leased = self.memory.lease(usize::MAX, Duration::ZERO).await.unwrap();
        let mut seen = BTreeSet::new();
        let ids = leased.iter().map(|held| String::from_utf8_lossy(held.event.id()).into_owned());
        ids.filter(|id| seen.insert(id.clone())).collect()
    }
}

/// The next number of a simple generator (xorshift64, Marsaglia 2003), never 0.
pub(crate) fn roll(mut dice: u64) -> u64 {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^ (dice << 17)
}

#[async_trait]
impl Buffer for Switched {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        self.offers.fetch_add(1, Ordering::SeqCst);
        self.give_way().await;
        let mut switch = self.switch.subscribe();
        let met = *switch.wait_for(|met| *met != Switch::Held).await.unwrap();
        let answer = match met {
            Switch::Up => self.memory.offer(events).await,
            Switch::Unheard => {
                self.memory.offer(events).await.unwrap();
                Err(Error::Unavailable("cut".into()))
            }
            Switch::AtMost(max) if events.len() <= max => self.memory.offer(events).await,
            Switch::AtMost(max) => Err(Error::TooMany { got: events.len(), max }),
            Switch::Full => {
                Err(Error::Full { bound: "bound".into(), retry_after: Duration::from_secs(1) })
            }
            Switch::Denied => Err(Error::Open("a right is missing".into())),
            Switch::Poisoned => Err(Error::Poisoned("as told".into())),
            Switch::Down | Switch::Held => Err(Error::Unavailable("down".into())),
        };
        self.give_way().await;
        answer
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        self.memory.lease(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        self.give_way().await;
        self.memory.ack(receipts).await
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        self.memory.release(receipts, delay).await
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        self.memory.bury(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        self.memory.extend(receipts, by).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.give_way().await;
        let depth = self.memory.depth().await;
        self.give_way().await;
        depth
    }

    fn kind(&self) -> Kind {
        self.memory.kind()
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self.memory.dead_letters()
    }

    async fn close(&self) -> Result<(), Error> {
        self.memory.close().await
    }
}

/// A spill between two buffers that do as they are told. The clock stands still unless stepped.
pub(crate) struct Rig {
    pub(crate) primary: Arc<Switched>,
    pub(crate) local: Arc<Switched>,
    pub(crate) spill: Arc<Spill>,
    pub(crate) clock: Manual,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_local(Options::default())
    }

    pub(crate) fn with_local(options: Options) -> Self {
        let clock = Manual::at(1_700_000_000_000);
        let primary = Switched::new(Options::default(), Arc::new(clock.clone()));
        let local = Switched::new(options, Arc::new(clock.clone()));
        Self::between(primary, local, clock)
    }

    /// A new process, so to speak, that finds these two.
    pub(crate) fn between(primary: Arc<Switched>, local: Arc<Switched>, clock: Manual) -> Self {
        let spill = Spill::new(primary.clone(), local.clone(), Arc::new(clock.clone()));
        Self { primary, local, spill: Arc::new(spill), clock }
    }

    pub(crate) async fn offer(&self, ids: &[&str]) -> Result<(), Error> {
        let events: Vec<_> = ids.iter().map(|id| event(id)).collect();
        self.spill.offer(&events).await
    }

    /// What the spill holds.
    pub(crate) async fn spilled(&self) -> u64 {
        let depth = self.spill.spilled().await.unwrap().unwrap();
        depth.ready + depth.leased
    }

    /// Waits until nothing is spilled and offers go to the primary.
    pub(crate) async fn until_settled(&self) {
        let settled = async {
            while self.spilled().await > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // The look that finds it empty comes right after.
            tokio::time::sleep(Duration::from_millis(300)).await;
        };
        tokio::time::timeout(Duration::from_secs(60), settled).await.unwrap();
    }
}

/// One event of the key before the dash.
pub(crate) fn event(id: &str) -> Event {
    let key = id.split('-').next().unwrap();
    Event::new(id.as_bytes(), key.as_bytes(), b"{}").unwrap()
}

/// Waits until `check` holds.
pub(crate) async fn until(what: &str, check: impl Fn() -> bool) {
    let holds = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), holds).await.is_ok(), "never: {what}");
}
