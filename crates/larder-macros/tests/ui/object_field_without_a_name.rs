use larder_macros::HashObject;

#[derive(HashObject)]
struct Profile {
    #[field(rename = "")]
    name: String,
}

fn main() {}
