//! `forebay buffer migrate`: leads a pipeline from one buffer to another, share by share.
//!
//! It moves nothing itself. It takes the steps of the move in the store, waits after each until every
//! process goes by it, and counts at the end. Ended at any time, it is taken up by the next one.

mod audit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use buffer::Identity;
use model::route::{Phase, Route, SHARE_MAX, Side};
use store::Moves;
use store::moves::{Buffers, Heard, Recorded, Report, Step};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Error, Flags, Next};
use crate::exit::Exit;
use crate::moving::{HOLD_MAX, PIPELINE, REPORT_EVERY, Way, ended_at, read, shown};
use crate::progress::{Progress, Unit};
use crate::units::grouped;
use crate::{distinct, open, out, signals, url};

/// How often the processes' reports are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A process that was not heard of for longer is named.
const SILENT: Duration = Duration::from_secs(10);
/// A process that is configured for another move and was not heard of for longer has ended, in
/// milliseconds: it reports twice a second.
const STRANGER_MS: u64 = 60_000;
const NONE_JOINED: &str = "No running process has joined; waiting for one to start.";
/// How much later than another look a report has to be made to be after it.
const AFTER: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay buffer migrate
  forebay buffer migrate --stages 10,50,100 --pause 300
  forebay buffer migrate --share 25
  forebay buffer migrate --rollback

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
    let (_, config) = super::configured(flags)?;
    let Some(next) = config.next.clone() else {
        if args.ended_here {
            return end_here(&config, args.json).await;
        }
        let problem = "there is no next_buffer; name the new buffer in forebay.toml, restart \
                       each `forebay serve` with it, and run this again (see --help)";
        bail!(Error(problem.to_owned()));
    };
    check(&args, &config, &next).await?;
    let leader = Leader {
        moves: open::moves(&config.store).await?,
        way: Way::new(&config, &next),
        to: next.to.clone(),
        store: config.store.clone(),
        stop: signals::stop()?,
        json: args.json,
    };
    if args.same_buffers {
        leader.rename().await?;
    }
    if args.ended_here {
        ended_here(&*leader.moves, &leader.way.source).await?;
    }
    for process in &args.forget {
        if !leader.moves.forget(process).await? {
            bail!(Error(format!("--forget {process}: there is no such process; see --status")));
        }
    }
    if args.status {
        return leader.close(false).await;
    }
    let shares: Vec<u8> = match args.share {
        _ if args.rollback => vec![0],
        Some(share) => vec![share],
        None => {
            let now = leader.step().await?.map_or(0, |step| step.route.share);
            args.stages.iter().copied().filter(|share| *share >= now).collect()
        }
    };
    let last = shares.last().copied();
    for share in shares {
        leader.go_to(share).await?;
        if Some(share) != last {
            leader.stay(Duration::from_secs(args.pause)).await?;
        }
    }
    let through = matches!(last, Some(0 | SHARE_MAX));
    if through {
        leader.drain().await?;
    }
    leader.close(through).await
}

/// Refuses a share that is none, one buffer for both, and URLs that are not those of the configuration.
async fn check(args: &Args, config: &Config, next: &Next) -> Result<(), Error> {
    distinct::check(config).await?;
    let mut shares = args.stages.iter().chain(&args.share);
    if let Some(share) = shares.find(|share| **share > SHARE_MAX) {
        return Err(Error(format!("{share} is no share; give 0 to 100 percent")));
    }
    if args.stages.is_empty() || !args.stages.is_sorted() {
        let problem = "--stages must go up, e.g. 10,50,100; --share or --rollback go down";
        return Err(Error(problem.to_owned()));
    }
    let both = [("--from", &args.from, &config.buffer), ("--to", &args.to, &next.buffer)];
    for (flag, given, configured) in both {
        let Some(given) = given else { continue };
        let buffer =
            url::Buffer::parse(given).map_err(|error| Error(format!("{flag}: {error}")))?;
        let configured = configured.identity();
        if !distinct::is_same(&buffer.identity(), &configured).await {
            let given = url::redacted(given);
            return Err(Error(format!(
                "{flag} is {given}, and the configuration that the processes run with says \
                 {configured}; make them the same"
            )));
        }
    }
    Ok(())
}

