//! One lane: reads a batch, makes its cards known, screens, settles.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use buffer::Envelope;
use engine::{Failure, Outcome};
use model::Payment;
use model::clock::EpochMs;
use store::card::Guard;
use store::payments::{COMPARED, Duplicate};
use store::{Fence, History, Payments, Row, Settlement};

use crate::hit::Rule;
use crate::latest::RECENT_MAX;
use crate::number::Number;
use crate::screen::{Ownership, Screen, Verdict};

/// How often one call goes on after another process has taken a fence of its shards. Each time means a
/// process that joins, or that settles what it leased long ago.
const FENCED_MAX: usize = 8;
const ALL_THE_SAME: [bool; COMPARED.len()] = [true; COMPARED.len()];

pub(super) struct Lane {
    pub(super) store: Arc<dyn Payments>,
    pub(super) guard: Arc<Guard>,
    pub(super) screen: Screen,
    /// Kept in memory by all lanes together.
    pub(super) cards_max: usize,
    /// The handler and each lane have one.
    pub(super) lanes: Arc<()>,
    /// What each row bears.
    pub(super) ruleset_version: i64,
    /// Cards whose state may be ahead of the store, or behind it.
    pub(super) doubtful: Vec<Number>,
    pub(super) settling: Arc<AtomicBool>,
    /// For each shard settled from, the fence that was taken in the term that is named beside it.
    pub(super) fences: HashMap<u32, (u64, Fence)>,
}

/// A payment of the batch that could be read.
struct Read<'b> {
    /// Which event of the batch.
    index: usize,
    number: Number,
    payment: Payment<'b>,
    accepted_at_ms: EpochMs,
    term: u64,
    shard: Option<u32>,
}

/// What screening a batch came to.
#[derive(Default)]
struct Screened {
    rows: Vec<Row>,
    /// For each row, which event of the batch it is of.
    indexes: Vec<usize>,
    /// Cards of rows that screening took for repeats.
    repeats: Vec<Number>,
    /// Events that are the payment of a row once more, and which event of the batch that row is of.
    again: Vec<(usize, usize)>,
    /// For each rule, in the order of [`Rule::ALL`], how often it fired.
    flagged: [u64; Rule::ALL.len()],
}

#[async_trait]
impl engine::Lane for Lane {
    async fn settle(&mut self, batch: &[Envelope]) -> Result<Vec<Outcome>, Failure> {
        self.settling.store(true, Ordering::SeqCst);
        let mut outcomes = vec![Outcome::Settled; batch.len()];
        let mut reads = read(batch, &mut outcomes);
        let mut fenced = 0;
        // Each round but the last finds at least one more duplicate, or a passed fence, so this ends
        // after at most `FENCED_MAX` rounds more than there are events.
        loop {
            self.forget_doubtful();
            if reads.is_empty() {
                return Ok(outcomes);
            }
            let fences = self.fences(&reads).await?;
            self.load(&reads).await?;
            self.doubtful.extend(reads.iter().map(|read| read.number));
            let Screened { rows, indexes, repeats, again, flagged } = self.screen(&reads);
            match self.store.settle_fenced(rows, &fences).await.map_err(failure)? {
                Settlement::Settled => {
                    again.into_iter().for_each(|(event, _)| outcomes[event] = Outcome::Duplicate);
                    self.doubtful.clear();
                    // The store knows better: it had not seen what screening took for a repeat.
                    self.doubtful.extend(repeats);
                    let lanes = Arc::strong_count(&self.lanes).saturating_sub(1).max(1);
                    self.screen.trim(self.cards_max / lanes);
                    count(flagged);
                    return Ok(outcomes);
                }
                Settlement::Duplicates(named) => {
                    if named.is_empty() || named.iter().any(|one| one.index >= indexes.len()) {
                        let said = "the store refused a batch for duplicates and named none of it";
                        return Err(Failure::Fatal(said.to_owned()));
                    }
                    for Duplicate { index, differs } in named {
                        outcomes[indexes[index]] = taken(&differs);
                    }
                    for (event, of) in again {
                        outcomes[event] = outcomes[of].clone();
                    }
                }
                Settlement::Fenced(shards) => {
                    fenced += 1;
                    if fenced > FENCED_MAX {
                        let said =
                            "cannot settle: other processes keep taking these shards; trying again";
                        return Err(Failure::Unavailable(said.to_owned()));
                    }
                    for shard in shards {
                        self.fences.remove(&shard);
                    }
                }
            }
            reads.retain(|read| outcomes[read.index] == Outcome::Settled);
        }
    }
}

