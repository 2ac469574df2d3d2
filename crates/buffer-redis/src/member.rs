//! Membership: saying that we live, taking and giving up shards, leaving.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout};

use crate::failure::Failure;
use crate::frame::Entry;
use crate::shared::{Claims, Shared};
use crate::waiting::number;

/// How often shards are settled while some move.
const SOON: Duration = Duration::from_millis(100);

/// What a beat replies: members, events that came back, our shards, their last ids.
type Beaten = (usize, u64, Vec<u16>, Vec<String>);

impl Shared {
    fn beat_interval(&self) -> Duration {
        let usual = Duration::from_millis(self.options.member_ms.unsigned_abs() / 3);
        if self.state().is_unsettled() { usual.min(SOON) } else { usual }
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
                self.call(&self.rest, &self.scripts.beat, |cmd| {
                    cmd.arg(&member).arg(self.options.member_ms).arg(self.options.shards);
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
            Err(failure) => Err(failure),
        }
    }

    fn beaten(&self, members: usize, back: u64, mine: &[u16], lasts: Vec<String>) {
        let (members, shards) = (members.max(1), usize::from(self.options.shards));
        let mut lasts = lasts.into_iter();
        let mine: Vec<(u16, Option<Entry>)> = mine
            .iter()
            .map(|shard| (*shard, lasts.next().and_then(|id| Entry::parse(&id))))
            .collect();
        let changed = self.state().owned(&mine, shards.div_ceil(members), shards / members);
        metrics::gauge!("buffer_redis_members").set(number(members));
        metrics::gauge!("buffer_redis_shards_owned").set(number(mine.len()));
        if back > 0 {
            metrics::counter!("buffer_redis_redelivered_total").increment(back);
            tracing::info!(events = back, "events of a process that is gone come again");
        }
        if changed || back > 0 {
            self.changed.notify_waiters();
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
        metrics::counter!("buffer_redis_fenced_total").increment(1);
        tracing::warn!(
            held,
            "this process was not heard of in time and others took over what it held; it joins again"
        );
    }

    /// Gives back what nobody may ever come back with, and beats.
    async fn keep_once(&self, claims: &MutexGuard<'_, Claims>) -> Result<(), Failure> {
        let stuck = self.state().stuck(Instant::now());
        if !stuck.is_empty() {
            self.release_now(&stuck, Duration::ZERO).await?;
        }
        self.beat(claims).await?;
        if self.is_stream() { self.sweep().await } else { Ok(()) }
    }

    /// Looks for entries of our shards that are pending though no lease knows of them.
    async fn sweep(&self) -> Result<(), Failure> {
        let (member, shards) = {
            let state = self.state();
            (state.member.clone(), state.open_shards())
        };
        let strays: u64 = self
            .call(&self.rest, &self.scripts.sweep, |cmd| {
                cmd.arg(&member).arg(self.options.lease_ms).arg(&shards);
            })
            .await?;
        if strays > 0 {
            metrics::counter!("buffer_redis_redelivered_total").increment(strays);
            tracing::warn!(
                events = strays,
                "entries were pending that no lease knew of (keys deleted or evicted?); they come again"
            );
            self.changed.notify_waiters();
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
            .call(&self.rest, &self.scripts.beat, |cmd| {
                cmd.arg(&member).arg(self.options.member_ms).arg(self.options.shards);
                cmd.arg("leave").arg("");
            })
            .await?;
        self.state().left();
        Ok(())
    }
}

/// Beats for as long as this process is a member.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut heard = true;
    while !shared.is_closed() {
        if !shared.state().joined {
            shared.joined.notified().await;
            continue;
        }
        // One that was not heard is said again soon: others wait no longer than they were told.
        let pause = if heard { shared.beat_interval() } else { shared.beat_interval().min(SOON) };
        let _ = timeout(pause, shared.joined.notified()).await;
        let claims = shared.claims.lock().await;
        if shared.is_closed() || !shared.state().joined {
            continue;
        }
        match shared.keep_once(&claims).await {
            Ok(()) | Err(Failure::Fenced) => heard = true,
            Err(failure) => {
                if heard {
                    let error = failure.error();
                    tracing::warn!(%error, "redis does not hear that this process lives");
                }
                heard = false;
            }
        }
    }
}
