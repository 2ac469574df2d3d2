//! Two buffers as one, while a pipeline moves from the first to the second.
//!
//! An offer goes to the buffer that the [`Route`] says for its key; leases come from both. The route
//! is changed from outside, one phase after the other in all processes, by [`Moving::take`].
//!
//! Invariants
//! - When [`Moving::take`] returns, no offer and no lease is on its way by an earlier route.
//! - Nothing is leased from the buffer that keys move to until the other has done what it held of
//!   them ([`Moving::is_drained`]): each key's events come out in the order they went in.
//! - Every receipt goes back to the buffer it came from, whatever the route is by then.
//!
//! What it deliberately does not do: it moves no event from one buffer to the other. What the source
//! holds is settled from there. An offer whose events go both ways is two offers: if the second
//! fails the first is held all the same, as the contract allows.

mod letters;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use model::Event;
use model::clock::{Clock, EpochMs};
use model::route::{Phase, Route, Side};
use tokio::sync::{Mutex, Notify, RwLock};
use tokio::time::Instant;

use crate::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};

/// How long an offer of a key that is held waits before it is refused, to be tried again.
const HOLD_MAX: Duration = Duration::from_secs(3);
/// Shortest and longest wait for one buffer before the other is looked at.
const TURN_MIN: Duration = Duration::from_millis(5);
const TURN_MAX: Duration = Duration::from_millis(50);
/// How far apart the clocks may be of whoever stamps events as accepted, in milliseconds.
const SKEW_MAX_MS: i64 = 2_000;
/// For how long a buffer has to look empty to be called so: the counts of some are of a moment ago.
const EMPTY_FOR: Duration = Duration::from_secs(2);
/// Marks what is the target's. No backend counts this far.
const TARGET: u64 = 1 << 63;

/// Two buffers, of which offers leave the first for the second.
pub struct Moving {
    sides: [Arc<dyn Buffer>; 2],
    clock: Arc<dyn Clock>,
    /// Held for reading by offers and leases for as long as they are under way.
    taken: RwLock<Taken>,
    /// Which side is looked at first, in turn: a backlog in one must not hide the other.
    turn: AtomicBool,
    changed: Notify,
    closed: AtomicBool,
    /// Whether the buffer that keys move away from is known to have done what it held of them.
    drained: AtomicBool,
    /// Since when the buffer that is drained has looked empty.
    empty_since: Mutex<Option<Instant>>,
    counts: [Counts; 2],
}

/// The route, and since when.
#[derive(Debug, Clone, Copy)]
struct Taken {
    route: Route,
    step: u64,
    at_ms: EpochMs,
}

#[derive(Debug, Default)]
struct Counts {
    offered: AtomicU64,
    done: AtomicU64,
}

/// What this process has done on one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Events that the buffer accepted from it.
    pub offered: u64,
    /// Events that it acked or buried.
    pub done: u64,
}

impl Moving {
    /// Leases from both, and offers to `source` until another route is taken.
    #[must_use]
    pub fn new(source: Arc<dyn Buffer>, target: Arc<dyn Buffer>, clock: Arc<dyn Clock>) -> Self {
        let taken = Taken { route: Route::START, step: 0, at_ms: clock.now_ms() };
        Self {
            sides: [source, target],
            clock,
            taken: RwLock::new(taken),
            turn: AtomicBool::new(false),
            changed: Notify::new(),
            closed: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            empty_since: Mutex::new(None),
            counts: Default::default(),
        }
    }

    /// Goes by this route from now on. Returns once nothing is under way by an earlier one. A step
    /// that is not past the present one is passed over.
    pub async fn take(&self, step: u64, route: Route) {
        let mut taken = self.taken.write().await;
        if step <= taken.step {
            return;
        }
        *taken = Taken { route, step, at_ms: self.clock.now_ms() };
        *self.empty_since.lock().await = None;
        self.drained.store(false, Ordering::SeqCst);
        drop(taken);
        self.changed.notify_waiters();
    }

    /// The step whose route it goes by.
    pub async fn step(&self) -> u64 {
        self.taken.read().await.step
    }

    /// Whether the buffer that keys move away from has done all that it held of them when the
    /// present route was taken. In the drain nobody offers any of them to it, so once it has, the other
    /// one is leased from too, whether or not anybody leads the move on.
    ///
    /// # Errors
    /// If that buffer can't be read.
    pub async fn is_drained(&self) -> Result<bool, Error> {
        // Held, so that what is found out is not found out of another step.
        let taken = self.taken.read().await;
        let drained = self.drains(&taken).await?;
        if drained && taken.route.phase == Phase::Drain {
            self.drained.store(true, Ordering::SeqCst);
        }
        Ok(drained)
    }

