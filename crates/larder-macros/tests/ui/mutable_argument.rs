use larder::{Cache, cached};

type Tasks = Cache<u64, String>;

#[cached(cache = tasks, key = id)]
async fn title(tasks: &Tasks, id: u64, seen: &mut u64) -> Result<String, larder::Error> {
    *seen += 1;
    Ok(id.to_string())
}

fn main() {}
