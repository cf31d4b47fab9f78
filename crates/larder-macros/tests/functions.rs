//! `#[cached]` on every kind of function there is: it compiles without a warning, and the body has what it was given.
#![deny(warnings)]
#![allow(clippy::unwrap_used, reason = "a scene that cannot be set has failed")]

use std::sync::{Arc, OnceLock};

use larder::{Cache, Entry, Error, ErrorKind, Larder, cached};

trait Database: Clone + Send + Sync + 'static {
    fn title(&self, id: u64) -> impl Future<Output = Result<String, std::io::Error>> + Send;
}

#[derive(Clone)]
struct Titles;

impl Database for Titles {
    async fn title(&self, id: u64) -> Result<String, std::io::Error> {
        Ok(format!("title {id}"))
    }
}

#[derive(Clone)]
struct Repository<D: Database> {
    database: D,
    cache: Cache<u64, String>,
}

impl<D: Database> Repository<D> {
    /// A `return`, a `?`, and a name that is a word of the language.
    #[cached(cache = self.cache, key = r#type, tags = ["type:{type}"], fails_with = std::io::Error)]
    async fn of_type(&self, r#type: u64) -> Result<String, Error> {
        let title = self.database.title(r#type).await?;
        if title.is_empty() {
            return Ok("none".to_owned());
        }
        Ok(title)
    }

    /// Such a name in the text of a format, where it has no `r#`: of the key, moved, and lent.
    #[cached(cache = self.cache, key = r#type.len() as u64, besides = [r#fn, r#in])]
    async fn written(&self, r#type: String, r#fn: String, r#in: &str) -> Result<String, Error> {
        Ok(format!("{type} {fn:?} {in}"))
    }

    #[cached(cache = self.cache, key = id, fails_with = std::io::Error)]
    async fn behind_an_arc(self: &Arc<Self>, id: u64) -> Result<String, Error> {
        self.database.title(id).await
    }

    /// The key is what the caller gave, whatever the body makes of it.
    #[cached(cache = self.cache, key = id, fails_with = std::io::Error)]
    async fn owned(self, mut id: u64) -> Result<String, Error> {
        id += 1;
        self.database.title(id).await
    }

    /// Nothing of `self` is used, so nothing of it is taken along.
    #[cached(cache = found()?, key = 4)]
    async fn never(&self) -> Result<String, Error> {
        unreachable!()
    }
}

static FOUND: OnceLock<Cache<u64, String>> = OnceLock::new();

/// A cache that is found, and might not be.
fn found() -> Result<&'static Cache<u64, String>, Error> {
    Ok(FOUND.get().unwrap())
}

mod boxed {
    /// One that hides its error.
    pub(crate) type Result<T> = core::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
}

trait Show: Clone + Send + Sync + 'static {
    fn show(&self) -> String;
}

impl Show for u8 {
    fn show(&self) -> String {
        self.to_string()
    }
}

#[cached(cache = found()?, key = *id, besides = [other, show])]
async fn lent(id: &u64, &other: &u64, show: &impl Show) -> boxed::Result<String> {
    Err(format!("no {id} {other} {}", show.show()))?
}

#[cached(cache = cache, key = name.len() as u64)]
#[must_use]
async fn given(cache: Cache<u64, String>, name: String) -> boxed::Result<Option<Entry<String>>> {
    assert!(cache.get(&1).await?.is_some());
    Ok(Some(name))
}

#[tokio::test]
async fn the_body_has_what_the_function_was_given() {
    let larder = Larder::builder("test").open().await.unwrap();
    let cache: Cache<u64, String> = larder.cache("titles").shared().unwrap();
    FOUND.set(cache.clone()).unwrap();
    let repository = Arc::new(Repository { database: Titles, cache: cache.clone() });
    assert_eq!(repository.of_type(1).await.unwrap(), "title 1");
    assert_eq!(repository.behind_an_arc(2).await.unwrap(), "title 2");
    assert_eq!(Repository::clone(&repository).owned(3).await.unwrap(), "title 4");
    assert_eq!(repository.behind_an_arc(3).await.unwrap(), "title 4", "one cache, one entry");
    let written = repository.written("the type".into(), "f".into(), "in").await.unwrap();
    assert_eq!(written, "the type \"f\" in");
    let panicked = repository.never().await.unwrap_err();
    assert_eq!(panicked.kind(), ErrorKind::Panicked);
    let failed = lent(&9, &8, &7_u8).await.unwrap_err();
    assert!(failed.to_string().contains("no 9 8 7"), "{failed}");
    let name = given(cache, "a name".into()).await.unwrap().unwrap();
    assert_eq!(name.as_str(), "a name");
    larder.invalidate_tag("type:1").await.unwrap();
    assert!(repository.cache.get(&1).await.unwrap().is_none());
}
