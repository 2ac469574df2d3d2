//! The conformance suite: what every backend must do, one file for each guarantee.
//!
//! A backend's test file says how to make a [`Subject`] and calls [`conformance!`](crate::conformance!),
//! which turns each guarantee into a test of its own:
//!
//! ```text
//! buffer::conformance!(MySubject::new());          // a backend that survives nothing
//! buffer::conformance!(durable MySubject::new());  // one that survives this process
//! buffer::conformance!(durable source MySubject::new());  // the same, and it takes no offers (Lacks::offers)
//! ```
//!
//! What it deliberately does not do: it never looks inside a backend, and it injects no faults. What
//! a backend does when its medium fails is for that backend's own tests.
//!
//! The functions here panic when a guarantee is broken: they are tests.

pub mod accepting;
pub mod batches;
pub mod burying;
pub mod closing;
pub mod concurrency;
pub mod dead_letters;
pub mod depth;
pub mod durability;
pub mod erasing;
pub mod expiry;
pub mod extending;
pub mod foreign;
pub mod leasing;
pub mod offering;
pub mod order;
pub mod payloads;
pub mod releasing;
mod spelled;
mod steps;
pub mod waiting;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::spelled::spelled;
use crate::{Buffer, Error};

/// The bounds a subject was opened with. Small ones keep the suite quick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most events held at once: at least 200, so that concurrent producers have room.
    pub events_max: usize,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: u64,
    /// Most dead letters held at once: at least 10.
    pub dead_max: usize,
}

/// In which order events come out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// All of them in the order they went in; those that come again before all others.
    #[default]
    Whole,
    /// Each key's events in the order they went in; those that come again before its fresh ones.
    WithinKeys,
    /// None.
    None,
}

/// What a backend can't promise by the nature of what it is made of. Each is a promise less for who
/// uses it, so a backend says here what it lacks, and why where it says so; by default nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacks {
    /// The order it keeps.
    pub order: Order,
    /// A lease that expired can't be taken up again, even if nobody took the event meanwhile.
    pub late_receipts: bool,
    /// How old the oldest event is is not known unless it is leased.
    pub oldest: bool,
    /// It is only read: it takes no offers and replays no dead letters. The subject then gives the suite's
    /// offers to another producer, which knows no bounds. So nothing of [`offering`] holds there:
    /// `conformance!(durable source …)` leaves it out.
    pub offers: bool,
    /// It cannot be erased: it is gone with its process, or it may be used by others too.
    pub erasing: bool,
}

/// A backend under test, on a medium of its own.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Opens the buffer on this subject's medium: empty the first time, as it was left afterwards.
    /// The suite closes and drops the buffer it has before it opens another.
    async fn open(&self) -> Arc<dyn Buffer>;

    /// As [`Subject::open`], with leases that outlast whatever keeps a busy machine. Where real time
    /// passes, one that expires by itself would look like one that was lost.
    async fn open_with_long_leases(&self) -> Arc<dyn Buffer> {
        self.open().await
    }

    /// Opens it as [`Subject::open`] does, where that may be refused.
    ///
    /// # Errors
    /// As the backend says.
    async fn try_open(&self) -> Result<Arc<dyn Buffer>, Error> {
        Ok(self.open().await)
    }

    /// Removes the buffer from this subject's medium, as the backend's `erase` does.
    ///
    /// # Errors
    /// As the backend says; always where [`Lacks::erasing`].
    async fn erase(&self) -> Result<(), Error> {
        Err(Error::Open("cannot erase this buffer: it is gone with its process".to_owned()))
    }

    /// Lets this much time pass on the buffer's clock: steps a manual one, or sleeps.
    async fn advance(&self, by_ms: u64);

    /// What the buffer is opened with.
    fn limits(&self) -> Limits;

    /// How many events each of many producers offers; fewer where a step of the server under test takes
    /// long.
    fn each(&self) -> usize {
        400
    }

    /// What it can't promise.
    fn lacks(&self) -> Lacks {
        Lacks::default()
    }
}

/// Runs one guarantee on a runtime with two threads, as [`conformance!`](crate::conformance!) does.
/// Boxed, so that the runtime is compiled once and not once for each of them.
///
/// # Panics
/// If the guarantee is broken, or no runtime can be made.
pub fn check(guarantee: Pin<Box<dyn Future<Output = ()>>>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the suite needs a runtime")
        .block_on(guarantee);
}

