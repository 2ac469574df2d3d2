//! The `forebay` binary: arguments to configuration to run.
//!
//! Only [`registry`] names backends; everything else knows them by their traits.
//! One file for each verb under `verbs`, what verbs share beside it.
//!
//! What it deliberately does not do: nothing here decides what an event means, how it is kept, or
//! when it is settled; that lies in the libraries.

mod args;
mod config;
mod distinct;
mod exit;
mod files;
mod fingerprint;
mod fleet;
mod guarantee;
mod identity;
mod log;
mod mask;
mod moving;
mod open;
mod out;
mod outside;
mod payments;
mod registry;
mod signals;
mod target;
mod url;
mod verbs;
mod verdict;
mod write_behind;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::runtime::{self, Runtime};

use crate::args::{Args, Verb};
use crate::exit::Exit;

/// Returns freed memory sooner than the system's allocator: a burst leaves no high-water mark.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = std::env::var("FOREBAY_LOG").ok();
    let started = log::start(filter.as_deref()).map_err(Into::into).and_then(|()| start());
    exit::code(&started.and_then(|runtime| runtime.block_on(run(args))))
}

/// Prepares the process.
fn start() -> anyhow::Result<Runtime> {
    files::raise_limit()?;
    runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

async fn run(args: Args) -> anyhow::Result<Exit> {
    let Args { verb, flags } = args;
    match verb {
        Verb::Demo(args) => verbs::demo::run(args, &flags).await,
        Verb::Serve(args) => verbs::serve::run(args, flags).await,
        Verb::Generate(args) => verbs::generate::run(args, &flags).await,
        Verb::Replay(args) => verbs::replay::run(args, &flags).await,
        Verb::Pipeline(verb) => verbs::pipeline::run(verb, &flags).await,
        Verb::Monitor(args) => verbs::monitor::run(args, &flags).await,
        Verb::Advise(args) => verbs::advise::run(args, &flags).await,
        Verb::Bench(verb) => verbs::bench::run(verb, &flags).await,
        Verb::Fraud(verb) => verbs::fraud::run(verb, &flags).await,
        Verb::Store(verb) => verbs::store::run(verb, &flags).await,
        Verb::Buffer(verb) => verbs::buffer::run(verb, &flags).await,
        Verb::Dead(verb) => verbs::dead::run(verb, &flags).await,
        Verb::Config(verb) => verbs::config::run(verb, &flags).await,
    }
}