/// Records that the last move ended at `buffer`.
async fn ended_here(moves: &dyn Moves, buffer: &Identity) -> Result<()> {
    let problem = |why: String| Error(format!("--ended-here: {why}"));
    let Some(recorded) = moves.recorded().await? else {
        bail!(problem("no move is recorded; leave it out".to_owned()));
    };
    let buffers = ended_at(&recorded, buffer);
    let buffers = buffers.map_err(|why| problem(why.to_string()))?;
    moves.rename(&recorded.name, &buffers).await?;
    Ok(())
}

/// The same where no move is to follow, so that processes with this buffer alone start.
async fn end_here(config: &Config, json: bool) -> Result<Exit> {
    let buffer = config.buffer.identity();
    ended_here(&*open::moves(&config.store).await?, &buffer).await?;
    match json {
        true => out::json(&serde_json::json!({ "ended_at": buffer.to_string() }))?,
        false => out::line(format_args!("The last move is recorded as ended at {buffer}."))?,
    }
    Ok(Exit::Done)
}

struct Leader {
    moves: Arc<dyn Moves>,
    way: Way,
    /// The buffer that is moved to.
    to: String,
    store: url::Store,
    stop: CancellationToken,
    json: bool,
}

/// What the processes say, together.
#[derive(Debug, Default)]
struct Together {
    /// Those that have not ended.
    live: Vec<Heard>,
    /// Those that have not ended, and are configured for another move.
    strangers: Vec<Heard>,
    offered: [u64; 2],
    /// As the latest of the living sees them.
    pending: [u64; 2],
    dead: [u64; 2],
    /// Places without an event that they read past.
    empty: u64,
}

impl Leader {
    /// The recorded move, if it is this one.
    async fn recorded(&self) -> Result<Option<Recorded>> {
        self.way.of(self.moves.recorded().await?).await
    }

    async fn step(&self) -> Result<Option<Step>> {
        Ok(self.recorded().await?.map(|recorded| recorded.step))
    }

    async fn heard(&self) -> Result<Together> {
        let mut seen = Together::default();
        for heard in self.moves.reports().await? {
            let Report { buffers, offered, ended, .. } = &heard.report;
            if !self.way.is(&heard.name, buffers).await {
                seen.strangers.extend((!ended).then_some(heard));
                continue;
            }
            for (sum, offered) in seen.offered.iter_mut().zip(offered) {
                *sum += offered;
            }
            seen.empty += heard.report.empty.iter().sum::<u64>();
            seen.live.extend((!ended).then_some(heard));
        }
        if let Some(latest) = seen.live.iter().min_by_key(|heard| heard.ago_ms) {
            (seen.pending, seen.dead) = (latest.report.pending, latest.report.dead);
        }
        Ok(seen)
    }

    /// Records the buffers of this configuration as those of the recorded move.
    async fn rename(&self) -> Result<()> {
        let problem = |why: String| Error(format!("--same-buffers: {why}"));
        let Some(recorded) = self.moves.recorded().await? else {
            bail!(problem("no move is recorded; leave it out".to_owned()));
        };
        let kinds = |source: &Identity, target: &Identity| (source.kind(), target.kind());
        let mine = kinds(&self.way.source, &self.way.target);
        let pairs = read(&recorded.name, &recorded.buffers);
        if !pairs.iter().any(|(source, target)| kinds(source, target) == mine) {
            let (recorded, (source, target)) = (shown(&recorded), mine);
            bail!(problem(format!(
                "the move from {recorded} is none from {source} to {target}; set buffer and next_buffer to \
                 the buffers that hold its events"
            )));
        }
        self.moves.rename(&recorded.name, &self.way.buffers()).await?;
        Ok(())
    }

    fn line(&self, line: impl std::fmt::Display) -> Result<()> {
        // With --json, what is printed is the one result.
        if !self.json {
            out::line(line)?;
        }
        Ok(())
    }

