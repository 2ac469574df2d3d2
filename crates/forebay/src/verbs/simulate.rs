//! `forebay simulate`: plays a service of somebody else.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use lab::simulate::{Behaviour, Options, start};
use tokio::net::TcpListener;

use crate::config::Error;
use crate::exit::Exit;
use crate::{open, out, signals};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// A service that is called over HTTP: slow, refusing, failing, and with a ledger of what it did
    Http(Box<Http>),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay simulate http --latency-ms 50 --jitter-ms 20
  forebay simulate http --capacity 100 --cut-permille 10 --ledger ./ledger.ndjson
  curl -s -X POST -H 'Idempotency-Key: k1' -d '{\"member\": \"m1\"}' http://127.0.0.1:8090/pay
  curl -s -X PUT -d '{\"away\": true}' http://127.0.0.1:8090/behaviour
  curl -s http://127.0.0.1:8090/ledger/audit

GET /calls/KEY says whether a key had its effect. SIGTERM or Ctrl-C ends it and prints the audit. Exit
code 1: some member got an effect more than once. It checks nobody's credentials: keep it on loopback.")]
pub(crate) struct Http {
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    bind: SocketAddr,
    /// The file of the ledger, which outlives a kill; in memory without it
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// The field of a call's JSON object that names the member
    #[arg(long, value_name = "FIELD", default_value = "member")]
    member_field: String,
    /// What its draws begin with
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    behaviour: Flags,
}

/// The flags of a [`Behaviour`]; see there.
#[derive(Debug, clap::Args)]
struct Flags {
    /// How long it works on a call, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50)]
    latency_ms: u64,
    /// Up to how much longer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    jitter_ms: u64,
    /// Calls worked on at once; more wait in line
    #[arg(long, value_name = "CALLS", default_value_t = 10_000)]
    capacity: u32,
    /// Of 1,000 calls, so many are answered 429
    #[arg(long, value_name = "N", default_value_t = 0)]
    refused_permille: u16,
    /// What Retry-After says with a 429, in seconds
    #[arg(long, value_name = "S", default_value_t = 1)]
    retry_after_s: u64,
    /// Of 1,000 calls, so many fail with 500 before their effect
    #[arg(long, value_name = "N", default_value_t = 0)]
    fail_before_permille: u16,
    /// Of 1,000 calls, so many fail with 500 after their effect
    #[arg(long, value_name = "N", default_value_t = 0)]
    fail_after_permille: u16,
    /// Of 1,000 calls, so many get a 500 that their key gets ever after
    #[arg(long, value_name = "N", default_value_t = 0)]
    stored_failure_permille: u16,
    /// Of 1,000 calls, so many hang; half of them have their effect
    #[arg(long, value_name = "N", default_value_t = 0)]
    hang_permille: u16,
    /// How long a call hangs, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    hang_ms: u64,
    /// Of 1,000 calls, so many are cut off after their effect
    #[arg(long, value_name = "N", default_value_t = 0)]
    cut_permille: u16,
    /// Let each call have its effect, whatever its key
    #[arg(long)]
    ignore_keys: bool,
    /// For how long it knows a key, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 86_400_000)]
    key_window_ms: u64,
}

impl From<Flags> for Behaviour {
    fn from(flags: Flags) -> Self {
        Self {
            latency_ms: flags.latency_ms,
            jitter_ms: flags.jitter_ms,
            capacity: flags.capacity,
            refused_permille: flags.refused_permille,
            retry_after_s: flags.retry_after_s,
            fail_before_permille: flags.fail_before_permille,
            fail_after_permille: flags.fail_after_permille,
            stored_failure_permille: flags.stored_failure_permille,
            hang_permille: flags.hang_permille,
            hang_ms: flags.hang_ms,
            cut_permille: flags.cut_permille,
            away: false,
            honours_keys: !flags.ignore_keys,
            key_window_ms: flags.key_window_ms,
        }
    }
}

pub(crate) async fn run(verb: Verb) -> Result<Exit> {
    let Verb::Http(http) = verb;
    let Http { bind, ledger, member_field, seed, behaviour } = *http;
    let behaviour = Behaviour::from(behaviour);
    behaviour.validate().map_err(Error)?;
    let stop = signals::stop()?;
    let listener = TcpListener::bind(bind)
        .await
        .with_context(|| format!("cannot listen on {bind}; choose another with --bind"))?;
    let options = Options { behaviour, ledger, member_field, seed };
    let service = start(listener, options, open::clock())?;
    out::line(format_args!("listening on http://{}", service.address))?;
    stop.cancelled().await;
    let audit = service.audit();
    out::json(&audit)?;
    Ok(Exit::done_if(audit.members_twice == 0))
}
