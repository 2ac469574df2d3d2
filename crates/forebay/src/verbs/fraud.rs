//! `forebay fraud`: the fraud rules, and which version of them each row was judged by.

use anyhow::{Context, Result};
use async_trait::async_trait;
use clap::{ArgMatches, Command, FromArgMatches as _, Subcommand as _};
use fraud::Versions;

use crate::config::Config;
use crate::exit::Exit;
use crate::{domain, out};

/// The verb of the payments' domain.
pub(crate) struct Fraud;

#[async_trait]
impl domain::Verb for Fraud {
    fn command(&self) -> Command {
        let command = Command::new("fraud").about("The fraud rules: their versions and thresholds");
        Verb::augment_subcommands(command).subcommand_required(true).arg_required_else_help(true)
    }

    async fn run(&self, matches: &ArgMatches, config: &Config) -> Result<Exit> {
        match Verb::from_arg_matches(matches)? {
            Verb::Rules { json } => rules(config, json).await,
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// The versions of the fraud rules: their thresholds, and when each was first used
    #[command(after_help = "\
Examples:
  forebay fraud rules
  forebay fraud rules --json

A row's ruleset_version names one of them. A process records its thresholds in the store as it
starts to settle: the same thresholds always have the same version.")]
    Rules {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

async fn rules(config: &Config, json: bool) -> Result<Exit> {
    let recorded = match config.store.look().await? {
        Some(view) => view.rulesets().await?,
        None => Vec::new(),
    };
    let versions = Versions::new(fraud::keys::ruleset(&config.settings)?, recorded);
    let unread = "cannot read the rulesets of the store: they are not JSON";
    match json {
        true => out::json(&versions.json().context(unread)?)?,
        false => out::line(versions.lines().context(unread)?.join("\n"))?,
    }
    Ok(Exit::Done)
}
