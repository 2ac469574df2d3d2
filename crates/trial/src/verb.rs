//! `tickets count`.

use anyhow::Result;
use async_trait::async_trait;
use clap::{ArgMatches, Command};
use forebay::{Config, Exit, Verb, out};

use crate::ticket::target;

/// Counts settled tickets, beside the process that settles.
pub(crate) struct Count;

#[async_trait]
impl Verb for Count {
    fn command(&self) -> Command {
        let count = Command::new("count").about("How many tickets are settled");
        Command::new("tickets").about("Tickets").subcommand(count).subcommand_required(true)
    }

    async fn run(&self, _: &ArgMatches, config: &Config) -> Result<Exit> {
        let table = config.lines().beside()?.tables().table(&target())?;
        out::line(table.rows().await?)?;
        Ok(Exit::Done)
    }
}
