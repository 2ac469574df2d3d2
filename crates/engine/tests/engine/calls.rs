//! Events that need a call, on a paused clock.

mod faults;
mod figures;
mod leases;
mod order;
mod rig;
mod stopping;
mod turns;