impl Lane {
    fn forget_doubtful(&mut self) {
        for number in self.doubtful.drain(..) {
            self.screen.forget(number);
        }
    }

    /// A fence of each shard in the batch, by one call to the store at most.
    async fn fences(&mut self, reads: &[Read<'_>]) -> Result<Vec<Fence>, Failure> {
        // With the latest term of each: terms only grow.
        let mut terms: BTreeMap<u32, u64> = BTreeMap::new();
        for Read { shard, term, .. } in reads {
            if let Some(shard) = shard {
                let latest = terms.entry(*shard).or_insert(*term);
                *latest = (*latest).max(*term);
            }
        }
        let held = |(shard, term): &(&u32, &u64)| {
            self.fences.get(shard).is_some_and(|(of_term, _)| of_term == *term)
        };
        let missing: Vec<u32> =
            terms.iter().filter(|of| !held(of)).map(|(shard, _)| *shard).collect();
        if !missing.is_empty() {
            for fence in self.store.fence(&missing).await.map_err(failure)? {
                let term = terms.get(&fence.shard).copied().unwrap_or_default();
                self.fences.insert(fence.shard, (term, fence));
            }
        }
        let fences = terms.keys().map(|shard| self.fences.get(shard).map(|(_, fence)| *fence));
        let fences: Option<Vec<Fence>> = fences.collect();
        fences.ok_or_else(|| {
            Failure::Fatal(
                "the store did not answer with one fence for each shard asked for".into(),
            )
        })
    }

    /// Makes every card of the batch known, by one call to the store at most.
    async fn load(&mut self, reads: &[Read<'_>]) -> Result<(), Failure> {
        let mut numbers = Vec::new();
        let mut fingerprints = Vec::new();
        // With the latest ownership of each: terms only grow.
        let mut asked = HashMap::new();
        for read in reads {
            let Read { number, payment, term, .. } = read;
            let owned = self.owned(read);
            if asked.get(number) == Some(&owned) || self.screen.knows(*number, owned) {
                continue;
            }
            let fingerprint = self.guard.fingerprint(&payment.card_number);
            // Where others settle as well, a store that was empty at the start says nothing.
            if self.screen.unknown_is_new() && *term == 0 {
                self.screen.insert(*number, fingerprint, &History::default(), owned);
            } else if asked.insert(*number, owned).is_none() {
                numbers.push(*number);
                fingerprints.push(fingerprint);
            }
        }
        if numbers.is_empty() {
            return Ok(());
        }
        let histories = self.store.histories(&fingerprints, RECENT_MAX).await.map_err(failure)?;
        if histories.len() != numbers.len() {
            let said = "the store did not answer with one history for each card asked for";
            return Err(Failure::Fatal(said.to_owned()));
        }
        for ((number, fingerprint), history) in
            numbers.into_iter().zip(fingerprints).zip(&histories)
        {
            self.screen.insert(number, fingerprint, history, asked[&number]);
        }
        Ok(())
    }

    /// Under which ownership a card is read for this payment.
    fn owned(&self, read: &Read<'_>) -> Ownership {
        let fence = read.shard.and_then(|shard| self.fences.get(&shard));
        Ownership { term: read.term, token: fence.map_or(0, |(_, fence)| fence.token) }
    }

    fn screen(&mut self, reads: &[Read<'_>]) -> Screened {
        let mut screened = Screened::default();
        screened.rows.reserve_exact(reads.len());
        screened.indexes.reserve_exact(reads.len());
        for read in reads {
            let verdict = self.screen.screen(read.number, &read.payment).expect(
                "every card of the batch was made known, and none is dropped before its end",
            );
            let mut flagged = screened.flagged;
            verdict.hits.iter().for_each(|hit| flagged[hit.rule as usize] += 1);
            let repeat = verdict.repeat;
            let row = self.row(read, verdict);
            if repeat {
                // An event that is twice in one batch is told here for what it is, rather than by
                // the store, which would have the whole batch screened again for it. Of another
                // payment of the same id the store has to judge.
                let first = screened.rows.iter().position(|first| first.tx_id == row.tx_id);
                let same = |&first: &usize| screened.rows[first].compared(&row) == ALL_THE_SAME;
                if let Some(first) = first.filter(same) {
                    screened.again.push((read.index, screened.indexes[first]));
                    continue;
                }
                screened.repeats.push(read.number);
            }
            screened.flagged = flagged;
            screened.rows.push(row);
            screened.indexes.push(read.index);
        }
        screened
    }

    fn row(&self, read: &Read<'_>, verdict: Verdict) -> Row {
        let Read { payment, accepted_at_ms, .. } = read;
        let hits = verdict.hits;
        Row {
            tx_id: payment.tx_id.to_string(),
            card_number: self.guard.stored(&payment.card_number),
            card_fingerprint: verdict.fingerprint,
            user_id: payment.user_id.to_string(),
            tier: payment.tier,
            amount: payment.amount,
            merchant: payment.merchant.to_string(),
            category: payment.category.to_string(),
            fraud_rules: hits.iter().map(|hit| hit.rule.name()).collect(),
            fraud_detail: (!hits.is_empty())
                .then(|| serde_json::to_string(&hits).expect("hits are plain data")),
            ruleset_version: self.ruleset_version,
            created_at_ms: payment.created_at_ms,
            accepted_at_ms: *accepted_at_ms,
        }
    }
}

/// What an event comes to whose `tx_id` is taken, by the same payment or by one that differs.
fn taken(differs: &[&str]) -> Outcome {
    if differs.is_empty() {
        return Outcome::Duplicate;
    }
    Outcome::Rejected(format!(
        "tx_id: another payment has this id and differs in {}; give each payment its own id",
        differs.join(", ")
    ))
}

/// Reads the payments of a batch; what can't be read is rejected there and then. Event time is held
/// against the time of acceptance, so that an event that comes again is judged the same.
fn read<'b>(batch: &'b [Envelope], outcomes: &mut [Outcome]) -> Vec<Read<'b>> {
    let mut reads = Vec::with_capacity(batch.len());
    for (index, envelope) in batch.iter().enumerate() {
        let accepted_at_ms = envelope.accepted_at_ms;
        let reason = match Payment::parse(envelope.event.payload(), accepted_at_ms) {
            // Order is kept by key. Where it is not the card, two processes may hold the card at once.
            Ok(payment) if envelope.term != 0 && *envelope.event.key() != *payment.card_number.as_bytes() => {
                "card_number: is not the key that this event is kept in order by; send JSON in which \
                 any reader finds it, under the name that the buffer's URL gives as key"
                    .to_owned()
            }
            Ok(payment) => match Number::read(&payment.card_number) {
                Some(number) => {
                    reads.push(Read {
                        index,
                        number,
                        payment,
                        accepted_at_ms,
                        term: envelope.term,
                        shard: envelope.shard,
                    });
                    continue;
                }
                None => crate::Error::CardNumber.to_string(),
            },
            Err(reject) => reject.to_string(),
        };
        outcomes[index] = Outcome::Rejected(reason);
    }
    reads
}

fn count(flagged: [u64; Rule::ALL.len()]) {
    for (rule, times) in Rule::ALL.into_iter().zip(flagged) {
        if times > 0 {
            metrics::counter!("flagged_payments_total", "rule" => rule.name()).increment(times);
        }
    }
}

fn failure(error: store::Error) -> Failure {
    match error {
        store::Error::Unavailable(said) => Failure::Unavailable(said),
        store::Error::Refused(said) => Failure::Refused(said),
        store::Error::Rejected(said) => Failure::Rejected(said),
        store::Error::Fatal(said) => Failure::Fatal(said),
    }
}
