//! `forebay pipeline`: what each pipeline is to do, and what it does in each process.

use anyhow::Result;
use runtime::shown::pipelines::{Listing, lanes as lanes_of, paused};
use store::pipelines::{LANES_MAX, REASON_BYTES_MAX, Wanted};

use super::configured;
use crate::config::{Error, Flags};
use crate::exit::Exit;
use crate::{open, out};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// What each pipeline is to do, and what it does in each live process
    #[command(after_help = "Examples:\n  forebay pipeline list\n  forebay pipeline list --json")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Settle nothing from now on; events are accepted as before
    #[command(after_help = "\
Examples:
  forebay pipeline pause consumer_batch
  forebay pipeline pause table:prices --reason 'the table is being rebuilt'

Every process follows within a second or two: it leases nothing more and finishes what it holds. A pause
survives restarts, until `forebay pipeline resume`. A buffer that keeps nothing (memory:) is settled all the
same when its process ends, because its events would be lost.")]
    Pause {
        /// The pipeline, as `forebay pipeline list` has it
        name: String,
        /// Why, for those who see the pause
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Settle again
    #[command(after_help = "Example:\n  forebay pipeline resume consumer_batch")]
    Resume {
        /// The pipeline, as `forebay pipeline list` has it
        name: String,
    },
    /// Settle with another number of lanes in each process
    #[command(after_help = "\
Examples:
  forebay pipeline scale consumer_batch --lanes 8
  forebay pipeline scale consumer_batch --configured

Every process finishes what it holds and goes on with the new number.")]
    Scale {
        /// The pipeline, as `forebay pipeline list` has it
        name: String,
        #[command(flatten)]
        lanes: Lanes,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Lanes {
    /// How many lanes settle in each process: 1 to 256
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(LANES_MAX)))]
    lanes: Option<u32>,
    /// As many as each process is configured with
    #[arg(long)]
    configured: bool,
}

pub(crate) async fn run(verb: Verb, flags: &Flags) -> Result<Exit> {
    let config = configured(flags)?;
    let beside = open::beside(&*config.store)?;
    let listing =
        Listing::read(&*beside, config.lines.iter().map(|line| line.pipeline.clone())).await?;
    let known = |name: &str| listing.wanted(name).map_err(Error);
    let rows = beside.pipelines();
    match verb {
        Verb::List { json } => {
            out::found(json, || listing.json(), || listing.lines())?;
            Ok(Exit::Done)
        }
        Verb::Pause { name, reason } => {
            let before = known(&name)?;
            let now = rows.pause(&name, &by(reason)?).await?;
            match before.filter(|before| before.paused) {
                Some(before) => {
                    out::line(format_args!("{name} was paused already, {}.", paused(before)))?;
                }
                None => out::line(format_args!(
                    "{name} is paused; `forebay pipeline list` shows each process."
                ))?,
            }
            alone(before, &now)
        }
        Verb::Resume { name } => {
            let before = known(&name)?;
            let now = rows.resume(&name).await?;
            match before.filter(|before| before.paused) {
                Some(before) => {
                    out::line(format_args!("Resumed {name}, {}.", paused(before)))?;
                }
                None => out::line(format_args!("{name} was not paused."))?,
            }
            alone(before, &now)
        }
        Verb::Scale { name, lanes } => {
            let before = listing.scaled(&name).map_err(Error)?;
            let now = rows.scale(&name, lanes.lanes).await?;
            out::line(format_args!("{name} settles with {} in each process.", lanes_of(&now)))?;
            alone(before, &now)
        }
    }
}

/// Who pauses, and why.
fn by(reason: Option<String>) -> Result<String, Error> {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let by = format!("by {user}@{}", runtime::identity::host());
    let reason = reason.map_or_else(|| by.clone(), |reason| format!("{by}: {reason}"));
    if reason.len() > REASON_BYTES_MAX {
        let problem =
            format!("--reason is too long: with who pauses, {REASON_BYTES_MAX} bytes at most");
        return Err(Error(problem));
    }
    Ok(reason)
}

/// Says so if another writer changed the row meanwhile.
fn alone(before: Option<&Wanted>, now: &Wanted) -> Result<Exit> {
    let expected = before.map_or(0, |before| before.revision) + 1;
    if now.revision == expected {
        return Ok(Exit::Done);
    }
    out::note(format_args!(
        "{} was changed by another command at the same time; look at `forebay pipeline list`",
        now.name
    ));
    Ok(Exit::Trouble)
}
