//! How long a scene is played.
#![allow(dead_code, unused_macros, reason = "each test program uses some of it")]

use larder_interleavings::{check_uncontrolled_nondeterminism, in_every_order, in_many_orders};

/// Of each kind. A fifth of them finds every fault of `build/wrong.rs`.
const ORDERS: usize = 5000;

pub fn holds(scene: fn()) {
    in_many_orders(scene, ORDERS);
}

/// For scenes of a few steps.
pub fn every_order(scene: fn()) {
    let orders = in_every_order(scene);
    println!("{orders} orders, and no other");
    assert!(orders > 1, "there is one order only: nothing happens at once");
}

pub fn repeats(scene: fn()) {
    check_uncontrolled_nondeterminism(scene, 200);
}

/// For each fault, the scene that finds it, and how the scene puts it.
#[macro_export]
macro_rules! found {
    ($($wrong:ident in $room:ident :: $scenes:ident :: $scene:ident : $says:literal),+ $(,)?) => {
        mod found {$(
            #[test]
            #[should_panic(expected = $says)]
            fn $wrong() {
                super::support::holds(larder_interleavings::$wrong::$room::$scenes::$scene);
            }
        )+}
    };
}
