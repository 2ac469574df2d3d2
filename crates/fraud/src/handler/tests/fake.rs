//! A store in memory that does what the port promises, and fails when it is told to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use store::card::Fingerprint;
use store::payments::{Duplicate, Recent};
use store::{Error, Fence, History, Payments, Row, Rulesets, Settlement};
use tokio::sync::Notify;

/// What one call to the store comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does what it should.
    None,
    /// It fails, and nothing was done.
    Before(Error),
    /// It fails, but the commit has gone through.
    After(Error),
    /// It never answers, and nothing was done.
    SilentBefore,
    /// It never answers, but the commit has gone through.
    SilentAfter,
    /// It claims duplicates that it does not name.
    Nonsense,
}

#[derive(Default)]
pub(super) struct Fake {
    rows: Mutex<Vec<Row>>,
    rulesets: Mutex<Vec<String>>,
    /// One for each call to come; none left means none to come.
    script: Mutex<VecDeque<Fault>>,
    calls: Mutex<Vec<&'static str>>,
    /// For each shard, whose the latest fence is, and its token.
    fences: Mutex<HashMap<u32, (u32, i64)>>,
    /// Told when a call will never be answered, so that the caller can be dropped.
    pub(super) silent: Notify,
}

impl Fake {
    pub(super) fn scripted(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { script: Mutex::new(faults.into_iter().collect()), ..Self::default() }
    }

    pub(super) fn expect(&self, fault: Fault) {
        self.script.lock().unwrap().push_back(fault);
    }

    /// Takes the rest of the script away for a while.
    pub(super) fn spare(&self) -> VecDeque<Fault> {
        std::mem::take(&mut *self.script.lock().unwrap())
    }

    pub(super) fn resume(&self, script: VecDeque<Fault>) {
        *self.script.lock().unwrap() = script;
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().clone()
    }

    pub(super) fn clear(&self) {
        self.rows.lock().unwrap().clear();
    }

    /// The names of the calls since this was last asked.
    pub(super) fn calls(&self) -> String {
        std::mem::take(&mut *self.calls.lock().unwrap()).join(" ")
    }

    async fn answer<T>(&self, name: &'static str, act: impl FnOnce() -> T) -> Result<T, Error> {
        self.calls.lock().unwrap().push(name);
        let fault = self.script.lock().unwrap().pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::None | Fault::Nonsense => Ok(act()),
            Fault::Before(error) => Err(error),
            Fault::After(error) => {
                act();
                Err(error)
            }
            Fault::SilentBefore => self.never().await,
            Fault::SilentAfter => {
                act();
                self.never().await
            }
        }
    }

    async fn never<T>(&self) -> T {
        self.silent.notify_one();
        std::future::pending().await
    }

    fn commit(&self, batch: Vec<Row>) -> Settlement {
        let mut rows = self.rows.lock().unwrap();
        let mut duplicates = Vec::new();
        for (index, row) in batch.iter().enumerate() {
            let mut before = rows.iter().chain(&batch[..index]);
            if let Some(first) = before.find(|first| first.tx_id == row.tx_id) {
                duplicates.push(Duplicate::compared(index, first.compared(row)));
            }
        }
        if duplicates.is_empty() {
            rows.extend(batch);
            Settlement::Settled
        } else {
            Settlement::Duplicates(duplicates)
        }
    }
}

impl Fake {
    fn passed(&self, fences: &[Fence]) -> Option<Settlement> {
        let latest = self.fences.lock().unwrap();
        let token = |fence: &&Fence| latest.get(&fence.shard).map(|(_, token)| *token);
        let passed = fences.iter().filter(|fence| token(fence) != Some(fence.token));
        let shards: Vec<u32> = passed.map(|fence| fence.shard).collect();
        (!shards.is_empty()).then_some(Settlement::Fenced(shards))
    }

    /// What [`Payments::fence`] does for this process.
    fn take(&self, process: u32, shards: &[u32]) -> Vec<Fence> {
        let mut latest = self.fences.lock().unwrap();
        let mut take = |shard: u32| {
            let (owner, token) = latest.entry(shard).or_insert((process, 1));
            *token += i64::from(*owner != process);
            *owner = process;
            Fence { shard, token: *token }
        };
        shards.iter().map(|&shard| take(shard)).collect()
    }
}

/// The same store as another process has it.
pub(super) struct Other {
    pub(super) store: Arc<Fake>,
    /// 0 is the process that has the [`Fake`] itself.
    pub(super) process: u32,
}

#[async_trait]
impl Payments for Other {
    async fn settle_fenced(&self, rows: Vec<Row>, fences: &[Fence]) -> Result<Settlement, Error> {
        self.store.settle_fenced(rows, fences).await
    }

    async fn fence(&self, shards: &[u32]) -> Result<Vec<Fence>, Error> {
        self.store.answer("fence", || self.store.take(self.process, shards)).await
    }

    async fn histories(
        &self,
        cards: &[Fingerprint],
        recent_max: usize,
    ) -> Result<Vec<History>, Error> {
        self.store.histories(cards, recent_max).await
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        self.store.is_empty().await
    }
}

#[async_trait]
impl Payments for Fake {
    async fn settle_fenced(&self, rows: Vec<Row>, fences: &[Fence]) -> Result<Settlement, Error> {
        if self.script.lock().unwrap().front() == Some(&Fault::Nonsense) {
            return self.answer("settle", || Settlement::Duplicates(vec![])).await;
        }
        let settled = || self.passed(fences).unwrap_or_else(|| self.commit(rows));
        self.answer("settle", settled).await
    }

    async fn fence(&self, shards: &[u32]) -> Result<Vec<Fence>, Error> {
        self.answer("fence", || self.take(0, shards)).await
    }

    async fn histories(
        &self,
        cards: &[Fingerprint],
        recent_max: usize,
    ) -> Result<Vec<History>, Error> {
        self.answer("histories", || {
            let rows = self.rows.lock().unwrap();
            cards.iter().map(|card| history(&rows, *card, recent_max)).collect()
        })
        .await
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        self.answer("is_empty", || self.rows.lock().unwrap().is_empty()).await
    }
}

#[async_trait]
impl Rulesets for Fake {
    async fn ruleset_version(&self, rules: &str) -> Result<i64, Error> {
        let mut known = self.rulesets.lock().unwrap();
        let at = known.iter().position(|one| one == rules).unwrap_or_else(|| {
            known.push(rules.to_owned());
            known.len() - 1
        });
        Ok(i64::try_from(at).unwrap() + 1)
    }
}

fn history(rows: &[Row], card: Fingerprint, recent_max: usize) -> History {
    let mut own: Vec<&Row> = rows.iter().filter(|row| row.card_fingerprint == card).collect();
    let sum = own.iter().map(|row| i128::from(row.amount)).sum();
    let count = own.len() as u64;
    own.sort_by_key(|row| row.created_at_ms);
    let recent = own
        .split_off(own.len().saturating_sub(recent_max))
        .into_iter()
        .map(|row| Recent { tx_id: row.tx_id.clone(), created_at_ms: row.created_at_ms })
        .collect();
    History { count, sum, recent }
}
