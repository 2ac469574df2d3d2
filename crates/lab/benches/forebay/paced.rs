//! Requests that are each due at a time of their own, whatever became of those before: one that waits for
//! another's answer is late, and that is part of what it took.
//!
//! A thread and a blocking socket for each connection: the timers of an asynchronous runtime tick in
//! milliseconds, which is what is to be measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::load;

/// How long an answer may take before the bench gives up.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What is asked when.
pub(crate) struct Plan<'a> {
    pub(crate) address: SocketAddr,
    /// Asked in turn.
    pub(crate) requests: &'a [Vec<u8>],
    /// How many in all.
    pub(crate) count: usize,
    /// Between one and the next.
    pub(crate) every: Duration,
    /// Over which they are spread in turn.
    pub(crate) connections: usize,
}

/// Seconds from when each request was due, in order.
#[derive(Default)]
pub(crate) struct Timing {
    /// Until it was sent.
    pub(crate) sent: Vec<f64>,
    /// Until it was answered.
    pub(crate) answered: Vec<f64>,
}

/// Each answer's head must have the line `expected`.
pub(crate) fn run(plan: &Plan<'_>, expected: &str) -> Result<Timing> {
    let begin = Instant::now() + Duration::from_millis(100);
    let mut all = Timing::default();
    std::thread::scope(|scope| {
        let connections: Vec<_> = (0..plan.connections)
            .map(|first| scope.spawn(move || connection(plan, first, begin, expected)))
            .collect();
        for connection in connections {
            let Ok(timing) = connection.join() else { bail!("a reader panicked") };
            let timing = timing?;
            all.sent.extend(timing.sent);
            all.answered.extend(timing.answered);
        }
        Ok(())
    })?;
    ensure!(all.answered.len() == plan.count, "{} were answered", all.answered.len());
    all.sent.sort_by(f64::total_cmp);
    all.answered.sort_by(f64::total_cmp);
    Ok(all)
}

fn connection(plan: &Plan<'_>, first: usize, begin: Instant, expected: &str) -> Result<Timing> {
    let mut connection = Connection::open(plan.address)?;
    let mut timing = Timing::default();
    for n in (first..plan.count).step_by(plan.connections) {
        let due = begin + plan.every * u32::try_from(n)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        timing.sent.push(due.elapsed().as_secs_f64());
        let head = connection.ask(&plan.requests[n % plan.requests.len()])?;
        timing.answered.push(due.elapsed().as_secs_f64());
        ensure!(head.contains(expected), "not {expected}: {head}");
    }
    Ok(timing)
}

/// A connection that is kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { stream, answer: vec![0; 4096] })
    }

    /// Asks, and returns the head of the answer, which must be 200.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<&str> {
        self.stream.write_all(request)?;
        let mut got = 0;
        while load::whole(&self.answer[..got], "HTTP/1.1 200")?.is_none() {
            let n = self.stream.read(&mut self.answer[got..])?;
            ensure!(n > 0, "the server hung up");
            got += n;
        }
        let head = load::whole(&self.answer[..got], "HTTP/1.1 200")?;
        Ok(head.expect("all of it is there"))
    }
}
