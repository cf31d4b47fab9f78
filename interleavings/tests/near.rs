//! Near: nothing that was overtaken gets in, in whatever order its callers, this process's own stores and
//! the connection's driver take their turns.

mod support;

use larder_interleavings::sound::near::near_scenes as scenes;
use support::{every_order, holds};

/// A caller notes the epoch before it asks; the change bumps it and removes in one step.
#[test]
fn a_value_read_before_a_change_is_never_served_after_it() {
    holds(scenes::a_reader_meets_a_change);
    holds(scenes::a_change_meets_what_is_near);
    every_order(scenes::one_reader_and_one_change);
}

#[test]
fn a_value_read_before_a_gap_is_never_served_after_it() {
    holds(scenes::a_reader_meets_a_gap);
    holds(scenes::a_reader_meets_lost_slots);
}

#[test]
fn a_value_read_before_an_own_store_is_never_served_after_it() {
    holds(scenes::a_reader_meets_an_own_store);
    holds(scenes::an_own_store_meets_a_change);
    every_order(scenes::one_reader_and_one_own_store);
}

#[test]
fn what_carries_a_tag_is_never_served_after_its_end() {
    holds(scenes::a_reader_meets_the_end_of_a_tag);
}

#[test]
fn a_connection_that_was_given_up_proves_nothing() {
    every_order(scenes::a_late_heartbeat_meets_the_end_of_its_connection);
    every_order(scenes::what_two_connections_answered_meets_the_end_of_one);
}

#[test]
fn a_confirmation_never_stands_for_a_later_end() {
    holds(scenes::an_unconfirmed_end_meets_the_confirmation_of_an_earlier_one);
}

found! {
    inserted_beside_the_gate in near::near_scenes::a_reader_meets_a_change: "far has",
    removed_beside_the_gate in near::near_scenes::a_reader_meets_a_change: "far has",
    own_store_is_no_change in near::near_scenes::a_reader_meets_an_own_store: "far has",
    cleared_before_the_bumps in near::near_scenes::a_reader_meets_a_gap: "far has",
    slots_dropped_before_the_bumps in near::near_scenes::a_reader_meets_lost_slots: "far has",
    confirmed_whatever_its_number in
        near::near_scenes::an_unconfirmed_end_meets_the_confirmation_of_an_earlier_one:
        "an end that waits is not heeded",
    counted_beside_the_names in
        near::near_scenes::an_unconfirmed_end_meets_the_confirmation_of_an_earlier_one:
        "an end that waits is not heeded",
}
