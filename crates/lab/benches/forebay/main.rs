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

mod events;
mod http;
mod journal_lease;
mod journal_offer;
mod load;
mod pipeline;
mod process;
mod scaled;
mod screening;
mod table;

use std::process::ExitCode;

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
}

type Bench = fn(Scale) -> anyhow::Result<Vec<Row>>;

const BENCHES: [(&str, Bench); 12] = [
    ("journal-offer", journal_offer::run),
    ("journal-lease", journal_lease::run),
    ("screening", screening::run),
    ("pipeline", pipeline::run),
    ("http", http::run),
    ("latency", process::latency),
    ("backlog", process::backlog),
    ("redis-offer", scaled::offer),
    ("redis-pipeline", scaled::pipeline),
    ("redis-peer", scaled::peer),
    ("redis-latency", scaled::latency),
    ("redis-outage", scaled::outage),
];

fn main() -> ExitCode {
    let mut names = Vec::new();
    let (mut scale, mut json) = (Scale { divisor: 1 }, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--quick" => scale = Scale { divisor: 10 },
            "--json" => json = arguments.next(),
            name if BENCHES.iter().any(|(known, _)| *known == name) => names.push(argument),
            other => {
                let known: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
                eprintln!("no bench is called {other}; there are {}", known.join(", "));
                return ExitCode::from(2);
            }
        }
    }
    let mut rows = Vec::new();
    let mut failed = false;
    for (name, bench) in BENCHES {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        eprintln!("{name} …");
        match bench(scale) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("{name} could not be measured: {error:#}");
                failed = true;
            }
        }
    }
    print!("{}", table::text(&rows));
    if let Some(path) = json
        && let Err(error) = std::fs::write(&path, table::json(&rows))
    {
        eprintln!("{path} could not be written: {error}");
        failed = true;
    }
    ExitCode::from(u8::from(failed))
}
