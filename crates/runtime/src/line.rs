//! The buffers of a pipeline, as a configuration has them.

use std::sync::Arc;
use std::time::Duration;

use buffer::distinct::{self, Named};
use buffer::{Identity, Location};
use model::units::grouped;
use model::url::{self, redacted};
use tokio::time::timeout;

use crate::moving::{Subject, Way};

/// What stands for no buffer in a configuration.
pub const NONE: &str = "none";

/// How long a buffer may take to say what is left in it.
pub const LEFT_MAX: Duration = Duration::from_secs(5);

/// Reads the URL of a buffer.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<Arc<dyn Location>, url::Error>;

/// See the module.
#[derive(Debug, Clone)]
pub struct Line {
    /// The name of the pipeline, as the fleet has it.
    pub pipeline: String,
    /// What its moves are recorded under, and which command leads them.
    pub subject: Subject,
    /// What its events are called, in sentences: `payments`.
    pub events: &'static str,
    /// What follows `buffer`, `next_buffer` and `spill` where a configuration has them for several pipelines:
    /// ` of table prices (forebay.toml:3)`.
    pub of: String,
    /// What its buffer is called in metrics.
    pub label: Label,
    /// Where its events are accepted.
    pub buffer: Arc<dyn Location>,
    /// Where it moves to from `buffer`; `None` while it stays.
    pub next: Option<Next>,
    /// Where events go while the buffer is out of reach; `None` refuses them instead.
    pub spill: Option<Arc<dyn Location>>,
}

/// The buffer that a pipeline moves to.
#[derive(Debug, Clone)]
pub struct Next {
    /// The buffer.
    pub buffer: Arc<dyn Location>,
    /// Its URL, without passwords.
    pub to: String,
}

/// What the buffer of a pipeline is called in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// As its pipeline.
    Pipeline,
    /// As its backend: for the one pipeline that has been metered so from the beginning.
    Kind,
}

impl Line {
    /// The pipeline with this buffer alone.
    #[must_use]
    pub fn new(subject: Subject, buffer: Arc<dyn Location>, events: &'static str) -> Self {
        Self {
            pipeline: subject.pipeline.clone(),
            of: format!(" of pipeline {}", subject.pipeline),
            subject,
            events,
            label: Label::Pipeline,
            buffer,
            next: None,
            spill: None,
        }
    }

    /// The way of a process with this configuration, if it has a next buffer.
    #[must_use]
    pub fn way(&self) -> Option<Way> {
        let next = self.next.as_ref()?;
        Some(Way::new(self.subject.clone(), self.buffer.identity(), next.buffer.identity()))
    }

    /// How long leases last, in milliseconds: the shorter of the two, while there are two buffers.
    #[must_use]
    pub fn lease_ms(&self) -> u64 {
        let next = self.next.as_ref().map_or(u64::MAX, |next| next.buffer.lease_ms());
        next.min(self.buffer.lease_ms())
    }

    /// Whether several processes may lease from all of its buffers at once.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.accepting().all(|buffer| buffer.is_shared())
    }

    /// Whether another process may lease from one of its buffers at the same time.
    #[must_use]
    pub fn is_of_several(&self) -> bool {
        self.accepting().any(|buffer| buffer.is_shared())
    }

    /// Where accepted events are: one buffer, or two while they move from one to the other.
    pub fn accepting(&self) -> impl Iterator<Item = &Arc<dyn Location>> {
        [&self.buffer].into_iter().chain(self.next.as_ref().map(|next| &next.buffer))
    }

    /// All buffers, with that of the spill.
    pub fn buffers(&self) -> impl Iterator<Item = &Arc<dyn Location>> {
        self.accepting().chain(&self.spill)
    }

    /// The key of the configuration that names this buffer.
    fn role(&self, buffer: &Arc<dyn Location>) -> &'static str {
        let is =
            |other: Option<&Arc<dyn Location>>| other.is_some_and(|it| Arc::ptr_eq(it, buffer));
        match () {
            () if is(self.spill.as_ref()) => "spill",
            () if is(self.next.as_ref().map(|next| &next.buffer)) => "next_buffer",
            () => "buffer",
        }
    }

    /// Whether this is one of the buffers that accept.
    #[must_use]
    pub fn has(&self, buffer: &Identity) -> bool {
        self.accepting().any(|one| one.identity().is_same(buffer))
    }
}

