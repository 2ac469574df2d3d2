//! Real servers for tests, each started in a folder of its own on a free port.
//!
//! A test that needs Redis, PostgreSQL, pgbouncer, Kafka or SQS starts its own, harms it as it likes (stopped, killed,
//! paused, behind a [`Proxy`] that fails), and drops it. Everything blocks and nothing needs an
//! async runtime, so it can be used from any test.
//!
//! Deliberately absent: clients. What is under test brings its own; [`Redis::call`] and
//! [`Postgres::query`] are there to look from outside.
//!
//! Invariants
//! - No server outlives the process that started it, however that one dies, and no folder of its
//!   own is left behind: a watcher outside the process sees to both.
//! - A server keeps its port while it is down: nobody else is given it, and a connection to it is
//!   refused.
//! - A fault hits the server and not what watches over it.

mod cluster;
mod environment;
mod home;
mod kafka;
mod pgbouncer;
mod port;
mod postgres;
mod process;
mod program;
mod proxy;
mod redis;
mod resp;
mod sqs;
pub mod stalls;
mod tap;

pub use cluster::RedisCluster;
pub use environment::forget_settings;
pub use kafka::Kafka;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use proxy::{Fault, Proxy};
pub use redis::Redis;
pub use resp::Reply;
pub use sqs::Sqs;
pub use tap::{Moment, Protocol, Tap};
