//! A buffer's server, PostgreSQL and processes of the real binary, all of this test alone.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testbed::{Kafka, Postgres, Proxy, Redis, RedisCluster, Reply, Sqs, forget_settings};

use crate::layout::{ACCESS_KEY, Layout, SECRET_KEY};
use crate::process::Process;

/// How long counting what was just settled may take.
const COUNTED_WITHIN: Duration = Duration::from_secs(20);
/// How often a cluster's client sends what got no answer, at most: once, and its `retries` (see where
/// `buffer-redis` opens a connection).
const CLUSTER_SENDS_MAX: usize = 3;

/// Where the buffer lies.
pub(crate) enum Medium {
    One(Box<Redis>),
    Cluster(Box<RedisCluster>),
    Kafka(Box<Kafka>),
    Sqs(Box<Sqs>),
}

/// The buffer's Redis as a whole: one server, or every node of a cluster.
pub(crate) enum WholeRedis<'a> {
    One(&'a Redis),
    Cluster(&'a RedisCluster),
}

impl WholeRedis<'_> {
    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&self) {
        match self {
            Self::One(redis) => redis.kill(),
            Self::Cluster(cluster) => cluster.kill_all(),
        }
    }

    /// Shuts it down in good order.
    pub(crate) fn stop(&self) {
        match self {
            Self::One(redis) => redis.stop(),
            Self::Cluster(cluster) => cluster.stop_all(),
        }
    }

    /// Starts it with what it had kept, and waits until it takes events again.
    pub(crate) fn start_again(&self) -> anyhow::Result<()> {
        match self {
            Self::One(redis) => redis.start_again(),
            Self::Cluster(cluster) => cluster.start_all_again(),
        }
    }

    /// Sends one command to a single server, past the proxy.
    pub(crate) fn call(&self, command: &[&str]) -> anyhow::Result<Reply> {
        match self {
            Self::One(redis) => redis.call(command),
            Self::Cluster(_) => panic!("which node of the cluster is to do it?"),
        }
    }
}

pub(crate) struct Rig {
    pub(crate) layout: Layout,
    pub(crate) medium: Medium,
    /// Between the workers and Redis, whether that is one server or a cluster.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) postgres: Postgres,
    pub(crate) workers: Vec<Process>,
    /// How often an offer is sent, at most, before whoever makes it is told anything.
    pub(crate) sends_max: usize,
    started: usize,
    dir: TempDir,
}

impl Rig {
    /// Starts the servers, makes the schema, and starts no worker yet.
    pub(crate) fn start(layout: Layout) -> Self {
        // Nothing that was accepted may be lost by a kill -9 of Redis, nor by one of all its nodes: a
        // replica that has an event too is no help then.
        let synced = [("appendfsync", "always")];
        let (medium, proxy) = match layout {
            Layout::Cluster | Layout::ClusterList => {
                let (cluster, proxy) = RedisCluster::start_behind_proxy(&synced).unwrap();
                (Medium::Cluster(Box::new(cluster)), Some(proxy))
            }
            Layout::Kafka => (Medium::Kafka(Box::new(Kafka::start().unwrap())), None),
            Layout::Fifo => (Medium::Sqs(Box::new(Sqs::start().unwrap())), None),
            Layout::List | Layout::Stream | Layout::Sharded => {
                let redis = Redis::start_with(&synced).unwrap();
                let proxy = Proxy::start(&redis.address()).unwrap();
                (Medium::One(Box::new(redis)), Some(proxy))
            }
        };
        let postgres = Postgres::start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let workers = Vec::new();
        let rig = Self { layout, medium, proxy, postgres, workers, sends_max: 1, started: 0, dir };
        rig.verb(&["store", "migrate"]);
        rig
    }

    /// The addresses of the buffer's servers, past the proxy; of a cluster those of the proxy, for its
    /// nodes tell no others.
    pub(crate) fn addresses(&self) -> Vec<String> {
        match &self.medium {
            Medium::One(redis) => vec![redis.address()],
            Medium::Cluster(cluster) => cluster.addresses(),
            Medium::Kafka(kafka) => vec![kafka.address()],
            Medium::Sqs(sqs) => vec![sqs.address()],
        }
    }

