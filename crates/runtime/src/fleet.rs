//! All components of a process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buffer::Buffer;
use futures_util::future::join_all;
use store::pipelines::Wanted;
use store::processes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::component::Component;
use crate::life::Life;
use crate::line::Line;
use crate::pipeline::{Pipeline, Source};
use crate::restart;
use crate::state::{Reason, Remains, State};

/// How a fleet ends, and starts again what failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long all components together may take to drain.
    pub drain_timeout: Duration,
    /// The pauses before a component starts again that has failed.
    pub restarts: restart::Options,
    /// What the jitter of those pauses is drawn from.
    pub seed: u64,
}

/// What happens when a component fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// [`Fleet::ended`] is cancelled: the process is to end.
    EndProcess,
    /// The component starts again after a pause.
    Restart,
}

/// A component that is to join a fleet.
pub struct Entry {
    component: Box<dyn Component>,
    on_failure: OnFailure,
    source: Option<Source>,
    buffer: Option<Arc<dyn Buffer>>,
    line: Option<Line>,
}

impl Entry {
    /// Any component.
    #[must_use]
    pub fn new(component: impl Component, on_failure: OnFailure) -> Self {
        Self { component: Box::new(component), on_failure, source: None, buffer: None, line: None }
    }

    /// A pipeline, with what is known of it from outside.
    #[must_use]
    pub fn pipeline(pipeline: Pipeline, on_failure: OnFailure) -> Self {
        let (source, buffer) = (pipeline.source(), Some(pipeline.buffer().clone()));
        Self { component: Box::new(pipeline), on_failure, source, buffer, line: None }
    }

    /// The same pipeline, with the buffers that it has. [`Fleet::lines`] returns them while it runs.
    #[must_use]
    pub fn on(mut self, line: Line) -> Self {
        self.line = Some(line);
        self
    }
}

/// Why a fleet did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Names are unique.
    #[error("cannot add {0}: a pipeline of this name runs; choose another name")]
    Taken(Arc<str>),
    /// There is no such component.
    #[error("no pipeline of the name {0} runs in this process")]
    Unknown(Arc<str>),
    /// The fleet drains.
    #[error("cannot change {0}: this process is stopping")]
    Stopping(Arc<str>),
    /// A component did not end in order.
    #[error("{name} did not end in order: {reason}")]
    Ended {
        /// Which one.
        name: Arc<str>,
        /// Why.
        reason: Reason,
    },
}

/// All components of a process. Clones share it; dropping it stops nothing.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    members: Mutex<Members>,
    /// Told the name of a component that was removed.
    removed: Box<dyn Fn(&str) + Send + Sync>,
    ended: CancellationToken,
}

#[derive(Default)]
struct Members {
    by_name: BTreeMap<Arc<str>, Member>,
    /// What operators want, by the name of a pipeline, whether it runs here or not.
    wanted: BTreeMap<String, Wanted>,
    /// Why a pipeline of the configuration does not run, by its name.
    lacking: BTreeMap<Arc<str>, String>,
    stopping: bool,
    added: u64,
}

#[derive(Clone)]
struct Member {
    life: Life,
    source: Option<Source>,
    buffer: Option<Arc<dyn Buffer>>,
    line: Option<Line>,
}

/// A component that was stopped together with the fleet.
#[derive(Debug)]
pub struct Stopped {
    /// Which one.
    pub name: Arc<str>,
    /// What is left of it, or why it did not end in order.
    pub end: Result<Arc<Remains>, Reason>,
}

impl Fleet {
    /// No component yet. `removed` is called with the name of each component that was removed, so that
    /// its metric series can end.
    #[must_use]
    pub fn new(options: Options, removed: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let members = Mutex::default();
        let (removed, ended) = (Box::new(removed), CancellationToken::new());
        Self { shared: Arc::new(Shared { options, members, removed, ended }) }
    }

    /// Starts a component on the current tokio runtime.
    ///
    /// # Errors
    /// [`Error::Taken`] when one of its name runs, [`Error::Stopping`] when the fleet drains.
    pub fn add(&self, entry: Entry) -> Result<(), Error> {
        let Entry { component, on_failure, source, buffer, line } = entry;
        let Options { restarts, seed, .. } = self.shared.options;
        let mut members = self.members();
        let name = component.name();
        if members.stopping {
            return Err(Error::Stopping(name));
        }
        if members.by_name.contains_key(&name) {
            return Err(Error::Taken(name));
        }
        members.added += 1;
        let restarts = (on_failure == OnFailure::Restart).then_some(restarts);
        let seed = seed.wrapping_add(members.added);
        let wanted = members.wanted.get(&*name);
        say(&name, None, wanted);
        let life = Life::start(component, restarts, seed, wanted);
        if on_failure == OnFailure::EndProcess {
            let (life, ended) = (life.clone(), self.shared.ended.clone());
            tokio::spawn(async move {
                life.until(|state| matches!(state, State::Failed(_))).await;
                if matches!(life.state(), State::Failed(_)) {
                    ended.cancel();
                }
            });
        }
        members.lacking.remove(&name);
        members.by_name.insert(name, Member { life, source, buffer, line });
        Ok(())
    }

