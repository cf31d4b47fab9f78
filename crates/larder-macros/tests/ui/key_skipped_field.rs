use larder::ToKey;

#[derive(ToKey)]
struct Page {
    #[key(skip)]
    tenant: u64,
    number: u32,
}

fn main() {}
