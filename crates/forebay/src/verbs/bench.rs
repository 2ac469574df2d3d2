//! `forebay bench`: measure this installation.

use anyhow::Result;

use crate::config::Flags;
use crate::exit::Exit;

pub(crate) mod phases;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Three ways into your PostgreSQL: one INSERT a payment, a pool of them, and ours
    Phases(phases::Args),
}

pub(crate) async fn run(verb: Verb, flags: &Flags) -> Result<Exit> {
    match verb {
        Verb::Phases(args) => phases::run(args, flags).await,
    }
}
