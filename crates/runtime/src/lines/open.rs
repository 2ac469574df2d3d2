//! Opening the buffers of a pipeline.

use std::path::Path;
use std::sync::Arc;

use buffer::backend::{self, Disk, Opening};
use buffer::spill::Spill;
use buffer::{Buffer, Location};

use super::{Error, Lines};
use crate::Pipeline;
use crate::line::{Label, Line};
use crate::moving::{self, Follower, Way, follow};

/// An open buffer, and what opening it found.
pub struct Opened {
    /// Where to offer.
    pub buffer: Arc<dyn Buffer>,
    /// One sentence each.
    pub found: Vec<String>,
    /// Where the pipeline is on its way to another buffer. To be stopped after the buffer is closed.
    pub follower: Option<Follower>,
}

impl Opened {
    /// The pipeline, with what goes along with its move beside it, if it moves.
    #[must_use]
    pub fn following(follower: Option<Follower>, pipeline: Pipeline) -> Pipeline {
        match follower {
            Some(follower) => pipeline.with(follower),
            None => pipeline,
        }
    }
}

impl From<backend::Opened> for Opened {
    fn from(opened: backend::Opened) -> Self {
        Self { buffer: opened.buffer, found: opened.found, follower: None }
    }
}

impl Lines {
    /// Opens a buffer, as this process needs it.
    ///
    /// # Errors
    /// If it can't be opened, or another process has it.
    pub async fn open(&self, buffer: &dyn Location) -> Result<Opened, Error> {
        Ok(buffer.open(&self.opening(false)).await.map_err(Error::Buffer)?.into())
    }

    /// Opens the buffer of a pipeline: behind its spill if it has one, and beside the next one if it moves. Whether
    /// a move has left it was looked at before.
    ///
    /// # Errors
    /// If one can't be opened. With a spill, a buffer that is out of reach is no error.
    pub async fn line(&self, line: &Line) -> Result<Opened, Error> {
        if let Some(both) = self.both(line).await? {
            return both.join(self).await;
        }
        let Some(spill) = &line.spill else {
            return self.open(&*line.buffer).await;
        };
        let primary = line.buffer.open(&self.opening(true)).await.map_err(Error::Buffer)?.buffer;
        let local = spill.open(&self.opening(false)).await.map_err(Error::Spill)?;
        let name = match line.label {
            Label::Pipeline => &line.pipeline,
            Label::Kind => primary.kind().name,
        };
        let spill = Arc::new(Spill::named(name, primary.clone(), local.buffer, self.clock.clone()));
        Ok(Opened { buffer: spill, found: local.found, follower: None })
    }

    /// Opens the two buffers of a pipeline that moves. Nothing where the pipeline has no next buffer.
    ///
    /// # Errors
    /// If one can't be opened.
    pub async fn both(&self, line: &Line) -> Result<Option<Both>, Error> {
        let (Some(next), Some(way)) = (&line.next, line.way()) else { return Ok(None) };
        let source = self.open(&*line.buffer).await?;
        let target = next.buffer.open(&self.opening(false)).await.map_err(Error::Next)?.into();
        Ok(Some(Both { source, target, way }))
    }

    /// What buffers are opened with.
    fn opening(&self, is_lazy: bool) -> Opening {
        let folders = self.all.iter().flat_map(Line::buffers).filter_map(|one| one.folder());
        let buffers = folders.map(Path::to_owned).collect();
        Opening {
            process: self.process.clone(),
            clock: self.clock.clone(),
            is_lazy: is_lazy || self.is_lazy,
            disk: Disk { store: self.store.file().map(Path::to_owned), buffers },
        }
    }
}

/// The two buffers of a pipeline that moves, before it is known how far it has.
pub struct Both {
    source: Opened,
    target: Opened,
    way: Way,
}

impl Both {
    /// Makes one of them, which goes along with the move. The store has to be there.
    ///
    /// # Errors
    /// If the store can't be reached, or the recorded move is another.
    pub async fn join(self, lines: &Lines) -> Result<Opened, Error> {
        let Self { source, target, way } = self;
        let (moves, clock) = (lines.moves()?, lines.clock.clone());
        let followed = follow(source.buffer, target.buffer, moves, way, &lines.process, clock);
        let (moving, follower) = followed.await.map_err(|error| match error {
            moving::Error::Store(_) => Error::Join(error),
            refused => Error::Moved(refused),
        })?;
        let found = [source.found, target.found].concat();
        Ok(Opened { buffer: moving, found, follower: Some(follower) })
    }
}
