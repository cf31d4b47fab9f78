use larder::{Cache, cached};

type Tasks = Cache<u64, String>;

#[cached(cache = tasks, key = id)]
async fn title(tasks: &Tasks, id: u64) -> String {
    id.to_string()
}

fn main() {}
