//! The buffers that a configuration names, opened.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use buffer::backend::{self, Disk, Opening};
use buffer::spill::Spill;
use buffer::{Buffer, Location};
use runtime::Pipeline;
use runtime::moving::{self, Follower, Way, follow};

use crate::config::Config;
use crate::moving::{Line, refuse_left};
use crate::{identity, open};

/// An open buffer, and what opening it found.
pub(crate) struct Opened {
    pub(crate) buffer: Arc<dyn Buffer>,
    /// One sentence each.
    pub(crate) found: Vec<String>,
    /// Where the pipeline is on its way to another buffer. To be stopped after the buffer is closed.
    pub(crate) follower: Option<Follower>,
}

impl From<backend::Opened> for Opened {
    fn from(opened: backend::Opened) -> Self {
        Self { buffer: opened.buffer, found: opened.found, follower: None }
    }
}

/// Opens the buffer, as `config` needs it.
///
/// # Errors
/// If it can't be opened, or another process has it.
pub(crate) async fn open(buffer: &dyn Location, config: &Config) -> Result<Opened> {
    let opened = buffer.open(&opening(config, false)).await;
    Ok(opened.context("the buffer can't be opened")?.into())
}

/// Opens the buffer of the payments as [`line`] does.
///
/// # Errors
/// If one can't be opened, or a move has left it. With a spill, a buffer that is out of reach is no error.
pub(crate) async fn of_payments(config: &Config) -> Result<Opened> {
    if config.next.is_none() {
        refuse_left(config, &config.buffer.identity()).await?;
    }
    line(&Line::of_payments(config), None, config).await
}

/// Opens the buffer of a pipeline: behind its spill if it has one, and beside the next one if it moves. Whether a
/// move has left it was looked at before. Metrics of the spill bear `name`, or the kind of the buffer.
///
/// # Errors
/// If one can't be opened. With a spill, a buffer that is out of reach is no error.
pub(crate) async fn line(line: &Line<'_>, name: Option<&str>, config: &Config) -> Result<Opened> {
    if let Some(both) = Both::open(line, config).await? {
        return both.join(config).await;
    }
    let Some(spill) = line.spill else {
        return open(line.buffer, config).await;
    };
    let primary = line.buffer.open(&opening(config, true)).await;
    let primary = primary.context("the buffer can't be opened")?.buffer;
    let local = spill.open(&opening(config, false)).await.context("the spill can't be opened")?;
    let name = name.unwrap_or(primary.kind().name);
    let spill = Arc::new(Spill::named(name, primary.clone(), local.buffer, open::clock()));
    Ok(Opened { buffer: spill, found: local.found, follower: None })
}

/// The pipeline, with what goes along with its move beside it, if it moves.
pub(crate) fn following(pipeline: Pipeline, follower: Option<Follower>) -> Pipeline {
    match follower {
        Some(follower) => pipeline.with(follower),
        None => pipeline,
    }
}

/// What buffers are opened with.
fn opening(config: &Config, is_lazy: bool) -> Opening {
    let store = config.store.file().map(Path::to_owned);
    let lines = Line::all(config);
    let of = |line: &Line<'_>| {
        let next = line.next.and_then(|next| next.buffer.folder());
        let spill = line.spill.and_then(|spill| spill.folder());
        [line.buffer.folder(), next, spill]
            .into_iter()
            .flatten()
            .map(Path::to_owned)
            .collect::<Vec<_>>()
    };
    let buffers = lines.iter().flat_map(of).collect();
    Opening {
        process: identity::process(),
        clock: open::clock(),
        is_lazy,
        disk: Disk { store, buffers },
    }
}

/// The two buffers of a pipeline that moves, before it is known how far it has.
pub(crate) struct Both {
    source: Opened,
    target: Opened,
    way: Way,
}

impl Both {
    /// Opens them. Nothing where the pipeline has no next buffer.
    ///
    /// # Errors
    /// If one can't be opened.
    pub(crate) async fn open(line: &Line<'_>, config: &Config) -> Result<Option<Self>> {
        let (Some(next), Some(way)) = (line.next, line.way()) else { return Ok(None) };
        let source = self::open(line.buffer, config).await?;
        let target = self::open(&*next.buffer, config).await.context("next_buffer")?;
        Ok(Some(Self { source, target, way }))
    }

    /// Makes one of them, which goes along with the move. The store has to be there.
    ///
    /// # Errors
    /// If the store can't be reached.
    pub(crate) async fn join(self, config: &Config) -> Result<Opened> {
        let Self { source, target, way } = self;
        let (moves, process) = (open::moves(&*config.store)?, identity::process());
        let followed =
            follow(source.buffer, target.buffer, moves, way, &process, open::clock()).await;
        let (moving, follower) = followed.map_err(|error| match error {
            moving::Error::Store(_) => {
                anyhow::Error::from(error).context("cannot join the move to next_buffer")
            }
            refused => refused.into(),
        })?;
        let found = [source.found, target.found].concat();
        Ok(Opened { buffer: moving, found, follower: Some(follower) })
    }
}
