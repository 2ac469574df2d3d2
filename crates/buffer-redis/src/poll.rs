//! One poll for all queues of a provider that rest: one round trip for however many they are, in a cluster one to each
//! node.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::{Pipeline, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::connection::Connection;
use crate::nodes::{Node, Nodes};
use crate::watch::{Look, Resting, Watches, exists, read};

/// Between two looks. A queue that rests learns of an event after this long and one round trip, at most.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(12);
/// Between two questions to a cluster which node holds which slot.
const NODES_EVERY: Duration = Duration::from_secs(1);

/// Looks at all that rest on one server, for as long as it is run.
pub(crate) async fn poll(watches: Arc<Watches>, connection: Arc<Connection>) {
    let (mut round, mut all) = (Round::default(), redis::pipe());
    loop {
        let started = Instant::now();
        if round.is_over(&watches) {
            round = Round::of(&watches);
            all = of_any(&round.resting);
        }
        if round.resting.is_empty() {
            watches.rested.notified().await;
            continue;
        }
        together(&round.resting, &all, &connection).await;
        sleep_until(started + LOOK_EVERY).await;
    }
}

/// Looks at all that rest in a cluster, for as long as it is run.
pub(crate) async fn poll_nodes(watches: Arc<Watches>, connection: Arc<Connection>) {
    let (mut round, mut parts) = (Round::default(), Vec::new());
    let mut cluster = Cluster::new(connection);
    loop {
        let started = Instant::now();
        if cluster.learn() || round.is_over(&watches) {
            round = Round::of(&watches);
            parts = cluster.parts(&round.resting);
        }
        if round.resting.is_empty() {
            watches.rested.notified().await;
            continue;
        }
        parts.iter().for_each(|part| cluster.ask(part));
        sleep_until(started + LOOK_EVERY).await;
    }
}

/// Who is looked at, as long as nobody begins to rest or wakes.
#[derive(Default)]
struct Round {
    version: u64,
    resting: Vec<Resting>,
}

impl Round {
    fn of(watches: &Watches) -> Self {
        // Read first: what changes meanwhile is looked at in the next round.
        let version = watches.version();
        Self { version, resting: watches.resting() }
    }

    fn is_over(&self, watches: &Watches) -> bool {
        self.version != watches.version()
    }
}

/// Asks whether there is something for any of these.
fn of_any(resting: &[Resting]) -> Pipeline {
    let looks = || resting.iter().map(|(_, look)| look.as_ref());
    let keys =
        || looks().filter_map(|look| if let Look::Keys(keys) = look { Some(keys) } else { None });
    let streams =
        || looks().filter_map(|look| if let Look::Streams(all) = look { Some(all) } else { None });
    let mut all = redis::pipe();
    all.ignore_errors();
    if keys().next().is_some() {
        all.add_command(exists(keys().flatten()));
    }
    if streams().next().is_some() {
        all.add_command(read(streams().flatten(), None));
    }
    all
}

/// Asks for each of these by itself.
fn of_each(resting: &[Resting]) -> Pipeline {
    let mut each = redis::pipe();
    each.ignore_errors();
    for cmd in resting.iter().filter_map(|(_, look)| look.cmd()) {
        each.add_command(cmd);
    }
    each
}

/// Whether there is something, or a refusal that the queue has to find for itself. A queue whose slot moves from one
/// node to another is looked at later: until all its keys have moved, its claims are refused, too.
fn tells(reply: &Value) -> bool {
    match reply {
        Value::ServerError(refusal) => !["ASK", "TRYAGAIN"].contains(&refusal.code()),
        Value::Nil | Value::Int(0) => false,
        Value::Array(all) => !all.is_empty(),
        Value::Map(all) => !all.is_empty(),
        _ => true,
    }
}

/// One question for all, and only where it is answered with yes one for each.
async fn together(resting: &[Resting], all: &Pipeline, connection: &Connection) {
    match connection.run_all::<Vec<Value>>(all).await {
        Ok(any) if !any.iter().any(tells) => {}
        Ok(_) => {
            let each: Option<Vec<Value>> = connection.run_all(&of_each(resting)).await.ok();
            wake_told(resting, each.as_deref());
        }
        Err(_) => wake_told(resting, None),
    }
}

/// Wakes each queue for which there is something. Without replies, each finds out for itself why, and says so.
fn wake_told(resting: &[Resting], replies: Option<&[Value]>) {
    for (at, (watch, look)) in resting.iter().enumerate() {
        if replies.is_none_or(|replies| replies.get(at).is_none_or(tells)) {
            watch.wake_from(look);
        }
    }
}

/// Queues of one node, and the question for all of them.
struct Part {
    node: Node,
    route: SingleNodeRoutingInfo,
    resting: Arc<Vec<Resting>>,
    each: Pipeline,
}

/// What was asked in a cluster.
enum Asked {
    /// A node; whether some slot may lie elsewhere.
    Node(bool),
    /// Which node holds which slot; none if no node said so.
    Nodes(Option<Nodes>),
}

