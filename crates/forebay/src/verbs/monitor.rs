//! `forebay monitor`: which processes run, and what each holds of a Redis.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use runtime::Line;
use runtime::shown::look::Look;

use super::configured_pipeline;
use crate::config::Flags;
use crate::exit::Exit;
use crate::{open, out};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// Erases the screen and begins again at its top (ECMA-48: ED, CUP).
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay monitor
  forebay monitor --once --json

Shows the live processes of the store. Of a Redis it shows as well which process holds which shards and
leases; `forebay buffer stat` looks at any other buffer.")]
pub(crate) struct Args {
    /// Which process holds which shards and leases of a Redis: what is shown without this flag, too
    #[arg(long)]
    distribution: bool,
    /// Look once
    #[arg(long)]
    once: bool,
    /// As JSON, one object for each look
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, flags: &Flags) -> Result<Exit> {
    let config = configured_pipeline(flags)?;
    let buffer = config.buffer();
    let running = open::beside(&*config.store)?.processes();
    let stop = runtime::signals::stop()?;
    let live = std::io::stdout().is_terminal() && !args.once && !args.json;
    loop {
        let heard = running.heard().await;
        let (distribution, away) = match buffer.distribution().await {
            Ok(seen) => (Some(seen), None),
            Err(buffer::Error::Unsupported(_)) => (None, None),
            Err(error) => match spilled(config.main()).await {
                Some(events) => (None, Some((error.to_string(), events))),
                None => return Err(error.into()),
            },
        };
        // Without either there is nothing else to show.
        let heard = match (&distribution, &away) {
            (None, None) => Ok(heard?),
            _ => heard.map_err(|error| error.to_string()),
        };
        let look = Look { heard, distribution, away };
        if args.json {
            out::line(look.json())?;
        } else {
            let lines = look.lines(&buffer.name()).join("\n");
            out::line(format_args!("{}{lines}", if live { CLEAR } else { "" }))?;
        }
        if args.once || stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return Ok(Exit::Done);
        }
    }
}

/// The events in the spill of this pipeline, if it has one that can be read.
async fn spilled(line: &Line) -> Option<u64> {
    let depth = line.spill.as_ref()?.depth().await.ok()?;
    Some(depth.ready + depth.leased)
}