    async fn drains(&self, taken: &Taken) -> Result<bool, Error> {
        let Taken { route, at_ms, .. } = *taken;
        let Some(closed) = route.closed() else { return Ok(true) };
        if self.drained.load(Ordering::SeqCst) {
            return Ok(true);
        }
        let depth = self.side(closed.other()).depth().await?;
        let mut empty_since = self.empty_since.lock().await;
        if depth.ready + depth.leased == 0 {
            let since = *empty_since.get_or_insert_with(Instant::now);
            return Ok(since.elapsed() >= EMPTY_FOR);
        }
        *empty_since = None;
        Ok(depth.oldest_accepted_ms.is_some_and(|oldest| oldest > at_ms + SKEW_MAX_MS))
    }

    /// How much each of the two holds, the source first; an error for one that can't be read.
    pub async fn depths(&self) -> [Result<Depth, Error>; 2] {
        [self.sides[0].depth().await, self.sides[1].depth().await]
    }

    /// As [`Buffer::empty_places`], of each of the two, the source first.
    #[must_use]
    pub fn empty_places(&self) -> [u64; 2] {
        [self.sides[0].empty_places(), self.sides[1].empty_places()]
    }

    /// What this process has done, the source first.
    #[must_use]
    pub fn done(&self) -> [Done; 2] {
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        [0, 1].map(|side| {
            let Counts { offered, done } = &self.counts[side];
            Done { offered: read(offered), done: read(done) }
        })
    }

