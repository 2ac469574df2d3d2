//! `forebay buffer migrate`: leads a pipeline from one buffer to another, share by share.
//!
//! It moves nothing itself. It takes the steps of the move in the store, waits after each until every
//! process goes by it, and counts at the end. Ended at any time, it is taken up by the next one.

use std::time::Duration;

use anyhow::{Result, bail};
use buffer::distinct::is_same;
use lab::waiting::Waiting;
use model::route::SHARE_MAX;
use model::url::redacted;
use runtime::Line;
use runtime::line::Next;
use runtime::moving::{Error as Trouble, Leader, ended_here};
use runtime::shown::audit;
use store::Moves;

use crate::config::{Config, Error, Flags};
use crate::exit::Exit;
use crate::{configured, domains, out, registry};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay buffer migrate
  forebay buffer migrate --stages 10,50,100 --pause 300
  forebay buffer migrate --share 25
  forebay buffer migrate --rollback
  forebay buffer migrate --table prices

First name the new buffer in forebay.toml beside the old one, and restart each `forebay serve` with it:
  buffer = \"redis://127.0.0.1/0?list=tx_queue\"
  next_buffer = \"kafka://127.0.0.1:9092/transactions?group=fds\"
Nothing moves until this command says so. When it has said that all is moved, make the new one the
`buffer`, take `next_buffer` out, and restart them again.")]
pub(crate) struct Args {
    /// The buffer that is left, as a check: what the configuration calls `buffer`
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The buffer that is moved to, as a check: what the configuration calls `next_buffer`
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Shares of the keys to go through, in percent
    #[arg(long, value_name = "PERCENT,…", value_delimiter = ',', default_value = "10,50,100")]
    stages: Vec<u8>,
    /// How long to stay at each share but the last, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pause: u64,
    /// Go to this share and stay there, whichever it is now
    #[arg(long, value_name = "PERCENT", conflicts_with_all = ["rollback", "status"])]
    share: Option<u8>,
    /// Go back: all keys to the old buffer
    #[arg(long, conflicts_with = "status")]
    rollback: bool,
    /// Show how far it is, count, and change nothing
    #[arg(long)]
    status: bool,
    /// A process that has ended without saying so, as it is called in the status
    #[arg(long, value_name = "PROCESS")]
    forget: Vec<String>,
    /// The buffers of the recorded move have new addresses, which are those of this configuration: record
    /// them. Never for other buffers, whose events would be settled out of order
    #[arg(long)]
    same_buffers: bool,
    /// The last move ended at this configuration's `buffer`, which has a new address: record it. Never for
    /// another buffer, whose events would be settled out of order
    #[arg(long, conflicts_with = "same_buffers")]
    ended_here: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, flags: &Flags) -> Result<Exit> {
    let config = configured::read(flags)?;
    let named = configured::looked_at(flags, &config)?;
    let named = named.and_then(|name| config.line(&name));
    let line = named.unwrap_or_else(|| config.main());
    let (Some(next), Some(way)) = (&line.next, line.way()) else {
        if args.ended_here {
            return end_here(&config, line, args.json).await;
        }
        let problem = "there is no next_buffer; name the new buffer in forebay.toml, restart \
                       each `forebay serve` with it, and run this again (see --help)";
        bail!(Error(problem.to_owned()));
    };
    check(&args, &config, line, next).await?;
    let moves = config.lines().moves()?;
    if args.ended_here {
        record_end(&*moves, line).await?;
    }
    let ledger = domains::of(&config, line)?.ledger(&config, line)?;
    let waiting = Waiting::new(|line| out::note(line));
    let (stop, tell) = (runtime::signals::stop()?, waiting.clone());
    let leader = Leader::new(moves, way, ledger, stop, move |told| tell.tell(told));
    if args.same_buffers {
        leader.rename().await.map_err(|error| usage("--same-buffers", error))?;
    }
    for process in &args.forget {
        if !leader.forget(process).await? {
            bail!(Error(format!("--forget {process}: there is no such process; see --status")));
        }
    }
    let through = if args.status { false } else { lead(&args, &leader, &waiting).await? };
    let audited = leader.audit().await?;
    let shown = audited.as_ref();
    out::found(args.json, || audit::json(shown), || audit::lines(shown))?;
    if let Some((step, _)) = shown.filter(|_| through && !args.json) {
        out::line(audit::end(*step, &next.to))?;
    }
    Ok(Exit::done_if(shown.is_none_or(|(_, audit)| audit.is_good())))
}

