//! Several workers on one Redis and one PostgreSQL, with traffic going on while workers, Redis,
//! PostgreSQL or the network between them fail.
//!
//! After each: accepted = settled + dead + pending, no effect twice, and the verdicts are those of
//! the rules applied in the order of acceptance by one that nobody disturbed. Everything is started
//! by the test itself. `TEST_SEED` repeats a choice of moments, `TEST_ROUNDS` disturbs for longer.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its seed"
)]

mod audit;
mod data_set;
mod disturbing;
mod layout;
mod load;
mod rig;
mod verbs;

/// One test for each way of failing, over one layout of the buffer.
macro_rules! disturbed {
    ($name:ident, $layout:expr, $($disturbance:ident)*) => {
        mod $name {
            use crate::layout::Layout;
            $(
                #[test]
                fn $disturbance() {
                    crate::disturbing::check($layout, crate::disturbing::$disturbance);
                }
            )*
        }
    };
}

disturbed!(list, Layout::List, workers_killed redis_restarted replies_lost postgres_restarted workers_rolled);
disturbed!(stream, Layout::Stream, workers_killed redis_restarted replies_lost postgres_restarted workers_rolled);
disturbed!(sharded, Layout::Sharded, workers_killed redis_restarted replies_lost postgres_restarted workers_rolled);
disturbed!(cluster, Layout::Cluster, workers_killed masters_killed postgres_restarted workers_rolled);
