//! Cache-aside by hand, and the race it is known for: a reader that loaded before a commit stores after it.
//!
//! ```text
//! cargo run -p larder --example cache_aside                              # in this process alone
//! cargo run -p larder --example cache_aside -- redis://127.0.0.1
//! ```
#![allow(clippy::print_stdout, reason = "this is what it shows")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::Mutex;

use larder::{Cache, Larder, Leased};

/// Stands for a database.
#[derive(Default)]
struct Db(Mutex<HashMap<u64, String>>);

impl Db {
    fn select(&self, id: u64) -> Option<String> {
        println!("    select name from users where id = {id}");
        self.0.lock().ok()?.get(&id).cloned()
    }

    fn update(&self, id: u64, name: &str) {
        println!("    update users set name = '{name}' where id = {id}; commit");
        if let Ok(mut rows) = self.0.lock() {
            rows.insert(id, name.to_owned());
        }
    }
}

async fn name_of(names: &Cache<u64, String>, db: &Db, id: u64) -> Result<String, Box<dyn Error>> {
    match names.lease(&id).await? {
        Leased::Found(entry) => Ok(format!("{} ({})", *entry, entry.origin())),
        Leased::Nothing => Ok("nobody (remembered)".to_owned()),
        Leased::Held(lease) => match db.select(id) {
            Some(name) => {
                let stored = lease.store(name.clone()).await;
                Ok(format!("{name} (loaded, {stored:?})"))
            }
            None => {
                let stored = lease.store_none().await;
                Ok(format!("nobody (loaded, {stored:?})"))
            }
        },
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let larder = Larder::builder("cache-aside-example");
    let larder = match std::env::args().nth(1) {
        Some(url) => larder.redis(url).open().await?,
        None => larder.open().await?,
    };
    let names: Cache<u64, String> = larder.cache("names").shared()?;
    let db = Db::default();
    db.update(1, "Ada");
    names.invalidate(&1).await?;

    println!("read:  {}", name_of(&names, &db, 1).await?);
    println!("read:  {}", name_of(&names, &db, 1).await?);

    println!("a reader loads, and before it can store, a writer commits:");
    names.invalidate(&1).await?;
    let Leased::Held(lease) = names.lease(&1).await? else { return Err("it was ended".into()) };
    let old = db.select(1).unwrap_or_default();
    db.update(1, "Grace");
    names.invalidate(&1).await?;
    println!("store: {old}, {:?}", lease.store(old.clone()).await);
    println!("read:  {}", name_of(&names, &db, 1).await?);

    println!("what does not exist is asked for once:");
    names.invalidate(&2).await?;
    println!("read:  {}", name_of(&names, &db, 2).await?);
    println!("read:  {}", name_of(&names, &db, 2).await?);
    let _unconfirmed = larder.close(larder::SECOND).await;
    Ok(())
}
