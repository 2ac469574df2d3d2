//! One poll for all queues of a provider that rest: one round trip for however many they are.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::connection::Connection;
use crate::watch::{Look, Resting, Watch, Watches, exists, read};

/// Between two looks. A queue that rests learns of an event after this long and one round trip, at most.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between two looks at one queue of a cluster for each queue that rests: queues lie on different nodes, so each
/// is asked for by itself.
const CLUSTER_LOOK_EVERY: Duration = Duration::from_micros(500);

/// Looks at all that rest, for as long as it is run.
pub(crate) async fn poll(watches: Arc<Watches>, connection: Arc<Connection>, cluster: bool) {
    let mut round = Round::default();
    let mut asked = JoinSet::new();
    loop {
        let started = Instant::now();
        if round.version != watches.version() {
            round = Round::of(&watches);
        }
        if round.resting.is_empty() {
            watches.rested.notified().await;
            continue;
        }
        if cluster {
            each(&round, &connection, &mut asked);
        } else {
            together(&round, &connection).await;
        }
        let queues = u32::try_from(round.resting.len()).unwrap_or(u32::MAX);
        let pause = if cluster { CLUSTER_LOOK_EVERY.saturating_mul(queues) } else { LOOK_EVERY };
        sleep_until(started + pause.max(LOOK_EVERY)).await;
    }
}

/// Who is looked at, as long as nobody begins to rest or wakes.
#[derive(Default)]
struct Round {
    version: u64,
    resting: Vec<Resting>,
    all: Pipeline,
}

impl Round {
    fn of(watches: &Watches) -> Self {
        // Read first: what changes meanwhile is looked at in the next round.
        let version = watches.version();
        let resting = watches.resting();
        let looks = || resting.iter().map(|(_, look)| look.as_ref());
        let keys = || {
            looks().filter_map(|look| if let Look::Keys(keys) = look { Some(keys) } else { None })
        };
        let streams = || {
            looks().filter_map(|look| if let Look::Streams(all) = look { Some(all) } else { None })
        };
        let mut all = redis::pipe();
        all.ignore_errors();
        if keys().next().is_some() {
            all.add_command(exists(keys().flatten()));
        }
        if streams().next().is_some() {
            all.add_command(read(streams().flatten(), None));
        }
        Self { version, all, resting }
    }

    /// Redis can't be asked: each queue finds out for itself, and says so.
    fn wake_all(&self) {
        for (watch, look) in &self.resting {
            watch.wake_from(look);
        }
    }
}

/// Whether there is something, or a refusal that the queue has to find for itself.
fn tells(reply: &Value) -> bool {
    match reply {
        Value::Nil | Value::Int(0) => false,
        Value::Array(all) => !all.is_empty(),
        Value::Map(all) => !all.is_empty(),
        _ => true,
    }
}

/// One question for all, and only where it is answered with yes one for each.
async fn together(round: &Round, connection: &Connection) {
    let any: Vec<Value> = match connection.run_all(&round.all).await {
        Ok(any) => any,
        Err(_) => return round.wake_all(),
    };
    if !any.iter().any(tells) {
        return;
    }
    let mut which = redis::pipe();
    which.ignore_errors();
    for cmd in round.resting.iter().filter_map(|(_, look)| look.cmd()) {
        which.add_command(cmd);
    }
    let which: Vec<Value> = match connection.run_all(&which).await {
        Ok(which) => which,
        Err(_) => return round.wake_all(),
    };
    for ((watch, look), reply) in round.resting.iter().zip(&which) {
        if tells(reply) {
            watch.wake_from(look);
        }
    }
}

/// Asks for each queue where it lies, unless its last look is still under way: so a node that does not answer keeps
/// no queue of another node waiting.
fn each(round: &Round, connection: &Arc<Connection>, asked: &mut JoinSet<()>) {
    while asked.try_join_next().is_some() {}
    for (watch, look) in &round.resting {
        let (Some(cmd), Some(asking)) = (look.cmd(), Watch::asking(watch)) else { continue };
        let (look, connection) = (Arc::clone(look), Arc::clone(connection));
        asked.spawn(async move {
            let reply: redis::RedisResult<Value> = connection.run(&cmd).await;
            if reply.as_ref().map_or(true, tells) {
                asking.0.wake_from(&look);
            }
        });
    }
}
