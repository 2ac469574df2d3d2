//! Settles a batch of rows in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use buffer::Envelope;
use engine::{Failure, Outcome};
use metrics::{Counter, counter};
use store::tables::{Record, Written};
use store::{Error, Table};

use crate::collapse::{Group, groups};
use crate::shared::key_of;
use crate::{Definition, Front, json};

/// Makes lanes that write rows behind.
pub struct Handler {
    pipeline: Arc<str>,
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
        pipeline: impl Into<Arc<str>>,
        definition: Definition,
        store: Arc<dyn Table>,
        front: Option<Front>,
    ) -> Self {
        let collapsed = counter!("table_collapsed_total", "table" => definition.name.clone());
        collapsed.increment(0);
        Self {
            pipeline: pipeline.into(),
            shared: Arc::new(Shared { definition, store, front, collapsed }),
        }
    }
}

impl engine::Handler for Handler {
    fn pipeline(&self) -> &str {
        &self.pipeline
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
                outcomes[events[row]] = outcome;
            });
        }
        Ok(outcomes)
    }

    fn buried(&mut self, event: &Envelope) {
        let definition = &self.0.definition;
        if let Ok(row) = definition.read_event(&event.event, event.accepted_at_ms) {
            self.passed(&row);
        }
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
    ) {
        let target = &self.0.definition.target;
        let winner = &rows[group.winner];
        match written {
            Written::Written => self.kept(winner),
            _ => self.passed(winner),
        }
        let is_written = written == Written::Written;
        match written {
            Written::Written => {}
            Written::Older | Written::Same => outcome(group.winner, Outcome::Duplicate),
            Written::Another(how) => outcome(group.winner, Outcome::Rejected(another(&how))),
        }
        for &row in &group.others {
            let same_version = target.version(&rows[row]) == target.version(winner);
            // A later write of the same key has taken its place.
            let taken = is_written && !same_version;
            outcome(row, if taken { Outcome::Settled } else { Outcome::Duplicate });
        }
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

/// Why an insert becomes a dead letter where there is another row of its key.
fn another(how: &str) -> String {
    format!(
        "the table holds another row of this key ({how}), and mode = \"insert\" leaves it as it is"
    )
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Unavailable(cause) => Failure::Unavailable(cause),
        Error::Refused(reason) => Failure::Refused(reason),
        Error::Rejected(reason) => Failure::Rejected(reason),
        Error::Fatal(cause) => Failure::Fatal(cause),
    }
}

#[cfg(test)]
mod tests;
