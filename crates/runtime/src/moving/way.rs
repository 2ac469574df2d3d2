//! Which two buffers a process moves between, held against those that the store has recorded.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use buffer::Identity;
use buffer::distinct::is_same;
use model::route::SHARE_MAX;
use store::moves::{Buffers, Recorded};

use super::error::Error;
use super::subject::{Parse, Subject};

/// What stands between both URLs of a move that an earlier version recorded.
const TO: &str = " to ";

/// From one buffer of a pipeline to another.
pub struct Way {
    /// What moves.
    pub subject: Subject,
    /// The buffer that keys leave.
    pub source: Identity,
    /// The buffer that they move to.
    pub target: Identity,
    /// What was found to name the same two. What names others is compared anew each time: name servers
    /// fail for a while.
    same: Mutex<HashSet<Buffers>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{TO}{}", self.subject.pipeline, self.source, self.target)
    }
}

impl Way {
    /// The way of a pipeline in a process that is configured with these two buffers.
    #[must_use]
    pub fn new(subject: Subject, source: Identity, target: Identity) -> Self {
        Self { subject, source, target, same: Mutex::default() }
    }

    /// What its moves are recorded under.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.subject.pipeline
    }

    /// As the store keeps it.
    #[must_use]
    pub fn buffers(&self) -> Buffers {
        Buffers { source: self.source.to_string(), target: self.target.to_string() }
    }

    /// Whether these are the same two buffers, however they are spelled.
    pub async fn is(&self, buffers: &Buffers) -> bool {
        let same = || self.same.lock().unwrap_or_else(PoisonError::into_inner);
        if *buffers == self.buffers() || same().contains(buffers) {
            return true;
        }
        for (source, target) in read(buffers, self.subject.parse) {
            if is_same(&source, &self.source).await && is_same(&target, &self.target).await {
                same().insert(buffers.clone());
                return true;
            }
        }
        false
    }

    /// The recorded move if it is this one; nothing where this one has not begun.
    ///
    /// # Errors
    /// [`Error::Refused`] if another move is unfinished, or ended at another buffer than the one where this one
    /// begins: events would be offered to a buffer that was left.
    pub async fn of(&self, recorded: Option<Recorded>) -> Result<Option<Recorded>, Error> {
        let Some(recorded) = recorded else { return Ok(None) };
        if self.is(&recorded.buffers).await {
            return Ok(Some(recorded));
        }
        let Self { subject: Subject { command, .. }, source, target, .. } = self;
        if recorded.step.is_finished() {
            let (shown, ends) = ended(&recorded, self.subject.parse);
            for end in ends {
                if is_same(&end, source).await {
                    return Ok(None);
                }
            }
            return Err(Error::Refused(format!(
                "cannot move from {source} to {target}: the last move ended at {shown}; set buffer to where it \
                 ended, and next_buffer to the new one. If it ended at {source}, which has a new address, run \
                 `{command} --ended-here`"
            )));
        }
        let (share, phase) = (recorded.step.route.share, recorded.step.route.phase.name());
        Err(Error::Refused(format!(
            "cannot move from {source} to {target}: the move from {} is unfinished, at {share} % ({phase}); \
             set buffer and next_buffer as recorded and end it with `{command}` or --rollback. \
             If they are the same buffers under new addresses, run `{command} --same-buffers`",
            shown(&recorded)
        )))
    }

    /// The buffers of this way, as the new addresses of those of the recorded move.
    ///
    /// # Errors
    /// [`Error::Unlike`] if those are buffers of other kinds.
    pub(super) fn in_place_of(&self, recorded: &Recorded) -> Result<Buffers, Error> {
        let kinds = |source: &Identity, target: &Identity| (source.kind(), target.kind());
        let mine = kinds(&self.source, &self.target);
        let pairs = read(&recorded.buffers, self.subject.parse);
        if pairs.iter().any(|(source, target)| kinds(source, target) == mine) {
            return Ok(self.buffers());
        }
        let (recorded, (source, target)) = (shown(recorded), mine);
        Err(Error::Unlike(format!(
            "the move from {recorded} is none from {source} to {target}; set buffer and next_buffer to \
             the buffers that hold its events"
        )))
    }
}

/// The recorded buffers in words.
#[must_use]
pub fn shown(recorded: &Recorded) -> String {
    words(&recorded.buffers)
}

/// Two buffers in words.
pub(super) fn words(Buffers { source, target }: &Buffers) -> String {
    if target.is_empty() { source.clone() } else { format!("{source}{TO}{target}") }
}

/// Where a finished move ended, in words, and what these may name.
pub(super) fn ended(recorded: &Recorded, parse: Parse) -> (String, Vec<Identity>) {
    side(recorded, recorded.step.route.share == SHARE_MAX, parse)
}

/// The buffer that a finished move left, in words, and what these may name.
pub(super) fn left(recorded: &Recorded, parse: Parse) -> (String, Vec<Identity>) {
    side(recorded, recorded.step.route.share != SHARE_MAX, parse)
}

/// Both buffers of a move, in words, and what these may name.
pub(super) fn both(recorded: &Recorded, parse: Parse) -> (String, Vec<Identity>) {
    let pairs = read(&recorded.buffers, parse).into_iter();
    (shown(recorded), pairs.flat_map(|(source, target)| [source, target]).collect())
}

