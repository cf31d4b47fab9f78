//! One type that stands for a table, read and written through the cache: two writers that overlap, a database that
//! says no, and a row that is deleted.
//!
//! ```text
//! cargo run -p larder --example write_through                            # in this process alone
//! cargo run -p larder --example write_through -- redis://127.0.0.1
//! ```
#![allow(clippy::print_stdout, reason = "this is what it shows")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::{BoxError, Cache, Larder, Loaded, NotWritten, Sink, Source, Through};
use tokio::time::sleep;

/// Stands for a database whose commits take a while.
#[derive(Clone, Default)]
struct Db(Arc<Mutex<HashMap<u64, String>>>);

impl Source<u64, String> for Db {
    async fn load(&self, id: &u64) -> Result<Loaded<Option<String>>, BoxError> {
        println!("    select name from users where id = {id}");
        let rows = self.0.lock().map_err(|_| "the database is broken")?;
        Ok(rows.get(id).cloned().into())
    }
}

impl Sink<u64, String> for Db {
    async fn write(&self, id: &u64, name: &String) -> Result<(), BoxError> {
        if name.is_empty() {
            return Err(NotWritten::because("a name must not be empty").into());
        }
        sleep(Duration::from_millis(20)).await;
        println!("    insert into users .. ({id}, '{name}') on conflict do update; commit");
        let mut rows = self.0.lock().map_err(|_| "the database is broken")?;
        rows.insert(*id, name.clone());
        Ok(())
    }

    async fn remove(&self, id: &u64) -> Result<(), BoxError> {
        println!("    delete from users where id = {id}; commit");
        self.0.lock().map_err(|_| "the database is broken")?.remove(id);
        Ok(())
    }
}

async fn show(names: &Through<u64, String, Db>) -> Result<(), larder::Error> {
    let found = names.look_up(&1).await?;
    let name = found.entry.as_ref().map_or("nobody", |entry| entry.as_str());
    println!("read:   {name} ({})", found.origin);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let larder = Larder::builder("write-through-example");
    let larder = match std::env::args().nth(1) {
        Some(url) => larder.redis(url).open().await?,
        None => larder.open().await?,
    };
    let names: Cache<u64, String> = larder.cache("names").shared()?;
    let names = names.through(Db::default());
    names.remove(&1).await?; // of an earlier run

    show(&names).await?;
    println!("write:  {:?}", names.write(&1, "Ada".to_owned()).await?);
    show(&names).await?;

    println!("two at once: which was last only the database knows, so neither is kept");
    let (one, other) =
        tokio::join!(names.write(&1, "Grace".to_owned()), names.write(&1, "Joan".to_owned()));
    println!("write:  {:?}, {:?}", one?, other?);
    show(&names).await?;

    println!("the database says no:");
    if let Err(error) = names.write(&1, String::new()).await {
        println!("write:  {:?}: {error}", error.kind());
    }
    show(&names).await?;

    println!("remove: {:?}", names.remove(&1).await?);
    show(&names).await?;
    let _unconfirmed = larder.close(larder::SECOND).await;
    Ok(())
}