    /// A pipeline does not run though it is configured: [`Fleet::warnings`] says why until it is added. `None`: it
    /// is configured no more.
    pub fn lack(&self, name: &str, why: Option<String>) {
        let lacking = &mut self.members().lacking;
        match why {
            Some(why) => lacking.insert(name.into(), why),
            None => lacking.remove(name),
        };
    }

    /// Pauses a component, and waits until it holds nothing. Its buffer still accepts events.
    ///
    /// # Errors
    /// [`Error::Unknown`]; [`Error::Stopping`] when the fleet drains.
    pub async fn pause(&self, name: &str) -> Result<(), Error> {
        let life = self.life(name)?;
        life.pause().await;
        Ok(())
    }

    /// Lets a paused component work again.
    ///
    /// # Errors
    /// [`Error::Unknown`]; [`Error::Stopping`] when the fleet drains.
    pub fn resume(&self, name: &str) -> Result<(), Error> {
        self.life(name)?.resume();
        Ok(())
    }

    /// Every component is to do what operators want of it from now on, also one that is added later. This
    /// replaces what was wanted before; a component whose row did not change is left alone.
    pub fn want(&self, wanted: Vec<Wanted>) {
        let mut members = self.members();
        let wanted = wanted.into_iter().map(|wanted| (wanted.name.clone(), wanted)).collect();
        let before = std::mem::replace(&mut members.wanted, wanted);
        for (name, member) in &members.by_name {
            let (before, now) = (before.get(&**name), members.wanted.get(&**name));
            if before != now {
                say(name, before, now);
                member.life.want(now);
            }
        }
    }

    /// Drains a component inside [`Options::drain_timeout`], closes it, and returns what is left. Its name
    /// is free again afterwards. One that ends the process may be removed without ending it.
    ///
    /// # Errors
    /// [`Error::Unknown`]; [`Error::Ended`] when it did not end in order: it is gone all the same.
    pub async fn remove(&self, name: &str) -> Result<Arc<Remains>, Error> {
        let life = self.life(name)?;
        let end = life.stop(Instant::now() + self.shared.options.drain_timeout).await;
        if self.forget(name, &life) {
            (self.shared.removed)(name);
        }
        end.map_err(|reason| Error::Ended { name: name.into(), reason })
    }

