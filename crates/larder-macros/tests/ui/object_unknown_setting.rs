use larder_macros::HashObject;

#[derive(HashObject)]
struct Profile {
    #[field(skip)]
    name: String,
}

fn main() {}
