use larder_macros::HashObject;

#[derive(HashObject)]
enum Profile {
    Name(String),
}

fn main() {}
