//! `forebay simulate`: simulates an outside service.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use lab::simulate::{Behaviour, Options, start};
use settings::Error;
use tokio::net::TcpListener;

use crate::exit::Exit;
use crate::{open, out};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// A service that is called over HTTP: slow, refusing, failing, and with a ledger of what it did
    Http(Http),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay simulate http latency_ms=50 jitter_ms=20
  forebay simulate http capacity=100 cut_permille=10 --ledger ./ledger.ndjson
  curl -s -X POST -H 'Idempotency-Key: k1' -d '{\"member\": \"m1\"}' http://127.0.0.1:8090/pay
  curl -s -X PUT -d '{\"away\": true}' http://127.0.0.1:8090/behaviour
  curl -s http://127.0.0.1:8090/behaviour
  curl -s http://127.0.0.1:8090/ledger/audit

GET /behaviour shows all fields and their values. GET /calls/KEY says whether a key had its effect. SIGTERM or
Ctrl-C ends it and prints the audit. Exit code 1: a member got an effect more than once. It checks no
credentials: keep it on loopback.")]
pub(crate) struct Http {
    /// How it behaves: fields that differ from a good service of 50 ms
    #[arg(value_name = "FIELD=VALUE")]
    behaviour: Vec<String>,
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
}

pub(crate) async fn run(verb: Verb) -> Result<Exit> {
    let Verb::Http(Http { behaviour, bind, ledger, member_field, seed }) = verb;
    let behaviour = Behaviour::of_pairs(&behaviour).map_err(Error)?;
    let stop = runtime::signals::stop()?;
    let listener = TcpListener::bind(bind)
        .await
        .with_context(|| format!("cannot listen on {bind}; choose another with --bind"))?;
    let service = start(
        listener,
        Options { behaviour, ledger, member_field, order_field: None, seed },
        open::clock(),
    )?;
    out::line(format_args!("listening on http://{}", service.address))?;
    stop.cancelled().await;
    let audit = service.audit();
    out::json(&audit)?;
    Ok(Exit::done_if(audit.members_twice == 0))
}
