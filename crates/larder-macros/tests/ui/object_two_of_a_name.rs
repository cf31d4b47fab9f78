use larder_macros::HashObject;

#[derive(HashObject)]
struct Profile {
    name: String,
    #[field(rename = "name")]
    nick: String,
}

fn main() {}
