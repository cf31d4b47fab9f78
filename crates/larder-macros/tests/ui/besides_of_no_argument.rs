use larder::{Cache, cached};

type Tasks = Cache<u64, String>;

#[cached(cache = tasks, key = id, besides = [clock])]
async fn title(tasks: &Tasks, id: u64) -> Result<String, larder::Error> {
    Ok(id.to_string())
}

fn main() {}