    fn side(&self, side: Side) -> &Arc<dyn Buffer> {
        &self.sides[side.index()]
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    async fn offer_to(&self, side: Side, events: &[Event]) -> Result<(), Error> {
        self.side(side).offer(events).await?;
        count(&self.counts[side.index()].offered, events.len());
        Ok(())
    }

    /// Leases from one side, and marks what came as that side's.
    async fn lease_from(
        &self,
        side: Side,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Envelope>, Error> {
        // Held until it is here: once another route is taken, nothing comes by this one.
        let taken = self.taken.read().await;
        if taken.route.closed() == Some(side) && !self.drained.load(Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        let mut leased = self.side(side).lease(max, wait).await?;
        for envelope in &mut leased {
            envelope.receipt = marked(side, envelope.receipt);
            // What was remembered of a key before it moved may be out of date: between two steps
            // another process may have cared for it.
            let side = u32::from(side == Side::Target);
            envelope.term = (taken.step << 40) | (envelope.term << 1) | u64::from(side);
            // The two buffers number their parts each for itself. The source's keep their numbers: a
            // process that takes no part in the move yet gives them the same.
            envelope.shard = envelope.shard.map(|shard| shard | (side << 31));
        }
        Ok(leased)
    }

    /// Looks at both, and waits for the first.
    async fn lease_turn(
        &self,
        first: Side,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Envelope>, Error> {
        let began = Instant::now();
        let mut failed = None;
        for (side, wait) in [(first, wait), (first.other(), Duration::ZERO)] {
            match self.lease_from(side, max, wait).await {
                Ok(leased) if leased.is_empty() => {}
                Ok(leased) => return Ok(leased),
                Err(error) => failed = Some(error),
            }
        }
        // One that can't be reached must not keep back what the other holds.
        if let Some(error) = failed {
            return Err(error);
        }
        // Where nothing may be leased nobody waited.
        let left = wait.saturating_sub(began.elapsed());
        if !left.is_zero() && !self.is_closed() {
            tokio::time::sleep(left).await;
        }
        Ok(Vec::new())
    }

    /// Receipts by side, without their marks.
    fn apart(&self, receipts: &[Receipt]) -> [Vec<Receipt>; 2] {
        let mut sides = [Vec::new(), Vec::new()];
        for receipt in receipts {
            let (side, receipt) = unmarked(*receipt);
            sides[side.index()].push(receipt);
        }
        sides
    }
}

fn count(counter: &AtomicU64, events: usize) {
    counter.fetch_add(u64::try_from(events).unwrap_or_default(), Ordering::SeqCst);
}

/// What two sides did. That one fails must not keep the other from doing its part.
fn together(one: Result<usize, Error>, other: Result<usize, Error>) -> Result<usize, Error> {
    Ok(one? + other?)
}

fn marked(side: Side, receipt: Receipt) -> Receipt {
    match side {
        Side::Source => receipt,
        Side::Target => Receipt { seq: receipt.seq | TARGET, ..receipt },
    }
}

fn unmarked(receipt: Receipt) -> (Side, Receipt) {
    let side = if receipt.seq & TARGET == 0 { Side::Source } else { Side::Target };
    (side, Receipt { seq: receipt.seq & !TARGET, ..receipt })
}

#[async_trait]
impl Buffer for Moving {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        let end = Instant::now() + HOLD_MAX;
        loop {
            // Made before looking, so that a change between looking and waiting wakes us.
            let changed = self.changed.notified();
            let taken = self.taken.read().await;
            let sides: Option<Vec<Side>> =
                events.iter().map(|event| taken.route.side(event)).collect();
            let Some(sides) = sides else {
                drop(taken);
                if self.is_closed() {
                    return Err(Error::Closed);
                }
                if tokio::time::timeout_at(end, changed).await.is_err() {
                    let problem = "its key is being moved to another buffer; try again";
                    return Err(Error::Unavailable(problem.to_owned()));
                }
                continue;
            };
            let first = sides.first().copied().unwrap_or(Side::Source);
            if sides.iter().all(|side| *side == first) {
                return self.offer_to(first, events).await;
            }
            for side in Side::BOTH {
                let theirs = events.iter().zip(&sides).filter(|(_, its)| **its == side);
                let theirs: Vec<Event> = theirs.map(|(event, _)| event.clone()).collect();
                self.offer_to(side, &theirs).await?;
            }
            return Ok(());
        }
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        let started = Instant::now();
        let busier =
            if self.taken.read().await.route.share > 50 { Side::Target } else { Side::Source };
        let in_turn = Side::BOTH[usize::from(self.turn.fetch_xor(true, Ordering::SeqCst))];
        let mut turn = Duration::ZERO;
        loop {
            let first = if turn.is_zero() { in_turn } else { busier };
            let leased = self.lease_turn(first, max, turn).await?;
            let left = wait.saturating_sub(started.elapsed());
            if !leased.is_empty() || left.is_zero() || max == 0 || self.is_closed() {
                return Ok(leased);
            }
            turn = (turn * 2).clamp(TURN_MIN, TURN_MAX).min(left);
        }
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        let mut acked = Ok(0);
        for (side, receipts) in self.apart(receipts).iter().enumerate() {
            if !receipts.is_empty() {
                let events = self.sides[side].ack(receipts).await;
                count(&self.counts[side].done, *events.as_ref().unwrap_or(&0));
                acked = together(acked, events);
            }
        }
        acked
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        let mut released = Ok(0);
        for (side, receipts) in self.apart(receipts).iter().enumerate() {
            if !receipts.is_empty() {
                released = together(released, self.sides[side].release(receipts, delay).await);
            }
        }
        released
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        let mut buried = Ok(0);
        for side in Side::BOTH {
            let theirs: Vec<_> = burials
                .iter()
                .map(|(receipt, reason)| (unmarked(*receipt), reason.clone()))
                .filter(|((its, _), _)| *its == side)
                .map(|((_, receipt), reason)| (receipt, reason))
                .collect();
            if !theirs.is_empty() {
                let events = self.side(side).bury(&theirs).await;
                count(&self.counts[side.index()].done, *events.as_ref().unwrap_or(&0));
                buried = together(buried, events);
            }
        }
        buried
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        let mut extended = Ok(0);
        for (side, receipts) in self.apart(receipts).iter().enumerate() {
            if !receipts.is_empty() {
                extended = together(extended, self.sides[side].extend(receipts, by).await);
            }
        }
        extended
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let [source, target] = self.depths().await;
        let depths = [source?, target?];
        // Of one that holds something and can't say since when, nobody knows.
        let unknown = |d: &Depth| d.ready + d.leased > 0 && d.oldest_accepted_ms.is_none();
        let oldest = depths.iter().filter_map(|depth| depth.oldest_accepted_ms).min();
        Ok(Depth {
            ready: depths.iter().map(|depth| depth.ready).sum(),
            leased: depths.iter().map(|depth| depth.leased).sum(),
            dead: depths.iter().map(|depth| depth.dead).sum(),
            oldest_accepted_ms: oldest.filter(|_| !depths.iter().any(unknown)),
        })
    }

    fn empty_places(&self) -> u64 {
        Moving::empty_places(self).iter().sum()
    }

    fn kind(&self) -> Kind {
        let [source, target] = [self.sides[0].kind(), self.sides[1].kind()];
        let weaker = if source.durable { &target } else { &source };
        let keeps = |kind: &Kind| kind.durable || kind.shared;
        Kind {
            name: "moving",
            survives: weaker.survives,
            durable: source.durable && target.durable,
            // Where one is a journal, another process goes on with the other alone. What matters is that
            // neither is this process's memory.
            shared: (source.shared || target.shared) && keeps(&source) && keeps(&target),
            counts_leases: source.counts_leases && target.counts_leases,
        }
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self
    }

    async fn close(&self) -> Result<(), Error> {
        self.closed.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
        let [source, target] = [self.sides[0].close().await, self.sides[1].close().await];
        source.and(target)
    }
}
