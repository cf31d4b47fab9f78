use larder_macros::HashObject;

#[derive(HashObject)]
struct Profile {
    #[field(default, default)]
    name: String,
}

fn main() {}
