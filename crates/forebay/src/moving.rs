//! The moves of this process's pipelines between buffers: what of them depends on the configuration.

use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use buffer::{Identity, Location};
use runtime::moving::{Place, Subject, Way, left_behind, place};
use store::Moves;
use tokio::time::timeout;

use crate::config::{Config, Next, Table};
use crate::{open, registry};

/// What a move of the payments is recorded under.
const PAYMENTS: &str = "payments";
/// What the names of tables' pipelines begin with.
const TABLE: &str = "table:";
/// How long the store may take to name the recorded moves. A process that only takes events starts without
/// its store.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// The buffers of a pipeline, as the configuration has them.
pub(crate) struct Line<'a> {
    pub(crate) subject: Subject,
    pub(crate) buffer: &'a dyn Location,
    pub(crate) next: Option<&'a Next>,
    pub(crate) spill: Option<&'a dyn Location>,
}

impl<'a> Line<'a> {
    /// Those of the payments.
    pub(crate) fn of_payments(config: &'a Config) -> Self {
        let (buffer, next) = (&*config.buffer, config.next.as_ref());
        Self { subject: named(PAYMENTS), buffer, next, spill: config.spill.as_deref() }
    }

    /// Those of a table.
    pub(crate) fn of_table(entry: &'a Table) -> Self {
        let subject = named(&format!("{TABLE}{}", entry.name()));
        let (buffer, next) = (&*entry.buffer, entry.next.as_ref());
        Self { subject, buffer, next, spill: entry.spill.as_deref() }
    }

    /// Those of every pipeline.
    pub(crate) fn all(config: &'a Config) -> Vec<Self> {
        let tables = config.tables.iter().map(Self::of_table);
        [Self::of_payments(config)].into_iter().chain(tables).collect()
    }

    /// The way of a process with this configuration, if it has a next buffer.
    pub(crate) fn way(&self) -> Option<Way> {
        let next = self.next?;
        Some(Way::new(self.subject.clone(), self.buffer.identity(), next.buffer.identity()))
    }

    fn has(&self, buffer: &Identity) -> bool {
        let is_next = |next: &&Next| next.buffer.identity().is_same(buffer);
        self.buffer.identity().is_same(buffer) || self.next.iter().any(is_next)
    }
}

/// What is recorded as moving under this name.
fn named(pipeline: &str) -> Subject {
    let command = match pipeline.strip_prefix(TABLE) {
        Some(table) => format!("forebay buffer migrate --table {table}"),
        None => "forebay buffer migrate".to_owned(),
    };
    let parse = |url: &str| Some(registry::buffer_of_payments(url).ok()?.identity());
    Subject { pipeline: pipeline.to_owned(), command, parse }
}

/// Refuses to offer to `buffer` without `next_buffer` after a move of its pipeline that left it: no process would
/// settle it. It is judged by the moves of the pipeline that has it, or else by those of all pipelines. A store
/// that is out of reach is logged, and no obstacle.
///
/// # Errors
/// If a move has left this buffer; what to do is in the error.
pub(crate) async fn refuse_left(config: &Config, buffer: &Identity) -> Result<()> {
    let lines = Line::all(config);
    let own = lines.into_iter().find(|line| line.has(buffer));
    // With next_buffer, the process joins the move or is refused by that.
    if own.as_ref().is_some_and(|own| own.next.is_some()) {
        return Ok(());
    }
    let look = async |moves: &dyn Moves| {
        let recorded = moves.all().await?;
        let pipelines = recorded.iter().map(|recorded| &*recorded.pipeline);
        let judging = pipelines
            .filter(|&pipeline| own.as_ref().is_none_or(|own| own.subject.pipeline == pipeline));
        for pipeline in judging {
            if let Place::Left(why) = place(moves, &named(pipeline), buffer).await? {
                return Ok(Some(why));
            }
        }
        Ok(None)
    };
    refused(looked(config, look).await)
}

/// The same of the buffers of all tables at once, each by the moves of its own pipeline.
///
/// # Errors
/// If a move has left one of them.
pub(crate) async fn refuse_left_by_tables(config: &Config) -> Result<()> {
    let lines: Vec<_> = config.tables.iter().map(Line::of_table).collect();
    let look = async |moves: &dyn Moves| {
        let recorded = moves.all().await?;
        let moved = |line: &&Line<'_>| {
            recorded.iter().any(|recorded| recorded.pipeline == line.subject.pipeline)
        };
        for line in lines.iter().filter(|line| line.next.is_none()).filter(moved) {
            let buffer = line.buffer.identity();
            if let Place::Left(why) = place(moves, &line.subject, &buffer).await? {
                return Ok(Some(format!("{}: {why}", line.subject.pipeline)));
            }
        }
        Ok(None)
    };
    refused(looked(config, look).await)
}

/// What is to be said of moves that this process settles without.
///
/// # Errors
/// If the store can't be read.
pub(crate) async fn unmoved(config: &Config) -> Result<Vec<String>> {
    let moves = open::moves(&*config.store)?;
    let recorded = moves.all().await?;
    let mut said = Vec::new();
    for line in Line::all(config).iter().filter(|line| line.next.is_none()) {
        let Subject { pipeline, .. } = &line.subject;
        if recorded.iter().any(|recorded| recorded.pipeline == *pipeline) {
            said.extend(left_behind(&*moves, &line.subject, &line.buffer.identity()).await?);
        }
    }
    Ok(said)
}

/// Holds the buffers of a pipeline that has a next one against the move that the store has recorded. A store
/// that can't be read is looked at by itself.
///
/// # Errors
/// If another move is unfinished, or ended elsewhere.
pub(crate) async fn check_way(config: &Config, way: &Way) -> Result<()> {
    let Ok(moves) = open::moves(&*config.store) else { return Ok(()) };
    let Ok(recorded) = moves.recorded(way.pipeline()).await else { return Ok(()) };
    Ok(way.of(recorded).await.map(drop)?)
}

/// Asks the store, for at most [`LOOK_MAX`].
async fn looked(
    config: &Config,
    look: impl AsyncFnOnce(&dyn Moves) -> Result<Option<String>>,
) -> Result<Option<String>> {
    if config.store.is_missing() {
        // The first process is about to make it.
        return Ok(None);
    }
    let look = async { look(&*open::moves(&*config.store)?).await };
    let late = || anyhow!("no answer within {} s", LOOK_MAX.as_secs());
    timeout(LOOK_MAX, look).await.ok().context(late()).and_then(|looked| looked)
}

fn refused(looked: Result<Option<String>>) -> Result<()> {
    static WARNED: Once = Once::new();
    match looked {
        Ok(Some(why)) => bail!(why),
        Ok(None) => {}
        // A start is tried again and again.
        Err(error) => WARNED.call_once(|| {
            tracing::warn!("cannot check whether a move has left the buffer: {error:#}");
        }),
    }
    Ok(())
}
