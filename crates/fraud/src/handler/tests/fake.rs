//! A store in memory that does what the port promises, and fails when it is told to.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;

use async_trait::async_trait;
use store::card::Fingerprint;
use store::payments::Recent;
use store::{Error, History, Payments, Row, Settlement};
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
    /// One for each call to come; none left means none to come.
    script: Mutex<VecDeque<Fault>>,
    calls: Mutex<Vec<&'static str>>,
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
        let mut seen: HashSet<String> = rows.iter().map(|row| row.tx_id.clone()).collect();
        let duplicates: Vec<usize> = batch
            .iter()
            .enumerate()
            .filter(|(_, row)| !seen.insert(row.tx_id.clone()))
            .map(|(index, _)| index)
            .collect();
        if duplicates.is_empty() {
            rows.extend(batch);
            Settlement::Settled
        } else {
            Settlement::Duplicates(duplicates)
        }
    }
}

#[async_trait]
impl Payments for Fake {
    async fn settle(&self, rows: Vec<Row>) -> Result<Settlement, Error> {
        if self.script.lock().unwrap().front() == Some(&Fault::Nonsense) {
            return self.answer("settle", || Settlement::Duplicates(vec![])).await;
        }
        self.answer("settle", || self.commit(rows)).await
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
