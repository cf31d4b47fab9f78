use larder::{Cache, cached};

struct Tasks {
    titles: Cache<u64, String>,
    prefix: String,
}

impl Tasks {
    #[cached(cache = self.titles, key = id)]
    async fn title(&self, id: u64) -> Result<String, larder::Error> {
        Ok(format!("{} {id}", self.prefix))
    }
}

fn main() {}