/// Takes the steps that the arguments ask for. Returns whether all keys are in one buffer then, which has
/// nothing of the other's to wait for.
async fn lead(args: &Args, leader: &Leader, waiting: &Waiting) -> Result<bool> {
    let shares: Vec<u8> = match args.share {
        _ if args.rollback => vec![0],
        Some(share) => vec![share],
        None => {
            let now = leader.step().await?.map_or(0, |step| step.route.share);
            args.stages.iter().copied().filter(|share| *share >= now).collect()
        }
    };
    let mut opened = |share: u8, processes: usize, took: Duration| {
        // With --json, what is printed is the one result.
        if args.json {
            return Ok(());
        }
        let took = took.as_secs_f64();
        out::line(format_args!(
            "{share:>3} % of the keys go to the new buffer ({processes} processes, {took:.1} s)."
        ))
    };
    let pause = Duration::from_secs(args.pause);
    waiting.lead(leader, &shares, pause, &mut opened).await.map_err(joined)
}

/// Where no process has joined, it is the configuration that is to be mended.
fn joined(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(Trouble::NoneJoined) => Error(error.to_string()).into(),
        _ => error,
    }
}

/// An error of a flag that does not fit the recorded move.
fn usage(flag: &str, error: Trouble) -> anyhow::Error {
    match error {
        Trouble::NoMove | Trouble::Unlike(_) => Error(format!("{flag}: {error}")).into(),
        other => other.into(),
    }
}

/// Refuses a share that is none, one buffer for both, and URLs that are not those of the configuration.
async fn check(args: &Args, config: &Config, line: &Line, next: &Next) -> Result<(), Error> {
    configured::distinct(config).await?;
    let mut shares = args.stages.iter().chain(&args.share);
    if let Some(share) = shares.find(|share| **share > SHARE_MAX) {
        return Err(Error(format!("{share} is no share; give 0 to 100 percent")));
    }
    if args.stages.is_empty() || !args.stages.is_sorted() {
        let problem = "--stages must go up, e.g. 10,50,100; --share or --rollback go down";
        return Err(Error(problem.to_owned()));
    }
    let both = [("--from", &args.from, &line.buffer), ("--to", &args.to, &next.buffer)];
    for (flag, given, configured) in both {
        let Some(given) = given else { continue };
        let buffer = registry::buffer_of_payments(given)
            .map_err(|error| Error(format!("{flag}: {error}")))?;
        let configured = configured.identity();
        if !is_same(&buffer.identity(), &configured).await {
            let given = redacted(given);
            return Err(Error(format!(
                "{flag} is {given}, and the configuration that the processes run with says \
                 {configured}; make them the same"
            )));
        }
    }
    Ok(())
}

/// Records that the last move of a pipeline ended at its `buffer`.
async fn record_end(moves: &dyn Moves, line: &Line) -> Result<()> {
    let ended = ended_here(moves, &line.subject, &line.buffer.identity()).await;
    ended.map_err(|error| usage("--ended-here", error))
}

/// The same where no move is to follow, so that processes with this buffer alone start.
async fn end_here(config: &Config, line: &Line, json: bool) -> Result<Exit> {
    record_end(&*config.lines().moves()?, line).await?;
    let buffer = line.buffer.identity();
    match json {
        true => out::json(&serde_json::json!({ "ended_at": buffer.to_string() }))?,
        false => out::line(format_args!("The last move is recorded as ended at {buffer}."))?,
    }
    Ok(Exit::Done)
}