/// The target or the source. What an earlier version recorded names both in one text.
fn side(recorded: &Recorded, is_target: bool, parse: Parse) -> (String, Vec<Identity>) {
    let Buffers { source, target } = &recorded.buffers;
    if target.is_empty() {
        let pairs = read(&recorded.buffers, parse).into_iter();
        let sides = pairs.map(|(source, target)| if is_target { target } else { source });
        return (source.clone(), sides.collect());
    }
    let side = if is_target { target } else { source };
    (side.clone(), parse(side).into_iter().collect())
}

/// The buffers of a finished move that ended at `end`, under its new address.
///
/// # Errors
/// [`Error::Unlike`] if the move is unfinished, or ended at a buffer of another kind.
pub(super) fn ended_at(
    recorded: &Recorded,
    end: &Identity,
    parse: Parse,
) -> Result<Buffers, Error> {
    if !recorded.step.is_finished() {
        return Err(Error::Unlike(format!(
            "cannot record the end of the move from {}: it is unfinished; end it, or use --same-buffers",
            shown(recorded)
        )));
    }
    let (shown_end, ends) = ended(recorded, parse);
    if !ends.is_empty() && !ends.iter().any(|one| one.kind() == end.kind()) {
        return Err(Error::Unlike(format!(
            "the last move ended at {shown_end}, which is no {}; set buffer to it",
            end.kind()
        )));
    }
    let Buffers { source, target } = recorded.buffers.clone();
    // What an earlier version recorded names both in one text, and names no single one from here on.
    let target = if target.is_empty() { source.clone() } else { target };
    Ok(match recorded.step.route.share {
        SHARE_MAX => Buffers { source, target: end.to_string() },
        _ => Buffers { source: end.to_string(), target },
    })
}

/// What the recorded texts may name: one pair, or each way to read the one text of an earlier version.
fn read(Buffers { source, target }: &Buffers, parse: Parse) -> Vec<(Identity, Identity)> {
    let pair = |source: &str, target: &str| Some((parse(source)?, parse(target)?));
    if !target.is_empty() {
        return pair(source, target).into_iter().collect();
    }
    let places = source.match_indices(TO);
    places.filter_map(|(at, _)| pair(&source[..at], &source[at + TO.len()..])).collect()
}

#[cfg(test)]
mod tests {
    use model::route::{Phase, Route};
    use store::moves::Step;

    use super::super::spelled::{identity, payments};
    use super::*;

    fn way(source: &str, target: &str) -> Way {
        let of = |text| identity(text).unwrap();
        Way::new(payments(), of(source), of(target))
    }

    fn recorded(buffers: Buffers, share: u8, phase: Phase) -> Recorded {
        let step = Step { number: 3, route: Route { before: 0, share, phase } };
        Recorded { pipeline: payments().pipeline, buffers, step }
    }

    /// As an earlier version recorded it.
    fn earlier(text: &str) -> Buffers {
        Buffers { source: text.to_owned(), target: String::new() }
    }

    #[tokio::test]
    async fn a_recorded_move_is_joined_or_refused() {
        let mine =
            way("redis://localhost:7000?list=q&events_max=9", "redis://localhost:7000?list=r");
        let same = way("redis://127.1:7000/0?list=q", "redis://127.0.0.1:7000?list=r").buffers();
        let other = way("redis://localhost:7000?list=q", "redis://localhost:7000?list=s").buffers();
        let back = Buffers { source: same.target.clone(), target: same.source.clone() };
        let of = async |buffers: &Buffers, share, phase| {
            mine.of(Some(recorded(buffers.clone(), share, phase))).await
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
    }

    #[tokio::test]
    async fn a_way_begins_where_the_finished_move_ended_or_is_refused() {
        let mine = way("redis://localhost:7000?list=q", "redis://localhost:7000?list=r");
        let named = |list: &str| format!("redis://127.0.0.1:7000/0?list={list}");
        let of = async |(source, target): (String, String), share| {
            let recorded = recorded(Buffers { source, target }, share, Phase::Open);
            mine.of(Some(recorded)).await.map(|joined| joined.is_some())
        };
        let refused = async |buffers: (String, String), share, end: &str| {
            let problem = of(buffers, share).await.unwrap_err().to_string();
            assert!(problem.contains(&format!("ended at {end}")), "{problem}");
            assert!(problem.contains("--ended-here"), "{problem}");
        };
        assert!(of((named("q"), named("r")), 100).await.unwrap(), "it is this move");
        // A move to where this one begins, and one from there that was rolled back.
        assert!(!of((named("a"), named("q")), 100).await.unwrap());
        assert!(!of((named("q"), named("a")), 0).await.unwrap());
        // Their other ends, and buffers that no version of this program can read.
        refused((named("q"), named("a")), 100, &named("a")).await;
        refused((named("a"), named("q")), 0, &named("a")).await;
        refused((named("r"), named("q")), 0, &named("r")).await;
        refused((named("q"), "new://b".to_owned()), 100, "new://b").await;
        let earlier = format!("{} to {}", named("a"), named("q"));
        let alone = |text: &str| (text.to_owned(), String::new());
        assert!(!of(alone(&earlier), 100).await.unwrap());
        refused(alone(&earlier), 0, &earlier).await;
        refused(alone("no buffers"), 100, "no buffers").await;
    }

    #[tokio::test]
    async fn what_an_earlier_version_recorded_is_read_from_its_name() {
        let mine = way("journal:/srv/a to b/x", "kafka://a/t?group=g");
        let name = "journal:/srv/a to b/x?sync=os to kafka://u:***@A,b/t?group=g&lease_ms=500";
        assert!(mine.is(&earlier(name)).await);
        assert!(!mine.is(&earlier("journal:/srv/a to kafka://a/t?group=g")).await);
        assert!(!mine.is(&earlier("neither of them")).await);
    }
}
