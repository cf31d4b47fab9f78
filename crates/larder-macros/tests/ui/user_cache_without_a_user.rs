use larder::{UserCache, cached};

#[cached(cache = tasks, key = id)]
async fn title(tasks: &UserCache<u64, String>, id: u64) -> Result<String, larder::Error> {
    Ok(id.to_string())
}

fn main() {}
