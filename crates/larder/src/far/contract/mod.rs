//! What every far side must do, as tests; for those who test with larder's embedded side as well.
//!
//! Each case is a function over a [`Scene`]: two processes on one shared side. The lists of cases are
//! macros, [`far_contract_cases!`](crate::far_contract_cases) for every side and
//! `far_contract_redis_cases!` for Redis alone, so that each shows up as a test of its own
//! (`tests/far_contract.rs`). A case that stands on no list is dead code, and the compiler says so.
//!
//! `conforms` drives two sides with the same random steps and compares what they answer and tell.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests: what goes wrong here has failed"
)]

use std::sync::Arc;

use crate::clock::Clock;
use crate::far::memory::Shelf;

mod backlog;
mod changes;
mod embedded;
mod guards;
mod leases;
mod loads;
mod scene;
#[cfg(feature = "redis")]
mod server;
#[cfg(feature = "redis")]
mod steps;
mod tags;
mod values;
mod writes;

pub use scene::Scene;
#[cfg(feature = "redis")]
pub use server::Console;
#[cfg(feature = "redis")]
pub use steps::conforms;

/// One embedded far side for several handles, as if each were a process on one Redis.
#[derive(Clone)]
pub struct SharedMemory {
    shelf: Arc<Shelf>,
    clock: Clock,
}

impl SharedMemory {
    /// Bounded by `bytes_max`; its time is `clock`'s.
    pub fn new(bytes_max: usize, clock: Clock) -> SharedMemory {
        SharedMemory { shelf: Shelf::new(bytes_max, clock.clone()), clock }
    }

    /// What it holds is told by another server process from now on, as after a failover to a replica or a
    /// restart from a snapshot. Until the first such it is in nobody's name, and always believed.
    pub fn fails_over(&self, to: u64) {
        self.shelf.answers_as(to);
    }

