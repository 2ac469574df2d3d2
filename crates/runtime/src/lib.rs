//! Components with one life each, pipelines among them, and the fleet of a process.
//!
//! ```text
//!            pause            drain              stop
//!   start ─► ready ◄─► paused ─────► draining ─────────► stopped
//!              │ ▲                      ▲
//!     failure  ▼ │ after a pause        │
//!            waiting ───────────────────┘
//! ```
//!
//! A [`Line`] names the buffers of a pipeline as the configuration has them. [`Lines`] are all of them with their
//! store, and open both; the caller hands in the reader of URLs. [`shown`] is what commands print of pipelines,
//! processes and shards.
//!
//! Invariants
//! - A component has one life. It may be stopped twice; both callers get the same end.
//! - A component that ends early says why: [`State`] holds the [`Reason`].
//! - A paused pipeline leases nothing, finishes what it holds, and accepts events as before. What operators
//!   want is a row of the store ([`Following`]); a pipeline that is added follows it before its first lease.
//! - A pipeline closes its buffer when it is stopped, never while it drains.
//! - All components of a fleet stop inside one deadline, side by side.
//! - A failure of a component that is restarted never ends the process.
//!
//! What it deliberately does not do: it knows no backend and no domain, and serves no HTTP.

pub mod component;
pub mod fleet;
pub mod following;
pub mod history;
pub mod identity;
mod life;
pub mod line;
pub mod lines;
pub mod listed;
mod meters;
pub mod moving;
pub mod open_files;
mod outage;
pub mod pipeline;
pub mod presence;
pub mod reloads;
pub mod restart;
pub mod sharing;
pub mod shown;
pub mod signals;
mod state;
mod turn;

pub use component::Component;
pub use fleet::{Entry, Fleet};
pub use following::Following;
pub use history::History;
pub use life::Life;
pub use line::Line;
pub use lines::Lines;
pub use pipeline::{Pipeline, Source};
pub use presence::Presence;
pub use state::{Reason, Remains, State};
pub use turn::{Over, Turn};
