//! `forebay dead`: events that could not be settled, until a person decides.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use buffer::{Buffer, DeadLetter};
use model::units::time;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::buffer::shown;
use super::configured_pipeline;
use crate::config::{self, Config, Flags};
use crate::exit::Exit;
use crate::{configured, domain, domains, open, out, signals};

/// How many ids a group of letters shows.
const EXAMPLES_MAX: usize = 3;
/// How long a step may take to end after a signal.
const ENDING_MAX: Duration = Duration::from_secs(10);
/// How many letters are handed over at once.
const BATCH_MAX: usize = 1_000;

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
    let names = Names(domains::of(&config, config.main())?.names(&config, config.main())?);
    let stop = signals::stop()?;
    let looking = async { Ok(config.buffer().dead(Box::pin(stop.cancelled())).await?) };
    let letters = until_stopped(&stop, looking).await?;
    match verb {
        Verb::List { all, json } => list(&letters, &names, all, json),
        Verb::Show { seq, reveal, json } => show(&letters, &names, seq, reveal, json),
        Verb::Replay { which, json } => {
            let lines = configured::read(flags)?.lines();
            lines.refuse_left(&config.buffer().identity()).await.map_err(open::told)?;
            let done = change(&config, &which, Change::Replay, &stop).await?;
            say("replayed", done, json)
        }
        Verb::Drop { which, yes, json } => {
            if !yes {
                let chosen = which.choose(&letters)?.len();
                let problem = format!("this forgets {chosen} letters for good; add --yes to do it");
                bail!(config::Error(problem));
            }
            let done = change(&config, &which, Change::Drop, &stop).await?;
            say("dropped", done, json)
        }
    }
}

/// What a letter is called, by the domain of its pipeline.
struct Names(domain::Names);

impl Names {
    fn of(&self, letter: &DeadLetter) -> String {
        (self.0)(&letter.event)
    }

    /// The names of the first of a group.
    fn examples(&self, letters: &[&DeadLetter]) -> Vec<String> {
        letters.iter().take(EXAMPLES_MAX).map(|letter| self.of(letter)).collect()
    }
}

fn list(letters: &[DeadLetter], names: &Names, all: bool, json: bool) -> Result<Exit> {
    if all {
        return each(letters, names, json);
    }
    let mut groups: BTreeMap<&str, Vec<&DeadLetter>> = BTreeMap::new();
    for letter in letters {
        groups.entry(&letter.reason).or_default().push(letter);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, letters)| std::cmp::Reverse(letters.len()));
    if json {
        let group = |(reason, letters): &(&str, Vec<&DeadLetter>)| {
            let seqs: Vec<_> = letters.iter().take(EXAMPLES_MAX).map(|l| l.seq).collect();
            json!({ "reason": reason, "count": letters.len(), "seqs": seqs,
                "ids": names.examples(letters) })
        };
        out::json(&groups.iter().map(group).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    if groups.is_empty() {
        out::line("No dead letters.")?;
    }
    for (reason, letters) in groups {
        let examples: Vec<_> = letters
            .iter()
            .zip(names.examples(&letters))
            .map(|(letter, id)| format!("{} ({})", letter.seq, out::escaped(&id)))
            .collect();
        let more = if letters.len() > EXAMPLES_MAX { ", …" } else { "" };
        out::line(format_args!("{:>8}  {}", letters.len(), out::escaped(reason)))?;
        out::line(format_args!("          e.g. {}{more}", examples.join(", ")))?;
    }
    Ok(Exit::Done)
}

fn each(letters: &[DeadLetter], names: &Names, json: bool) -> Result<Exit> {
    if json {
        out::json(
            &letters.iter().map(|letter| letter_json(letter, names, None)).collect::<Vec<_>>(),
        )?;
        return Ok(Exit::Done);
    }
    for letter in letters {
        let id = names.of(letter);
        let id = out::escaped(&id);
        let buried = time(letter.buried_at_ms);
        let reason = out::escaped(&letter.reason);
        out::line(format_args!("{:>8}  {buried}  {id}  {reason}", letter.seq))?;
    }
    Ok(Exit::Done)
}

fn show(letters: &[DeadLetter], names: &Names, seq: u64, reveal: bool, json: bool) -> Result<Exit> {
    let letter = letters.iter().find(|letter| letter.seq == seq).ok_or_else(|| {
        anyhow!("there is no dead letter {seq}; `forebay dead list --all` lists them")
    })?;
    let payload = shown(letter.event.payload(), reveal);
    if json {
        out::json(&letter_json(letter, names, Some(&payload)))?;
        return Ok(Exit::Done);
    }
    out::line(format_args!("seq       {}", letter.seq))?;
    out::line(format_args!("id        {}", out::escaped(&names.of(letter))))?;
    out::line(format_args!("reason    {}", out::escaped(&letter.reason)))?;
    out::line(format_args!("accepted  {}", time(letter.accepted_at_ms)))?;
    out::line(format_args!("buried    {}", time(letter.buried_at_ms)))?;
    out::line(format_args!("attempts  {}", letter.attempts))?;
    out::line(format_args!("payload   {}", out::escaped(&payload)))?;
    Ok(Exit::Done)
}

#[derive(Clone, Copy)]
enum Change {
    Replay,
    Drop,
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
async fn change(
    config: &Config,
    which: &Which,
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
        tokio::select! {
            done = change_letters(&*opened.buffer, which, change, stop) => done,
            never = closing => never,
        }
    });
    let done = changed.await?;
    opened.buffer.close().await?;
    Ok(done)
}

