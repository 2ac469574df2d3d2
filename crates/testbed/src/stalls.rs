//! What the machine itself keeps from everybody while a latency is measured: on one that is shared, a
//! latency says as much of the neighbours as of us.
//!
//! As jHiccup does it: a thread that asks for nothing but to be woken every millisecond notes how late it
//! was, and a stall counts once for each millisecond that it lasted. Beside it stands what the host took
//! (`steal` of `/proc/stat`).

use std::fmt::{self, Display};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const EVERY: Duration = Duration::from_millis(1);

/// What was seen.
pub struct Stalls {
    /// How late the thread was woken, in ms, in order.
    late_ms: Vec<f64>,
    /// Processor time that the host took of all there was, in percent; none where it does not say.
    stolen_percent: Option<f64>,
}

/// Does the work, and watches the machine meanwhile.
///
/// # Errors
/// Those of the work.
pub fn during<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Stalls)> {
    let before = ticks();
    std::thread::scope(|scope| {
        // Goes with this scope also where the work panics: nobody is watched for ever.
        let (working, done) = channel();
        let watching = scope.spawn(move || watch(&done));
        let worked = work();
        drop(working);
        let Ok(mut late_ms) = watching.join() else { bail!("the watching thread panicked") };
        late_ms.sort_by(f64::total_cmp);
        let stolen_percent = before.zip(ticks()).map(|(before, after)| {
            100.0 * (after.stolen - before.stolen) / (after.all - before.all).max(1.0)
        });
        Ok((worked?, Stalls { late_ms, stolen_percent }))
    })
}

fn watch(done: &Receiver<()>) -> Vec<f64> {
    let mut late_ms = Vec::new();
    let mut due = Instant::now();
    while done.try_recv() == Err(TryRecvError::Empty) {
        due += EVERY;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Each of those that a stall kept waiting is one: `due` moves on by one at a time.
        late_ms.push(due.elapsed().as_secs_f64() * 1_000.0);
    }
    late_ms
}

/// Processor time since the start, in ticks.
struct Ticks {
    all: f64,
    stolen: f64,
}

fn ticks() -> Option<Ticks> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    // user nice system idle iowait irq softirq steal; what follows is part of the first two.
    let fields: Vec<f64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .take(8)
        .map_while(|field| field.parse().ok())
        .collect();
    Some(Ticks { all: fields.iter().sum(), stolen: *fields.get(7)? })
}

impl Stalls {
    /// How late the thread was at most in so many of a hundred of its milliseconds.
    #[must_use]
    pub fn late(&self, percent: usize) -> Duration {
        Duration::from_secs_f64(self.late_ms(percent) / 1_000.0)
    }

    fn late_ms(&self, percent: usize) -> f64 {
        let at = (self.late_ms.len() * percent).div_ceil(100);
        self.late_ms.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

impl Display for Stalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p99, last) = (self.late_ms(99), self.late_ms(100));
        write!(f, "the machine itself was p99 {p99:.1} ms, at most {last:.1} ms late")?;
        match self.stolen_percent {
            Some(percent) => write!(f, ", its host took {percent:.0} % of the processors"),
            None => Ok(()),
        }
    }
}
