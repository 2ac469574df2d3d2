//! Slots divided between members, over random sequences.

use guard::Bulkhead;
use proptest::prelude::*;

proptest! {
    /// Never more than all slots; a member below its share waits only for calls that are under way; no slot is
    /// free that a member asks for and no other member may take.
    #[test]
    fn shares_hold_over_any_sequence(
        slots in 1..40_u32,
        weights in prop::collection::vec(1..10_u32, 1..6),
        steps in prop::collection::vec((0..3_u8, any::<prop::sample::Index>(), 0..20_u32), 0..300),
    ) {
        let mut bulkhead = Bulkhead::new(slots);
        let members: Vec<_> = weights.iter().map(|weight| bulkhead.join(*weight)).collect();
        let mut asked = vec![0; members.len()];
        for (step, at, calls) in steps {
            let at = at.index(members.len());
            let member = members[at];
            match step {
                0 => {
                    asked[at] = calls;
                    bulkhead.ask(member, calls);
                }
                1 => {
                    let free = slots - bulkhead.under_way();
                    let below: u32 = (0..members.len())
                        .filter(|other| *other != at)
                        .map(|other| {
                            let missing = bulkhead.share(members[other]).saturating_sub(bulkhead.held(members[other]));
                            missing.min(asked[other])
                        })
                        .sum();
                    let may = if bulkhead.held(member) < bulkhead.share(member) { free > 0 } else { free > below };
                    prop_assert_eq!(bulkhead.take(member), may);
                    asked[at] = asked[at].saturating_sub(u32::from(may));
                }
                _ if bulkhead.held(member) > 0 => bulkhead.give_back(member),
                _ => {}
            }
            prop_assert!(bulkhead.under_way() <= slots);
        }
        // All is given back, and all ask: each gets its whole share, in whatever order.
        for member in &members {
            while bulkhead.held(*member) > 0 {
                bulkhead.give_back(*member);
            }
            bulkhead.ask(*member, 1_000);
        }
        prop_assume!(members.iter().map(|member| bulkhead.share(*member)).sum::<u32>() <= slots);
        for member in members.iter().rev() {
            while bulkhead.take(*member) {}
        }
        for member in &members {
            prop_assert!(bulkhead.held(*member) >= bulkhead.share(*member));
        }
    }
}
