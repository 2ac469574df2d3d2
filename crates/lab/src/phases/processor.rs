//! Who uses the processors while a phase runs: this process, and servers on the same machine.
//!
//! Read from `/proc`, so on anything but Linux nothing is known. A server is a process with all its
//! descendants, for PostgreSQL works in a process a connection. What a child used before it ended
//! is not lost: the kernel adds it to its parent.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::measured::{CoresMean, CpuSample};

mod stat;
#[cfg(test)]
mod tests;

use stat::Stat;

/// How often is looked.
const EVERY: Duration = Duration::from_millis(250);
/// Samples kept (an hour); the mean goes on after that.
const SAMPLES_MAX: usize = 14_400;

/// A server to watch: the processes named, and whatever descends from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What it is called in the figures.
    pub name: String,
    /// Its processes on this machine; several for a cluster.
    pub pids: Vec<u32>,
}

/// What the processors did during a phase.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// Processors in use on average; `None` where that can't be known.
    pub mean: Option<CoresMean>,
    /// Over time, four times a second.
    pub samples: Vec<CpuSample>,
}

/// Looks on a thread of its own, from when it is started until it is stopped.
#[derive(Debug)]
pub struct Sampler {
    stop: mpsc::SyncSender<()>,
    thread: JoinHandle<Load>,
}

impl Sampler {
    /// Starts looking. A server that is not found on this machine is left out of the figures.
    ///
    /// # Panics
    /// If the system has no thread left.
    #[must_use]
    pub fn start(servers: Vec<Server>) -> Self {
        let (stop, stopped) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("processor".into())
            .spawn(move || watch(&servers, &stopped))
            .expect("one more thread can be had at the start of a phase");
        Self { stop, thread }
    }

    /// Looks once more, and tells what it saw.
    #[must_use]
    pub fn stop(self) -> Load {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

/// The process to watch for a server that says it works in process `pid`: the topmost of its
/// ancestors that bear the same name (`/proc/…/comm`), so a PostgreSQL backend leads to its
/// postmaster. `None` when process `pid` of this machine is not called `name`: then the server is
/// on another machine, or in a container.
#[must_use]
pub fn root_of(pid: u32, name: &str) -> Option<u32> {
    root_among(&stat::all(Path::new("/proc")), pid, name)
}

fn root_among(stats: &[Stat], pid: u32, name: &str) -> Option<u32> {
    let named = |pid| stats.iter().find(|stat| stat.pid == pid && stat.name == name);
    let mut root = named(pid)?;
    // A list read while processes come and go may hold a circle: no more steps than processes.
    for _ in stats {
        match named(root.parent) {
            Some(parent) => root = parent,
            None => break,
        }
    }
    Some(root.pid)
}

fn watch(servers: &[Server], stopped: &mpsc::Receiver<()>) -> Load {
    let began = Instant::now();
    let mut tally = Tally::new(Reading::take(servers, Duration::ZERO));
    loop {
        let last = stopped.recv_timeout(EVERY) != Err(mpsc::RecvTimeoutError::Timeout);
        tally.add(Reading::take(servers, began.elapsed()), last);
        if last {
            return tally.load();
        }
    }
}

/// Processor time used up to a moment, in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
struct Reading {
    at: Duration,
    client: Option<f64>,
    servers: BTreeMap<String, f64>,
}

impl Reading {
    fn take(servers: &[Server], at: Duration) -> Self {
        let proc = Path::new("/proc");
        let client = stat::read(&proc.join("self")).map(|stat| stat.own_seconds());
        // The list of all processes costs time that is ours: only who watches servers pays it.
        let stats = if servers.is_empty() { Vec::new() } else { stat::all(proc) };
        let used = |server: &Server| Some((server.name.clone(), family(&stats, &server.pids)?));
        Self { at, client, servers: servers.iter().filter_map(used).collect() }
    }
}

/// What `roots` and all their descendants used so far, in seconds; `None` when no root is there.
fn family(stats: &[Stat], roots: &[u32]) -> Option<f64> {
    let mut members: Vec<&Stat> = stats.iter().filter(|stat| roots.contains(&stat.pid)).collect();
    let mut next = 0;
    while let Some(parent) = members.get(next).map(|stat| stat.pid) {
        for child in stats.iter().filter(|stat| stat.parent == parent) {
            if !members.iter().any(|member| member.pid == child.pid) {
                members.push(child);
            }
        }
        next += 1;
    }
    (!members.is_empty()).then(|| members.iter().map(|stat| stat.family_seconds()).sum())
}

/// Adds up what was used between readings.
struct Tally {
    before: Reading,
    used: Option<CoresMean>,
    samples: Vec<CpuSample>,
}

impl Tally {
    fn new(before: Reading) -> Self {
        Self { before, used: None, samples: Vec::new() }
    }

    /// A server that was started again counts from nothing: less than before is no use at all.
    /// The `last` reading may come right after the one before; a sample of so short a time would
    /// be noise, so it counts in the mean alone.
    fn add(&mut self, now: Reading, last: bool) {
        let seconds = now.at.saturating_sub(self.before.at).as_secs_f64();
        if let (Some(before), Some(after)) = (self.before.client, now.client) {
            let used = self.used.get_or_insert_default();
            let mut sample = CpuSample { at_seconds: now.at.as_secs_f64(), ..CpuSample::default() };
            let delta = (after - before).max(0.0);
            used.client += delta;
            sample.client_cores = delta / seconds;
            for (name, after) in &now.servers {
                let Some(before) = self.before.servers.get(name) else { continue };
                let delta = (after - before).max(0.0);
                *used.servers.entry(name.clone()).or_default() += delta;
                sample.server_cores.insert(name.clone(), delta / seconds);
            }
            if self.samples.len() < SAMPLES_MAX && (!last || seconds * 2.0 >= EVERY.as_secs_f64()) {
                self.samples.push(sample);
            }
        }
        self.before = now;
    }

    fn load(self) -> Load {
        let seconds = self.before.at.as_secs_f64();
        let mean = self.used.filter(|_| seconds > 0.0).map(|used| CoresMean {
            client: used.client / seconds,
            servers: used.servers.into_iter().map(|(name, used)| (name, used / seconds)).collect(),
        });
        Load { mean, samples: self.samples }
    }
}
