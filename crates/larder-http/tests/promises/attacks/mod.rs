//! What is done to caches, and what must come of it. The numbers are those of the list in the documentation.
//!
//! Attack 5, two requests that share a name, is a property test beside the name itself:
//! `request_key/tests.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panic")]

mod bodies;
mod convoys;
mod fields;
mod invalidation;
mod methods;
mod parts;
mod poison;
mod stale;
mod targets;
mod told;
mod unkeyed;
mod users;

use larder::{HOUR, Lifetime};
use larder_http::Rule;

/// The owner of the route says an hour.
fn for_an_hour() -> Rule {
    Rule::for_route(Lifetime::fresh_for(HOUR))
}

/// Both rules. What a handler says is `public, max-age` where it says anything.
fn rules() -> [Rule; 2] {
    [Rule::standard(), for_an_hour()]
}
