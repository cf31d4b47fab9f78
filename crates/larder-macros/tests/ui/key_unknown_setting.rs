use larder::ToKey;

#[derive(ToKey)]
#[key(rename = "page")]
struct Page {
    number: u32,
}

fn main() {}
