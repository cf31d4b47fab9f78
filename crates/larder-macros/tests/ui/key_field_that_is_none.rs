use larder::ToKey;

#[derive(ToKey)]
struct Point {
    name: String,
    x: f64,
}

fn main() {}