/// A cluster, of which each node is asked by itself: one that does not answer keeps no queue of another node waiting.
struct Cluster {
    connection: Arc<Connection>,
    nodes: Nodes,
    /// When to ask again which node holds which slot, if that is to be asked.
    nodes_at: Option<Instant>,
    asked: JoinSet<Asked>,
    busy: Busy,
}

/// Nodes whose last answer has not come.
#[derive(Debug, Clone, Default)]
struct Busy(Arc<Mutex<HashSet<Node>>>);

/// A node that is asked; no longer once this is dropped, also by a panic.
struct Asking {
    busy: Busy,
    node: Node,
}

impl Busy {
    fn nodes(&self) -> MutexGuard<'_, HashSet<Node>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to ask a node, unless it is asked already.
    fn begin(&self, node: &Node) -> Option<Asking> {
        let begun = self.nodes().insert(node.clone());
        begun.then(|| Asking { busy: self.clone(), node: node.clone() })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.busy.nodes().remove(&self.node);
    }
}

impl Cluster {
    fn new(connection: Arc<Connection>) -> Self {
        let (nodes, nodes_at) = (Nodes::default(), Some(Instant::now()));
        Self { connection, nodes, nodes_at, asked: JoinSet::new(), busy: Busy::default() }
    }

    /// Takes the answers that have come; whether it is known anew which node holds which slot.
    fn learn(&mut self) -> bool {
        let mut learned = false;
        while let Some(asked) = self.asked.try_join_next() {
            match asked {
                Ok(Asked::Node(moved)) => {
                    if moved && self.nodes_at.is_none() {
                        self.nodes_at = Some(Instant::now() + NODES_EVERY);
                    }
                }
                Ok(Asked::Nodes(Some(nodes))) => (self.nodes, learned) = (nodes, true),
                Ok(Asked::Nodes(None)) => self.nodes_at = Some(Instant::now() + NODES_EVERY),
                Err(error) => tracing::error!(%error, "a look at a node panicked"),
            }
        }
        if self.nodes_at.is_some_and(|at| at <= Instant::now()) {
            self.nodes_at = None;
            let connection = Arc::clone(&self.connection);
            self.asked.spawn(async move { Asked::Nodes(Nodes::ask(&connection).await.ok()) });
        }
        learned
    }

    /// One part for each node.
    fn parts(&self, resting: &[Resting]) -> Vec<Part> {
        let mut parts: HashMap<Node, Vec<Resting>> = HashMap::new();
        for one in resting {
            if let Some(key) = one.1.key() {
                parts.entry(self.nodes.of(key)).or_default().push(one.clone());
            }
        }
        let part = |(node, resting): (Node, Vec<Resting>)| {
            let route = Route::with_key(resting[0].1.key()?, SlotAddr::Master);
            let route = SingleNodeRoutingInfo::SpecificNode(route);
            Some(Part { node, route, each: of_each(&resting), resting: Arc::new(resting) })
        };
        parts.into_iter().filter_map(part).collect()
    }

    /// Asks the node of these queues, unless its last answer has not come.
    fn ask(&mut self, part: &Part) {
        let Some(asking) = self.busy.begin(&part.node) else { return };
        let (connection, resting) = (Arc::clone(&self.connection), Arc::clone(&part.resting));
        let (route, each) = (part.route.clone(), part.each.clone());
        self.asked.spawn(async move {
            let _asking = asking;
            let replies = connection.run_on(route, each).await.ok();
            wake_told(&resting, replies.as_deref());
            let is_error = |reply: &Value| matches!(reply, Value::ServerError(_));
            Asked::Node(replies.is_none_or(|replies| replies.iter().any(is_error)))
        });
    }
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    #[test]
    fn a_look_at_a_slot_that_moves_wakes_no_queue_and_any_other_refusal_does() {
        let check = |reply: &[u8], expect| {
            assert_eq!(tells(&parse_redis_value(reply).unwrap()), expect, "{reply:?}");
        };
        check(b"-ASK 12182 127.0.0.1:7002\r\n", false);
        check(b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", false);
        check(b"-MOVED 12182 127.0.0.1:7002\r\n", true);
        check(b"-NOPERM no permissions\r\n", true);
        check(b":0\r\n", false);
        check(b":1\r\n", true);
    }

    #[tokio::test]
    async fn a_node_is_asked_again_after_its_look_panicked_and_not_before() {
        let (busy, node) = (Busy::default(), Node::Known("h 1 id".into()));
        let asking = busy.begin(&node).unwrap();
        assert!(busy.begin(&node).is_none());
        assert!(busy.begin(&Node::Known("h 2 id".into())).is_some());
        let look = tokio::spawn(async move {
            let _asking = asking;
            panic!("a look fails");
        });
        assert!(look.await.unwrap_err().is_panic());
        assert!(busy.begin(&node).is_some());
    }
}
