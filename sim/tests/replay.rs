//! A seed means the same in every process: what failed there can be looked at here.
#![allow(clippy::unwrap_used, reason = "a test that cannot run its program has failed")]

use std::process::Command;

fn hash(seed: &str) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_sim")).args(["--hash", seed]).output().unwrap();
    assert!(run.status.success(), "{run:?}");
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn two_processes_write_the_same_history_of_a_seed() {
    let hashes: Vec<_> = (0..8).map(|seed| hash(&seed.to_string())).collect();
    for (seed, first) in hashes.iter().enumerate() {
        assert_eq!(*first, hash(&seed.to_string()), "seed {seed}");
    }
    // And not because it says nothing.
    assert!(hashes.windows(2).all(|two| two[0] != two[1]), "{hashes:?}");
}
