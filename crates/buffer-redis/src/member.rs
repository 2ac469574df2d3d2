//! Membership: saying that we live, taking and giving up shards, leaving.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use model::clock::{Clock as _, System};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::frame::Entry;
use crate::keeper::{Kept, Memory};
use crate::shared::{Beats, Claims, Shared};
use crate::waiting::number;

/// How often shards are settled while some move.
const SOON: Duration = Duration::from_millis(100);

/// What a beat replies: members, events that came back, our shards, their last ids.
type Beaten = (usize, u64, Vec<u16>, Vec<String>);

impl Shared {
    /// Until the next beat: never longer than a third of `member_ms`. Queues that have the same one beat together.
    fn until_beat(&self) -> Duration {
        let usual = Duration::from_millis(self.place.options.member_ms.unsigned_abs() / 3);
        if self.state().is_unsettled() { usual.min(SOON) } else { System.rest(usual) }
    }

    /// The process has joined: it is a member for as long as it beats.
    pub(crate) fn begin_beats(&self) {
        self.beats().at = Some(Instant::now() + self.until_beat());
        self.place.provider.beats_changed();
    }

    /// One beat, or the first one, which joins. Fenced: all that was held is forgotten, and the
    /// next one joins anew.
    pub(crate) async fn beat(&self, claims: &MutexGuard<'_, Claims>) -> Result<(), Failure> {
        let (member, mode, given) = {
            let mut state = self.state();
            // While a reply is missing, what is held of any shard is not known.
            let given = if claims.unresolved.is_some() { Vec::new() } else { state.drained() };
            // Even if the reply to this is lost: from now on it may have been another's.
            state.renew(&given);
            (state.member.clone(), if state.joined { "stay" } else { "join" }, given)
        };
        let beaten: Result<Beaten, Failure> = self
            .opened(|| {
                self.place.call(&self.place.rest, &self.place.scripts.beat, |cmd| {
                    cmd.arg(&member)
                        .arg(self.place.options.member_ms)
                        .arg(self.place.options.shards);
                    cmd.arg(mode).arg(&given);
                })
            })
            .await;
        match beaten {
            Ok((members, back, mine, lasts)) => {
                self.beaten(members, back, &mine, lasts);
                Ok(())
            }
            Err(Failure::Fenced) => {
                self.fenced(&member);
                Err(Failure::Fenced)
            }
            // Erased while this process was not heard of: there is nothing to be a member of.
            Err(failure @ Failure::Erased(_)) => {
                self.state().left();
                self.watch.wake();
                Err(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    fn beaten(&self, members: usize, back: u64, mine: &[u16], lasts: Vec<String>) {
        let (members, shards) = (members.max(1), usize::from(self.place.options.shards));
        let mut lasts = lasts.into_iter();
        let mine: Vec<(u16, Option<Entry>)> = mine
            .iter()
            .map(|shard| (*shard, lasts.next().and_then(|id| Entry::parse(&id))))
            .collect();
        let (fair, least) = (shards.div_ceil(members), shards / members);
        let changed = self.state().owned(&mine, fair, least, Instant::now());
        metrics::gauge!("buffer_redis_members").set(number(members));
        metrics::gauge!("buffer_redis_shards_owned").set(number(mine.len()));
        if back > 0 {
            metrics::counter!("buffer_redis_redelivered_total").increment(back);
            tracing::info!(events = back, "events of a process that is gone come again");
        }
        if changed || back > 0 {
            self.watch.wake();
        }
    }

    /// This member is one no longer: what it held is forgotten.
    pub(crate) fn fenced(&self, member: &str) {
        let held = {
            let mut state = self.state();
            // It may have joined again since that was found.
            if state.member != member || !state.joined {
                return;
            }
            let held = state.held();
            state.fenced();
            held
        };
        // Whoever waits has to join before anything can come.
        self.watch.wake();
        metrics::counter!("buffer_redis_fenced_total").increment(1);
        tracing::warn!(
            held,
            "this process was not heard of in time and others took over what it held; it joins again"
        );
    }

    /// Gives back what keeps a shard from being given up, and beats.
    async fn keep_once(&self, claims: &MutexGuard<'_, Claims>) -> Result<(), Failure> {
        // A shard that goes to another process is waited for as long as one lease.
        let drain_max = Duration::from_millis(self.place.options.lease_ms.unsigned_abs());
        let stuck = self.state().stuck(Instant::now(), drain_max);
        if !stuck.is_empty() {
            self.release_now(&stuck, Duration::ZERO).await?;
        }
        self.beat(claims).await?;
        if self.place.is_stream() { self.sweep().await } else { Ok(()) }
    }

    /// Looks for entries of our shards that are pending though no lease knows of them.
    async fn sweep(&self) -> Result<(), Failure> {
        let (member, shards) = {
            let state = self.state();
            (state.member.clone(), state.open_shards())
        };
        let strays: u64 = self
            .place
            .call(&self.place.rest, &self.place.scripts.sweep, |cmd| {
                cmd.arg(&member).arg(self.place.options.lease_ms).arg(&shards);
            })
            .await?;
        if strays > 0 {
            metrics::counter!("buffer_redis_redelivered_total").increment(strays);
            tracing::warn!(
                events = strays,
                "entries were pending that no lease knew of (keys deleted or evicted?); they come again"
            );
            self.watch.wake();
        }
        Ok(())
    }

    /// Gives up all shards. What is still held can be acked until somebody takes it over.
    pub(crate) async fn leave(&self) -> Result<(), Failure> {
        let member = {
            let state = self.state();
            if !state.joined {
                return Ok(());
            }
            state.member.clone()
        };
        let _: Beaten = self
            .place
            .call(&self.place.rest, &self.place.scripts.beat, |cmd| {
                cmd.arg(&member).arg(self.place.options.member_ms).arg(self.place.options.shards);
                cmd.arg("leave").arg("");
            })
            .await?;
        self.state().left();
        Ok(())
    }
}

#[async_trait]
impl Kept for Shared {
    fn beat_at(&self) -> Option<Instant> {
        let beats = *self.beats();
        beats.at.filter(|_| !beats.under_way && !self.is_closed())
    }

    fn begin_beat(&self) {
        self.beats().under_way = true;
    }

    async fn beat_once(&self) {
        let claims = self.claims.lock().await;
        let member = !self.is_closed() && self.state().joined;
        let mut unheard = false;
        if member && let Err(failure) = self.keep_once(&claims).await {
            unheard = !matches!(failure, Failure::Fenced);
            if unheard && !self.beats().unheard {
                let error = failure.error();
                tracing::warn!(%error, "Redis heartbeat failed; it is sent again until Redis answers");
            }
        }
        // A failed heartbeat is sent again soon, so that other processes wait no longer than `member_ms`.
        let pause = if unheard { self.until_beat().min(SOON) } else { self.until_beat() };
        let at = self.state().joined.then(|| Instant::now() + pause);
        *self.beats() = Beats { at, under_way: false, unheard };
    }

    async fn ask_memory(&self) -> Option<Memory> {
        let place = &self.place;
        let told: Result<(u64, u64, String, String), Failure> =
            place.call(&place.rest, &place.scripts.memory, |_| {}).await;
        told.ok().map(|(used, maxmemory, ..)| Memory { used, maxmemory })
    }

    /// Says when offers must be refused.
    fn told_memory(&self, memory: Memory) {
        let configured = self.place.options.memory_max_bytes;
        let bound = if configured > 0 { configured } else { memory.maxmemory / 10 * 9 };
        let over = if bound > 0 && memory.used > bound { memory.used } else { 0 };
        self.memory_bound.store(bound, Ordering::Relaxed);
        self.memory_over.store(over, Ordering::Relaxed);
    }
}
