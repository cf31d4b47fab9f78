use larder::{Cache, cached};

type Tasks = Cache<u64, String>;

#[cached(cache = tasks, key = id)]
async fn title(tasks: &Cache<u64, Title>, id: u64) -> Result<Title, larder::Error> {
    Ok(Title(id))
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Title(u64);

fn main() {}
