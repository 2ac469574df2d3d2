//! Which of two buffers an event is offered to, while a pipeline moves from one to the other.
//!
//! What moves is keys: each has one of a hundred buckets, and the buckets below the share belong to
//! the target. A share is changed in three phases, each begun only when every process is in the one
//! before, so that an event is never ahead of an earlier one of its key.

use crate::Event;

/// All keys, in percent.
pub const SHARE_MAX: u8 = 100;

/// One of the two buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Where events were before.
    Source,
    /// Where they are to be.
    Target,
}

impl Side {
    /// Both, the source first.
    pub const BOTH: [Self; 2] = [Self::Source, Self::Target];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }

    /// Its place in an array of both.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Source => 0,
            Self::Target => 1,
        }
    }
}

/// How far a change of the share has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Offers of keys that move wait. Nothing is leased from the buffer they move to.
    Hold,
    /// Offers go where the new share says. Nothing is leased from the buffer they moved to, until
    /// the other one has done what it held of them.
    Drain,
    /// Both buffers are leased from.
    Open,
}

impl Phase {
    /// Its name, as it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Drain => "drain",
            Self::Open => "open",
        }
    }

    /// The phase of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Hold, Self::Drain, Self::Open].into_iter().find(|phase| phase.name() == name)
    }
}

/// Which share of the keys goes to the target, and which one did before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// In percent.
    pub before: u8,
    /// In percent.
    pub share: u8,
    /// How far the change from one to the other has come.
    pub phase: Phase,
}

impl Route {
    /// All to the source: nothing has moved.
    pub const START: Self = Self { before: 0, share: 0, phase: Phase::Open };

    /// Where an event goes; nowhere yet while its key is held.
    #[must_use]
    pub fn side(&self, event: &Event) -> Option<Side> {
        let bucket = bucket(event);
        let (before, after) = (side(bucket, self.before), side(bucket, self.share));
        match self.phase {
            Phase::Hold if before != after => None,
            _ => Some(after),
        }
    }

    /// The buffer that keys move to, while it must not be leased from.
    #[must_use]
    pub fn closed(&self) -> Option<Side> {
        if self.phase == Phase::Open || self.share == self.before {
            return None;
        }
        Some(if self.share > self.before { Side::Target } else { Side::Source })
    }
}

fn side(bucket: u8, share: u8) -> Side {
    if bucket < share { Side::Target } else { Side::Source }
}

/// 0 to 99, by the key, or by the id of an event without one. FNV-1a: the same in every process and
/// version, and it need not withstand anybody.
fn bucket(event: &Event) -> u8 {
    let name = if event.key().is_empty() { event.id() } else { event.key() };
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The low bits of this hash are its weakest.
    u8::try_from((hash >> 32) % u64::from(SHARE_MAX)).expect("it is below a hundred")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: usize) -> Event {
        Event::new(format!("id-{n}").as_bytes(), format!("card-{n}").as_bytes(), b"").unwrap()
    }

    fn at(before: u8, share: u8, phase: Phase) -> Route {
        Route { before, share, phase }
    }

    #[test]
    fn a_share_is_that_share_of_the_keys() {
        for share in [0, 10, 50, 100] {
            let route = at(share, share, Phase::Open);
            let target = (0..10_000).filter(|n| route.side(&event(*n)) == Some(Side::Target));
            let percent = target.count() / 100;
            assert!(percent.abs_diff(usize::from(share)) <= 2, "{percent} instead of {share}");
        }
    }

    #[test]
    fn only_keys_that_move_are_held_and_a_larger_share_takes_none_back() {
        let (hold, open) = (at(10, 50, Phase::Hold), at(10, 50, Phase::Open));
        for n in 0..1_000 {
            let (before, after) = (at(10, 10, Phase::Open).side(&event(n)), open.side(&event(n)));
            assert_eq!(hold.side(&event(n)), (before == after).then_some(after).flatten());
            assert!(before != Some(Side::Target) || after == Some(Side::Target));
        }
    }

    #[test]
    fn events_of_one_key_go_one_way_and_those_without_one_by_their_id() {
        let route = at(50, 50, Phase::Open);
        let of = |id: usize, key: &str| {
            route.side(&Event::new(format!("id-{id}").as_bytes(), key.as_bytes(), b"").unwrap())
        };
        assert!((0..100).all(|n| of(n, "card") == of(0, "card")));
        assert!((0..100).any(|n| of(n, "") != of(0, "")));
    }

    #[test]
    fn what_is_moved_to_is_closed_until_the_change_is_through() {
        for (route, closed) in [
            (at(10, 50, Phase::Hold), Some(Side::Target)),
            (at(10, 50, Phase::Drain), Some(Side::Target)),
            (at(10, 50, Phase::Open), None),
            (at(50, 0, Phase::Hold), Some(Side::Source)),
            (at(50, 0, Phase::Drain), Some(Side::Source)),
            (at(50, 50, Phase::Drain), None),
        ] {
            assert_eq!(route.closed(), closed, "{route:?}");
        }
    }

    #[test]
    fn a_phase_is_known_by_its_name() {
        for phase in [Phase::Hold, Phase::Drain, Phase::Open] {
            assert_eq!(Phase::named(phase.name()), Some(phase));
        }
        assert_eq!(Phase::named("Hold"), None);
    }
}
