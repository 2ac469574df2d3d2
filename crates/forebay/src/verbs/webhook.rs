//! `forebay webhook`: looking at a webhook by delivering to it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use async_trait::async_trait;
use clap::{ArgMatches, Command, FromArgMatches as _, Subcommand as _};
use webhook::{TestDelivery, entry};

use crate::config::{Config, Error};
use crate::exit::Exit;
use crate::{domain, open, out};

/// The verb of the webhooks' domain.
pub(crate) struct Test;

#[async_trait]
impl domain::Verb for Test {
    fn command(&self) -> Command {
        let command = Command::new("webhook").about("Webhooks: deliver a test event to one");
        Verb::augment_subcommands(command).subcommand_required(true).arg_required_else_help(true)
    }

    async fn run(&self, matches: &ArgMatches, config: &Config) -> Result<Exit> {
        match Verb::from_arg_matches(matches)? {
            Verb::Test { name, event, json } => test(config, &name, event.as_deref(), json).await,
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Deliver one signed test event now, and show what the receiver answers
    #[command(after_help = "\
Examples:
  forebay webhook test orders
  forebay webhook test orders --event order.json --json

It goes past the buffer, and is tried once. Exit code 1: the receiver did not answer with a 2xx status.")]
    Test {
        /// The webhook, as a [[webhook]] of forebay.toml names it
        name: String,
        /// The JSON object to deliver; - for standard input [default: an event of type forebay.test]
        #[arg(long, value_name = "FILE")]
        event: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

async fn test(config: &Config, name: &str, event: Option<&Path>, json: bool) -> Result<Exit> {
    let all = entry::read(&config.settings)?;
    let Some(entry) = all.iter().find(|entry| entry.name == name) else {
        let names: Vec<_> = all.iter().map(|entry| &*entry.name).collect();
        let there_are = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let problem = format!("there is no [[webhook]] {name}; there are: {there_are}");
        return Err(Error(problem).into());
    };
    let given = event.map(read).transpose()?;
    let event = TestDelivery::event(entry, given.as_deref(), open::clock().now_ms())
        .map_err(|problem| Error(format!("--event: {problem}")))?;
    let sender = entry.sender(&config.settings, open::clock())?;
    let tested = TestDelivery::send(entry, &sender, &event).await;
    out::found(json, || tested.json(), || tested.lines())?;
    Ok(Exit::done_if(tested.is_good()))
}

/// The bytes of a file, or of standard input.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(path).map(|read| bytes = read),
    };
    read.map(|()| bytes)
        .map_err(|error| Error(format!("--event {}: {error}; name a file", path.display())))
}
