use larder::{Cache, Error, Tag, UserCache, cached};

#[derive(Clone)]
struct Page {
    number: u64,
    language: String,
}

/// All are told: by the cache, the key, the user, a tag's text and what a tag is made of.
#[cached(
    cache = titles[shard],
    user = user,
    key = id,
    tags = ["page:{page}", Tag::new(list)],
    besides = [now],
)]
async fn told(
    titles: &[UserCache<u64, String>],
    shard: usize,
    user: u64,
    id: u64,
    page: u64,
    list: String,
    now: u64,
) -> Result<String, Error> {
    Ok(format!("{user} {id} {page} {list} {now} {shard}"))
}

#[cached(cache = titles, key = page.number)]
async fn two(
    titles: &Cache<u64, String>,
    page: Page,
    language: &str,
    r#type: u64,
) -> Result<String, Error> {
    Ok(format!("{} {type}", language.to_owned() + &page.language))
}

/// The key's `number` is the page's.
#[cached(cache = titles, key = page.number)]
async fn namesake(
    titles: &Cache<u64, String>,
    page: Page,
    number: u64,
) -> Result<String, Error> {
    Ok(format!("{} {}", page.language, number + 1))
}

fn main() {}
