//! From arguments to the verb that runs, and its exit code.

use std::process::ExitCode;

use anyhow::Context;
use buffer::Backend;
use tokio::runtime::{self, Runtime};

use crate::args::{Args, Asked, Verb};
use crate::domain::Domain;
use crate::exit::Exit;
use crate::{domains, exit, log, registry, verbs};

/// What a program has besides the backends of the registry and the listed domains.
#[derive(Clone, Copy, Default)]
pub struct Additions {
    /// Buffer backends.
    pub buffers: &'static [&'static dyn Backend],
    /// Domains, started after those of the list.
    pub domains: &'static [&'static dyn Domain],
}

/// Runs the program with the arguments and the environment of this process.
#[must_use]
pub fn main(more: Additions) -> ExitCode {
    registry::add(more.buffers);
    domains::add(more.domains);
    let asked = Asked::parse();
    let filter = std::env::var("FOREBAY_LOG").ok();
    let started = log::start(filter.as_deref()).map_err(Into::into).and_then(|()| start());
    exit::code(&started.and_then(|runtime| runtime.block_on(run(asked))))
}

/// Prepares the process.
fn start() -> anyhow::Result<Runtime> {
    ::runtime::open_files::raise_limit().map_err(anyhow::Error::msg)?;
    runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

async fn run(asked: Asked) -> anyhow::Result<Exit> {
    let Args { verb, flags } = match asked {
        Asked::Verb(args) => args,
        Asked::Domain { verb, matches, flags } => {
            return verb.run(&matches, &verbs::configured(&flags)?).await;
        }
    };
    match verb {
        Verb::Demo(args) => verbs::demo::run(args, &flags).await,
        Verb::Serve(args) => verbs::serve::run(args, flags).await,
        Verb::Generate(args) => verbs::generate::run(args, &flags).await,
        Verb::Replay(args) => verbs::replay::run(args, &flags).await,
        Verb::Pipeline(verb) => verbs::pipeline::run(verb, &flags).await,
        Verb::Monitor(args) => verbs::monitor::run(args, &flags).await,
        Verb::Advise(args) => verbs::advise::run(args, &flags).await,
        Verb::Bench(verb) => verbs::bench::run(verb, &flags).await,
        Verb::Simulate(verb) => verbs::simulate::run(verb).await,
        Verb::Store(verb) => verbs::store::run(verb, &flags).await,
        Verb::Buffer(verb) => verbs::buffer::run(verb, &flags).await,
        Verb::Dead(verb) => verbs::dead::run(verb, &flags).await,
        Verb::Config(verb) => verbs::config::run(verb, &flags).await,
    }
}
