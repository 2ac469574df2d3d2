//! What has one life in a process: start, ready, drain, stop.

use std::sync::Arc;

use async_trait::async_trait;

use crate::state::{Reason, Remains};
use crate::turn::Turn;

/// Something that works until it is told to stop.
///
/// [`crate::Life`] calls it: one turn of work after the other, with pauses and failures in between, and
/// [`Component::close`] once at the end.
#[async_trait]
pub trait Component: Send + 'static {
    /// Its name, in metrics and messages.
    fn name(&self) -> Arc<str>;

    /// Whether what is not done survives the end of the process. If it does not, the component works
    /// until all is done, or the deadline of the drain.
    fn keeps(&self) -> bool;

    /// One turn of work. It calls [`Turn::ready`] once it works, and returns after [`Turn::over`].
    ///
    /// # Errors
    /// A [`Reason`] when it ends early.
    async fn work(&mut self, turn: &mut Turn) -> Result<(), Reason>;

    /// Gives back all that it holds. Called once, after the last turn.
    ///
    /// # Errors
    /// A [`Reason`] when something could not be closed in order.
    async fn close(&mut self) -> Result<Remains, Reason>;
}
