//! What a process knows of its own membership and leases. No waiting, no I/O.
//!
//! Only the member that owns a shard leases from it, so this table alone tells which receipt of an
//! event is the latest; Redis tells whether the lease is still there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use buffer::{Envelope, Receipt};
use model::clock::EpochMs;
use tokio::time::Instant;

use crate::frame::{Entry, Told};

/// An event under a lease of ours.
#[derive(Debug, Clone, Copy)]
struct Held {
    epoch: u32,
    item: Item,
    token: u64,
    /// Another token it may be under: splitting it off was asked for, and no reply came. 0: none.
    other: u64,
}

/// An event as scripts are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) seq: u64,
    /// How often it has been leased, this time too.
    pub(crate) attempt: u32,
    pub(crate) shard: u16,
    /// When its entry was made, in streams.
    pub(crate) entry_ms: Option<EpochMs>,
}

/// A lease of ours: how many of its events are still held, and until when.
#[derive(Debug, Clone, Copy)]
struct Lease {
    events: usize,
    until: Instant,
}

/// A shard of ours.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shard {
    /// Which stretch of owning it this is.
    pub(crate) term: u64,
    /// Since when nothing more is leased from it; it is given up when nothing of it is held.
    pub(crate) draining: Option<Instant>,
    /// The last entry delivered; `None` before the first, and in lists.
    pub(crate) last: Option<Entry>,
}

/// Some events of one lease.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) token: u64,
    pub(crate) items: Vec<Item>,
    /// These are all that is held of the lease.
    pub(crate) whole: bool,
}

pub(crate) struct State {
    /// What our names begin with.
    process: String,
    /// Our name among the members.
    pub(crate) member: String,
    pub(crate) joined: bool,
    /// Changes when all that was held is lost.
    pub(crate) incarnation: u64,
    pub(crate) shards: BTreeMap<u16, Shard>,
    held: HashMap<u64, Held>,
    leases: HashMap<u64, Lease>,
    next_token: u64,
    next_epoch: u32,
    next_term: u64,
    /// Another member holds shards that are due to us.
    pub(crate) wanting: bool,
}

/// Whoever looks at who holds what reads whose it is. Host and pid may be those of another container too,
/// so they alone tell no members apart.
fn new_name(process: &str) -> String {
    format!("{process}:{:016x}", rand::random::<u64>())
}

impl State {
    pub(crate) fn new(process: &str) -> Self {
        Self {
            process: process.to_owned(),
            member: new_name(process),
            joined: false,
            incarnation: 1,
            shards: BTreeMap::new(),
            held: HashMap::new(),
            leases: HashMap::new(),
            next_token: 1,
            next_epoch: 1,
            next_term: 1,
            wanting: false,
        }
    }

    /// Forgets all that was held: others have it now. The next beat joins under a new name.
    pub(crate) fn fenced(&mut self) {
        self.member = new_name(&self.process);
        self.joined = false;
        self.incarnation += 1;
        self.shards.clear();
        self.held.clear();
        self.leases.clear();
    }

    /// What is held stays held until it expires, but no shard is ours any more.
    pub(crate) fn left(&mut self) {
        self.joined = false;
        self.shards.clear();
    }

