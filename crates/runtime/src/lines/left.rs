//! Buffers that a move has left, by what the store has recorded.

use std::sync::Once;
use std::time::Duration;

use buffer::Identity;
use store::Moves;
use tokio::time::timeout;

use super::{Error, Lines};
use crate::line::Line;
use crate::moving::{Place, Subject, Way, left_behind, place};

/// How long the store may take to name the recorded moves. A process that only takes events starts without
/// its store.
const LOOK_MAX: Duration = Duration::from_secs(5);

impl Lines {
    /// Refuses to offer to `buffer` without a next buffer after a move of its pipeline that left it: no process
    /// would settle it. It is judged by the moves of the pipeline that has it, or else by those of all pipelines. A
    /// store that is out of reach is logged, and no obstacle.
    ///
    /// # Errors
    /// [`Error::Left`] if a move has left this buffer; what to do is in the error.
    pub async fn refuse_left(&self, buffer: &Identity) -> Result<(), Error> {
        let own = self.all.iter().find(|line| line.has(buffer));
        // With next_buffer, the process joins the move or is refused by that.
        if own.is_some_and(|own| own.next.is_some()) {
            return Ok(());
        }
        let look = async |moves: &dyn Moves| {
            let recorded = moves.all().await?;
            let pipelines = recorded.iter().map(|recorded| &*recorded.pipeline);
            let judging =
                pipelines.filter(|&name| own.is_none_or(|own| own.subject.pipeline == name));
            for pipeline in judging {
                if let Place::Left(why) = place(moves, &self.subject(pipeline), buffer).await? {
                    return Ok(Some(why));
                }
            }
            Ok(None)
        };
        refused(self.looked(look).await)
    }

    /// The same of the buffers of several pipelines at once, each by the moves of its own pipeline.
    ///
    /// # Errors
    /// [`Error::Left`] if a move has left one of them.
    pub async fn refuse_left_of(&self, lines: &[Line]) -> Result<(), Error> {
        if lines.iter().all(|line| line.next.is_some()) {
            return Ok(());
        }
        let look = async |moves: &dyn Moves| {
            let recorded = moves.all().await?;
            let moved = |line: &&Line| {
                recorded.iter().any(|recorded| recorded.pipeline == line.subject.pipeline)
            };
            for line in lines.iter().filter(|line| line.next.is_none()).filter(moved) {
                let buffer = line.buffer.identity();
                if let Place::Left(why) = place(moves, &line.subject, &buffer).await? {
                    return Ok(Some(match &*line.of {
                        "" => why,
                        _ => format!("{}: {why}", line.subject.pipeline),
                    }));
                }
            }
            Ok(None)
        };
        refused(self.looked(look).await)
    }

    /// What is to be said of moves that this process settles without.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn unmoved(&self) -> Result<Vec<String>, Error> {
        let moves = self.moves()?;
        let recorded = moves.all().await?;
        let mut said = Vec::new();
        for line in self.all.iter().filter(|line| line.next.is_none()) {
            let Subject { pipeline, .. } = &line.subject;
            if recorded.iter().any(|recorded| recorded.pipeline == *pipeline) {
                said.extend(left_behind(&*moves, &line.subject, &line.buffer.identity()).await?);
            }
        }
        Ok(said)
    }

    /// Holds the buffers of a pipeline against the moves that the store has recorded. A store that can't be read is
    /// looked at by itself.
    ///
    /// # Errors
    /// If another move is unfinished, or ended elsewhere.
    pub async fn check_move(&self, line: &Line) -> Result<(), Error> {
        match line.way() {
            Some(way) => self.check_way(&way).await,
            None => self.refuse_left(&line.buffer.identity()).await,
        }
    }

    async fn check_way(&self, way: &Way) -> Result<(), Error> {
        let Ok(moves) = self.moves() else { return Ok(()) };
        let Ok(recorded) = moves.recorded(way.pipeline()).await else { return Ok(()) };
        Ok(way.of(recorded).await.map(drop)?)
    }

    /// What is recorded as moving under this name. A pipeline that is not configured is led by its name.
    fn subject(&self, pipeline: &str) -> Subject {
        let own = self.all.iter().map(|line| &line.subject).find(|own| own.pipeline == pipeline);
        own.cloned().unwrap_or_else(|| Subject::led_by_name(pipeline, self.parse))
    }

    /// Asks the store, for at most [`LOOK_MAX`].
    async fn looked(
        &self,
        look: impl AsyncFnOnce(&dyn Moves) -> Result<Option<String>, Error>,
    ) -> Result<Option<String>, Error> {
        if self.store.is_missing() {
            // The first process is about to make it.
            return Ok(None);
        }
        let look = async { look(&*self.moves()?).await };
        timeout(LOOK_MAX, look).await.unwrap_or(Err(Error::Silent(LOOK_MAX)))
    }
}

fn refused(looked: Result<Option<String>, Error>) -> Result<(), Error> {
    static WARNED: Once = Once::new();
    match looked {
        Ok(Some(why)) => return Err(Error::Left(why)),
        Ok(None) => {}
        // A start is tried again and again.
        Err(error) => WARNED.call_once(|| {
            let why = error.in_full();
            tracing::warn!("cannot check whether a move has left the buffer: {why}");
        }),
    }
    Ok(())
}
