use larder::{Cache, cached};

struct Tasks {
    titles: Cache<u64, String>,
    seen: u64,
}

impl Tasks {
    #[cached(cache = self.titles, key = id)]
    async fn title(&mut self, id: u64) -> Result<String, larder::Error> {
        self.seen += 1;
        Ok(id.to_string())
    }
}

fn main() {}
