//! The benches: our figure, the raw ceiling measured in the same run, and the ratio.
//!
//! A ratio within one run is what a noisy machine can be asked for: each bench alternates its two
//! sides and takes the median of the ratios. Nothing here fails for being slow; `at least` is shown
//! beside what was measured, and the exit code says only whether the benches ran.
//!
//! ```text
//! cargo xtask bench                    all of them
//! cargo xtask bench journal-offer http some of them
//! cargo xtask bench --quick            a tenth of the work, to see that they run
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

mod buffers;
mod calls;
mod events;
mod http;
mod idle;
mod journal_lease;
mod journal_offer;
mod journal_single;
mod load;
mod paced;
mod pipeline;
mod process;
mod queue;
mod scaled;
mod screening;
mod table;
mod tables;

use std::process::ExitCode;

use Bench::{Buffers, Rows};
use buffers::Compared;
use table::Row;

/// As in the product: what is measured must be what runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much work to do: all of it, or a tenth for a quick look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    divisor: u32,
}

impl Scale {
    /// `full` events, or fewer.
    pub(crate) fn events(self, full: u32) -> usize {
        (full / self.divisor) as usize
    }

    /// `full` seconds, or fewer.
    pub(crate) fn seconds(self, full: f64) -> f64 {
        (full / f64::from(self.divisor)).max(3.0)
    }

    /// What asks for it, on the command line.
    pub(crate) fn argument(self) -> Option<&'static str> {
        (self.divisor > 1).then_some("--quick")
    }
}

/// A bench, by what it finds.
enum Bench {
    Rows(fn(Scale) -> anyhow::Result<Vec<Row>>),
    Buffers(fn(Scale) -> anyhow::Result<Vec<Compared>>),
}

const BENCHES: [(&str, Bench); 20] = [
    ("journal-offer", Rows(journal_offer::run)),
    ("journal-single", Rows(journal_single::run)),
    ("journal-lease", Rows(journal_lease::run)),
    ("screening", Rows(screening::run)),
    ("pipeline", Rows(pipeline::run)),
    ("http", Rows(http::run)),
    ("write-behind", Rows(tables::write_behind)),
    ("cached-read", Rows(tables::cached_read)),
    ("latency", Rows(process::latency)),
    ("backlog", Rows(process::backlog)),
    ("idle", Rows(idle::journal)),
    ("redis-idle", Rows(idle::redis)),
    ("calls", Rows(calls::run)),
    ("redis-offer", Rows(scaled::offer)),
    ("redis-pipeline", Rows(scaled::pipeline)),
    ("redis-peer", Rows(scaled::peer)),
    ("redis-latency", Rows(scaled::latency)),
    ("redis-outage", Rows(scaled::outage)),
    ("kafka-pipeline", Rows(scaled::kafka_pipeline)),
    ("buffers", Buffers(buffers::run)),
];

/// How this program asks itself for the line of one buffer.
pub(crate) const ONE_BUFFER: &str = "--one-buffer";

/// All that was found.
#[derive(Default, serde::Serialize)]
struct Found {
    rows: Vec<Row>,
    buffers: Vec<Compared>,
}

fn main() -> ExitCode {
    let mut names = Vec::new();
    let (mut scale, mut json) = (Scale { divisor: 1 }, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--quick" => scale = Scale { divisor: 10 },
            "--json" => json = arguments.next(),
            calls::SIMULATOR => return calls::simulator(arguments),
            ONE_BUFFER => return one_buffer(&arguments.next().unwrap_or_default(), scale),
            name if BENCHES.iter().any(|(known, _)| *known == name) => names.push(argument),
            other => {
                let known: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
                eprintln!("no bench is called {other}; there are {}", known.join(", "));
                return ExitCode::from(2);
            }
        }
    }
    let mut found = Found::default();
    let mut failed = false;
    for (name, bench) in BENCHES {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        eprintln!("{name} …");
        let measured = match bench {
            Rows(bench) => bench(scale).map(|rows| found.rows.extend(rows)),
            Buffers(bench) => bench(scale).map(|buffers| found.buffers.extend(buffers)),
        };
        if let Err(error) = measured {
            eprintln!("{name} could not be measured: {error:#}");
            failed = true;
        }
    }
    print!("{}{}", table::text(&found.rows), buffers::text(&found.buffers));
    if let Some(path) = json
        && let Err(error) = write(&path, &found)
    {
        eprintln!("{path} could not be written: {error:#}");
        failed = true;
    }
    ExitCode::from(u8::from(failed))
}

fn write(path: &str, found: &Found) -> anyhow::Result<()> {
    Ok(std::fs::write(path, serde_json::to_string_pretty(found)?)?)
}

/// Measures one buffer, for another process of this program.
fn one_buffer(backend: &str, scale: Scale) -> ExitCode {
    let printed = buffers::one(backend, scale).and_then(|line| Ok(serde_json::to_string(&line)?));
    match printed {
        Ok(line) => println!("{line}"),
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
