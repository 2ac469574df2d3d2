//! The spill: the conformance suite while nothing fails, and order and completeness while much
//! does.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should say so and fail")]

mod spill {
    mod conforming;
    mod figures;
    mod order;
    mod outage;
    mod switched;
}
