//! A Redis cluster: three masters, each with a replica.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::port::Port;
use crate::proxy::Proxy;
use crate::redis::Redis;

const MASTERS: usize = 3;
const NODES: usize = 2 * MASTERS;
const SLOTS: usize = 16_384;
/// How long the nodes may take to agree.
const AGREE_MAX: Duration = Duration::from_secs(60);
/// How often they are asked whether they do.
const POLL: Duration = Duration::from_millis(50);

/// What makes a node of a server. A replica takes over about four seconds after its master is gone.
const SETTINGS: &[(&str, &str)] = &[
    ("cluster-enabled", "yes"),
    ("cluster-node-timeout", "2000"),
    ("cluster-allow-replica-migration", "no"),
    ("repl-diskless-sync-delay", "0"),
];

/// Nodes 0 to 2 begin as masters, node N + 3 as the replica of node N; gone when dropped.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    /// Where each node says that it is: its own address, or that of the proxy in front of it.
    announced: Vec<String>,
}

impl RedisCluster {
    /// Starts six servers and waits until they agree that the cluster is well.
    ///
    /// # Errors
    /// If `redis-server` is missing or doesn't start, or the nodes don't agree within a minute.
    pub fn start() -> Result<Self> {
        let ports = free_ports()?;
        let announced = ports.iter().map(Port::address).collect();
        Self::begin(ports, announced, &[])
    }

    /// Starts one behind a proxy, with these settings (as in `redis.conf`) for each node besides the
    /// usual ones. The nodes tell the addresses of the proxy to whoever asks where a slot lies, so no
    /// client gets past it, and no replica gets past it to its master. What makes masters of replicas
    /// goes from node to node: without a fault of a node, every master stays one.
    ///
    /// # Errors
    /// As [`RedisCluster::start`].
    pub fn start_behind_proxy(settings: &[(&str, &str)]) -> Result<(Self, Proxy)> {
        let ports = free_ports()?;
        let nodes: Vec<String> = ports.iter().map(Port::address).collect();
        let proxy = Proxy::start_for(&nodes)?;
        let cluster = Self::begin(ports, proxy.addresses().to_vec(), settings)?;
        Ok((cluster, proxy))
    }

    fn begin(ports: Vec<Port>, announced: Vec<String>, settings: &[(&str, &str)]) -> Result<Self> {
        let node = |(port, announced): (Port, &String)| {
            let (_, announced) = announced.rsplit_once(':').context("an address has a port")?;
            let announce = [("cluster-announce-port", announced)];
            Redis::prepare(port, Some(Port::free()?), &[SETTINGS, settings, &announce].concat())
        };
        let nodes = ports.into_iter().zip(&announced).map(node).collect::<Result<Vec<_>>>()?;
        let cluster = Self { nodes, announced };
        cluster.nodes.iter().try_for_each(Redis::start_again)?;
        cluster.divide_slots()?;
        cluster.introduce()?;
        cluster.wait("know each other", |cluster| cluster.all_know(NODES))?;
        cluster.replicate()?;
        cluster.wait_until_well()?;
        Ok(cluster)
    }

