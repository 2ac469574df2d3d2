//! How well screening found the frauds that were put in.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

use crate::generator::Kind;

/// The most labels kept; 17 bytes each, and what a hash table takes on top.
pub const LABELS_MAX: usize = 1_000_000;

/// Which payments are frauds, and of which kind. Plain ones are not kept.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    kinds: HashMap<[u8; 16], Kind>,
}

impl Labels {
    /// Takes note of a payment's label. Labels past [`LABELS_MAX`] are dropped: the score is then
    /// that of the first million frauds.
    pub fn add(&mut self, tx_id: &[u8], label: Option<Kind>) {
        if let (Some(kind), true) = (label, self.kinds.len() < LABELS_MAX) {
            self.kinds.insert(id(tx_id), kind);
        }
    }

    /// How many frauds there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

/// How well one kind of fraud was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Score {
    /// Frauds of this kind.
    pub labelled: u64,
    /// Of these, the ones its rule flagged.
    pub found: u64,
    /// What its rule flagged in all.
    pub flagged: u64,
    /// Of these, the share that is fraud of any kind: a payment of one kind often breaks another
    /// rule as well, and rightly so. 1 when nothing was flagged.
    pub precision: f64,
    /// The share of this kind's frauds that its rule flagged. 1 when there are none.
    pub recall: f64,
}

/// The score of each kind, by its name.
pub type Scores = BTreeMap<&'static str, Score>;

/// Holds what screening said of the settled payments against their labels.
#[derive(Debug)]
pub struct Scorer<'a> {
    labels: &'a Labels,
    scores: BTreeMap<Kind, Counts>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    labelled: u64,
    found: u64,
    flagged: u64,
    fraud: u64,
}

impl<'a> Scorer<'a> {
    /// Scores against `labels`.
    #[must_use]
    pub fn new(labels: &'a Labels) -> Self {
        let scores = Kind::ALL.into_iter().map(|kind| (kind, Counts::default())).collect();
        Self { labels, scores }
    }

    /// A settled payment and the names of the rules that flagged it. Hand in every one, also those
    /// no rule flagged: a fraud counts only once it is settled. Names of other rules are passed over.
    pub fn settled<'r>(&mut self, tx_id: &[u8], rules: impl IntoIterator<Item = &'r str>) {
        let label = self.labels.kinds.get(&id(tx_id)).copied();
        if let Some(counts) = label.and_then(|kind| self.scores.get_mut(&kind)) {
            counts.labelled += 1;
        }
        for rule in rules {
            let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == rule) else {
                continue;
            };
            let counts = self.scores.entry(kind).or_default();
            counts.flagged += 1;
            counts.fraud += u64::from(label.is_some());
            counts.found += u64::from(label == Some(kind));
        }
    }

    /// The score of each kind.
    #[must_use]
    pub fn finish(self) -> Scores {
        let score = |counts: Counts| Score {
            labelled: counts.labelled,
            found: counts.found,
            flagged: counts.flagged,
            precision: share(counts.fraud, counts.flagged),
            recall: share(counts.found, counts.labelled),
        };
        self.scores.into_iter().map(|(kind, counts)| (kind.name(), score(counts))).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { part as f64 / of as f64 }
}

fn id(tx_id: &[u8]) -> [u8; 16] {
    *Sha256::digest(tx_id).first_chunk().expect("a SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_and_recall_are_told_apart_for_each_kind() {
        let mut labels = Labels::default();
        labels.add(b"spike", Some(Kind::AmountSpike));
        labels.add(b"missed", Some(Kind::AmountSpike));
        labels.add(b"dawn", Some(Kind::DawnHighAmount));
        labels.add(b"never settled", Some(Kind::DawnHighAmount));
        labels.add(b"plain", None);
        assert_eq!(labels.len(), 4);
        let mut scorer = Scorer::new(&labels);
        scorer.settled(b"spike", ["amount_spike"]);
        scorer.settled(b"missed", []);
        scorer.settled(b"dawn", ["amount_spike", "dawn_high_amount", "a rule of somebody's own"]);
        scorer.settled(b"plain", ["amount_spike"]);
        let scores = scorer.finish();
        let spike = scores["amount_spike"];
        assert_eq!((spike.labelled, spike.found, spike.flagged), (2, 1, 3));
        assert!((spike.recall - 0.5).abs() < 1e-9 && (spike.precision - 2.0 / 3.0).abs() < 1e-9);
        let dawn = scores["dawn_high_amount"];
        assert_eq!((dawn.labelled, dawn.found, dawn.flagged), (1, 1, 1));
        assert_eq!(scores["velocity"], Score { precision: 1.0, recall: 1.0, ..Score::default() });
        assert_eq!(scores.len(), 4);
    }
}
