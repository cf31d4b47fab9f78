use larder_macros::HashObject;

#[derive(HashObject)]
struct Profile(String, u64);

fn main() {}