    pub(crate) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// Gives `$each!` the cases of every far side, by the module they stand in.
#[macro_export]
#[doc(hidden)]
macro_rules! far_contract_cases {
    ($each:ident) => {
        $each! {
            values {
                values_come_before_generations_and_each_in_the_order_asked
                what_is_asked_for_twice_is_answered_twice
                asking_for_nothing_is_answered_with_nothing
                any_bytes_come_back_as_they_were
                discard_removes_the_value_and_leaves_the_lease
                end_removes_values_leases_and_tags_in_one_call
                end_of_what_is_not_there_is_as_good
                end_leaves_everything_else_alone
                put_replaces_and_ends_the_lease
                a_value_put_is_gone_after_its_time
                a_time_of_nothing_is_short_and_no_error
                the_two_agree_on_the_servers_clock
                an_open_side_is_back_and_its_answers_may_be_believed
                a_closed_side_says_so_and_the_other_goes_on
            }
            leases {
                a_value_is_answered_and_no_lease_granted
                a_value_other_than_the_rejected_one_is_answered
                a_value_too_short_for_an_id_is_answered
                the_rejected_value_is_to_be_loaded_anew
                those_who_reject_one_value_are_granted_one_lease
                a_lease_held_is_told_with_the_time_it_has_left
                one_key_s_lease_is_not_another_s
                a_grant_stands_until_it_is_stored
                a_grant_stands_until_it_is_released
                a_grant_stands_until_it_runs_out
                a_failure_is_told_with_token_and_code_until_its_time_is_over
                read_answers_the_tags_as_they_are
                records_of_another_form_are_nobody_s_lease
            }
            loads {
                store_keeps_the_value_and_gives_the_lease_up
                store_happens_once
                a_value_stored_is_gone_after_its_time
                store_is_refused_after_an_end
                store_is_refused_after_a_put
                store_is_refused_when_the_lease_ran_out
                store_is_refused_when_another_was_granted
                store_is_refused_under_another_token
                store_is_refused_after_release_and_after_failure
                fail_of_a_lost_lease_changes_nothing
                release_gives_back_only_its_own
                extend_renews
                extend_sets_the_time_anew
                extend_of_a_lost_lease_is_refused_and_revives_nothing
                word_of_a_failure_is_no_lease
                restamp_puts_a_header_before_the_value_and_gives_the_lease_up
                restamp_sets_the_time_anew
                restamp_of_another_value_or_none_changes_nothing_and_the_lease_stands
                restamp_is_refused_after_a_soft_end
            }
            tags {
                create_gives_a_generation_to_those_without
                create_of_one_tag_twice_keeps_the_first
                create_does_not_lengthen_what_is_there
                a_tag_is_gone_after_its_time
                create_removes_what_is_no_generation_and_does_not_take_its_place
                bytes_that_are_no_generation_count_as_none
                prolong_lengthens_and_never_shortens
                prolong_makes_nothing
                an_ended_tag_comes_back_under_another_generation_only
                a_tag_lies_under_its_app
            }
            guards {
                a_guard_takes_the_value_away_and_grants_no_lease
                a_load_that_began_before_a_guard_stores_nothing
                only_its_own_token_ends_a_guard
                an_end_marks_the_guards_that_stay
                a_guard_is_over_after_its_time
                a_guard_that_is_over_is_not_kept_by_another
                a_put_under_a_guard_is_refused_and_told_to_the_writer
                a_guard_and_its_end_are_told
                so_many_writers_may_guard_a_key_and_no_more
                a_soft_end_marks_the_value_and_ends_its_load
                a_soft_end_makes_nothing_and_removes_what_cannot_be_marked
                a_soft_end_is_told
                a_soft_end_draws_the_second_half_of_a_tag_anew
                what_ends_softly_keeps_its_time
            }
            writes {
                finish_keeps_the_value_and_ends_the_guard
                of_writers_that_overlap_none_keeps_its_value
                finish_is_refused_after_an_end_and_after_a_put
                finish_of_a_guard_that_ran_out_takes_away_what_was_loaded_since
                a_guard_of_another_that_ran_out_stands_in_the_way_of_a_finish
                finish_under_a_token_that_guards_nothing_leaves_the_guards_of_others
                a_finish_that_comes_twice_or_after_its_end_keeps_nothing
                finish_ends_the_guards_beside_it_and_keeps_nothing_there
                a_finish_is_told
            }
            backlog {
                a_write_is_the_value_and_waits_and_ends_the_lease
                a_write_over_the_bound_changes_nothing
                read_answers_a_pending_write_and_grants_no_lease_beside_it
                one_at_a_time_holds_a_partition
                entries_are_claimed_once_oldest_first_and_told_again
                clear_leaves_a_newer_write
                rebase_goes_above_and_keeps_the_write
                what_is_buried_is_undone_and_can_be_replayed
                a_write_and_a_burial_elsewhere_are_told
            }
            changes {
                a_value_stored_elsewhere_is_told
                a_value_put_elsewhere_is_told
                a_value_restamped_elsewhere_is_told
                an_end_elsewhere_is_told
                a_discard_elsewhere_is_told
                what_runs_out_is_told
                a_tag_made_ended_or_prolonged_elsewhere_is_told
                who_waits_for_a_lease_is_told_of_its_release
                who_waits_for_a_lease_is_told_of_a_failure
                who_waits_for_a_lease_is_told_when_it_runs_out
                a_change_is_told_before_a_later_reply
                what_we_write_over_the_link_is_not_told_to_us
                what_we_end_or_put_is_told_to_us_as_well
                what_we_stored_is_still_watched
                what_we_restamped_is_still_watched
                what_we_were_granted_is_still_watched
                what_we_extended_is_still_watched
                what_we_created_is_still_watched
                what_we_prolonged_is_still_watched
                what_was_not_there_is_watched
            }
        }
    };
}

/// Gives `$each!` the cases of the embedded side alone.
#[macro_export]
#[doc(hidden)]
macro_rules! far_contract_embedded_cases {
    ($each:ident) => {
        $each! {
            embedded {
                what_is_kept_is_there_to_the_end_of_its_time_and_not_longer
                over_its_budget_it_forgets_the_oldest_and_says_so
                what_is_larger_than_the_budget_is_not_there
            }
        }
    };
}

/// Gives `$each!` the cases of Redis alone. They need a server of their own.
#[cfg(feature = "redis")]
#[macro_export]
#[doc(hidden)]
macro_rules! far_contract_redis_cases {
    ($each:ident) => {
        $each! {
            server {
                everything_is_kept_for_as_long_as_was_said
                a_flush_is_a_gap
                a_killed_connection_is_a_gap_and_is_followed_by_another
                read_removes_a_foreign_value_and_grants
                read_replaces_a_foreign_lease_and_grants
                a_foreign_lease_is_nobody_s
                a_lease_record_of_another_form_is_left_alone
                a_guard_list_of_another_form_stands_in_no_end_s_way
                a_lease_without_an_end_is_replaced
                discard_end_put_and_store_take_the_place_of_foreign_things
                a_foreign_tag_is_none_and_gives_way_to_another_generation
                forgotten_scripts_are_not_noticed
                a_forgotten_script_runs_once
                a_full_server_still_reads_and_ends
                a_full_server_refuses_a_lease_and_leaves_nothing
                a_full_server_refuses_a_store_whose_lease_can_be_released
                a_full_server_refuses_a_put_and_keeps_what_was
                a_full_server_refuses_a_new_header_and_keeps_what_was
                restamp_of_a_foreign_value_changes_nothing
                a_full_server_refuses_a_finish_whose_guard_can_be_ended
            }
        }
    };
}

macro_rules! doors {
    ($($group:ident { $($case:ident)* })*) => {
        $($(
            #[doc(hidden)]
            pub async fn $case(scene: &Scene) {
                $group::$case(scene).await;
            }
        )*)*
    };
}

#[cfg(feature = "redis")]
macro_rules! doors_with_a_console {
    ($($group:ident { $($case:ident)* })*) => {
        $($(
            #[doc(hidden)]
            pub async fn $case(scene: &Scene, console: &dyn Console) {
                $group::$case(scene, console).await;
            }
        )*)*
    };
}

far_contract_cases!(doors);
far_contract_embedded_cases!(doors);
#[cfg(feature = "redis")]
far_contract_redis_cases!(doors_with_a_console);
