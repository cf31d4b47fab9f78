use larder_macros::HashObject;

#[derive(HashObject)]
struct Profile {
    #[field(with = "yaml")]
    name: String,
}

fn main() {}
