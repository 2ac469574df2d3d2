//! Leads a component through its life.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use store::pipelines::Wanted;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::component::Component;
use crate::meters::Meters;
use crate::restart::{self, Pauses};
use crate::state::{Reason, Remains, State};
use crate::turn::{Call, Order, Shown, Turn};

/// A component that lives. Clones share it; dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct Life {
    name: Arc<str>,
    keeps: bool,
    orders: Arc<watch::Sender<Order>>,
    shown: Arc<Shown>,
}

impl Life {
    /// Starts `component` on the current tokio runtime. If it fails, it starts again after a pause that
    /// `restarts` bounds; without `restarts` a failure is its end. `seed` is what pauses are drawn from.
    /// A component that is to be paused from the start does not work before it is resumed.
    #[must_use]
    pub fn start(
        component: Box<dyn Component>,
        restarts: Option<restart::Options>,
        seed: u64,
        wanted: Option<&Wanted>,
    ) -> Self {
        let (name, keeps) = (component.name(), component.keeps());
        let orders = Arc::new(watch::Sender::new(Order::wanted(wanted)));
        let shown = Arc::new(Shown {
            states: watch::Sender::new(State::Starting),
            meters: Meters::new(&name),
            end: watch::Sender::new(None),
            ended: CancellationToken::new(),
        });
        let led = Led {
            component,
            orders: orders.subscribe(),
            sender: Arc::clone(&orders),
            shown: Arc::clone(&shown),
            pauses: restarts.map(|options| Pauses::new(options, seed)),
            has_failed: false,
        };
        tokio::spawn(led.live());
        Self { name, keeps, orders, shown }
    }

    /// The component's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether what is not done survives the end of the process.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Whether both are the same life.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shown, &other.shown)
    }

    /// Where in its life the component is.
    #[must_use]
    pub fn state(&self) -> State {
        self.shown.states.borrow().clone()
    }

    /// Cancelled when the component works no more and will not again: it was stopped, or it failed for
    /// good.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.shown.ended
    }

    /// Resolves when the component is in such a state, or is stopped.
    pub async fn until(&self, is: impl Fn(&State) -> bool) {
        let reached = |state: &State| is(state) || matches!(state, State::Stopped);
        // The sender lives as long as `self`.
        let _ = self.shown.states.subscribe().wait_for(reached).await;
    }

    /// Pauses the component, and waits until it holds nothing. Does nothing to one that drains.
    pub async fn pause(&self) {
        self.call(|call| if call == Call::Work { Call::Pause } else { call });
        self.until(|state| {
            let rests = matches!(state, State::Paused | State::Failed(_) | State::Draining);
            rests || self.orders.borrow().call == Call::Work
        })
        .await;
    }

    /// Lets a paused component work again.
    pub fn resume(&self) {
        self.call(|call| if call == Call::Pause { Call::Work } else { call });
    }

    /// The component is to do what an operator wants; without a row, to work as configured. Does nothing to
    /// one that drains.
    pub fn want(&self, wanted: Option<&Wanted>) {
        let wanted = Order::wanted(wanted);
        self.order(|order| match order.call {
            Call::Work | Call::Pause => wanted,
            Call::Drain(_) | Call::Stop(_) => order,
        });
    }

    /// Begins to drain: by this moment the component has finished what it holds. It goes on accepting.
    pub fn drain(&self, by: Instant) {
        self.call(|call| match call {
            Call::Work | Call::Pause => Call::Drain(by),
            Call::Drain(before) => Call::Drain(before.min(by)),
            Call::Stop(before) => Call::Stop(before.min(by)),
        });
    }

    /// Drains the component by this moment, closes it, and returns what is left. A second call returns
    /// the same.
    ///
    /// # Errors
    /// The first [`Reason`] for which the component did not end in order.
    pub async fn stop(&self, by: Instant) -> Result<Arc<Remains>, Reason> {
        self.order(|order| {
            let by = order.deadline().map_or(by, |before| before.min(by));
            Order { call: Call::Stop(by), ..order }
        });
        let mut ends = self.shown.end.subscribe();
        let end = ends.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        end.expect("the sender lives as long as `self`, and an end was waited for")
    }

    fn call(&self, next: impl FnOnce(Call) -> Call) {
        self.order(|order| Order { call: next(order.call), ..order });
    }

    fn order(&self, next: impl FnOnce(Order) -> Order) {
        self.orders.send_if_modified(|order| {
            let before = std::mem::replace(order, next(*order));
            *order != before
        });
    }
}