    /// Takes step after step until this share is open.
    async fn go_to(&self, share: u8) -> Result<()> {
        let began = Instant::now();
        let mut progress = Progress::new(Unit::Events);
        loop {
            let Some(recorded) = self.recorded().await? else {
                if share == 0 {
                    break;
                }
                self.begin(Route { before: 0, share, phase: Phase::Hold }).await?;
                continue;
            };
            let now = recorded.step.route;
            let next = match now.phase {
                Phase::Open if now.share == share => break,
                Phase::Open => Route { before: now.share, share, phase: Phase::Hold },
                Phase::Hold => Route { phase: Phase::Drain, ..now },
                Phase::Drain => Route { phase: Phase::Open, ..now },
            };
            self.everybody(&recorded, &mut progress).await?;
            let step = Step { number: recorded.step.number + 1, route: next };
            // Another leader may have taken another step: then that is the present one.
            self.moves.advance(&recorded.name, step).await?;
        }
        progress.end();
        let processes = self.heard().await?.live.len();
        let took = began.elapsed().as_secs_f64();
        self.line(format_args!(
            "{share:>3} % of the keys go to the new buffer ({processes} processes, {took:.1} s)."
        ))
    }

    /// Records the first step, with what there is before anything moves.
    async fn begin(&self, route: Route) -> Result<()> {
        self.ready().await?;
        // Counts of processes that have ended are in no sum from here on.
        self.moves.sweep().await?;
        let start = self.start().await?;
        let before = self.moves.recorded().await?.map_or(0, |recorded| recorded.step.number);
        let step = Step { number: before + 1, route };
        let first = Recorded { name: PIPELINE.to_owned(), buffers: self.way.buffers(), step };
        // Another leader may have begun one: then that is the recorded one.
        self.moves.begin(&first, start).await?;
        Ok(())
    }

    /// Refuses to begin where no process has joined, or a running one moves otherwise. One that was configured
    /// for another move and has been silent for long is taken for ended.
    async fn ready(&self) -> Result<()> {
        let seen = self.heard().await?;
        if let Some(other) = seen.strangers.iter().find(|heard| heard.ago_ms < STRANGER_MS) {
            let (process, theirs) = (&other.report.process, buffers_of(other));
            bail!(
                "cannot begin the move: {process} runs with the buffers {theirs}, heard {} s ago; \
                 restart it with this configuration, or run this again in a minute if it has ended",
                other.ago_ms / 1_000
            );
        }
        if seen.live.is_empty() {
            bail!(Error(
                "no running process has joined this migration: start `forebay serve` with this configuration \
                 (buffer and next_buffer), wherever it runs, and then run this again"
                    .to_owned()
            ));
        }
        for other in &seen.strangers {
            self.moves.forget(&other.report.process).await?;
        }
        Ok(())
    }