/// Makes one `#[test]` of each guarantee. The expression makes a new [`Subject`], on a medium that
/// nothing else uses, each time it is evaluated; it is evaluated inside a tokio runtime.
///
/// `source` leaves out the guarantees of [`offering`](crate::conformance::offering), which a buffer that takes no
/// offers does not give: `a_full_buffer_refuses_and_names_the_bound`, `a_batch_that_does_not_fit_is_refused_whole`,
/// `a_batch_larger_than_the_buffer_is_too_many`, `leasing_frees_no_room_and_acking_does`,
/// `letters_that_find_no_room_stay_dead` and `a_closed_buffer_refuses_offers`.
#[macro_export]
macro_rules! conformance {
    (durable source $subject:expr) => {
        $crate::conformance!(@any $subject);
        $crate::conformance!(@durable $subject);
    };
    (durable $subject:expr) => {
        $crate::conformance!($subject);
        $crate::conformance!(@durable $subject);
    };
    (@durable $subject:expr) => {
        $crate::conformance!(@each $subject;
            durability {
                a_durable_backend_says_so
                what_was_accepted_is_there_after_reopening
                what_was_acked_does_not_come_back
                what_was_leased_comes_back_in_order
                order_and_identity_go_on_where_they_stopped
                dead_letters_survive_and_their_numbers_are_not_reused
                dead_letters_dropped_or_replayed_stay_gone
            }
        );
    };
    (@offering $subject:expr) => {
        $crate::conformance!(@each $subject;
            offering {
                a_full_buffer_refuses_and_names_the_bound
                a_batch_that_does_not_fit_is_refused_whole
                a_batch_larger_than_the_buffer_is_too_many
                leasing_frees_no_room_and_acking_does
                letters_that_find_no_room_stay_dead
                a_closed_buffer_refuses_offers
            }
        );
    };
    (@each $subject:expr; $($guarantee:ident { $($name:ident)* })*) => {
        $(
            mod $guarantee {
                #[allow(unused_imports)]
                use super::*;
                $(
                    #[test]
                    fn $name() {
                        $crate::conformance::check(Box::pin(async {
                            let subject = $subject;
                            $crate::conformance::$guarantee::$name(&subject).await;
                        }));
                    }
                )*
            }
        )*
    };
    (@any $subject:expr) => {
        $crate::conformance!(@each $subject;
            accepting {
                an_id_offered_twice_is_held_twice
            }
            order {
                events_come_out_in_the_order_they_went_in
                each_keys_events_come_out_in_the_order_they_went_in
                each_keys_events_that_come_again_go_before_its_fresh_ones
                a_batch_keeps_its_inner_order
                events_that_come_again_go_before_fresh_ones_lowest_first
            }
            leasing {
                a_leased_event_is_leased_to_nobody_else
                an_acked_event_never_comes_again
                acks_may_come_in_any_order
                a_receipt_acked_twice_counts_once
                an_unknown_receipt_is_passed_over
            }
            releasing {
                a_released_event_comes_again_at_once
                a_delayed_event_comes_when_its_delay_is_over_and_not_before
                a_receipt_is_spent_once_released
            }
            expiry {
                an_expired_lease_comes_again_with_the_next_attempt
                a_lease_is_held_until_its_deadline
                a_stale_receipt_is_passed_over_by_everything
                an_expired_lease_nobody_took_can_still_be_acked
                an_expired_lease_nobody_took_can_still_be_extended
            }
            extending {
                an_extended_lease_outlives_its_first_deadline
                an_extended_lease_expires_at_its_new_deadline
                an_extended_lease_once_acked_never_comes_again
                a_lease_can_be_cut_short
                a_spent_receipt_cannot_be_extended
            }
            burying {
                a_buried_event_is_a_dead_letter_and_never_comes_again
                a_stale_receipt_is_not_buried
                full_dead_letters_refuse_and_the_event_stays_leased
            }
            dead_letters {
                letters_are_listed_in_order_and_in_pages
                a_replayed_letter_is_a_new_event
                a_dropped_letter_is_gone
                numbers_are_never_used_twice
            }
            depth {
                every_step_of_an_event_is_counted
                an_expired_lease_counts_as_ready
                the_oldest_is_the_first_not_yet_done
            }
            closing {
                closing_ends_waiting_leases
                a_closed_buffer_leases_nothing
                what_is_held_can_be_acked_after_closing
                closing_twice_is_closing_once
            }
            concurrency {
                every_event_is_acked_exactly_once_by_many
                each_producers_order_is_kept_among_many
            }
            batches {
                an_empty_offer_is_nothing
                max_is_respected
                a_max_of_none_leases_none
                empty_steps_count_none
            }
            payloads {
                bytes_come_back_exactly
                the_smallest_and_the_largest_event_pass
            }
            erasing {
                an_erased_buffer_is_not_made_anew
                erasing_twice_is_erasing_once
                a_buffer_that_holds_an_event_is_not_erased
                a_buffer_that_holds_a_dead_letter_is_not_erased
                a_buffer_that_a_worker_has_is_not_erased
                what_is_accepted_while_a_buffer_is_erased_is_kept
            }
            waiting {
                an_empty_buffer_keeps_a_lease_waiting_as_long_as_asked
                an_offer_wakes_a_waiting_lease
                one_offer_wakes_as_many_as_it_feeds
                a_release_wakes_a_waiting_lease
                a_delay_that_ends_wakes_a_waiting_lease
                an_expiry_wakes_a_waiting_lease
            }
        );
    };
    ($subject:expr) => {
        $crate::conformance!(@any $subject);
        $crate::conformance!(@offering $subject);
    };
}
