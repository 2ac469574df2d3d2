//! What protects an outside service from our calls, and our calls from its failures.
//!
//! ```text
//!            Breaker      Limit        Rate           Budget
//!  call ──►  is it up? ─► how many? ─► how often? ──► a retry? ──► attempt
//!               ▲            ▲             ▲              ▲           │
//!               └─ outcome ──┴─ latency ───┴─ Retry-After ┴─ answer ──┘
//! ```
//!
//! Each is a state machine of its own over a clock that the caller passes in: nothing here waits, sleeps or
//! reads a clock. [`Guard`] puts breaker, limit, rate and budget together for one service, in this order. A retry
//! that fails or times out counts neither for the breaker nor for the limit, unless it is a probe. [`Shared`] gives
//! each live process its part of one rate. [`Bulkhead`] is no part of a guard: it divides the slots of a service that
//! several pipelines share.
//!
//! What it deliberately does not do: no I/O, no locks, no metrics library. The caller owns the lock, and
//! publishes what `figures` returns.

mod breaker;
mod budget;
mod bulkhead;
mod limit;
mod outcome;
mod rate;
mod service;
mod shared;

pub use breaker::{Breaker, Options as BreakerOptions, Pass, State};
pub use budget::{Budget, Options as BudgetOptions};
pub use bulkhead::{Bulkhead, Figures as BulkheadFigures, Member};
pub use limit::{Limit, Options as LimitOptions, Started};
pub use outcome::Outcome;
pub use rate::{Pace, RETRY_AFTER_MAX, Rate};
pub use service::{Attempt, Figures, Guard, Options, Refusal};
pub use shared::Shared;
