use larder::cached;

#[cached(cache = tasks, key = id)]
struct Tasks;

fn main() {}
