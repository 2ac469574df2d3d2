//! `forebay bench phases`: the plain ways into a PostgreSQL against ours.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use buffer::Location;
use jiff::Timestamp;
use lab::phases::processor::{self, Server};
use lab::phases::{Comparison, Figures, Machine, Setting};
use store_postgres::scratch;

use super::super::configured;
use super::plan::Plan;
use super::{buffered, direct};
use crate::config::{Error, Flags};
use crate::exit::Exit;
use crate::{guarantee, out, registry, signals};
use model::units::{duration, grouped};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  forebay bench phases --buffer 'redis://127.0.0.1/0?list=tx_queue' \\
      --store postgres://forebay@127.0.0.1/shop

Everything is written to schemas and a queue of its own, beside yours, and removed at the end,
also where a signal stops it.")]
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
    let settings = &config.settings;
    let name = format!("forebay_bench_{:08x}", rand::random::<u32>());
    let store = registry::postgres(&settings.path("store"), &settings.variable());
    let (Some(buffer), Some(store)) = (config.buffer().renamed(&name), store) else {
        let problem = "the phases are measured on a Redis and a PostgreSQL of yours; name them with \
                       --buffer redis://… and --store postgres://…";
        bail!(Error(problem.to_owned()))
    };
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("can't make {}; name another --out", args.out.display()))?;
    let plan = Plan {
        events: usize::try_from(args.events)?,
        limit: args.limit,
        pool: usize::from(args.pool),
        servers: servers(&store, &*buffer).await?,
        store,
        buffer,
        out: args.out.clone(),
        stop: signals::stop()?,
        config,
    };
    let comparison = compare(&plan).await?;
    write(&args, &comparison)?;
    Ok(Exit::Done)
}

async fn compare(plan: &Plan) -> Result<Comparison> {
    let mut phases = Vec::new();
    out::note("1 of 3: one INSERT a payment …");
    phases.push(in_schema(plan, 1, async |store| direct::one_by_one(plan, store).await).await?);
    out::note("2 of 3: a pool of them …");
    phases.push(in_schema(plan, 2, async |store| direct::pooled(plan, store).await).await?);
    out::note("3 of 3: buffered, screened, in batches …");
    phases.push(in_schema(plan, 3, async |store| buffered::run(plan, store).await).await?);
    let (accepted, problems) =
        guarantee::asked(&**plan.config.buffer(), plan.config.main().events).await?;
    let setting = |name: &str, value: String| Setting::new(name, value);
    Ok(Comparison {
        title: "Three ways into PostgreSQL".to_owned(),
        date: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        machine: Machine::read(),
        payload: "card payments of some 250 bytes of JSON, 15 columns, all indexes".to_owned(),
        settings: vec![
            setting("payments in each phase", grouped(u64::try_from(plan.events)?)),
            setting("a direct phase ends after", format!("{} s", plan.limit.as_secs())),
            setting("connections of phase 2", plan.pool.to_string()),
            setting("batch of phase 3, at most", plan.config.engine.batch_max.to_string()),
            setting("lanes of phase 3", plan.config.engine.lanes.to_string()),
        ],
        notes: [accepted].into_iter().chain(problems).collect(),
        phases,
    })
}

/// Runs `work` in a schema of its own, which is gone afterwards.
async fn in_schema(
    plan: &Plan,
    phase: u8,
    work: impl AsyncFnOnce(store_postgres::Options) -> Result<Figures>,
) -> Result<Figures> {
    let schema = format!("{}_bench_{phase}", plan.store.schema);
    let store = store_postgres::Options { schema, exclusive: false, ..plan.store.clone() };
    scratch::make(&store).await?;
    let figures = work(store.clone()).await;
    let left_over = || format!("the schema {} is left over; drop it", store.schema);
    scratch::discard(&store).await.with_context(left_over)?;
    figures
}

/// The servers, as far as they run on this machine.
async fn servers(store: &store_postgres::Options, buffer: &dyn Location) -> Result<Vec<Server>> {
    let postgres =
        store_postgres::baseline::while_connected(store, |pid| processor::root_of(pid, "postgres"));
    let of_buffer = buffer.server().await?.map(|server| {
        let root = processor::root_of(server.pid, server.program);
        (server.name, root)
    });
    let all = [("PostgreSQL", postgres.await?)].into_iter().chain(of_buffer);
    let named = |(name, root): (&str, Option<u32>)| {
        Some(Server { name: name.to_owned(), pids: vec![root?] })
    };
    Ok(all.filter_map(named).collect())
}

fn write(args: &Args, comparison: &Comparison) -> Result<()> {
    let (text, json, html) = (comparison.text(), comparison.json(), comparison.html());
    for (name, content) in [("phases.txt", &text), ("phases.json", &json), ("phases.html", &html)] {
        let path = args.out.join(name);
        std::fs::write(&path, content)
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    out::line(text.trim_end())?;
    let dir = args.out.display();
    out::line(format_args!("\nWritten: {dir}/phases.html, phases.json and phases.txt."))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    #[test]
    fn a_number_out_of_bounds_is_refused_by_the_name_and_the_bounds_of_its_own_option() {
        let parse = |option: &str, number: &str| {
            let line = ["forebay", "bench", "phases", option, number];
            crate::args::Args::try_parse_from(line)
        };
        for (option, inside, outside, bounds) in [
            ("--events", ["1000", "10000000"], ["999", "10000001"], "1000..=10000000"),
            ("--pool", ["1", "1000"], ["0", "70000"], "1..=1000"),
        ] {
            for number in inside {
                assert!(parse(option, number).is_ok(), "{option} {number}");
            }
            for number in outside {
                let said = parse(option, number).unwrap_err().to_string();
                assert!(said.contains(option) && said.contains(bounds), "{said}");
            }
        }
    }
}
