//! Looking whether a buffer can be used, and what it promises.

use buffer::Location;
use buffer::backend::asked;

use super::{Error, Lines};
use crate::line::Line;

/// What a look at a buffer came to.
#[derive(Debug, Default)]
pub struct Seen {
    /// What accepted events survive; empty where it could not be asked.
    pub accepted: String,
    /// Why it could not be asked or opened, as a clause.
    pub unchecked: Option<String>,
    /// What a person should know, one sentence each.
    pub found: Vec<String>,
    /// What is wrong.
    pub troubles: Vec<Error>,
}

impl Lines {
    /// Asks how the buffer is kept, and looks whether it can be used. `events` are what its events are called.
    pub async fn look(&self, buffer: &dyn Location, events: &str) -> Seen {
        let mut seen = Seen::default();
        match asked(buffer, events).await {
            Ok((accepted, problems)) => {
                seen.accepted = accepted;
                seen.troubles.extend(problems.into_iter().map(Error::Problem));
            }
            // It is used below, and the trouble is told again among the others.
            Err(why) => seen.unchecked = Some(format!("could not be asked: {why}")),
        }
        match self.try_out(buffer).await {
            Ok(found) => seen.found = found,
            Err(trouble) => {
                // What is promised holds whether or not a running server has it open just now.
                if seen.unchecked.is_none() && !trouble.is_held() {
                    seen.unchecked = Some(format!("could not be used: {}", trouble.in_full()));
                }
                seen.troubles.push(trouble);
            }
        }
        seen
    }

    /// Looks whether each server answers that holds a buffer of this pipeline. A pipeline with a spill needs none.
    ///
    /// # Errors
    /// If one does not answer. Whether the buffers can be used otherwise is seen when they are opened.
    pub async fn reach(&self, line: &Line) -> Result<(), Error> {
        if line.spill.is_some() {
            return Ok(());
        }
        for buffer in line.accepting() {
            if let Err(error @ buffer::Error::Unavailable(_)) = buffer.look().await {
                return Err(Error::Buffer(error));
            }
        }
        Ok(())
    }

    /// Opens the buffer, unless opening it would join the processes at work: then it is looked at.
    async fn try_out(&self, buffer: &dyn Location) -> Result<Vec<String>, Error> {
        if let Some(found) = buffer.look().await.map_err(Error::Look)? {
            return Ok(found);
        }
        let opened = self.open(buffer).await?;
        opened.buffer.close().await.map_err(Error::Look)?;
        Ok(opened.found)
    }
}
