//! Settles a batch of rows in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use buffer::Envelope;
use engine::{Failure, Outcome};
use metrics::{Counter, counter};
use store::tables::{Mode, Record, Value, Written};
use store::{Error, Table};

use crate::collapse::{Group, groups};
use crate::front::key_of;
use crate::{Definition, Front, json};

/// Makes lanes that write rows behind.
pub struct Handler {
    pipeline: &'static str,
    shared: Arc<Shared>,
}

struct Shared {
    definition: Definition,
    store: Arc<dyn Table>,
    /// Where reads of this process learn what was settled, if it answers any.
    front: Option<Front>,
    collapsed: Counter,
}

impl Handler {
    /// A handler of the table that `definition` describes, which is `store`. `pipeline` is its name
    /// in metrics. Reads through `front` see at once what is settled.
    #[must_use]
    pub fn new(
        pipeline: &'static str,
        definition: Definition,
        store: Arc<dyn Table>,
        front: Option<Front>,
    ) -> Self {
        let collapsed = counter!("table_collapsed_total", "table" => definition.name.clone());
        collapsed.increment(0);
        Self { pipeline, shared: Arc::new(Shared { definition, store, front, collapsed }) }
    }
}

impl engine::Handler for Handler {
    fn pipeline(&self) -> &'static str {
        self.pipeline
    }

    fn lane(&self) -> Box<dyn engine::Lane> {
        Box::new(Lane(Arc::clone(&self.shared)))
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}

struct Lane(Arc<Shared>);

#[async_trait]
impl engine::Lane for Lane {
    async fn settle(&mut self, batch: &[Envelope]) -> Result<Vec<Outcome>, Failure> {
        let Shared { definition, store, collapsed, .. } = &*self.0;
        let mut outcomes = vec![Outcome::Settled; batch.len()];
        // Which event of the batch each row is of.
        let (mut rows, mut events) = (Vec::new(), Vec::new());
        for (at, envelope) in batch.iter().enumerate() {
            match definition.read_event(&envelope.event, envelope.accepted_at_ms) {
                Ok(row) => {
                    rows.push(row);
                    events.push(at);
                }
                Err(reject) => outcomes[at] = Outcome::Rejected(reject.to_string()),
            }
        }
        let groups = groups(&definition.target, &rows);
        let winners: Vec<Record> = groups.iter().map(|group| rows[group.winner].clone()).collect();
        let written = match store.write(winners).await {
            Ok(written) if written.len() == groups.len() => written,
            Ok(written) => {
                let (got, asked) = (written.len(), groups.len());
                return Err(Failure::Fatal(format!(
                    "the store gave {got} answers for {asked} rows"
                )));
            }
            Err(Error::Rejected(reason)) if batch.len() == 1 => {
                self.passed(&rows[0]);
                return Ok(vec![Outcome::Rejected(reason)]);
            }
            Err(error) => return Err(failure(error)),
        };
        for (group, written) in groups.iter().zip(written) {
            collapsed.increment(group.others.len() as u64);
            self.settled(group, &rows, written, &mut |row, outcome| {
                outcomes[events[row]] = outcome
            })?;
        }
        Ok(outcomes)
    }
}

impl Lane {
    /// What became of one key's writes.
    fn settled(
        &self,
        group: &Group,
        rows: &[Record],
        written: Written,
        outcome: &mut impl FnMut(usize, Outcome),
    ) -> Result<(), Failure> {
        let target = &self.0.definition.target;
        let winner = &rows[group.winner];
        let there = match written {
            Written::Written => {
                self.kept(winner);
                winner.clone()
            }
            Written::Older => {
                self.passed(winner);
                for &row in [&group.winner].into_iter().chain(&group.others) {
                    outcome(row, Outcome::Duplicate);
                }
                return Ok(());
            }
            Written::There(Some(there)) => {
                self.passed(winner);
                outcome(group.winner, against(&there, winner));
                there
            }
            // Gone again: the next attempt writes it.
            Written::There(None) => {
                let said = "a row was there and is not; trying again";
                return Err(Failure::Unavailable(said.into()));
            }
        };
        for &row in &group.others {
            let same_version = target.version(&rows[row]) == target.version(winner);
            outcome(
                row,
                match target.mode {
                    Mode::Insert => against(&there, &rows[row]),
                    // A later write of the same key has taken its place.
                    Mode::Upsert { .. } if !same_version => Outcome::Settled,
                    Mode::Upsert { .. } => Outcome::Duplicate,
                },
            );
        }
        Ok(())
    }

    fn kept(&self, row: &Record) {
        if let Some(front) = &self.0.front {
            let (shared, definition) = (front.shared(), &self.0.definition);
            let (key, version) = (key_of(definition, row), definition.target.version(row));
            let shown = json::write(&definition.target, row).into();
            shared.saw(version);
            shared.known.settled(&key, version, shown, shared.clock.now_ms());
        }
    }

    fn passed(&self, row: &Record) {
        if let Some(front) = &self.0.front {
            let definition = &self.0.definition;
            let (key, version) = (key_of(definition, row), definition.target.version(row));
            front.shared().known.passed(&key, version);
        }
    }
}

/// What an insert is where there is a row of its key: one that comes again, or another one.
fn against(there: &Record, row: &Record) -> Outcome {
    if there.iter().zip(row).all(|(there, ours)| is_same(there, ours)) {
        return Outcome::Duplicate;
    }
    let reason =
        "the table holds another row of this key, and mode = \"insert\" leaves it as it is";
    Outcome::Rejected(reason.to_owned())
}

/// Whether the store's value is what ours becomes when it is stored.
fn is_same(there: &Value, ours: &Value) -> bool {
    match (there, ours) {
        // A column may fill up a number with zeros.
        (Value::Numeric(there), Value::Numeric(ours)) => plain(there) == plain(ours),
        // A column may order and space it in its own way.
        (Value::Json(there), Value::Json(ours)) => {
            let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).ok();
            there == ours || value(there) == value(ours)
        }
        (there, ours) => there == ours,
    }
}

/// A number without zeros that say nothing.
fn plain(number: &str) -> (bool, String) {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number),
    };
    let digits = digits.trim_start_matches('0');
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    (negative && !digits.is_empty(), digits.to_owned())
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Unavailable(cause) => Failure::Unavailable(cause),
        Error::Rejected(reason) => Failure::Rejected(reason),
        Error::Fatal(cause) => Failure::Fatal(cause),
    }
}

#[cfg(test)]
mod tests;
