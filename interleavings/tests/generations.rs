//! The generations' cells: nothing that a push or an own write overtook is current, in whatever order replies,
//! pushes and writes are dealt with.

mod support;

use larder_interleavings::sound::near::generations_scenes as scenes;
use support::{every_order, holds};

#[test]
fn a_reply_never_makes_current_what_a_push_ended() {
    holds(scenes::a_reply_meets_a_push);
    every_order(scenes::one_reply_and_one_push);
}

#[test]
fn an_end_that_nobody_told_is_found_behind_the_own_write_that_hid_it() {
    holds(scenes::own_writes_meet_an_end_that_nobody_tells);
    holds(scenes::a_reader_meets_an_end_that_nobody_tells);
}

#[test]
fn own_writes_side_by_side_are_no_end() {
    holds(scenes::own_writes_meet_each_other);
}

#[test]
fn a_cell_that_is_watched_is_never_forgotten() {
    holds(scenes::a_full_map_meets_who_watches);
    holds(scenes::two_ask_for_a_tag_that_is_new);
}

#[test]
fn an_end_is_counted_for_those_who_watched_no_cell() {
    holds(scenes::an_end_is_counted_before_it_is_told);
}

found! {
    a_push_on_an_empty_cell_is_nothing in near::generations_scenes::a_reply_meets_a_push:
        "is current under",
    learned_beside_the_lock in near::generations_scenes::a_reply_meets_a_push:
        "the cell knows an old generation",
    a_watched_cell_is_forgotten in near::generations_scenes::a_full_map_meets_who_watches:
        "is current under",
    two_cells_for_a_tag in near::generations_scenes::two_ask_for_a_tag_that_is_new:
        "is current under",
    own_reply_is_one_like_any in
        near::generations_scenes::own_writes_meet_an_end_that_nobody_tells: "is current under",
    ends_counted_after_the_cell in near::generations_scenes::an_end_is_counted_before_it_is_told:
        "an end that is not counted",
}
