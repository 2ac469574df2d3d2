//! The pipelines of a list in a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{Host, List, Listed, Reloaded, Taken, WITHIN, in_time};
use crate::fleet::{Entry as Joining, OnFailure};
use crate::line::{Line, left, share};
use crate::lines::{Lines, Opened};
use crate::pipeline::unused;

/// How long the requests under way may hold up the removal of their pipeline.
const REQUESTS_MAX: Duration = Duration::from_secs(5);

/// An entry that does not run, and as it ran before, if it did.
type Lacking<E> = (Listed<E>, Option<Listed<E>>);

/// All pipelines of a list in this process. They are in its fleet.
pub struct Pipelines<H: Host, L: List<H>> {
    list: L,
    /// What was found and done when pipelines were added, one sentence a line.
    said: Vec<String>,
    /// Those that run.
    running: Vec<Listed<L::Entry>>,
    /// Those that do not run though the file has them.
    lacking: Vec<Lacking<L::Entry>>,
}

impl<H: Host, L: List<H>> Pipelines<H, L> {
    /// Looks whether `all`, the entries of `new`, can run. Changes no pipeline.
    ///
    /// # Errors
    /// If one can't.
    pub async fn check(
        &self,
        host: &H,
        new: &H::Config,
        all: &[Listed<L::Entry>],
    ) -> Result<(), H::Error> {
        let lines: Vec<_> = all.iter().map(|one| one.line.clone()).collect();
        H::lines(new).refuse_left_of(&lines).await.map_err(H::told)?;
        for one in all.iter().filter(|one| !self.runs(one)) {
            self.list.ready(host, new, one).await.map_err(|error| H::of(at::<H, L>(one), error))?;
            let reached = H::lines(new).reach(&one.line).await.map_err(H::told);
            reached.map_err(|error| H::of(at::<H, L>(one), error))?;
        }
        Ok(())
    }

    /// Adds the pipelines of `all`, the entries of `new`, that do not run, drains and removes those that are not among
    /// them, and does both with those that are there otherwise. The host has the configuration before.
    pub async fn reload(
        &mut self,
        host: &H,
        new: &H::Config,
        all: &[Listed<L::Entry>],
    ) -> Reloaded<H::Error> {
        // Until it is added, an entry of the file is answered 503.
        self.list.expect(all.iter().map(|one| one.name().to_owned()).collect());
        for (one, _) in std::mem::take(&mut self.lacking) {
            host.fleet().lack(&one.line.pipeline, None);
        }
        let stays = |one: &Listed<_>| all.iter().any(|other| other.is_same(one));
        let going: Vec<_> = self.running.iter().filter(|one| !stays(one)).cloned().collect();
        let coming: Vec<_> = all.iter().filter(|one| !self.runs(one)).cloned().collect();
        let mut reloaded = Reloaded::default();
        let removed = |one: &&Listed<_>| !all.iter().any(|other| other.name() == one.name());
        for one in going.iter().filter(removed) {
            self.remove(host, one, None).await;
            reloaded.removed.push(one.line.pipeline.clone());
        }
        for one in &coming {
            // One that changes has its buffer until then, and may have the one that this is to get.
            for other in &going {
                let is_in_the_way =
                    other.name() == one.name() || share(&other.line, &one.line).await;
                if is_in_the_way && self.runs(other) {
                    let now = all.iter().find(|now| now.name() == other.name());
                    self.remove(host, other, now).await;
                }
            }
            let before = going.iter().find(|before| before.name() == one.name());
            let end = Instant::now() + WITHIN;
            let added =
                in_time(end, H::may_come, async || self.add_beside(host, new, one).await).await;
            match (added, before) {
                (Ok(()), None) => reloaded.added.push(one.line.pipeline.clone()),
                (Ok(()), Some(_)) => reloaded.changed.push(one.line.pipeline.clone()),
                (Err(error), before) => {
                    let why = format!("{error:#}");
                    reloaded.failed.push(error);
                    let end = Instant::now() + WITHIN;
                    let again = async || self.restore(host, new, before).await;
                    match in_time(end, H::may_come, again).await {
                        Ok(true) => continue,
                        Ok(false) => {}
                        Err(error) => reloaded.failed.push(error),
                    }
                    host.fleet().lack(&one.line.pipeline, Some(why));
                    self.lacking.push((one.clone(), before.cloned()));
                }
            }
        }
        for line in std::mem::take(&mut self.said) {
            tracing::info!("{line}");
        }
        reloaded
    }

    /// Tries once more to add what could not be added.
    pub async fn retry(&mut self, host: &H) {
        for (one, before) in std::mem::take(&mut self.lacking) {
            let at = at::<H, L>(&one);
            let Err(error) = self.add_beside(host, host.config(), &one).await else {
                tracing::info!("{at} runs");
                continue;
            };
            if let Ok(true) = self.restore(host, host.config(), before.as_ref()).await {
                tracing::warn!("{at} runs as before; send SIGHUP to change it");
                continue;
            }
            host.fleet().lack(&one.line.pipeline, Some(format!("{error:#}")));
            self.lacking.push((one, before));
        }
    }

    /// Starts the pipelines of `all`, the entries of the host's configuration. Returns as well what to say of them.
    ///
    /// # Errors
    /// If one can't be started. Those that were begun are removed again.
    pub async fn start(
        list: L,
        host: &H,
        all: &[Listed<L::Entry>],
    ) -> Result<(Self, Vec<String>), H::Error> {
        let (said, running, lacking) = (Vec::new(), Vec::new(), Vec::new());
        let mut started = Self { list, said, running, lacking };
        if let Err(error) = started.begin(host, all).await {
            for one in &started.running {
                if let Err(stopping) = host.fleet().remove(&one.line.pipeline).await {
                    let noun = L::NOUN;
                    tracing::warn!("a {noun} that was begun could not be ended: {stopping:#}");
                }
            }
            return Err(error);
        }
        let said = std::mem::take(&mut started.said);
        Ok((started, said))
    }

