//! What every adapter must hold, one file for each family of tables.
//!
//! An adapter's tests implement [`Subject`] and hand a constructor to
//! [`conformance_suite!`](crate::conformance_suite), which makes one test of each guarantee. What
//! was written is read back through the subject, not through the adapter's own reading code, so
//! that a mistake made twice does not cancel out.
//!
//! What it deliberately does not do: it measures nothing, and it breaks no disks. Failures of a
//! particular database are provoked in that adapter's own tests.

pub mod beside;
pub mod completions;
pub mod keys;
pub mod loads;
pub mod moves;
pub mod payments;
pub mod pipelines;
pub mod processes;
pub mod rulesets;
mod subject;
pub mod tables;

pub(crate) use subject::ids;
pub use subject::{Stored, Subject, duplicates, leak, row};

/// One `#[tokio::test]` for each guarantee. Takes an expression that makes a fresh [`Subject`]; it
/// is awaited.
#[macro_export]
macro_rules! conformance_suite {
    ($subject:expr) => {
        $crate::conformance_suite! { $subject;
            payments::a_batch_is_settled_whole,
            payments::a_batch_with_a_bad_row_writes_nothing,
            beside::what_either_process_writes_is_read_by_the_other,
            completions::completions_come_back_as_written,
            payments::overlapping_batches_settle_each_payment_once,
            payments::a_payment_settled_before_is_named_and_nothing_is_written,
            payments::a_repeat_within_the_batch_is_named,
            payments::another_payment_of_a_taken_id_is_named_with_the_fields_that_differ,
            payments::a_store_is_empty_until_something_is_settled,
            payments::a_process_keeps_its_fence_and_settles_under_it,
            payments::amounts_past_64_bits_add_up,
            payments::an_unknown_card_has_an_empty_history,
            payments::answers_come_in_the_order_of_the_cards,
            payments::the_latest_payments_are_by_event_time_then_settling,
            keys::a_store_with_payments_and_without_a_key_keeps_the_first,
            keys::the_first_key_stays_and_another_is_refused,
            loads::a_load_that_is_rejected_deletes_nothing,
            loads::loads_come_back_as_written,
            loads::what_began_before_the_bound_is_forgotten,
            moves::a_step_is_taken_once_and_after_the_one_before,
            moves::another_move_begins_only_when_one_is_finished,
            moves::each_pipeline_has_moves_of_its_own,
            moves::what_a_process_said_last_counts,
            moves::what_earlier_moves_left_is_kept,
            moves::what_is_out_of_bounds_of_a_move_is_rejected,
            payments::everything_is_there_after_a_reopen,
            payments::rows_come_back_as_written,
            pipelines::a_change_leaves_the_other_parts_as_they_are,
            pipelines::two_writers_get_two_revisions,
            pipelines::what_is_out_of_bounds_of_a_pipeline_is_rejected,
            pipelines::what_is_wanted_comes_back_as_written,
            processes::a_process_that_fell_silent_is_deleted_by_another,
            processes::a_process_that_left_is_gone,
            processes::what_a_process_said_last_comes_back,
            processes::what_is_out_of_bounds_of_a_process_is_rejected,
            rulesets::a_ruleset_past_its_bound_is_rejected,
            rulesets::a_ruleset_that_is_used_again_has_its_version_again,
            rulesets::processes_that_begin_at_once_agree_on_versions,
            tables::values_of_every_type_come_back_as_written,
            tables::many_rows_are_read_in_the_order_of_their_keys,
            tables::a_newer_version_is_never_overwritten_by_an_older_one,
            tables::versions_may_be_moments,
            tables::an_insert_leaves_what_is_there_and_says_how_it_differs,
            tables::an_inserted_row_that_comes_again_is_the_same,
            tables::an_inserted_row_that_differs_by_little_is_another,
            tables::a_batch_with_a_row_the_table_refuses_writes_nothing,
            tables::names_with_quotes_blanks_and_sql_are_names,
            tables::a_key_may_have_several_columns,
            tables::what_is_missing_is_told_and_nothing_is_made,
            tables::a_column_that_takes_no_null_is_known_before_a_row_is_written,
        }
    };
    ($subject:expr; $($guarantee:ident :: $check:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let mut subject = $subject.await;
                $crate::conformance::$guarantee::$check(&mut subject).await;
            }
        )*
    };
}
