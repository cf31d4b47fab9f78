use larder::{Cache, cached};

type Tasks = Cache<u64, String>;

#[cached(cache = tasks, key = id)]
async fn title<'a>(tasks: &'a Tasks, id: u64) -> Result<&'a str, larder::Error> {
    Ok("title")
}

fn main() {}
