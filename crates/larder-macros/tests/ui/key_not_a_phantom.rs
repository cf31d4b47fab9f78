use larder::ToKey;

#[derive(ToKey)]
struct Page {
    number: u32,
    tenant: PhantomData,
}

struct PhantomData(u64);

fn main() {}
