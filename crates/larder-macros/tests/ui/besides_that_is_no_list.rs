use larder::{Cache, cached};

type Tasks = Cache<u64, String>;

#[cached(cache = tasks, key = id, besides = now)]
async fn title(tasks: &Tasks, id: u64, now: u64) -> Result<String, larder::Error> {
    Ok((id + now).to_string())
}

fn main() {}
