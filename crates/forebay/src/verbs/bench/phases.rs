//! `forebay bench phases`: the plain ways into a PostgreSQL against ours.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use buffer::backend::asked;
use lab::phases::Figures;
use lab::ways::{self, Plan};
use model::units::duration;
use store::plain::Way;

use super::super::configured;
use crate::config::{Config, Error, Flags};
use crate::exit::Exit;
use crate::out;
use crate::payments::Payments;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  forebay bench phases --buffer 'redis://127.0.0.1/0?list=tx_queue' \\
      --store postgres://forebay@127.0.0.1/shop

It measures a PostgreSQL behind a Redis. Everything is written to schemas and a queue of its own, beside
yours, and removed at the end, also where a signal stops it.")]
pub(crate) struct Args {
    /// Payments in each phase, 1000 to 10000000
    #[arg(
        long,
        default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1_000..=10_000_000)
    )]
    events: u32,
    /// A direct phase ends after this long, however many it has written, e.g. 20s
    #[arg(long, value_parser = duration, default_value = "20s")]
    limit: Duration,
    /// Connections of phase 2, 1 to 1000
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pool: u16,
    /// Where phases.txt, phases.json and phases.html are written
    #[arg(long, value_name = "DIR", default_value = "phases")]
    out: PathBuf,
}

pub(crate) async fn run(args: Args, flags: &Flags) -> Result<Exit> {
    let config = configured(flags)?;
    let name = format!("forebay_bench_{:08x}", rand::random::<u32>());
    let stores = [1, 2, 3].map(|phase| config.store.beside_to_measure(&format!("bench_{phase}")));
    let (Some(buffer), [Some((_, first)), Some((_, second)), Some((store, third))]) =
        (config.buffer().renamed(&name), stores)
    else {
        let problem = "the phases are measured on a Redis and a PostgreSQL of yours; name them with \
                       --buffer redis://… and --store postgres://…";
        bail!(Error(problem.to_owned()))
    };
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {}; name another --out", args.out.display()))?;
    let plan = Plan {
        events: usize::try_from(args.events)?,
        limit: args.limit,
        pool: usize::from(args.pool),
        batch_max: config.engine.batch_max,
        lanes: config.engine.lanes,
        servers: Plan::servers(&*first, &*buffer).await?,
        stop: runtime::signals::stop()?,
    };
    out::note("1 of 3: one INSERT a payment …");
    let one = Plan::in_scratch(&*first, async || ways::direct(&plan, &*first, Way::OneByOne).await);
    let one = one.await?;
    out::note("2 of 3: a pool of them …");
    let way = Way::Pool(plan.pool);
    let pool = Plan::in_scratch(&*second, async || ways::direct(&plan, &*second, way).await);
    let pool = pool.await?;
    out::note("3 of 3: buffered, screened, in batches …");
    let key_file = args.out.join(format!("{name}.key"));
    let own = Config {
        store,
        // A key made for a bench must not be the one that a worker finds later, and is refused with.
        key_file,
        // What waits in a spill or in another buffer is somebody's money, and no business of a bench.
        ..config.clone().with_buffer(buffer)
    };
    let ours = Plan::in_scratch(&*third, async || buffered(&plan, &own).await).await?;
    let (accepted, problems) = asked(&**config.buffer(), config.main().events).await?;
    let notes = [accepted].into_iter().chain(problems).collect();
    let comparison = plan.comparison(first.server(), vec![one, pool, ours], notes)?;
    out::line(comparison.write(&args.out)?.trim_end())?;
    let dir = args.out.display();
    out::line(format_args!("\nWritten: {dir}/phases.html, phases.json and phases.txt."))?;
    Ok(Exit::Done)
}

/// Measures the pipeline of `config`, whose buffer and key are removed afterwards.
async fn buffered(plan: &Plan, config: &Config) -> Result<Figures> {
    let measure = async {
        let payments = Payments::start(config, None).await?;
        let measured = ways::measure(plan, &payments.at_work).await;
        let ended = payments.stop().await?;
        measured?.figures(&ended).await
    };
    let figures = measure.await;
    let removed = match std::fs::remove_file(&config.key_file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("cannot remove {}", config.key_file.display())),
    };
    let left_over = || format!("the list or stream {} is left over", config.buffer().name());
    config.buffer().purge().await.with_context(left_over)?;
    removed?;
    figures
}
