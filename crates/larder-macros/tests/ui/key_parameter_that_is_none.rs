use larder::ToKey;

#[derive(ToKey)]
struct Page<T>(T);

struct Tenant;

fn is_key<T: ToKey>() {}

fn check() {
    is_key::<Page<Tenant>>();
}

fn main() {}
