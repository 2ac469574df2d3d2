//! Which two buffers a process moves between, held against those that the store has recorded.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use buffer::Identity;
use store::moves::{Buffers, Recorded};

use crate::config::{Config, Next};
use crate::{distinct, url};

/// What a move is recorded under: only the payments' buffer moves.
pub(crate) const PIPELINE: &str = "payments";
/// What stands between both URLs in the name of a move that an earlier version recorded.
const TO: &str = " to ";

/// From one buffer to another.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) source: Identity,
    pub(crate) target: Identity,
    /// What was found to name the same two. What names others is compared anew each time: name servers
    /// fail for a while.
    same: Mutex<HashSet<(String, Buffers)>>,
}

impl Way {
    /// The way of a process with this configuration.
    pub(crate) fn new(config: &Config, next: &Next) -> Self {
        Self::between(config.buffer.identity(), next.buffer.identity())
    }

    pub(super) fn between(source: Identity, target: Identity) -> Self {
        Self { source, target, same: Mutex::default() }
    }

    /// As the store keeps it.
    pub(crate) fn buffers(&self) -> Buffers {
        Buffers { source: self.source.to_string(), target: self.target.to_string() }
    }

    /// Whether these are the same two buffers, however they are spelled. `name` is that of the move.
    pub(crate) async fn is(&self, name: &str, buffers: &Buffers) -> bool {
        let known = (name.to_owned(), buffers.clone());
        let same = || self.same.lock().unwrap_or_else(PoisonError::into_inner);
        if *buffers == self.buffers() || same().contains(&known) {
            return true;
        }
        for (source, target) in read(name, buffers) {
            if distinct::is_same(&source, &self.source).await
                && distinct::is_same(&target, &self.target).await
            {
                same().insert(known);
                return true;
            }
        }
        false
    }

    /// The recorded move if it is this one; nothing where no move is under way.
    ///
    /// # Errors
    /// If another move is unfinished.
    pub(crate) async fn of(&self, recorded: Option<Recorded>) -> Result<Option<Recorded>> {
        let Some(recorded) = recorded else { return Ok(None) };
        if self.is(&recorded.name, &recorded.buffers).await {
            return Ok(Some(recorded));
        }
        if recorded.step.is_finished() {
            return Ok(None);
        }
        let (source, target) = (&self.source, &self.target);
        let (share, phase) = (recorded.step.route.share, recorded.step.route.phase.name());
        bail!(
            "cannot move from {source} to {target}: the move from {} is unfinished, at {share} % ({phase}); \
             set buffer and next_buffer as recorded and end it with `forebay buffer migrate` or --rollback. \
             If they are the same buffers under new addresses, run `forebay buffer migrate --same-buffers`",
            shown(&recorded)
        )
    }
}

/// The recorded buffers in words.
pub(crate) fn shown(recorded: &Recorded) -> String {
    let Buffers { source, target } = &recorded.buffers;
    if source.is_empty() { recorded.name.clone() } else { format!("{source}{TO}{target}") }
}

/// What the recorded texts may name: one pair, or each way to read the name of an earlier version.
pub(crate) fn read(name: &str, buffers: &Buffers) -> Vec<(Identity, Identity)> {
    let identity = |text: &str| Some(url::Buffer::parse(text).ok()?.identity());
    let pair = |source: &str, target: &str| Some((identity(source)?, identity(target)?));
    if !buffers.source.is_empty() {
        return pair(&buffers.source, &buffers.target).into_iter().collect();
    }
    let places = name.match_indices(TO);
    places.filter_map(|(at, _)| pair(&name[..at], &name[at + TO.len()..])).collect()
}

#[cfg(test)]
mod tests {
    use model::route::{Phase, Route};
    use store::moves::Step;

    use super::*;

    fn way(source: &str, target: &str) -> Way {
        let of = |text| url::Buffer::parse(text).unwrap().identity();
        Way::between(of(source), of(target))
    }

    fn recorded(name: &str, buffers: Buffers, share: u8, phase: Phase) -> Recorded {
        let step = Step { number: 3, route: Route { before: 0, share, phase } };
        Recorded { name: name.to_owned(), buffers, step }
    }

    #[tokio::test]
    async fn a_recorded_move_is_joined_refused_or_over() {
        let mine =
            way("redis://localhost:7000?list=q&events_max=9", "redis://localhost:7000?list=r");
        let same = way("redis://127.1:7000/0?list=q", "redis://127.0.0.1:7000?list=r").buffers();
        let other = way("redis://localhost:7000?list=q", "redis://localhost:7000?list=s").buffers();
        let back = Buffers { source: same.target.clone(), target: same.source.clone() };
        let of = async |buffers: &Buffers, share, phase| {
            mine.of(Some(recorded(PIPELINE, buffers.clone(), share, phase))).await
        };
        assert!(of(&same, 50, Phase::Open).await.unwrap().is_some());
        for unfinished in [(50, Phase::Open), (100, Phase::Drain), (0, Phase::Hold)] {
            for buffers in [&other, &back] {
                let refused =
                    of(buffers, unfinished.0, unfinished.1).await.unwrap_err().to_string();
                assert!(
                    refused.contains(&buffers.target) && refused.contains("list=r: the move"),
                    "{refused}"
                );
            }
        }
        assert!(of(&other, 100, Phase::Open).await.unwrap().is_none());
        assert!(of(&back, 0, Phase::Open).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_an_earlier_version_recorded_is_read_from_its_name() {
        let mine = way("journal:/srv/a to b/x", "kafka://a/t?group=g");
        let name = "journal:/srv/a to b/x?sync=os to kafka://u:***@A,b/t?group=g&lease_ms=500";
        assert!(mine.is(name, &Buffers::default()).await);
        assert!(!mine.is("journal:/srv/a to kafka://a/t?group=g", &Buffers::default()).await);
        assert!(!mine.is("neither of them", &Buffers::default()).await);
    }
}
