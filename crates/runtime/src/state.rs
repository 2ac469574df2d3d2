//! Where in its life a component is, and how it ended.

use std::sync::Arc;

use model::Event;

/// What is left of a component that was stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Events that the buffer keeps for the next start.
    pub kept: u64,
    /// Events of a buffer that keeps nothing.
    pub left: Vec<Event>,
    /// Dead letters of a buffer that keeps nothing.
    pub dead: Vec<Event>,
}

/// Why a component ended early, or not in order.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Reason {
    /// The engine can't go on.
    #[error(transparent)]
    Engine(Arc<engine::Error>),
    /// The buffer could not be read or closed.
    #[error("the buffer could not be closed: {0}")]
    Buffer(Arc<buffer::Error>),
    /// The component panicked with this message.
    #[error("it panicked: {0}; please report this")]
    Panicked(String),
}

impl From<engine::Error> for Reason {
    fn from(error: engine::Error) -> Self {
        Self::Engine(Arc::new(error))
    }
}

impl From<buffer::Error> for Reason {
    fn from(error: buffer::Error) -> Self {
        Self::Buffer(Arc::new(error))
    }
}

/// Where in its life a component is.
#[derive(Debug, Clone)]
pub enum State {
    /// A turn of work begins.
    Starting,
    /// It works.
    Ready,
    /// It was told to pause, and holds nothing.
    Paused,
    /// It failed, and starts again after a pause.
    Waiting {
        /// Why it failed the last time.
        reason: Reason,
        /// How often it has failed in a row.
        failures: u32,
    },
    /// It ended early, and starts no more.
    Failed(Reason),
    /// It finishes what it holds, or has finished that and waits to be stopped.
    Draining,
    /// It has closed all that it held.
    Stopped,
}

impl State {
    /// All names, in the order of a life.
    pub const NAMES: [&str; 7] =
        ["starting", "ready", "paused", "waiting", "failed", "draining", "stopped"];

    /// The names of those in which a pipeline takes no event.
    pub(crate) const AT_REST: [&str; 3] = ["paused", "failed", "stopped"];

    /// As it is shown in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Paused => "paused",
            Self::Waiting { .. } => "waiting",
            Self::Failed(_) => "failed",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}
