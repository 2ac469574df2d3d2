//! What a component is told, and what it shows, in one turn of work.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::meters::Meters;
use crate::state::{Reason, Remains, State};

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

/// What is known of a life from outside.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) states: watch::Sender<State>,
    pub(crate) meters: Meters,
    /// What was left, or why the component did not end in order.
    pub(crate) end: watch::Sender<Option<Result<Arc<Remains>, Reason>>>,
    /// It works no more, and will not again.
    pub(crate) ended: CancellationToken,
}

impl Shown {
    pub(crate) fn is_in(&self, state: State) {
        self.meters.is_in(&state);
        self.states.send_replace(state);
    }
}
