//! A buffer's server, PostgreSQL and processes of the real binary, all of this test alone.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testbed::{Kafka, Postgres, Proxy, Redis, RedisCluster, Sqs};

use crate::layout::{ACCESS_KEY, Layout, SECRET_KEY};
use crate::process::Process;

/// Where the buffer lies.
pub(crate) enum Medium {
    One(Box<Redis>),
    Cluster(Box<RedisCluster>),
    Kafka(Box<Kafka>),
    Sqs(Box<Sqs>),
}

pub(crate) struct Rig {
    pub(crate) layout: Layout,
    pub(crate) medium: Medium,
    /// Between the workers and a single Redis.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) postgres: Postgres,
    pub(crate) workers: Vec<Process>,
    started: usize,
    dir: TempDir,
}

impl Rig {
    /// Starts the servers, makes the schema, and starts no worker yet.
    pub(crate) fn start(layout: Layout) -> Self {
        let medium = match layout {
            Layout::Cluster => Medium::Cluster(Box::new(RedisCluster::start().unwrap())),
            Layout::Kafka => Medium::Kafka(Box::new(Kafka::start().unwrap())),
            Layout::Fifo => Medium::Sqs(Box::new(Sqs::start().unwrap())),
            // Nothing that was accepted may be lost by a kill -9 of Redis.
            Layout::List | Layout::Stream | Layout::Sharded => {
                Medium::One(Box::new(Redis::start_with(&[("appendfsync", "always")]).unwrap()))
            }
        };
        let proxy = match &medium {
            Medium::One(redis) => Some(Proxy::start(&redis.address()).unwrap()),
            Medium::Cluster(_) | Medium::Kafka(_) | Medium::Sqs(_) => None,
        };
        let postgres = Postgres::start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let rig = Self { layout, medium, proxy, postgres, workers: Vec::new(), started: 0, dir };
        rig.verb(&["store", "migrate"]);
        rig
    }

    /// The addresses of the buffer's servers, past the proxy.
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

    pub(crate) fn redis(&mut self) -> &mut Redis {
        match &mut self.medium {
            Medium::One(redis) => redis,
            _ => panic!("the buffer is in no single Redis"),
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
        command.args(args).args(["--buffer", &self.buffer_url(), "--store", &self.postgres.url()]);
        command
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
        self.started += 1;
        let name = format!("{role}-{}", self.started);
        let mut command = self.command(&["serve", "--roles", role, "--data", &name]);
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
    command.current_dir(dir).env("FOREBAY_LOG", "warn");
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    for name in ["POSTGRES_HOST", "POSTGRES_PASSWORD", "REDIS_HOST", "BATCH_SIZE", "TPS"] {
        command.env_remove(name);
    }
    command
}
