//! What a component is told, and what it shows, in one turn of work.

use std::sync::Arc;

use store::pipelines::Wanted;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::meters::Meters;
use crate::state::{Reason, Remains, State};

/// What a component was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) call: Call,
    /// How many lanes a pipeline settles with; `None` as it is configured.
    pub(crate) lanes: Option<usize>,
}

/// What it is to do. A drain is never taken back, and a deadline never moved out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Work,
    Pause,
    Drain(Instant),
    Stop(Instant),
}

impl Order {
    /// What an operator wants; without a row, to work as configured.
    pub(crate) fn wanted(wanted: Option<&Wanted>) -> Self {
        let paused = wanted.is_some_and(|wanted| wanted.paused);
        let lanes = wanted.and_then(|wanted| wanted.lanes);
        let call = if paused { Call::Pause } else { Call::Work };
        Self { call, lanes: lanes.map(|lanes| lanes as usize) }
    }

    pub(crate) fn deadline(self) -> Option<Instant> {
        match self.call {
            Call::Work | Call::Pause => None,
            Call::Drain(by) | Call::Stop(by) => Some(by),
        }
    }
}

/// One turn of work.
#[derive(Debug)]
pub struct Turn {
    pub(crate) orders: watch::Receiver<Order>,
    pub(crate) shown: Arc<Shown>,
    /// With how many lanes it began.
    pub(crate) lanes: Option<usize>,
    /// It was told to drain.
    pub(crate) drains: bool,
}

/// Why a turn is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The component is to pause, or to begin another turn with other lanes.
    Pause,
    /// It is to drain: one that keeps nothing does all that is left, by [`Turn::deadline`].
    Drain,
}

impl Turn {
    /// How many lanes a pipeline is to settle with in this turn; `None` as it is configured.
    #[must_use]
    pub fn lanes(&self) -> Option<usize> {
        self.lanes
    }

    /// The component works from now on.
    pub fn ready(&self) {
        if self.orders.borrow().call == Call::Work {
            self.shown.is_in(State::Ready);
        }
    }

    /// Resolves when the turn has to end.
    pub async fn over(&mut self) -> Over {
        let lanes = self.lanes;
        let ends = |order: &Order| order.call != Call::Work || order.lanes != lanes;
        let order = self.orders.wait_for(ends).await;
        if order.is_ok_and(|order| matches!(order.call, Call::Work | Call::Pause)) {
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
