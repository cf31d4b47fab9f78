use larder::{Cache, cached};

type Tasks = Cache<u64, String>;

#[cached(cache = tasks, key = id.0)]
async fn title(tasks: &Tasks, id: Id) -> Result<String, larder::Error> {
    Ok(id.0.to_string())
}

struct Id(u64);

fn main() {}
