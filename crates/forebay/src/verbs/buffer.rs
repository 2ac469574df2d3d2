//! `forebay buffer`: looking at a buffer from outside, and repairing a journal.

use anyhow::Result;
use buffer::Location;
use buffer::backend::Held;

use super::{configured_pipeline, migrate};
use crate::config::Flags;
use crate::exit::Exit;
use crate::out;
use lab::progress::Unit;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// How much is in it (works while a server runs)
    #[command(after_help = "Example:\n  forebay buffer stat --json")]
    Stat {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The oldest events that are not settled (works while a server runs)
    #[command(after_help = "Example:\n  forebay buffer peek --count 3")]
    Peek {
        /// How many
        #[arg(long, default_value_t = 10)]
        count: usize,
        /// Show card numbers unmasked
        #[arg(long)]
        reveal: bool,
        /// As JSON, one event to a line
        #[arg(long)]
        json: bool,
    },
    /// Read everything and check every checksum; exit code 1 when damage is found
    #[command(after_help = "Example:\n  forebay buffer verify")]
    Verify {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Rewrite damaged segments without their damage, which stays in quarantine/
    #[command(after_help = "Example:\n  forebay buffer repair")]
    Repair {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Lead the pipeline to another buffer, share by share, while it runs
    Migrate(migrate::Args),
}

pub(crate) async fn run(verb: Verb, flags: &Flags) -> Result<Exit> {
    let verb = match verb {
        Verb::Migrate(args) => return migrate::run(args, flags).await,
        other => other,
    };
    let config = configured_pipeline(flags)?;
    let buffer = config.buffer();
    match verb {
        Verb::Stat { json } => {
            out::report(buffer.stat().await?, json)?;
            Ok(Exit::Done)
        }
        Verb::Peek { count, reveal, json } => peek(&**buffer, count, reveal, json).await,
        Verb::Verify { json } => {
            let mut progress = out::progress(Unit::Bytes);
            let mut read = |read, of| progress.at(read, of, String::new);
            let report = buffer.verify(&mut read).await?;
            progress.end();
            let is_sound = !report.is_damaged;
            out::report(report, json)?;
            Ok(Exit::done_if(is_sound))
        }
        Verb::Repair { json } => {
            out::report(buffer.repair().await?, json)?;
            Ok(Exit::Done)
        }
        Verb::Migrate(_) => unreachable!("it was run above"),
    }
}

async fn peek(buffer: &dyn Location, count: usize, reveal: bool, json: bool) -> Result<Exit> {
    let mut written = Ok(());
    let mut left = count;
    let mut each = |held: Held| {
        if left == 0 {
            return false;
        }
        left -= 1;
        written = match json {
            true => out::line(held.json(reveal)),
            false => out::line(held.line(reveal)),
        };
        left > 0 && written.is_ok()
    };
    buffer.pending(&mut each).await?;
    written?;
    if left == count && !json {
        out::line("Nothing waits to be settled.")?;
    }
    Ok(Exit::Done)
}