    pub(crate) fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token - 1
    }

    /// The shards to lease from.
    pub(crate) fn open_shards(&self) -> Vec<u8> {
        self.shards
            .iter()
            .filter(|(_, shard)| shard.draining.is_none())
            .filter_map(|(index, _)| u8::try_from(*index).ok())
            .collect()
    }

    /// Shards that drain while something of them is held. What comes again there is still leased: a worker may hold
    /// later events of a key that wait for it, and the shard is given up only when nothing of it is held.
    pub(crate) fn ending_shards(&self) -> Vec<u8> {
        // Each claim asks, and most of the time nothing drains.
        if self.shards.values().all(|shard| shard.draining.is_none()) {
            return Vec::new();
        }
        let held: BTreeSet<u16> = self.held.values().map(|held| held.item.shard).collect();
        let ends = |index: &u16, shard: &Shard| shard.draining.is_some() && held.contains(index);
        let ending = self.shards.iter().filter(|(index, shard)| ends(index, shard));
        ending.filter_map(|(index, _)| u8::try_from(*index).ok()).collect()
    }

    /// Takes over what a beat says is ours; shards beyond our fair share begin to drain.
    /// Returns whether anything changed.
    pub(crate) fn owned(
        &mut self,
        mine: &[(u16, Option<Entry>)],
        fair: usize,
        least: usize,
        now: Instant,
    ) -> bool {
        self.joined = true;
        let before: Vec<(u16, bool)> = self.drains();
        self.shards.retain(|index, _| mine.iter().any(|(shard, _)| shard == index));
        for (index, last) in mine {
            let next_term = &mut self.next_term;
            self.shards.entry(*index).or_insert_with(|| {
                *next_term += 1;
                Shard { term: *next_term - 1, draining: None, last: *last }
            });
        }
        self.wanting = self.shards.len() < least;
        let mut surplus = self.shards.len().saturating_sub(fair);
        // Those that drain already go on doing so, then the highest.
        let mut order: Vec<u16> = self.shards.keys().rev().copied().collect();
        order.sort_by_key(|index| self.shards[index].draining.is_none());
        for index in order {
            if let Some(shard) = self.shards.get_mut(&index) {
                shard.draining = (surplus > 0).then(|| shard.draining.unwrap_or(now));
                surplus = surplus.saturating_sub(1);
            }
        }
        before != self.drains()
    }

    fn drains(&self) -> Vec<(u16, bool)> {
        self.shards.iter().map(|(index, shard)| (*index, shard.draining.is_some())).collect()
    }

    /// Whether the next beat should come soon.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.wanting || self.shards.values().any(|shard| shard.draining.is_some())
    }

    /// Begins a new term of these shards: they are about to be given up, and may come back.
    pub(crate) fn renew(&mut self, shards: &[u8]) {
        for index in shards {
            if let Some(shard) = self.shards.get_mut(&u16::from(*index)) {
                shard.term = self.next_term;
                self.next_term += 1;
            }
        }
    }

    /// Draining shards of which nothing is held.
    pub(crate) fn drained(&self) -> Vec<u8> {
        let mut drained = self.shards.clone();
        drained.retain(|_, shard| shard.draining.is_some());
        if !drained.is_empty() {
            for held in self.held.values() {
                drained.remove(&held.item.shard);
            }
        }
        drained.keys().filter_map(|index| u8::try_from(*index).ok()).collect()
    }

    /// What keeps draining shards from being given up: receipts whose lease has expired, for nobody may ever come
    /// back with them, and all receipts of a shard that has drained for `drain_max`. Some event of it waits for long,
    /// and no other of its shard is leased meanwhile.
    pub(crate) fn stuck(&self, now: Instant, drain_max: Duration) -> Vec<Receipt> {
        let draining = |held: &Held| self.shards.get(&held.item.shard)?.draining;
        let expired = |held: &Held| self.leases.get(&held.token).is_none_or(|l| l.until < now);
        let is_stuck = |held: &Held| {
            draining(held).is_some_and(|since| since + drain_max <= now || expired(held))
        };
        if self.shards.values().all(|shard| shard.draining.is_none()) {
            return Vec::new();
        }
        let stuck = self.held.iter().filter(|(_, held)| is_stuck(held));
        stuck.map(|(seq, held)| Receipt { seq: *seq, epoch: held.epoch }).collect()
    }

    /// Records what a claim took, and makes the envelopes of it, lowest `seq` first.
    pub(crate) fn leased(
        &mut self,
        token: u64,
        mut told: Vec<Told>,
        until: Instant,
    ) -> Vec<Envelope> {
        told.sort_unstable_by_key(|one| one.seq);
        let epoch = self.next_epoch;
        self.next_epoch = self.next_epoch.wrapping_add(2).max(1);
        self.leases.insert(token, Lease { events: told.len(), until });
        let mut envelopes = Vec::with_capacity(told.len());
        for one in told {
            let attempt = one.leases + 1;
            let entry_ms = one.entry.map(|entry| entry.ms);
            let item = Item { seq: one.seq, attempt, shard: one.shard, entry_ms };
            let held = Held { epoch, item, token, other: 0 };
            if let Some(old) = self.held.insert(one.seq, held) {
                self.discount(old.token);
            }
            // Of a shard that is no longer ours nothing remembered can be relied on.
            let mut term = self.next_term;
            if !self.shards.contains_key(&one.shard) {
                self.next_term += 1;
            }
            if let Some(shard) = self.shards.get_mut(&one.shard) {
                term = shard.term;
                if one.leases == 0 && one.entry.is_some() {
                    shard.last = one.entry;
                }
            }
            envelopes.push(Envelope {
                receipt: Receipt { seq: one.seq, epoch },
                accepted_at_ms: one.accepted_at_ms,
                attempt,
                term,
                shard: Some(u32::from(one.shard)),
                event: one.event,
            });
        }
        envelopes
    }

    fn discount(&mut self, token: u64) {
        if let Some(lease) = self.leases.get_mut(&token) {
            lease.events = lease.events.saturating_sub(1);
            if lease.events == 0 {
                self.leases.remove(&token);
            }
        }
    }

    /// Where these receipts' events are, by lease; stale ones and repeated ones are left out.
    pub(crate) fn parts(&self, receipts: impl IntoIterator<Item = Receipt>) -> Vec<Part> {
        let mut seen: Vec<Receipt> = receipts.into_iter().collect();
        seen.sort_unstable();
        seen.dedup();
        let mut by_token: BTreeMap<u64, Part> = BTreeMap::new();
        for receipt in seen {
            let Some(held) = self.held.get(&receipt.seq) else { continue };
            if held.epoch != receipt.epoch {
                continue;
            }
            for token in [held.token, held.other] {
                if token != 0 {
                    let part = by_token.entry(token).or_insert_with(|| Part {
                        token,
                        items: Vec::new(),
                        whole: true,
                    });
                    part.items.push(held.item);
                    part.whole &= held.other == 0;
                }
            }
        }
        let mut parts: Vec<Part> = by_token.into_values().collect();
        for part in &mut parts {
            let lease = self.leases.get(&part.token);
            part.whole &= lease.is_some_and(|lease| lease.events == part.items.len());
        }
        parts
    }

    /// Which leases a receipt's event may be under, and the event, if the receipt is its latest.
    pub(crate) fn find(&self, receipt: Receipt) -> Option<(u64, u64, Item)> {
        let held = self.held.get(&receipt.seq).filter(|held| held.epoch == receipt.epoch)?;
        Some((held.token, held.other, held.item))
    }

    /// These are no longer held.
    pub(crate) fn done(&mut self, receipts: impl IntoIterator<Item = Receipt>) {
        for receipt in receipts {
            if let Some(held) = self.held.get(&receipt.seq).copied()
                && held.epoch == receipt.epoch
            {
                self.held.remove(&receipt.seq);
                self.discount(held.token);
            }
        }
    }

    /// These leases last until then, and what was split off is under `fresh` (if `sure`).
    pub(crate) fn extended(&mut self, parts: &[Part], fresh: u64, until: Instant, sure: bool) {
        for part in parts {
            if part.whole {
                if let Some(lease) = self.leases.get_mut(&part.token)
                    && sure
                {
                    lease.until = until;
                }
                continue;
            }
            for item in &part.items {
                let Some(held) = self.held.get_mut(&item.seq).filter(|h| h.item == *item) else {
                    continue;
                };
                if sure {
                    let old = std::mem::replace(&mut held.token, fresh);
                    held.other = 0;
                    if old != fresh {
                        self.discount(old);
                        let lease = Lease { events: 0, until };
                        self.leases.entry(fresh).or_insert(lease).events += 1;
                    }
                } else {
                    held.other = fresh;
                }
            }
        }
    }

    /// How many events are held.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }
}

/// Until when a lease that was asked for now lasts at least.
pub(crate) fn until(by: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(by).unwrap_or_else(|| now + Duration::from_secs(86_400 * 365))
}
