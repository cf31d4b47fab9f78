use larder::ToKey;

#[derive(ToKey)]
enum Listing {
    Open(#[key(number = 1)] u32),
}

fn main() {}