    /// `redis-cluster://127.0.0.1:P1,127.0.0.1:P2,…`, all six.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis-cluster://{}", self.addresses().join(","))
    }

    /// `127.0.0.1:PORT` of each node, or of the proxy in front of it.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.announced.clone()
    }

    /// A node, to look at or to harm; it is called past the proxy.
    ///
    /// # Panics
    /// If there is no node with this index; there are six.
    #[must_use]
    pub fn node(&self, index: usize) -> &Redis {
        &self.nodes[index]
    }

    /// The index of the node that is the master for `key`, as a running node sees it.
    ///
    /// # Errors
    /// If no node answers, or none of ours is its master.
    pub fn master_of(&self, key: &str) -> Result<usize> {
        let node = self.nodes.iter().find(|node| node.is_running()).context("no node runs")?;
        let slot = node.call(&["CLUSTER", "KEYSLOT", key])?.integer().context("no slot")?;
        let ranges = node.call(&["CLUSTER", "SLOTS"])?;
        for range in ranges.array() {
            let [first, last, master, ..] = range.array() else { continue };
            let (first, last) = (first.integer(), last.integer());
            if !(first <= Some(slot) && Some(slot) <= last) {
                continue;
            }
            let port = master.array().get(1).and_then(|port| port.integer());
            let index = self.announced.iter().position(|address| {
                address.rsplit(':').next().and_then(|port| port.parse().ok()) == port
            });
            return index.with_context(|| format!("the master of slot {slot} is not ours"));
        }
        bail!("slot {slot} has no master")
    }

    /// Ends the master for `key` as `kill -9` does, and says which node it was.
    ///
    /// # Errors
    /// As [`RedisCluster::master_of`].
    pub fn kill_master_of(&self, key: &str) -> Result<usize> {
        let index = self.master_of(key)?;
        self.nodes[index].kill();
        Ok(index)
    }

    /// Starts a node again with what it had kept, and waits until it answers. It comes back as the
    /// replica of whoever took over from it.
    ///
    /// # Errors
    /// If it doesn't start; the error quotes its log.
    pub fn start_again(&self, node: usize) -> Result<()> {
        self.nodes.get(node).with_context(|| format!("there is no node {node}"))?.start_again()
    }

    /// Ends every node as `kill -9` does.
    pub fn kill_all(&self) {
        self.nodes.iter().for_each(Redis::kill);
    }

    /// Shuts every node down in good order.
    pub fn stop_all(&self) {
        self.nodes.iter().for_each(Redis::stop);
    }

    /// Starts every node that is down with what it had kept, and waits until the cluster is well:
    /// for its first two seconds a master takes nothing.
    ///
    /// # Errors
    /// If one doesn't start, or as [`RedisCluster::wait_until_well`].
    pub fn start_all_again(&self) -> Result<()> {
        self.nodes.iter().try_for_each(Redis::start_again)?;
        self.wait_until_well()
    }

    /// Waits until every running node finds the cluster well and every running replica has its
    /// master.
    ///
    /// # Errors
    /// If that takes more than a minute.
    pub fn wait_until_well(&self) -> Result<()> {
        self.wait("agree that the cluster is well", Self::is_well)
    }

    fn divide_slots(&self) -> Result<()> {
        for (at, node) in self.nodes[..MASTERS].iter().enumerate() {
            let first = (at * SLOTS / MASTERS).to_string();
            let last = ((at + 1) * SLOTS / MASTERS - 1).to_string();
            node.call(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
        Ok(())
    }

    /// Everybody with everybody, which is quicker than waiting for the gossip.
    fn introduce(&self) -> Result<()> {
        for (at, node) in self.nodes.iter().enumerate() {
            node.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()])?;
        }
        for (at, node) in self.nodes.iter().enumerate() {
            for (other, address) in self.nodes[..at].iter().zip(&self.announced) {
                let (ip, port) = address.split_once(':').context("an address has a port")?;
                let bus = other.bus_port().context("a node has a bus")?.to_string();
                node.call(&["CLUSTER", "MEET", ip, port, &bus])?;
            }
        }
        Ok(())
    }

    fn replicate(&self) -> Result<()> {
        for at in 0..MASTERS {
            let id = self.nodes[at].call(&["CLUSTER", "MYID"])?;
            let id = id.text().context("a node has an id")?;
            self.nodes[MASTERS + at].call(&["CLUSTER", "REPLICATE", id])?;
        }
        Ok(())
    }

    fn all_know(&self, count: usize) -> Result<()> {
        for node in &self.nodes {
            let known = node.call(&["CLUSTER", "NODES"])?;
            let lines = known.text().unwrap_or_default().lines();
            let met = lines.filter(|line| !line.contains("handshake")).count();
            ensure!(met == count, "{} knows {met} of {count}", node.address());
        }
        Ok(())
    }

    fn is_well(&self) -> Result<()> {
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            let info = node.call(&["CLUSTER", "INFO"])?;
            let info = info.text().unwrap_or_default();
            ensure!(info.contains("cluster_state:ok"), "{} is not well", node.address());
            let role = node.call(&["INFO", "replication"])?;
            let role = role.text().unwrap_or_default();
            let lost = role.contains("role:slave") && !role.contains("master_link_status:up");
            ensure!(!lost, "{} has not found its master", node.address());
        }
        let replicas = self.nodes.iter().filter(|node| node.is_running()).filter(|node| {
            let role = node.call(&["INFO", "replication"]);
            role.is_ok_and(|role| role.text().unwrap_or_default().contains("role:slave"))
        });
        let (replicas, running) = (replicas.count(), self.nodes.iter().filter(|n| n.is_running()));
        let running = running.count();
        ensure!(running - replicas == MASTERS, "{running} nodes, {replicas} of them replicas");
        Ok(())
    }

    fn wait(&self, what: &str, check: impl Fn(&Self) -> Result<()>) -> Result<()> {
        let started = Instant::now();
        while let Err(error) = check(self) {
            if started.elapsed() > AGREE_MAX {
                return Err(error.context(format!("the nodes did not {what} in {AGREE_MAX:?}")));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

/// One for each node.
fn free_ports() -> Result<Vec<Port>> {
    (0..NODES).map(|_| Port::free()).collect()
}
