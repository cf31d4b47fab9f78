//! The flights: no caller is stranded, and none gets what was overtaken before it came, in whatever order
//! callers, loads, ends and changes take their turns.

mod support;

use larder_interleavings::sound::flight::flights_scenes as scenes;
use support::{holds, repeats};

/// Counting the last one out and closing the doors are one step.
#[test]
fn nobody_boards_a_flight_that_was_cancelled() {
    holds(scenes::the_last_caller_leaves_while_another_boards);
}

#[test]
fn nobody_waits_for_what_has_landed() {
    holds(scenes::callers_board_while_it_lands);
}

#[test]
fn callers_at_once_share_one_load() {
    holds(scenes::two_board_at_once);
}

#[test]
fn who_comes_after_an_end_boards_nothing_older() {
    holds(scenes::a_caller_comes_after_an_end);
    holds(scenes::a_caller_comes_after_a_change);
    holds(scenes::a_caller_comes_after_a_gap);
    holds(scenes::a_caller_comes_after_the_end_of_a_tag);
}

#[test]
fn a_flight_that_waits_hears_of_every_change() {
    holds(scenes::a_waiting_flight_asks_again_while_the_key_changes);
    holds(scenes::a_waiting_flight_is_woken_by_a_lease_that_is_given_back);
}

#[test]
fn no_caller_shares_an_answer_older_than_the_bound() {
    holds(scenes::a_caller_joins_a_flight_that_waits_while_news_are_lost);
}

#[test]
fn a_load_that_dies_answers_all_its_callers() {
    holds(scenes::a_load_dies);
}

#[test]
fn nothing_is_left_when_all_have_gone() {
    holds(scenes::listeners_and_flights_leave);
}

/// A scene draws lots for nothing but who goes next: else the schedule that a failure prints would not play again.
#[test]
fn a_schedule_that_is_played_again_goes_the_same_way() {
    repeats(scenes::the_last_caller_leaves_while_another_boards);
}

found! {
    cancelled_in_two_steps in flight::flights_scenes::the_last_caller_leaves_while_another_boards:
        "the load ended without an answer",
    cancelled_with_its_doors_open in
        flight::flights_scenes::the_last_caller_leaves_while_another_boards:
        "the load ended without an answer",
    boarded_in_two_steps in flight::flights_scenes::two_board_at_once: "each has loaded",
    an_end_leaves_the_doors_open in flight::flights_scenes::a_caller_comes_after_an_end:
        "from before the end",
    asks_with_its_doors_open in
        flight::flights_scenes::a_waiting_flight_asks_again_while_the_key_changes:
        "from before the last change",
    joined_however_old_it_is in
        flight::flights_scenes::a_caller_joins_a_flight_that_waits_while_news_are_lost:
        "older than the bound",
    changed_without_a_word in
        flight::flights_scenes::a_waiting_flight_asks_again_while_the_key_changes: "deadlock",
    landed_before_the_doors_closed in
        flight::flights_scenes::a_caller_comes_after_the_end_of_a_tag: "from before the tag's end",
    looked_before_it_listened in flight::flights_scenes::callers_board_while_it_lands: "deadlock",
    lands_only_with_an_answer in flight::flights_scenes::a_load_dies: "deadlock",
    leaves_its_gate in flight::flights_scenes::listeners_and_flights_leave: "a gate is left",
}
