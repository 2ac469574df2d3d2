//! The moves of this process's pipelines between buffers: what of them depends on the configuration.

use std::sync::Once;
use std::time::Duration;

use anyhow::{Result, bail};
use buffer::{Identity, Location};
use runtime::moving::{Place, Subject, Way, place};
use tokio::time::timeout;

use crate::config::{Config, Next};
use crate::{open, registry, url};

/// What a move of the payments is recorded under.
const PIPELINE: &str = "payments";
/// How long the store may take to name the recorded move. A process that only takes events starts without
/// its store.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Which buffer a URL names, as this program knows it.
pub(crate) fn identity(url: &str) -> Option<Identity> {
    Some(registry::buffer_of_payments(url).ok()?.identity())
}

/// The payments, as what moves.
pub(crate) fn payments() -> Subject {
    subject(PIPELINE, "forebay buffer migrate".to_owned())
}

/// The table of this name, as what moves.
pub(crate) fn table(name: &str) -> Subject {
    subject(&format!("table:{name}"), format!("forebay buffer migrate --table {name}"))
}

fn subject(pipeline: &str, command: String) -> Subject {
    Subject { pipeline: pipeline.to_owned(), command, parse: identity }
}

/// The way of the payments in a process with this configuration.
pub(crate) fn way(config: &Config, next: &Next) -> Way {
    Way::new(payments(), config.buffer.identity(), next.buffer.identity())
}

/// Refuses to offer to `buffer` without `next_buffer` after a move of its pipeline that left it: no process would
/// settle it. A store that is out of reach is logged, and no obstacle.
///
/// # Errors
/// If a move has left this buffer; what to do is in the error.
pub(crate) async fn refuse_left(config: &Config, buffer: &Identity) -> Result<()> {
    static WARNED: Once = Once::new();
    let placed = match timeout(LOOK_MAX, look(config, buffer)).await {
        Ok(placed) => placed,
        Err(_) => Err(anyhow::anyhow!("no answer within {} s", LOOK_MAX.as_secs())),
    };
    match placed {
        Ok(Some(why)) => bail!(why),
        Ok(None) => {}
        // A start is tried again and again.
        Err(error) => WARNED.call_once(|| {
            tracing::warn!("cannot check whether a move has left the buffer: {error:#}");
        }),
    }
    Ok(())
}

/// Why `buffer` can't be used alone, if it can't. It is judged by the moves of the pipeline that has it, or else
/// by those of all pipelines.
async fn look(config: &Config, buffer: &Identity) -> Result<Option<String>> {
    if let url::Store::Sqlite(options) = &config.store
        && !options.path.exists()
    {
        // The first process is about to make it.
        return Ok(None);
    }
    let own = pipelines(config);
    // With next_buffer, the process joins the move or is refused by that.
    if own.iter().any(|own| own.moves && own.has(buffer)) {
        return Ok(None);
    }
    let moves = open::moves(&config.store).await?;
    let subjects: Vec<Subject> = match own.into_iter().find(|own| own.has(buffer)) {
        Some(own) => vec![own.subject],
        None => moves.all().await?.iter().map(|recorded| named(&recorded.pipeline)).collect(),
    };
    for subject in subjects {
        if let Place::Left(why) = place(&*moves, &subject, buffer).await? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// A pipeline of the configuration.
struct Own {
    subject: Subject,
    buffers: Vec<Identity>,
    /// Whether it has a next buffer.
    moves: bool,
}

impl Own {
    fn has(&self, buffer: &Identity) -> bool {
        self.buffers.iter().any(|own| own.is_same(buffer))
    }
}

fn pipelines(config: &Config) -> Vec<Own> {
    let own = |subject, buffer: &dyn Location, next: Option<&Next>| {
        let next = next.map(|next| next.buffer.identity());
        let moves = next.is_some();
        Own { subject, buffers: [buffer.identity()].into_iter().chain(next).collect(), moves }
    };
    let tables = config.tables.iter().map(|entry| own(table(entry.name()), &*entry.buffer, None));
    [own(payments(), &*config.buffer, config.next.as_ref())].into_iter().chain(tables).collect()
}

/// What moves under this name.
fn named(pipeline: &str) -> Subject {
    pipeline.strip_prefix("table:").map_or_else(payments, table)
}