    /// Those of `wanted` that are not here, and those that are here and not wanted.
    pub fn differing<'a>(&self, wanted: impl Iterator<Item = &'a str>) -> Vec<String> {
        let members = self.members();
        let wanted: Vec<_> = wanted.collect();
        let missing = wanted.iter().filter(|&&name| !members.by_name.contains_key(name));
        let here = members.by_name.keys().filter(|name| !wanted.contains(&&***name));
        missing.map(|&name| name.to_owned()).chain(here.map(|name| name.to_string())).collect()
    }

    /// Where in its life each component is, by name.
    #[must_use]
    pub fn states(&self) -> Vec<(Arc<str>, State)> {
        let members = self.members();
        members.by_name.iter().map(|(name, member)| (name.clone(), member.life.state())).collect()
    }

    /// The same, with the lanes or calls that each settles with: as other processes are to know it.
    #[must_use]
    pub fn pipelines(&self) -> Vec<processes::Pipeline> {
        let members = self.members();
        let of = |(name, member): (&Arc<str>, &Member)| {
            let wanted = members.wanted.get(&**name).and_then(|wanted| wanted.lanes);
            let configured = |source: &Source| u32::try_from(source.lanes).unwrap_or(u32::MAX);
            let calls = member.source.as_ref().and_then(Source::calls_max);
            let lanes = |source| match calls {
                Some(_) => configured(source),
                None => wanted.unwrap_or_else(|| configured(source)),
            };
            processes::Pipeline {
                name: name.to_string(),
                state: member.life.state().name().to_owned(),
                lanes: member.source.as_ref().map_or(0, lanes),
                calls: calls.map_or(0, |calls| u32::try_from(calls).unwrap_or(u32::MAX)),
            }
        };
        members.by_name.iter().map(of).collect()
    }

    /// What is known from outside of each pipeline that settles here.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        self.members().by_name.values().filter_map(|member| member.source.clone()).collect()
    }

    /// The buffer of each pipeline, by the pipeline's name; also of those that only offer here.
    #[must_use]
    pub fn buffers(&self) -> Vec<(Arc<str>, Arc<dyn Buffer>)> {
        let members = self.members();
        let of = |(name, member): (&Arc<str>, &Member)| {
            member.buffer.clone().map(|buffer| (name.clone(), buffer))
        };
        members.by_name.iter().filter_map(of).collect()
    }

    /// The buffers of each pipeline that runs, as they were configured when it began: a change may have failed since.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.members().by_name.values().filter_map(|member| member.line.clone()).collect()
    }

    /// The buffers, by what each is called in metrics: its pipeline, or its backend for the pipelines of `by_kind`.
    #[must_use]
    pub fn metered(&self, by_kind: &[String]) -> Vec<(String, Arc<dyn Buffer>)> {
        let shown = |(name, buffer): (Arc<str>, Arc<dyn Buffer>)| {
            let is_by_kind = by_kind.iter().any(|one| **one == *name);
            (if is_by_kind { buffer.kind().name.to_owned() } else { name.to_string() }, buffer)
        };
        self.buffers().into_iter().map(shown).collect()
    }

    /// What an operator should know: pipelines that failed, with the reason, pipelines that are paused, events
    /// that a store refuses, and pipelines that do not run. One sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let members = self.members();
        let of = |(name, member): (&Arc<str>, &Member)| {
            let failed = failure(name, &member.life.state());
            let waiting = member.source.as_ref().map_or(0, |source| source.stats.refused_waiting());
            let refused = (waiting > 0).then(|| {
                format!(
                    "the store refuses {waiting} events of {name}; each waits and blocks its own key; \
                     the log says why"
                )
            });
            let paused = paused(name, &member.life.state(), members.wanted.get(&**name));
            failed.into_iter().chain(paused).chain(refused)
        };
        let lacking = |(name, why): (&Arc<str>, &String)| {
            format!(
                "the pipeline {name} does not run: {why}; it is tried again while the process runs"
            )
        };
        members.by_name.iter().flat_map(of).chain(members.lacking.iter().map(lacking)).collect()
    }

    /// Cancelled when a component has failed that ends the process, and when the fleet was stopped.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.shared.ended
    }

    /// Begins to drain each component whose buffer keeps what is left. All go on accepting, and nothing
    /// can be added any more.
    pub fn wind_down(&self) {
        let by = Instant::now() + self.shared.options.drain_timeout;
        let mut members = self.members();
        members.stopping = true;
        for Member { life, .. } in members.by_name.values().filter(|member| member.life.keeps()) {
            life.drain(by);
        }
    }

    /// Drains all components side by side, inside one [`Options::drain_timeout`], and closes them. Those
    /// that wind down already keep their earlier deadline. A second call returns the same.
    pub async fn stop(&self) -> Vec<Stopped> {
        let by = Instant::now() + self.shared.options.drain_timeout;
        let lives: Vec<Life> = {
            let mut members = self.members();
            members.stopping = true;
            members.by_name.values().map(|member| member.life.clone()).collect()
        };
        let stopping = lives.into_iter().map(async |life| {
            let end = life.stop(by).await;
            Stopped { name: life.name().clone(), end }
        });
        let stopped = join_all(stopping).await;
        self.shared.ended.cancel();
        stopped
    }

    /// Returns whether it was there still: another call may have removed it.
    fn forget(&self, name: &str, life: &Life) -> bool {
        let mut members = self.members();
        let is_there = members.by_name.get(name).is_some_and(|member| member.life.is(life));
        if is_there {
            members.by_name.remove(name);
        }
        is_there
    }

    fn life(&self, name: &str) -> Result<Life, Error> {
        let members = self.members();
        if members.stopping {
            return Err(Error::Stopping(name.into()));
        }
        let member = members.by_name.get(name).ok_or_else(|| Error::Unknown(name.into()))?;
        Ok(member.life.clone())
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.shared.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes into the log what changed.
fn say(pipeline: &str, before: Option<&Wanted>, now: Option<&Wanted>) {
    let is_paused = |wanted: Option<&Wanted>| wanted.is_some_and(|wanted| wanted.paused);
    let lanes = |wanted: Option<&Wanted>| wanted.and_then(|wanted| wanted.lanes);
    match (is_paused(before), is_paused(now)) {
        (false, true) => {
            let reason = now.map_or("", |now| &now.reason);
            tracing::warn!(
                pipeline,
                reason,
                "a pipeline is paused: it accepts events and settles none"
            );
        }
        (true, false) => tracing::warn!(pipeline, "a pipeline is resumed"),
        _ => {}
    }
    if lanes(before) != lanes(now) {
        let lanes = lanes(now);
        tracing::warn!(pipeline, lanes, "a pipeline changes its lanes");
    }
}

fn paused(name: &str, state: &State, wanted: Option<&Wanted>) -> Option<String> {
    let wanted = wanted.filter(|wanted| wanted.paused);
    if wanted.is_none() && !matches!(state, State::Paused) {
        return None;
    }
    let reason = wanted.filter(|wanted| !wanted.reason.is_empty());
    let reason = reason.map_or_else(String::new, |wanted| format!(" ({})", wanted.reason));
    Some(format!(
        "the pipeline {name} is paused{reason}: it accepts events and settles none; run `forebay pipeline \
         resume {name}` to end the pause"
    ))
}

fn failure(name: &str, state: &State) -> Option<String> {
    match state {
        State::Waiting { reason, failures } => Some(format!(
            "the pipeline {name} failed and starts again after a pause (failure {failures} in a row): {reason}"
        )),
        State::Failed(reason) => Some(format!("the pipeline {name} failed: {reason}")),
        _ => None,
    }
}
