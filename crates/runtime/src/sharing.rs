//! A rate of calls that live processes share: each heartbeat tells the guards of this process how many processes
//! call the same service.
//!
//! ```text
//!   write the row of this process ──► read all rows ──► count those that call ──► Guard::heard
//! ```
//!
//! A guard uses its part for [`VIEW_MAX`] after the moment before the writing, and a process waits as long after it
//! joined. Others count a row for [`LIVE_MAX`], which is longer, so that no process divides by too few. A process that
//! cannot write and read its row uses nothing.
//!
//! A pipeline that is paused, or has failed for good, does not call; its process joins anew when it works again.
//! A rate is of a guard: two guards of one service have a rate each. Pipelines that share a guard have to be the same
//! ones in all processes. The clock of the store must not be set while they call: a row would look silent until its
//! next writing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use guard::{Guard, Options};
use store::processes::{Heard, LIVE_MAX, Process};
use tokio::time::Instant;

use crate::fleet::Fleet;
use crate::line::Line;
use crate::lines::Lines;
use crate::pipeline::Source;
use crate::state::State;

/// How long a process uses what it read, and waits after it joined. One heartbeat may fail: two intervals of at most
/// 5.5 s, and 1 s for the store.
pub const VIEW_MAX: Duration = Duration::from_secs(12);

const _: () =
    assert!(VIEW_MAX.as_secs() < LIVE_MAX.as_secs(), "a row outlives the view of its process");

/// A guard for the calls of `line`, whose `options.pace` is of all live processes together. Where no other process
/// calls, or the store cannot show that, this process has the whole rate at once, and no heartbeat is needed.
#[must_use]
pub fn guard(options: Options, line: &Line, lines: &Lines) -> Guard {
    let now = Instant::now().into_std();
    let is_whole = !line.is_of_several() || lines.is_alone();
    if is_whole { Guard::new(options, now) } else { Guard::sharing(options, VIEW_MAX, now) }
}

/// Whether each process has the whole rate of `line`: several may call, and the store is of one process.
#[must_use]
pub fn is_for_each(line: &Line, lines: &Lines) -> bool {
    line.is_of_several() && lines.store.shared().is_none()
}

/// A guard of this process whose rate is of several processes, and the pipelines that call with it.
pub(crate) struct Share {
    pipelines: Vec<Arc<str>>,
    source: Source,
}

impl Share {
    /// All of a fleet, each once.
    pub(crate) fn all(fleet: &Fleet) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for source in fleet.sources() {
            let Some(guard) = source.guard() else { continue };
            let name = Arc::from(source.work.pipeline());
            let known = all
                .iter_mut()
                .find(|share| share.source.guard().is_some_and(|other| std::ptr::eq(other, guard)));
            match known {
                Some(share) => share.pipelines.push(name),
                None if !locked(guard).is_shared() => {}
                None => all.push(Self { pipelines: vec![name], source }),
            }
        }
        all
    }

    /// Before the row of this process is written: where it says that no pipeline calls, nothing may begin before
    /// a later row says otherwise.
    pub(crate) fn announce(&self, me: &Process) {
        if !self.calls(me) {
            self.dropped();
        }
    }

    /// The row was written, and after that all rows were read. `began` is the moment before the writing.
    pub(crate) fn heard(&self, heard: &[Heard], me: &str, began: Instant) {
        let live = || heard.iter().filter(|heard| heard.is_live() && self.calls(&heard.process));
        let Some(mine) = live().find(|heard| heard.process.id == me) else {
            return self.dropped();
        };
        let processes = u32::try_from(live().count()).unwrap_or(u32::MAX);
        let now = Instant::now().into_std();
        self.with(|guard| guard.heard(processes, mine.joined_ago, began.into_std(), now));
    }

    /// Whether a pipeline of this guard calls in the process, or may at any moment.
    fn calls(&self, process: &Process) -> bool {
        process.pipelines.iter().any(|one| {
            let is_of_it = self.pipelines.iter().any(|name| **name == *one.name);
            is_of_it && one.lanes > 0 && !State::AT_REST.contains(&one.state.as_str())
        })
    }

    fn dropped(&self) {
        self.with(|guard| guard.dropped(Instant::now().into_std()));
    }

    fn with(&self, act: impl FnOnce(&mut Guard)) {
        if let Some(guard) = self.source.guard() {
            act(&mut locked(guard));
        }
    }
}

fn locked(guard: &Mutex<Guard>) -> MutexGuard<'_, Guard> {
    guard.lock().unwrap_or_else(PoisonError::into_inner)
}