    async fn begin(&mut self, host: &H, all: &[Listed<L::Entry>]) -> Result<(), H::Error> {
        let lines: Vec<_> = all.iter().map(|one| one.line.clone()).collect();
        H::lines(host.config()).refuse_left_of(&lines).await.map_err(H::told)?;
        for one in all {
            self.add(host, host.config(), one).await?;
        }
        Ok(())
    }

    /// Whether this entry runs as it is written here.
    fn runs(&self, one: &Listed<L::Entry>) -> bool {
        self.running.iter().any(|other| other.is_same(one))
    }

    /// Opens the buffer of an entry of `config` and starts its pipeline.
    ///
    /// # Errors
    /// If the buffer can't be opened, or the entry can't run.
    async fn add(
        &mut self,
        host: &H,
        config: &H::Config,
        one: &Listed<L::Entry>,
    ) -> Result<(), H::Error> {
        let done = self.list.ready(host, config, one).await;
        self.said.extend(done.map_err(|error| H::of(at::<H, L>(one), error))?);
        self.run(host, config, &H::lines(config), one).await
    }

    /// The same while other pipelines run, of which some are still to change.
    ///
    /// # Errors
    /// The same, or if one of them has the buffer: as it runs, which may not be as any file has it.
    async fn add_beside(
        &mut self,
        host: &H,
        config: &H::Config,
        one: &Listed<L::Entry>,
    ) -> Result<(), H::Error> {
        if let Some(pipeline) = user_of(&one.line, &host.fleet().lines()).await {
            return Err(Taken::Still { one: at::<H, L>(one), pipeline }.into());
        }
        self.add(host, config, one).await
    }

    /// Starts a pipeline of the process again after a change that failed, also while its buffer is out of reach.
    /// Returns whether it ran `before`. `new` is what all pipelines are to be.
    ///
    /// # Errors
    /// If another pipeline has its buffer by now or is to have it, or it can't be opened.
    async fn restore(
        &mut self,
        host: &H,
        new: &H::Config,
        before: Option<&Listed<L::Entry>>,
    ) -> Result<bool, H::Error> {
        let Some(before) = before else { return Ok(false) };
        let others = [H::lines(new).all, host.fleet().lines()].concat();
        if let Some(pipeline) = user_of(&before.line, &others).await {
            return Err(Taken::Before { one: at::<H, L>(before), pipeline }.into());
        }
        let lines = Lines { is_lazy: true, ..H::lines(host.config()) };
        self.run(host, host.config(), &lines, before).await.map(|()| true)
    }

    /// Opens the buffer of an entry of `config`, one of `lines`, and starts its pipeline.
    async fn run(
        &mut self,
        host: &H,
        config: &H::Config,
        lines: &Lines,
        one: &Listed<L::Entry>,
    ) -> Result<(), H::Error> {
        let (noun, name) = (capital(L::NOUN), one.name());
        let opened = host.open(lines, &one.line).await;
        let opened = opened.map_err(|error| H::of(at::<H, L>(one), error))?;
        self.said.extend(opened.found.iter().map(|line| format!("{noun} {name}: {line}")));
        let (pipeline, said) = self.list.pipeline(host, config, one, opened.buffer).await?;
        self.said.extend(said);
        let pipeline = Opened::following(opened.follower, pipeline);
        let joining = Joining::pipeline(pipeline, OnFailure::Restart).on(one.line.clone());
        if let Err(error) = host.fleet().add(joining) {
            self.list.leave(name);
            return Err(error.into());
        }
        self.running.push(one.clone());
        Ok(())
    }

    /// Takes no more events of an entry, drains its pipeline and closes its buffer. What is left in the buffer
    /// stays there. `now` is the entry as it is to run, if it is changed.
    async fn remove(&mut self, host: &H, one: &Listed<L::Entry>, now: Option<&Listed<L::Entry>>) {
        let (at, pipeline) = (at::<H, L>(one), &one.line.pipeline);
        if let Some(requests) = self.list.leave(one.name())
            && timeout(REQUESTS_MAX, requests.cancelled()).await.is_err()
        {
            tracing::warn!("{at} is removed while requests still send {} to it", L::EVENTS);
        }
        self.running.retain(|other| other.name() != one.name());
        let buffers = host.fleet().buffers().into_iter();
        let mut buffers = buffers.filter(|(running, _)| **running == **pipeline);
        let buffer = buffers.next().map(|(_, buffer)| Arc::downgrade(&buffer));
        drop(buffers);
        if let Err(error) = host.fleet().remove(pipeline).await {
            tracing::error!("{error}");
        }
        if let Some(buffer) = buffer {
            unused(buffer).await;
        }
        // Reading a large journal blocks, and this process may be told to stop meanwhile.
        let left = left(L::NOUN, one.line.clone(), now.map(|now| now.line.clone()));
        for said in tokio::spawn(left).await.unwrap_or_default() {
            tracing::warn!("{at}: {said}");
        }
    }
}

/// The first pipeline of `lines`, other than that of `line`, that uses one of its buffers.
async fn user_of(line: &Line, lines: &[Line]) -> Option<String> {
    for other in lines.iter().filter(|other| other.pipeline != line.pipeline) {
        if share(line, other).await {
            return Some(other.pipeline.clone());
        }
    }
    None
}

/// Which entry an error is of.
fn at<H: Host, L: List<H>>(one: &Listed<L::Entry>) -> String {
    format!("{} {}", L::NOUN, one.name())
}

/// The word at the beginning of a sentence.
fn capital(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}
