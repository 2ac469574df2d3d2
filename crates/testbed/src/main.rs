//! Starts a server for work by hand: prints its URL and keeps it until it is killed.
//!
//! `cargo run -p testbed -- redis`, or `redis-cluster`, `postgres`, `kafka`, `sqs`.

use std::io::Write;
use std::thread;

use anyhow::{Result, bail};
use testbed::{Kafka, Postgres, Redis, RedisCluster, Sqs};

fn main() -> Result<()> {
    match std::env::args().nth(1).unwrap_or_default().as_str() {
        "redis" => Redis::start().and_then(|server| hold(&server.url())),
        "redis-cluster" => RedisCluster::start().and_then(|server| hold(&server.url())),
        "postgres" => Postgres::start().and_then(|server| hold(&server.url())),
        "kafka" => Kafka::start().and_then(|server| hold(&server.url())),
        "sqs" => Sqs::start().and_then(|server| hold(&server.url())),
        other => {
            bail!("`{other}` is no server; there are redis, redis-cluster, postgres, kafka, sqs")
        }
    }
}

fn hold(url: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{url}")?;
    loop {
        thread::park();
    }
}
