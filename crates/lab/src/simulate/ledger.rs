//! What the service did, by member.
//!
//! A line of the file is one effect, one JSON object: `{"at_ms":…,"member":"…","key":"…"}`. A torn last line is no
//! effect: its call was not answered.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Members and keys that an audit names at most.
const NAMED_MAX: usize = 20;

/// One effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Effect {
    pub(super) at_ms: i64,
    pub(super) member: String,
    pub(super) key: String,
}

/// See the module. It holds every member and key in memory.
#[derive(Debug, Default)]
pub struct Ledger {
    file: Option<File>,
    /// Effects of each member.
    members: HashMap<String, u64>,
    /// Calls under way of each order.
    orders: HashMap<String, u32>,
    keys: HashMap<String, Key>,
    effects: u64,
    calls: u64,
    under_way: u64,
    overlaps: u64,
}

#[derive(Debug, Default)]
struct Key {
    calls: u64,
    /// When its last effect was, or its stored failure.
    effect_ms: Option<i64>,
    failed_ms: Option<i64>,
}

/// What the ledger says of all calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Effects, all of them.
    pub effects: u64,
    /// Members with an effect.
    pub members: u64,
    /// Members with more than one.
    pub members_twice: u64,
    /// Calls since the service began; a start forgets them.
    pub calls: u64,
    /// Those of them that have not ended.
    pub under_way: u64,
    /// Keys that were used since the service began, and before where they had an effect.
    pub keys: u64,
    /// Most calls of one key since the service began.
    pub calls_of_a_key_max: u64,
    /// Calls that began while another of the same order was under way.
    pub overlaps: u64,
    /// Some members with more than one effect, at most 20.
    pub twice: Vec<String>,
}

impl Ledger {
    /// Reads what is in the file, which is made if there is none. Without a file it lives in memory.
    ///
    /// # Errors
    /// If the file cannot be read or written, or has a line that is no effect.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut ledger = Self::default();
        let Some(path) = path else { return Ok(ledger) };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut whole = 0;
        let mut lines = BufReader::new(&file);
        let mut line = String::new();
        loop {
            line.clear();
            let read = lines.read_line(&mut line)?;
            if !line.ends_with('\n') {
                break;
            }
            let effect = serde_json::from_str(&line).map_err(|error| {
                let path = path.display();
                io::Error::other(format!("{path} is no ledger: byte {whole}: {error}"))
            })?;
            ledger.add(effect);
            whole += read as u64;
        }
        file.set_len(whole)?;
        file.seek(io::SeekFrom::End(0))?;
        ledger.file = Some(file);
        Ok(ledger)
    }

    /// A call begins. Those of one `order` should come one after the other.
    pub(super) fn begin(&mut self, order: &str, key: &str) {
        self.calls += 1;
        self.under_way += 1;
        let one = self.orders.entry(order.to_owned()).or_default();
        self.overlaps += u64::from(*one > 0);
        *one += 1;
        self.keys.entry(key.to_owned()).or_default().calls += 1;
    }

    /// It has ended, answered or not.
    pub(super) fn end(&mut self, order: &str) {
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(one) = self.orders.get_mut(order) {
            *one = one.saturating_sub(1);
        }
    }

    /// When this key had its effect, if that is no longer ago than `window_ms`.
    pub(super) fn effect(&self, key: &str, now_ms: i64, window_ms: u64) -> Option<i64> {
        self.keys
            .get(key)
            .and_then(|key| key.effect_ms)
            .filter(|at_ms| is_within(*at_ms, now_ms, window_ms))
    }

    /// Whether a failure was stored for this key, no longer ago than `window_ms`.
    pub(super) fn has_failed(&self, key: &str, now_ms: i64, window_ms: u64) -> bool {
        let failed_ms = self.keys.get(key).and_then(|key| key.failed_ms);
        failed_ms.is_some_and(|at_ms| is_within(at_ms, now_ms, window_ms))
    }

    pub(super) fn store_failure(&mut self, key: &str, now_ms: i64) {
        self.keys.entry(key.to_owned()).or_default().failed_ms = Some(now_ms);
    }

    /// Writes one effect down.
    ///
    /// # Errors
    /// If the file cannot be written; then there was no effect.
    pub(super) fn record(&mut self, effect: Effect) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&effect)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        self.add(effect);
        Ok(())
    }

    fn add(&mut self, effect: Effect) {
        self.effects += 1;
        *self.members.entry(effect.member).or_default() += 1;
        self.keys.entry(effect.key).or_default().effect_ms = Some(effect.at_ms);
    }

    /// What was done so far.
    #[must_use]
    pub fn audit(&self) -> Audit {
        let count =
            |least| self.members.values().filter(|effects| **effects >= least).count() as u64;
        let twice = self.members.iter().filter(|(_, effects)| **effects > 1);
        let mut twice: Vec<_> = twice.map(|(name, _)| name.clone()).collect();
        twice.sort();
        twice.truncate(NAMED_MAX);
        Audit {
            effects: self.effects,
            members: count(1),
            members_twice: count(2),
            calls: self.calls,
            under_way: self.under_way,
            keys: self.keys.len() as u64,
            calls_of_a_key_max: self.keys.values().map(|key| key.calls).max().unwrap_or(0),
            overlaps: self.overlaps,
            twice,
        }
    }
}

fn is_within(at_ms: i64, now_ms: i64, window_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < i64::try_from(window_ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(member: &str, key: &str, at_ms: i64) -> Effect {
        Effect { at_ms, member: member.to_owned(), key: key.to_owned() }
    }

    #[test]
    fn effects_are_counted_by_member_and_calls_by_key() {
        let mut ledger = Ledger::default();
        ledger.begin("a", "1");
        ledger.begin("a", "2");
        ledger.record(effect("a", "1", 0)).unwrap();
        ledger.record(effect("a", "2", 0)).unwrap();
        ledger.end("a");
        ledger.end("a");
        ledger.begin("a", "2");
        ledger.begin("b", "3");
        let audit = ledger.audit();
        assert_eq!((audit.effects, audit.members, audit.members_twice), (2, 1, 1));
        assert_eq!(
            (audit.calls, audit.keys, audit.calls_of_a_key_max, audit.overlaps),
            (4, 3, 2, 1)
        );
        assert_eq!(audit.under_way, 2);
        assert_eq!(audit.twice, ["a"]);
    }

    #[test]
    fn a_key_is_known_within_its_window() {
        let mut ledger = Ledger::default();
        ledger.record(effect("a", "1", 1000)).unwrap();
        ledger.store_failure("2", 1000);
        assert_eq!(ledger.effect("1", 1999, 1000), Some(1000));
        assert_eq!(ledger.effect("1", 2000, 1000), None);
        assert!(ledger.has_failed("2", 1999, 1000) && !ledger.has_failed("2", 2000, 1000));
    }

    #[test]
    fn a_ledger_outlives_its_process_and_a_torn_line_is_no_effect() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let mut ledger = Ledger::open(Some(&path)).unwrap();
        ledger.record(effect("a", "1", 0)).unwrap();
        drop(ledger);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"at_ms\":0,\"mem")
            .unwrap();
        let mut ledger = Ledger::open(Some(&path)).unwrap();
        assert_eq!(ledger.audit().effects, 1);
        ledger.record(effect("a", "1", 0)).unwrap();
        drop(ledger);
        assert_eq!(Ledger::open(Some(&path)).unwrap().audit().twice, ["a"]);
        std::fs::write(&path, "no ledger\n").unwrap();
        let error = Ledger::open(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("is no ledger: byte 0"), "{error}");
    }
}