    /// The buffer as workers reach it.
    pub(crate) fn buffer_url(&self) -> String {
        let base = match (&self.medium, &self.proxy) {
            (Medium::Cluster(cluster), _) => cluster.url(),
            (Medium::One(_), Some(proxy)) => format!("redis://{}", proxy.address()),
            (Medium::One(redis), None) => redis.url(),
            (Medium::Kafka(kafka), _) => kafka.url(),
            (Medium::Sqs(sqs), _) => sqs.url(),
        };
        self.layout.url(&base)
    }

    pub(crate) fn redis(&self) -> WholeRedis<'_> {
        match &self.medium {
            Medium::One(redis) => WholeRedis::One(redis),
            Medium::Cluster(cluster) => WholeRedis::Cluster(cluster),
            Medium::Kafka(_) | Medium::Sqs(_) => panic!("the buffer is in no Redis"),
        }
    }

    pub(crate) fn cluster(&mut self) -> &mut RedisCluster {
        match &mut self.medium {
            Medium::Cluster(cluster) => cluster,
            _ => panic!("the buffer is in no cluster"),
        }
    }

    pub(crate) fn kafka(&self) -> &Kafka {
        match &self.medium {
            Medium::Kafka(kafka) => kafka,
            _ => panic!("the buffer is in no Kafka"),
        }
    }

    /// Runs a verb with this rig's buffer and store; it must do what it is for.
    pub(crate) fn verb(&self, args: &[&str]) -> String {
        let ended = self.command(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{args:?}: {stderr}");
        String::from_utf8(ended.stdout).unwrap()
    }

    /// A verb with this rig's buffer and store, not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = binary(self.dir.path());
        command.args(args);
        command.args(["--buffer", &self.buffer_url(), "--store", &self.postgres.url()]);
        command
    }

    /// How many each worker has settled since it had settled `before`, once that is `all` of them; what they
    /// come to otherwise.
    pub(crate) fn shares(&mut self, before: &[usize], all: usize) -> Vec<usize> {
        let end = Instant::now() + COUNTED_WITHIN;
        loop {
            let now = self.workers.iter_mut().map(Process::settled);
            let shares: Vec<usize> = now.zip(before).map(|(now, before)| now - before).collect();
            // A worker counts what it has settled a moment after the rows are there.
            if shares.iter().sum::<usize>() == all || Instant::now() > end {
                return shares;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// From now on answers may fail to come. A cluster's client then sends an offer again by itself.
    pub(crate) fn offers_may_fail(&mut self) {
        if matches!(self.medium, Medium::Cluster(_)) {
            self.sends_max = CLUSTER_SENDS_MAX;
        }
    }

    /// Starts one more worker.
    pub(crate) fn add_worker(&mut self) {
        self.add_worker_with(&[]);
    }

    /// Starts one more worker, with these arguments besides.
    pub(crate) fn add_worker_with(&mut self, args: &[&str]) {
        let worker = self.serve("worker", args);
        self.workers.push(worker);
    }

    /// Starts one more process with this role, and these arguments besides.
    pub(crate) fn serve(&mut self, role: &str, args: &[&str]) -> Process {
        let buffer = self.buffer_url();
        self.serve_on(&buffer, role, args)
    }

    /// The same, with the buffer as this URL has it.
    pub(crate) fn serve_on(&mut self, buffer: &str, role: &str, args: &[&str]) -> Process {
        let store = self.postgres.url();
        self.serve_between(buffer, &store, role, args)
    }

    /// The same, with the store as this URL has it, too.
    pub(crate) fn serve_between(
        &mut self,
        buffer: &str,
        store: &str,
        role: &str,
        args: &[&str],
    ) -> Process {
        self.started += 1;
        let name = format!("{role}-{}", self.started);
        let mut command = binary(self.dir.path());
        command.args(["serve", "--roles", role, "--data", &name]);
        command.args(["--buffer", buffer, "--store", store]);
        command.args(args).args(["--bind", "127.0.0.1:0", "--set", "cards.key_file=key"]);
        Process::spawn(command, self.dir.path(), &name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// The binary in `dir`, with none of the settings of whoever runs the tests.
pub(crate) fn binary(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    forget_settings(&mut command);
    command.current_dir(dir).env("FOREBAY_LOG", "warn");
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command
}
