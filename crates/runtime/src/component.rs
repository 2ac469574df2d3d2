//! What has one life in a process: start, ready, drain, stop.

use std::sync::Arc;

use async_trait::async_trait;
use model::Event;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::life::Shown;

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

/// What a component was told last. A drain is never taken back, and a deadline never moved out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Work,
    Pause,
    Drain(Instant),
    Stop(Instant),
}

impl Order {
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Work | Self::Pause => None,
            Self::Drain(by) | Self::Stop(by) => Some(by),
        }
    }
}

/// One turn of work.
#[derive(Debug)]
pub struct Turn {
    pub(crate) orders: watch::Receiver<Order>,
    pub(crate) shown: Arc<Shown>,
    /// It was told to drain.
    pub(crate) drains: bool,
}

/// Why a turn is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The component is to pause.
    Pause,
    /// It is to drain: one that keeps nothing does all that is left, by [`Turn::deadline`].
    Drain,
}

impl Turn {
    /// The component works from now on.
    pub fn ready(&self) {
        if *self.orders.borrow() == Order::Work {
            self.shown.is_in(State::Ready);
        }
    }

    /// Resolves when the turn has to end.
    pub async fn over(&mut self) -> Over {
        let order = self.orders.wait_for(|order| *order != Order::Work).await;
        if order.is_ok_and(|order| *order == Order::Pause) {
            return Over::Pause;
        }
        self.drains = true;
        self.shown.is_in(State::Draining);
        Over::Drain
    }

    /// Resolves at the deadline of the drain. There is none while the component may be resumed.
    pub async fn deadline(&mut self) {
        loop {
            let order = *self.orders.borrow_and_update();
            let at_the_deadline = async {
                match order.deadline() {
                    Some(by) => sleep_until(by).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = at_the_deadline => return,
                changed = self.orders.changed() => if changed.is_err() { return },
            }
        }
    }
}
