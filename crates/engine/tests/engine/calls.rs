//! Events that need a call, on a paused clock.

mod faults;
mod figures;
mod order;
mod rig;
mod stopping;