/// A component and what leads it.
struct Led {
    component: Box<dyn Component>,
    orders: watch::Receiver<Order>,
    /// So that orders never end before the component does.
    sender: Arc<watch::Sender<Order>>,
    shown: Arc<Shown>,
    /// `None` where a failure is the end.
    pauses: Option<Pauses>,
    /// The last turn failed, and the next one has not begun.
    has_failed: bool,
}

impl Led {
    async fn live(mut self) {
        let failed = self.work().await;
        self.shown.ended.cancel();
        let closing = AssertUnwindSafe(self.component.close()).catch_unwind();
        let closed = closing.await.unwrap_or_else(|panic| Err(panicked(&*panic)));
        let end = failed.map_or_else(|| closed.map(Arc::new), Err);
        self.shown.is_in(State::Stopped);
        self.shown.end.send_replace(Some(end));
    }

    /// Works until it is to be closed. Returns why it failed for good, if it did.
    async fn work(&mut self) -> Option<Reason> {
        let mut drained = self.component.keeps();
        loop {
            let order = *self.orders.borrow_and_update();
            let late = order.deadline().is_some_and(|by| by <= Instant::now());
            match order.call {
                Call::Pause => {
                    self.shown.is_in(State::Paused);
                    self.changed().await;
                    continue;
                }
                Call::Stop(_) if drained || late => return None,
                Call::Drain(_) if drained || late => {
                    self.shown.is_in(State::Draining);
                    self.changed().await;
                    continue;
                }
                Call::Work => self.shown.is_in(State::Starting),
                Call::Drain(_) | Call::Stop(_) => self.shown.is_in(State::Draining),
            }
            if std::mem::take(&mut self.has_failed) {
                self.shown.meters.restarted();
            }
            let began = Instant::now();
            match self.turn(order.lanes).await {
                Ok(drains) => drained |= drains,
                Err(reason) if self.pauses.is_none() => return Some(self.fail(reason).await),
                Err(reason) => self.wait(reason, began.elapsed()).await,
            }
        }
    }

    /// Returns whether the component has drained.
    async fn turn(&mut self, lanes: Option<usize>) -> Result<bool, Reason> {
        let (orders, shown) = (self.sender.subscribe(), Arc::clone(&self.shown));
        let mut turn = Turn { orders, shown, lanes, drains: false };
        let work = AssertUnwindSafe(self.component.work(&mut turn)).catch_unwind();
        work.await.unwrap_or_else(|panic| Err(panicked(&*panic)))?;
        Ok(turn.drains)
    }

    /// It failed for good, and stays open until it is stopped: others may still offer to it.
    async fn fail(&mut self, reason: Reason) -> Reason {
        self.shown.ended.cancel();
        self.shown.is_in(State::Failed(reason.clone()));
        let _ = self.orders.wait_for(|order| matches!(order.call, Call::Stop(_))).await;
        reason
    }

    /// Waits before the next turn. An order ends the wait.
    async fn wait(&mut self, reason: Reason, worked: Duration) {
        let Some(pauses) = &mut self.pauses else { return };
        let (pause, failures) = pauses.after(worked);
        let pipeline = self.component.name();
        let pause_ms = pause.as_millis();
        tracing::error!(%pipeline, %reason, failures, pause_ms, "a pipeline failed; it starts again after a pause");
        self.has_failed = true;
        self.shown.is_in(State::Waiting { reason, failures });
        let again = Instant::now() + pause;
        let again = self.orders.borrow().deadline().map_or(again, |by| by.min(again));
        tokio::select! {
            () = sleep_until(again) => {}
            () = self.changed() => {}
        }
    }

    async fn changed(&mut self) {
        let _ = self.orders.changed().await;
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Reason {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Reason::Panicked(text.unwrap_or("(no message)").to_owned())
}