    /// What the processes say once each of them has said something after `when`, or has not for so
    /// long that it won't.
    async fn heard_after(&self, when: Instant) -> Result<Together> {
        loop {
            let seen = self.heard().await?;
            let since = when.elapsed();
            let after = |heard: &Heard| Duration::from_millis(heard.ago_ms) + AFTER < since;
            if seen.live.iter().all(after) || since > SILENT {
                return Ok(seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until every process goes by `step`, and in its drain until that is through.
    async fn everybody(&self, recorded: &Recorded, progress: &mut Progress) -> Result<()> {
        let Step { number, route } = recorded.step;
        let giving = route.closed().map(Side::other);
        let mut most = 0;
        let (began, mut named) = (Instant::now(), Instant::now());
        loop {
            if self.stop.is_cancelled() {
                return self.interrupted(recorded).await;
            }
            let seen = self.heard().await?;
            if self.step().await? != Some(recorded.step) {
                // Somebody else leads it on.
                return Ok(());
            }
            let there = seen.strangers.is_empty()
                && seen.live.iter().all(|heard| heard.report.step == number);
            let drains = route.phase == Phase::Drain;
            let drained = |heard: &&Heard| heard.report.step == number && heard.report.drained;
            if there && !seen.live.is_empty() && (!drains || seen.live.iter().any(|h| drained(&h)))
            {
                return Ok(());
            }
            let nobody = seen.live.is_empty() && route.phase == Phase::Hold;
            if (!there || nobody) && began.elapsed() > HOLD_MAX {
                return self.given_up(recorded, &seen).await;
            }
            let left = giving.map_or(0, |side| seen.pending[side.index()]);
            most = most.max(left);
            let (share, phase) = (route.share, route.phase.name());
            let processes = seen.live.len();
            progress
                .at(most - left, most, || format!("to {share} %: {phase}, {processes} processes"));
            if named.elapsed() >= SILENT {
                named = Instant::now();
                if seen.live.is_empty() {
                    out::note(NONE_JOINED);
                }
                for heard in seen.live.iter().chain(&seen.strangers) {
                    let silent = Duration::from_millis(heard.ago_ms);
                    if silent >= SILENT {
                        let (process, s) = (&heard.report.process, silent.as_secs());
                        out::note(format_args!(
                            "{process} was not heard of for {s} s. If it has ended, run this again \
                             with --forget {process}."
                        ));
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Lets nobody wait for a leader that has gone.
    async fn interrupted(&self, Recorded { name, step, .. }: &Recorded) -> Result<()> {
        let route = step.route;
        if route.phase == Phase::Hold {
            self.moves.advance(name, step.back()).await?;
        }
        bail!("stopped on the way to {} %; run it again to go on, or with --rollback", route.share)
    }

    /// Lets nobody wait for a process that says nothing.
    async fn given_up(&self, recorded: &Recorded, seen: &Together) -> Result<()> {
        let step = recorded.step;
        if step.route.phase == Phase::Hold {
            self.moves.advance(&recorded.name, step.back()).await?;
        }
        let late = seen.live.iter().filter(|heard| heard.report.step != step.number);
        let late = late.map(|heard| heard.report.process.clone());
        let others = seen.strangers.iter().map(|heard| {
            format!("{} (which moves from {})", heard.report.process, buffers_of(heard))
        });
        let late: Vec<String> = late.chain(others).collect();
        bail!(
            "within {} s not every process joined; missing: {}. If one has ended, run this again with \
             --forget PROCESS",
            HOLD_MAX.as_secs(),
            if late.is_empty() { "all of them".to_owned() } else { late.join(", ") }
        )
    }

    /// Stays at a share.
    async fn stay(&self, pause: Duration) -> Result<()> {
        let began = Instant::now();
        let mut progress = Progress::new(Unit::Events);
        while began.elapsed() < pause {
            if self.stop.is_cancelled() {
                progress.end();
                bail!("stopped between two shares; run it again to go on, or with --rollback");
            }
            let seen = self.heard().await?;
            let left = (pause - began.elapsed()).as_secs();
            let [old, new] = seen.pending.map(grouped);
            progress.at(began.elapsed().as_secs(), pause.as_secs(), || {
                format!(
                    "{left} s until the next share; held: {old} in the old buffer, {new} in the new"
                )
            });
            tokio::time::sleep(LOOK_EVERY).await;
        }
        progress.end();
        Ok(())
    }

    /// Waits until the buffer that nothing goes to any more is empty.
    async fn drain(&self) -> Result<()> {
        let Some(step) = self.step().await? else { return Ok(()) };
        let giving = if step.route.share == 0 { Side::Target } else { Side::Source };
        let mut progress = Progress::new(Unit::Events);
        let (mut most, mut empty_since) = (0, None);
        let mut named = Instant::now();
        loop {
            if self.stop.is_cancelled() {
                progress.end();
                bail!("stopped while the other buffer is drained; it goes on without this");
            }
            let seen = self.heard().await?;
            let left = seen.pending[giving.index()];
            if seen.live.is_empty() && named.elapsed() >= SILENT {
                named = Instant::now();
                out::note(NONE_JOINED);
            }
            if seen.live.is_empty() || left > 0 {
                empty_since = None;
            } else if empty_since.get_or_insert_with(Instant::now).elapsed() > REPORT_EVERY * 6 {
                progress.end();
                return Ok(());
            }
            most = most.max(left);
            progress.at(most - left, most, || "draining the buffer that was left".to_owned());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Which buffers a process moves between. A report of an earlier version has them in its name alone.
fn buffers_of(heard: &Heard) -> String {
    let Buffers { source, target } = &heard.report.buffers;
    match source.is_empty() {
        true => heard.name.clone(),
        false => format!("{source} to {target}"),
    }
}
