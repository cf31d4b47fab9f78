use larder_macros::HashObject;

#[derive(HashObject)]
struct Profile<'a> {
    name: &'a str,
}

fn main() {}
