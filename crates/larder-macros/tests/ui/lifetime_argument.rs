use larder::{Cache, cached};

type Tasks = Cache<u64, String>;

#[cached(cache = tasks, key = id)]
async fn title<'a>(
    tasks: &Tasks,
    id: u64,
    words: std::borrow::Cow<'a, str>,
) -> Result<String, larder::Error> {
    Ok(format!("{words} {id}"))
}

fn main() {}
