//! The command line, as it is typed. What it means is each verb's own to say.

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::Flags;
use crate::domain;
use crate::domains;
use crate::verbs::{
    advise, bench, buffer, config, dead, demo, generate, monitor, pipeline, replay, serve,
    simulate, store,
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
    /// Show the live processes, and what each holds of a Redis
    Monitor(monitor::Args),
    /// Say which buffer this load belongs on, by its own figures, and what that costs
    Advise(advise::Args),
    /// Look at the buffer: stat, peek, verify; and repair it
    #[command(subcommand)]
    Buffer(buffer::Verb),
    /// Dead letters: list, show, replay, drop
    #[command(subcommand)]
    Dead(dead::Verb),
    /// The store: migrate, check
    #[command(subcommand)]
    Store(store::Verb),
    /// Measure: the plain ways into PostgreSQL against ours
    #[command(subcommand)]
    Bench(bench::Verb),
    /// Play the service that your events are paid or reported to, with its failures and a ledger
    #[command(subcommand)]
    Simulate(simulate::Verb),
    /// The configuration: check it, or show where each value comes from
    #[command(subcommand)]
    Config(config::Verb),
}

/// What the command line asks for.
pub(crate) enum Asked {
    /// A verb of the binary.
    Verb(Args),
    /// A verb of a domain.
    Domain { verb: &'static dyn domain::Verb, matches: ArgMatches, flags: Flags },
}

impl Asked {
    /// Reads the command line. Ends the process on help, and on what is unusable.
    pub(crate) fn parse() -> Self {
        let matches = domains::with_verbs(Args::command()).get_matches();
        let asked = match matches.subcommand() {
            Some((name, of_verb)) if let Some(verb) = domains::verb(name) => {
                let matches = of_verb.clone();
                Flags::from_arg_matches(of_verb).map(|flags| Self::Domain { verb, matches, flags })
            }
            _ => Args::from_arg_matches(&matches).map(Self::Verb),
        };
        asked.unwrap_or_else(|error| error.exit())
    }
}