async fn change_letters(
    buffer: &dyn Buffer,
    which: &Which,
    change: Change,
    stop: &CancellationToken,
) -> Result<usize> {
    let dead = buffer.dead_letters();
    let mut letters = Vec::new();
    loop {
        let from = letters.last().map_or(0, |letter: &DeadLetter| letter.seq + 1);
        let page = dead.list(from, BATCH_MAX).await?;
        if page.is_empty() {
            break;
        }
        letters.extend(page);
    }
    let mut done = 0;
    for seqs in which.choose(&letters)?.chunks(BATCH_MAX) {
        if stop.is_cancelled() {
            bail!("{done} letters were changed before the signal");
        }
        done += match change {
            Change::Replay => dead.replay(seqs).await?,
            Change::Drop => dead.drop_letters(seqs).await?,
        };
    }
    Ok(done)
}

impl Which {
    /// The numbers of the letters meant.
    fn choose(&self, letters: &[DeadLetter]) -> Result<Vec<u64>> {
        let unknown = |seq: &&u64| !letters.iter().any(|letter| letter.seq == **seq);
        if let Some(seq) = self.seqs.iter().find(unknown) {
            bail!("there is no dead letter {seq}; `forebay dead list --all` lists them");
        }
        let meant = |letter: &&DeadLetter| match &self.reason {
            Some(text) => letter.reason.contains(text.as_str()),
            None => self.all || self.seqs.contains(&letter.seq),
        };
        Ok(letters.iter().filter(meant).map(|letter| letter.seq).collect())
    }
}

fn say(what: &str, done: usize, json: bool) -> Result<Exit> {
    if json {
        let mut object = serde_json::Map::new();
        object.insert(what.to_owned(), done.into());
        out::json(&object)?;
    } else {
        out::line(format_args!("{done} dead letters {what}."))?;
    }
    Ok(Exit::Done)
}

fn letter_json(letter: &DeadLetter, names: &Names, payload: Option<&str>) -> serde_json::Value {
    let mut json = json!({
        "seq": letter.seq,
        "id": names.of(letter),
        "reason": letter.reason,
        "accepted_at": time(letter.accepted_at_ms),
        "buried_at": time(letter.buried_at_ms),
        "attempts": letter.attempts,
    });
    if let Some(payload) = payload {
        json["payload"] = payload.into();
    }
    json
}
