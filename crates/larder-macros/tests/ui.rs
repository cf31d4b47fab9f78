//! What must not compile, and in which words it says so: `ui/*.rs`, each with what rustc prints.
//!
//! `TRYBUILD=overwrite cargo test -p larder-macros --test ui` writes them anew: read what changed.

#[test]
fn misuse_is_an_error_at_the_place_where_it_stands() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
