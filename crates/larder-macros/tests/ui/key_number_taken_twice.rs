use larder::ToKey;

#[derive(ToKey)]
enum Listing {
    Open,
    Closed,
    #[key(number = 1)]
    Late,
}

fn main() {}