/// Reads the buffer that a pipeline moves to.
///
/// # Errors
/// As its backend refuses the URL.
pub fn next(url: &str, read: Read<'_>) -> Result<Option<Next>, url::Error> {
    if url == NONE {
        return Ok(None);
    }
    let buffer = read(url).map_err(|error| url::Error(format!("next_{error}")))?;
    Ok(Some(Next { buffer, to: redacted(url) }))
}

/// Reads the buffer on this machine that takes events while `buffer` is out of reach.
///
/// # Errors
/// If it is not on this machine, does not outlive its process, or `buffer` is on this machine as well.
pub fn spill(
    url: &str,
    buffer: &dyn Location,
    read: Read<'_>,
) -> Result<Option<Arc<dyn Location>>, url::Error> {
    if url == NONE {
        return Ok(None);
    }
    match read(url) {
        Ok(spill) if spill.is_shared() || spill.is_volatile() => {}
        Ok(_) if !buffer.is_shared() => {
            let problem = "spill: the buffer is on this machine already; leave it \"none\"";
            return Err(url::Error(problem.to_owned()));
        }
        Ok(spill) => return Ok(Some(spill)),
        Err(_) => {}
    }
    Err(url::Error(format!(
        "spill is \"{}\"; it must be \"none\" or a journal, e.g. journal:{{data}}/spill",
        redacted(url)
    )))
}

/// Refuses a spill of a buffer that is being left.
///
/// # Errors
/// If there is one.
pub fn alone(next: Option<&Next>, spill: Option<&Arc<dyn Location>>) -> Result<(), url::Error> {
    if next.is_some() && spill.is_some() {
        let problem = "next_buffer: cannot move away from a buffer with a spill; leave `spill` out until \
                       the move has ended";
        return Err(url::Error(problem.to_owned()));
    }
    Ok(())
}

/// Whether both pipelines use one and the same buffer, however it is spelled. Takes as long as
/// [`distinct::check`].
pub async fn share(one: &Line, other: &Line) -> bool {
    let all = named(&[one.clone(), other.clone()]);
    distinct::written(&all).is_err() || distinct::check(&all).await.is_err()
}

/// What is left in the buffers of `line` that `now`, the same pipeline as it is to run, does not have: one clause
/// for each buffer that holds anything or can't be read within [`LEFT_MAX`]. Nothing is left of a volatile buffer.
/// `noun` is what the pipeline is called.
pub async fn left(noun: &'static str, line: Line, now: Option<Line>) -> Vec<String> {
    let is_kept = |buffer: &dyn Location| {
        let identity = buffer.identity();
        now.iter().flat_map(Line::buffers).any(|other| other.identity().is_same(&identity))
    };
    let mut left = Vec::new();
    for buffer in line.buffers().filter(|buffer| !buffer.is_volatile() && !is_kept(&***buffer)) {
        let (role, identity) = (line.role(buffer), buffer.identity());
        let look = format!("look at it with `forebay buffer stat --buffer {identity}`");
        let depth = timeout(LEFT_MAX, buffer.depth()).await;
        let (events, dead) = match depth {
            Ok(Ok(depth)) => (depth.ready + depth.leased, depth.dead),
            Ok(Err(error)) => {
                left.push(format!("cannot count what stays in its {role}: {error}; {look}"));
                continue;
            }
            Err(_elapsed) => {
                left.push(format!("cannot count what stays in its {role} in time; {look}"));
                continue;
            }
        };
        let what = [(events, "events"), (dead, "dead letters")].into_iter();
        let what: Vec<_> = what.filter(|(count, _)| *count > 0).collect();
        if !what.is_empty() {
            let what: Vec<_> =
                what.iter().map(|(count, of)| format!("{} {of}", grouped(*count))).collect();
            let how = if now.is_some() { "changed" } else { "removed" };
            let mend = match now {
                Some(_) => format!("set its {role} as before to settle them"),
                None => format!("add the {noun} again to settle them"),
            };
            left.push(format!(
                "{} of a {how} {noun} stay in its {role}; {mend}, or look at them with `forebay buffer stat \
                 --buffer {identity}`",
                what.join(" and ")
            ));
        }
    }
    left
}

/// Each buffer of all pipelines, and what the configuration calls it.
#[must_use]
pub fn named(lines: &[Line]) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    for Line { of, buffer, next, spill, .. } in lines {
        let leaves = all.len();
        let mut add = |name: &str, identity, leaves| {
            all.push(Named { name: format!("{name}{of}"), identity, leaves });
        };
        add("buffer", buffer.identity(), None);
        if let Some(next) = next {
            add("next_buffer", next.buffer.identity(), Some(leaves));
        }
        if let Some(spill) = spill {
            add("spill", spill.identity(), None);
        }
    }
    all
}
