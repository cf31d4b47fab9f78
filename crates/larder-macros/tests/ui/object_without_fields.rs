use larder_macros::HashObject;

#[derive(HashObject)]
struct Profile;

fn main() {}
