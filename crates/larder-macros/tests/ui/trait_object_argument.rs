use larder::{Cache, cached};

type Tasks = Cache<u64, String>;

#[cached(cache = tasks, key = id)]
async fn title(
    tasks: &Tasks,
    id: u64,
    show: &(dyn Fn(u64) -> String + Sync),
) -> Result<String, larder::Error> {
    Ok(show(id))
}

fn main() {}
