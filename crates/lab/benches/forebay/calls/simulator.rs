//! The outside service: that of `forebay simulate http`, in a process of its own.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, Uri};
use lab::simulate::{Audit, Behaviour, Options, start};
use model::clock::System;
use outbound::Client;
use tokio::net::TcpListener;

use super::SIMULATOR;
use crate::idle::ticks;

/// How long an answer about the service may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Serves until the process is ended: the ledger's file, and then fields of the behaviour. Prints where it listens.
pub(super) fn serve(arguments: impl Iterator<Item = String>) -> Result<Infallible> {
    let mut arguments = arguments;
    let ledger = arguments.next().map(PathBuf::from);
    let behaviour =
        Behaviour::of_pairs(&arguments.collect::<Vec<_>>()).map_err(anyhow::Error::msg)?;
    let options = Options {
        behaviour,
        ledger,
        member_field: "member".to_owned(),
        order_field: None,
        seed: 1,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let service = start(listener, options, Arc::new(System))?;
        println!("{}", service.address);
        std::future::pending().await
    })
}

/// A service of 50 ms. It ends when this is dropped.
pub(super) struct Simulator {
    child: Child,
    address: String,
    client: Client,
}

impl Simulator {
    /// Starts it with a ledger of its own in `dir`, with these fields of its behaviour changed.
    pub(super) fn start(dir: &Path, behaviour: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SIMULATOR)
            .arg(dir.join("ledger.ndjson"))
            .args(behaviour)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.as_mut().context("its output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let client = Client::new(outbound::Options::default())?;
        let simulator = Self { child, address: line.trim().to_owned(), client };
        ensure!(!simulator.address.is_empty(), "the simulator does not listen");
        Ok(simulator)
    }

    /// Where it is called.
    pub(super) fn url(&self) -> Result<Uri> {
        Ok(format!("http://{}/calls", self.address).parse()?)
    }

    /// Changes how many calls it works on at once.
    pub(super) async fn set_capacity(&self, capacity: usize) -> Result<()> {
        let body = format!("{{\"capacity\":{capacity}}}");
        self.ask(Method::PUT, "/behaviour", Bytes::from(body)).await.map(drop)
    }

    /// Makes sure that by its ledger each of `events` had its effect once, and nothing else had one.
    ///
    /// # Errors
    /// If that is not so, or the ledger can't be read.
    pub(super) async fn settled_once(&self, events: usize) -> Result<()> {
        let audit = self.audit().await?;
        let once = audit.members == events as u64 && audit.effects == audit.members;
        ensure!(once && audit.members_twice == 0, "{events} events, and the ledger has {audit:?}");
        Ok(())
    }

    /// The audit of its ledger now.
    pub(super) async fn audit(&self) -> Result<Audit> {
        let body = self.ask(Method::GET, "/ledger/audit", Bytes::new()).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// The processor time that it has used, in ticks.
    pub(super) fn ticks(&self) -> Result<f64> {
        ticks(self.child.id())
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let url = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(url).body(body)?;
        let answer = self.client.send(request, ANSWER_MAX).await?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status.is_success(), "{path} answered {}: {said}", answer.status);
        Ok(answer.body)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
