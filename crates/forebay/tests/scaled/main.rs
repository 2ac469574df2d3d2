//! Several workers on one Redis, Kafka or SQS and one PostgreSQL, with traffic going on while workers,
//! Redis, Kafka, PostgreSQL or the network between them fail; one worker, two and four; events of foreign
//! producers; and one buffer after the other by a line of configuration.
//!
//! After each: accepted = settled + dead + pending, no effect twice, and the verdicts are those of
//! the rules applied in the order of acceptance by one that nobody disturbed. Everything is started
//! by the test itself. `TEST_SEED` repeats a choice of moments, `TEST_ROUNDS` disturbs for longer,
//! and `TEST_STORM_SECONDS` lets processes come and go for longer.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its seed"
)]

mod audit;
mod connections;
mod data_set;
mod disturbing;
mod environment;
mod foreign;
mod layout;
mod load;
mod outage;
mod past;
mod phases;
mod process;
mod rates;
mod reloaded;
mod rig;
mod scaling;
mod steps;
mod stood_still;
mod switched;
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

disturbed!(
    list, Layout::List,
    workers_killed redis_restarted replies_lost postgres_restarted workers_rolled pipelines_changed
);
disturbed!(stream, Layout::Stream, workers_killed redis_restarted replies_lost postgres_restarted workers_rolled);
disturbed!(sharded, Layout::Sharded, workers_killed redis_restarted replies_lost postgres_restarted workers_rolled);
disturbed!(
    cluster, Layout::Cluster,
    workers_killed masters_killed redis_restarted replies_lost postgres_restarted workers_rolled
);
disturbed!(cluster_list, Layout::ClusterList, workers_killed masters_killed replies_lost);
disturbed!(kafka, Layout::Kafka, workers_rolled members_storm);
disturbed!(fifo, Layout::Fifo, workers_rolled);

#[test]
fn a_broker_killed_and_restarted_under_an_api_and_its_workers_loses_and_repeats_nothing() {
    disturbing::check_over_http(layout::Layout::Kafka, disturbing::broker_restarted);
}
