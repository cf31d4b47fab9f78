use larder::ToKey;

#[derive(ToKey)]
union Id {
    number: u64,
    bytes: [u8; 8],
}

fn main() {}
