//! Redis, PostgreSQL and workers of the real binary, all of this test alone.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testbed::{Postgres, Proxy, Redis, RedisCluster};

use crate::layout::Layout;

/// How long an orderly end may take.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Where the buffer lies.
pub(crate) enum Medium {
    One(Box<Redis>),
    Cluster(Box<RedisCluster>),
}

pub(crate) struct Rig {
    pub(crate) layout: Layout,
    pub(crate) medium: Medium,
    /// Between the workers and a single Redis.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) postgres: Postgres,
    pub(crate) workers: Vec<Worker>,
    started: usize,
    dir: TempDir,
}

impl Rig {
    /// Starts the servers, makes the schema, and starts no worker yet.
    pub(crate) fn start(layout: Layout) -> Self {
        let medium = match layout {
            Layout::Cluster => Medium::Cluster(Box::new(RedisCluster::start().unwrap())),
            // Nothing that was accepted may be lost by a kill -9 of Redis.
            _ => Medium::One(Box::new(Redis::start_with(&[("appendfsync", "always")]).unwrap())),
        };
        let proxy = match &medium {
            Medium::One(redis) => Some(Proxy::start(&redis.address()).unwrap()),
            Medium::Cluster(_) => None,
        };
        let postgres = Postgres::start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let rig = Self { layout, medium, proxy, postgres, workers: Vec::new(), started: 0, dir };
        rig.verb(&["store", "migrate"]);
        rig
    }

    /// The addresses of Redis, past the proxy.
    pub(crate) fn addresses(&self) -> Vec<String> {
        match &self.medium {
            Medium::One(redis) => vec![redis.address()],
            Medium::Cluster(cluster) => cluster.addresses(),
        }
    }

    /// The buffer as workers reach it.
    pub(crate) fn buffer_url(&self) -> String {
        let base = match (&self.medium, &self.proxy) {
            (Medium::Cluster(cluster), _) => cluster.url(),
            (Medium::One(_), Some(proxy)) => format!("redis://{}", proxy.address()),
            (Medium::One(redis), None) => redis.url(),
        };
        self.layout.url(&base)
    }

    pub(crate) fn redis(&mut self) -> &mut Redis {
        match &mut self.medium {
            Medium::One(redis) => redis,
            Medium::Cluster(_) => panic!("a cluster is no single Redis"),
        }
    }

    pub(crate) fn cluster(&mut self) -> &mut RedisCluster {
        match &mut self.medium {
            Medium::Cluster(cluster) => cluster,
            Medium::One(_) => panic!("a single Redis is no cluster"),
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command
            .current_dir(self.dir.path())
            .args(args)
            .args(["--buffer", &self.buffer_url(), "--store", &self.postgres.url()])
            .env("FOREBAY_LOG", "warn");
        // What the one who runs the tests has set is not meant for them.
        for name in ["POSTGRES_HOST", "POSTGRES_PASSWORD", "REDIS_HOST", "BATCH_SIZE", "TPS"] {
            command.env_remove(name);
        }
        command
    }

    /// Starts one more worker.
    pub(crate) fn add_worker(&mut self) {
        self.add_worker_with(&[]);
    }

    /// Starts one more worker, with these arguments besides.
    pub(crate) fn add_worker_with(&mut self, args: &[&str]) {
        self.started += 1;
        let log = self.dir.path().join(format!("worker-{}.log", self.started));
        let mut command = self.command(&["serve", "--roles", "worker"]);
        command
            .args(args)
            .args(["--set", "cards.key_file=key"])
            .args(["--data", &format!("worker-{}", self.started)]);
        self.workers.push(Worker::spawn(command, &log));
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A `forebay serve --roles worker`.
pub(crate) struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    fn spawn(mut command: Command, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(Stdio::from(file)).spawn().unwrap();
        Self { child, log: log.to_owned() }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for an orderly end.
    pub(crate) fn terminate(&mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let end = Instant::now() + STOP_MAX;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "a worker does not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "an orderly end is exit code 0:\n{}", self.log());
    }

    /// Fails if it has ended by itself.
    pub(crate) fn must_live(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "a worker ended by itself:\n{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
