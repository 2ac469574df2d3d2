//! Durable single-event ingest over HTTP, against the same server answering 202 without effect.

use std::sync::Arc;

use anyhow::Result;
use buffer::Buffer;
use buffer_journal::{JournalBuffer, Options};
use model::clock::System;
use server::{Readiness, Service, Telemetry, events};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::Scale;
use crate::load;
use crate::table::{Row, paired};

const CONNECTIONS: usize = 64;
const PAIRS: usize = 5;

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let telemetry = server::telemetry::install()?;
    let seconds = scale.seconds(6.0);
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let ours = serve(&telemetry, seconds, true)?;
        pairs.push((ours, serve(&telemetry, seconds, false)?));
    }
    let note = format!(
        "sync=always, one event a request, {CONNECTIONS} connections, client on the same two cores"
    );
    Ok(vec![paired("HTTP ingest, durable", "requests/s", 0.4, &pairs, note)])
}

fn serve(telemetry: &Telemetry, seconds: f64, effective: bool) -> Result<f64> {
    let dir = TempDir::new_in(".")?;
    let serving = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let loading = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (journal, _) = JournalBuffer::open(Options::new(dir.path()), Arc::new(System))?;
    let journal: Arc<dyn Buffer> = Arc::new(journal);
    let options = server::Options::default();
    let events = if effective { events::routes(journal) } else { events::without_effect(journal) };
    let service =
        Service::new(Vec::new, Arc::new(System), telemetry.clone(), Readiness::new(), options)
            .with(events);
    let listener = serving.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let shutdown = CancellationToken::new();
    let server = serving.spawn(service.run(listener, shutdown.clone()));
    let rate = loading.block_on(load::run(address, CONNECTIONS, seconds, load::payment))?;
    shutdown.cancel();
    serving.block_on(server)??;
    Ok(rate)
}
