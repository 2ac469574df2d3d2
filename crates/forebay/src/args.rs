//! The command line, as it is typed. What it means is each verb's own to say.

use clap::{Parser, Subcommand};

use crate::config::Flags;
use crate::verbs::{
    advise, bench, buffer, config, dead, demo, fraud, generate, monitor, pipeline, replay, serve,
    store,
};

/// A durable buffer in front of your database: bursts in, each event settled once.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, disable_help_subcommand = true)]
#[command(after_help = "\
Exit codes: 0 done, 1 ran and found trouble, 2 unusable arguments or configuration.

Example:
  forebay demo --duration 10s")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Everything in one process, with generated traffic, a live picture and an audit
    Demo(demo::Args),
    /// Take events over HTTP and settle them, until told to stop
    Serve(serve::Args),
    /// Generate realistic payments into a buffer, a server or standard output
    Generate(generate::Args),
    /// Replay a CSV or NDJSON file of payments into a buffer or a server
    Replay(replay::Args),
    /// The pipelines: list them, pause and resume them, change how many lanes settle
    #[command(subcommand)]
    Pipeline(pipeline::Verb),
    /// Watch which process holds which shards and leases
    Monitor(monitor::Args),
    /// Say which buffer this load belongs on, by its own figures, and what that costs
    Advise(advise::Args),
    /// Look at the buffer: stat, peek, verify; and repair it
    #[command(subcommand)]
    Buffer(buffer::Verb),
    /// Dead letters: list, show, replay, drop
    #[command(subcommand)]
    Dead(dead::Verb),
    /// The fraud rules: their versions and thresholds
    #[command(subcommand)]
    Fraud(fraud::Verb),
    /// The store: migrate, check
    #[command(subcommand)]
    Store(store::Verb),
    /// Measure: the plain ways into PostgreSQL against ours
    #[command(subcommand)]
    Bench(bench::Verb),
    /// The configuration: check it, or show where each value comes from
    #[command(subcommand)]
    Config(config::Verb),
}
