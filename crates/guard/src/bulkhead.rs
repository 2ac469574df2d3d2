//! Whose calls may be under way: slots divided by weight, where an idle share is lent.
//!
//! A member that has less than its share under way takes any free slot. Beyond its share it borrows, but no
//! slot that a member below its share asks for. No call is stopped for a lender: it gets back what it lent as
//! the borrowers' calls end.

/// A user of the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Member(usize);

/// What a bulkhead shows of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// All slots.
    pub slots: u32,
    /// Slots that are taken.
    pub under_way: u32,
    /// Those of them beyond the share of the member that has them.
    pub lent: u32,
    /// Calls that members would begin now.
    pub asked: u32,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Bulkhead {
    slots: u32,
    places: Vec<Option<Place>>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    weight: u32,
    held: u32,
    asked: u32,
}

impl Bulkhead {
    /// So many slots, 1 to 100,000; a value out of bounds counts as the nearest bound.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        Self { slots: slots.clamp(1, 100_000), places: Vec::new() }
    }

    /// Changes the number of slots. Calls under way stay; new ones wait until fewer are.
    pub fn set(&mut self, slots: u32) {
        self.slots = slots.clamp(1, 100_000);
    }

    /// Adds a member of this weight, 1 to 1,000,000.
    pub fn join(&mut self, weight: u32) -> Member {
        let place = Some(Place { weight: weight.clamp(1, 1_000_000), held: 0, asked: 0 });
        if let Some(free) = self.places.iter().position(Option::is_none) {
            self.places[free] = place;
            return Member(free);
        }
        self.places.push(place);
        Member(self.places.len() - 1)
    }

    /// Removes a member, once it has nothing under way any more. True if it was removed.
    pub fn leave(&mut self, member: Member) -> bool {
        let is_idle = self.place(member).is_some_and(|place| place.held == 0);
        if is_idle {
            self.places[member.0] = None;
        }
        is_idle
    }

    /// Says how many more calls this member would begin now. It keeps so many slots of its share from others.
    pub fn ask(&mut self, member: Member, calls: u32) {
        if let Some(place) = self.place_mut(member) {
            place.asked = calls;
        }
    }

    /// Takes a slot; false if none may be taken now.
    pub fn take(&mut self, member: Member) -> bool {
        let Some(place) = self.place(member) else { return false };
        let free = self.slots.saturating_sub(self.under_way());
        let kept = if place.held < self.share(member) { 0 } else { self.kept_from(member) };
        if free <= kept {
            return false;
        }
        if let Some(place) = self.place_mut(member) {
            place.held += 1;
            place.asked = place.asked.saturating_sub(1);
        }
        true
    }

    /// Gives a slot back.
    pub fn give_back(&mut self, member: Member) {
        if let Some(place) = self.place_mut(member) {
            place.held = place.held.saturating_sub(1);
        }
    }

    /// Slots that are this member's own, 1 or more.
    #[must_use]
    pub fn share(&self, member: Member) -> u32 {
        let weights: u64 = self.places.iter().flatten().map(|place| u64::from(place.weight)).sum();
        let weight = self.place(member).map_or(0, |place| u64::from(place.weight));
        let share = u64::from(self.slots) * weight / weights.max(1);
        u32::try_from(share).unwrap_or(self.slots).max(1)
    }

    /// Slots that this member has.
    #[must_use]
    pub fn held(&self, member: Member) -> u32 {
        self.place(member).map_or(0, |place| place.held)
    }

    /// Slots that are taken.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.places.iter().flatten().map(|place| place.held).sum()
    }

    /// What it does now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let mut figures = Figures { slots: self.slots, ..Figures::default() };
        for member in (0..self.places.len()).map(Member) {
            let Some(Place { held, asked, .. }) = self.place(member) else { continue };
            figures.under_way += held;
            figures.lent += held.saturating_sub(self.share(member));
            figures.asked = figures.asked.saturating_add(asked);
        }
        figures
    }

    /// Slots that members below their share ask for.
    fn kept_from(&self, borrower: Member) -> u32 {
        let members = (0..self.places.len()).map(Member).filter(|member| *member != borrower);
        members.map(|member| self.missing(member)).fold(0, u32::saturating_add)
    }

    fn missing(&self, member: Member) -> u32 {
        let Some(place) = self.place(member) else { return 0 };
        self.share(member).saturating_sub(place.held).min(place.asked)
    }

    fn place(&self, member: Member) -> Option<Place> {
        self.places.get(member.0).copied().flatten()
    }

    fn place_mut(&mut self, member: Member) -> Option<&mut Place> {
        self.places.get_mut(member.0)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bulkhead: &mut Bulkhead, member: Member, calls: u32) -> u32 {
        bulkhead.ask(member, calls);
        (0..calls).map(|_| u32::from(bulkhead.take(member))).sum()
    }

    #[test]
    fn busy_members_share_by_weight() {
        let mut bulkhead = Bulkhead::new(100);
        let (one, three) = (bulkhead.join(1), bulkhead.join(3));
        bulkhead.ask(three, 1000);
        assert_eq!(take(&mut bulkhead, one, 1000), 25);
        assert_eq!(take(&mut bulkhead, three, 1000), 75);
    }

    #[test]
    fn an_idle_share_is_lent_and_taken_back() {
        let mut bulkhead = Bulkhead::new(100);
        let (one, three) = (bulkhead.join(1), bulkhead.join(3));
        assert_eq!(take(&mut bulkhead, one, 1000), 100, "no other member asks");
        let lent = Figures { slots: 100, under_way: 100, lent: 75, asked: 900 };
        assert_eq!(bulkhead.figures(), lent);
        assert_eq!(take(&mut bulkhead, three, 60), 0, "all are lent");
        for _ in 0..75 {
            bulkhead.give_back(one);
            assert!(bulkhead.held(one) < 25 || bulkhead.held(three) >= 60 || !bulkhead.take(one));
            let asked = 60 - bulkhead.held(three);
            take(&mut bulkhead, three, asked);
        }
        assert_eq!(bulkhead.held(three), 60);
        assert_eq!(
            take(&mut bulkhead, one, 1000) + 25,
            40,
            "what the other does not ask for is lent"
        );
    }

    #[test]
    fn a_member_leaves_only_with_nothing_under_way() {
        let mut bulkhead = Bulkhead::new(4);
        let one = bulkhead.join(1);
        assert!(bulkhead.take(one));
        assert!(!bulkhead.leave(one));
        bulkhead.give_back(one);
        assert!(bulkhead.leave(one));
        assert!(!bulkhead.take(one), "it is gone");
        assert_eq!(bulkhead.join(1), one, "its place is used again");
    }

    #[test]
    fn more_members_than_slots_never_have_more_than_all_slots() {
        let mut bulkhead = Bulkhead::new(2);
        let members: Vec<_> = (0..5).map(|_| bulkhead.join(1)).collect();
        let taken: u32 = members.iter().map(|member| take(&mut bulkhead, *member, 1)).sum();
        assert_eq!((taken, bulkhead.under_way()), (2, 2));
    }
}
