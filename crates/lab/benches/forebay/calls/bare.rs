//! The ceiling: tasks that call in a loop, with the client and the requests of the engine's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use outbound::Client;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::events::{event, request};
use super::running::{Measured, Watch};
use super::simulator::Simulator;

const ANSWER_MAX: Duration = Duration::from_secs(5);

/// `tasks` of them make `calls` calls together.
pub(super) async fn run(tasks: usize, calls: usize) -> Result<Measured> {
    let dir = TempDir::new_in(".")?;
    let simulator = Simulator::start(dir.path(), &[])?;
    let url = simulator.url()?;
    let client =
        Arc::new(Client::new(outbound::Options { calls_max: tasks, ..Default::default() })?);
    let next = Arc::new(AtomicUsize::new(0));
    let watch = Watch::begin(&simulator)?;
    let mut looping = JoinSet::new();
    for _ in 0..tasks {
        let (client, next, url) = (Arc::clone(&client), Arc::clone(&next), url.clone());
        looping.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= calls {
                    return Ok(());
                }
                let answer = client.send(request(&url, &event(n)), ANSWER_MAX).await?;
                ensure!(answer.status.is_success(), "it answered {}", answer.status);
            }
        });
    }
    while let Some(ended) = looping.join_next().await {
        ended??;
    }
    let measured = watch.end(&simulator, calls)?;
    simulator.settled_once(calls).await?;
    Ok(measured)
}
