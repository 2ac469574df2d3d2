//! `forebay dead`: events that could not be settled, until a person decides.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use buffer::DeadLetter;
use buffer::letters::{self, Change, Changed, Choice, Listing};
use tokio_util::sync::CancellationToken;

use super::configured_pipeline;
use crate::config::{self, Config, Flags};
use crate::exit::Exit;
use crate::{configured, domains, open, out};

/// How long a step may take to end after a signal.
const ENDING_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// What is dead, grouped by reason (works while a server runs)
    #[command(after_help = "Example:\n  forebay dead list --all")]
    List {
        /// Every letter, not grouped
        #[arg(long)]
        all: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// One letter: the reason and the payload (works while a server runs)
    #[command(after_help = "Example:\n  forebay dead show 17")]
    Show {
        /// Which one, as `dead list` numbers them
        seq: u64,
        /// Show card numbers unmasked
        #[arg(long)]
        reveal: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Put letters back into the buffer, once their cause is mended
    #[command(after_help = "Example:\n  forebay dead replay 17 18\n  forebay dead replay --all")]
    Replay {
        #[command(flatten)]
        which: Which,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget letters for good
    #[command(after_help = "Example:\n  forebay dead drop --reason 'amount: …' --yes")]
    Drop {
        #[command(flatten)]
        which: Which,
        /// Yes, for good
        #[arg(long)]
        yes: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which letters.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// These, as `dead list` numbers them
    seqs: Vec<u64>,
    /// Those whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(verb: Verb, flags: &Flags) -> Result<Exit> {
    let config = configured_pipeline(flags)?;
    let names = domains::of(&config, config.main())?.names(&config, config.main())?;
    let name = |letter: &DeadLetter| names(&letter.event);
    let stop = runtime::signals::stop()?;
    let looking = async { Ok(config.buffer().dead(Box::pin(stop.cancelled())).await?) };
    let letters = until_stopped(&stop, looking).await?;
    let listing = Listing::new(&letters, &name);
    let (change, which, json) = match verb {
        Verb::List { all, json } => {
            out::report(if all { listing.each() } else { listing.groups() }, json)?;
            return Ok(Exit::Done);
        }
        Verb::Show { seq, reveal, json } => {
            out::report(listing.one(seq, reveal)?, json)?;
            return Ok(Exit::Done);
        }
        Verb::Replay { which, json } => {
            let lines = configured::read(flags)?.lines();
            lines.refuse_left(&config.buffer().identity()).await.map_err(open::told)?;
            (Change::Replay, which, json)
        }
        Verb::Drop { which, yes, json } => {
            if !yes {
                let chosen = which.choice().of(&letters)?.len();
                let problem = format!("this forgets {chosen} letters for good; add --yes to do it");
                bail!(config::Error(problem));
            }
            (Change::Drop, which, json)
        }
    };
    let done = change_letters(&config, &which.choice(), change, &stop).await?;
    let what = if change == Change::Replay { "replayed" } else { "dropped" };
    let lines = || vec![format!("{done} dead letters {what}.")];
    out::found(json, || serde_json::json!({ what: done }), lines)?;
    Ok(Exit::Done)
}

impl Which {
    fn choice(&self) -> Choice {
        match &self.reason {
            _ if self.all => Choice::All,
            Some(text) => Choice::Reason(text.clone()),
            None => Choice::Seqs(self.seqs.clone()),
        }
    }
}

/// Lets `work` end in good order after a signal, for a short time: letters that it holds are given back.
async fn until_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::pin!(work);
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(ENDING_MAX).await;
    };
    let done = tokio::select! {
        done = &mut work => done,
        () = stopped => {
            let seconds = ENDING_MAX.as_secs();
            Err(anyhow!("cannot end in order: the buffer did not answer within {seconds} s"))
        }
    };
    match done {
        Err(error) if stop.is_cancelled() => Err(error
            .context("stopped by a signal; run the command again for the letters that are left")),
        done => done,
    }
}

/// Changes letters. A buffer of one process must be held by no server meanwhile.
async fn change_letters(
    config: &Config,
    choice: &Choice,
    change: Change,
    stop: &CancellationToken,
) -> Result<usize> {
    let opened = config.lines().open(&**config.buffer()).await.map_err(|error| {
        let error = open::told(error);
        match (config.buffer().is_shared(), error.downcast_ref()) {
            (false, Some(buffer::Error::Held(_))) => {
                error.context("a running server holds the dead letters; stop it first, or wait")
            }
            _ => error,
        }
    })?;
    let closing = async {
        stop.cancelled().await;
        // Ends the step under way. What fails here is told when that step ends.
        let _ = opened.buffer.close().await;
        std::future::pending().await
    };
    let changed = until_stopped(stop, async {
        let changing = letters::change(&*opened.buffer, choice, change, || stop.is_cancelled());
        tokio::select! {
            done = changing => done.map_err(|error| match error {
                Changed::Buffer(error) => error.into(),
                other => anyhow::Error::from(other),
            }),
            never = closing => never,
        }
    });
    let done = changed.await?;
    opened.buffer.close().await?;
    Ok(done)
}
