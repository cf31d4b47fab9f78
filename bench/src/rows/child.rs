//! What the other processes of a row do.
//!
//! ```text
//! stampede larder|poll KEY TASKS LOAD_MS AT_NS   TASKS tasks ask for KEY at AT_NS   -> LOADS NANOS..
//! hold KEY                                       KEY is near from now on            -> held
//! watch KEY                                      asks near until KEY is gone        -> AT_NS
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use larder::{Cache, Larder, Lifetime, Origin};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use crate::peers::{LIFETIME, larder::TAG, redis as plain};
use crate::{Outcome, process, usage};

/// How long a lock outlives who took it, and how often those who did not take it look again: what one
/// finds in most services.
const LOCK_MS: u64 = 10_000;
const POLL: Duration = Duration::from_millis(100);

/// As `main` runs it.
pub fn obey(url: &str) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (larder, cache, plain) = runtime.block_on(async {
        let larder = Larder::builder("bench").redis(url).require_far().open().await?;
        let cache = open(&larder)?;
        Outcome::Ok((larder, cache, plain::connect(url).await?))
    })?;
    process::obey(|words| {
        runtime.block_on(async {
            match words {
                ["stampede", how, key, tasks, load, at] => {
                    let load = Duration::from_millis(load.parse()?);
                    let at = Duration::from_nanos(at.parse()?);
                    let asked = Asked { key: Arc::from(*key), load, loads: Arc::default() };
                    let tasks = tasks.parse()?;
                    if *how == "larder" {
                        let read = |asked| through_larder(cache.clone(), asked);
                        stampede(tasks, at, &asked, read).await
                    } else {
                        let read = |asked| through_a_lock(plain.clone(), asked);
                        stampede(tasks, at, &asked, read).await
                    }
                }
                ["hold", key] => hold(&cache, key).await,
                ["watch", key] => watch(&cache, key).await,
                _ => Err(format!("unknown command {words:?}").into()),
            }
        })
    })?;
    drop(larder);
    Ok(())
}

/// The cache that these rows use, in every process.
pub fn open(larder: &Larder) -> Outcome<Cache<str, String>> {
    let builder = larder.cache("fleet").lifetime(Lifetime::fresh_for(LIFETIME));
    Ok(builder.tagged_by(|_: &str| [TAG]).shared()?)
}

#[derive(Clone)]
struct Asked {
    key: Arc<str>,
    load: Duration,
    loads: Arc<AtomicUsize>,
}

async fn stampede<F>(
    tasks: usize,
    at: Duration,
    asked: &Asked,
    mut reader: impl FnMut(Asked) -> F,
) -> Outcome<String>
where
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    tokio::time::sleep(at.saturating_sub(usage::shared_now())).await;
    let mut readers = JoinSet::new();
    for _ in 0..tasks {
        let read = reader(asked.clone());
        let began = Instant::now();
        readers.spawn(async move {
            read.await?;
            Outcome::Ok(began.elapsed().as_nanos())
        });
    }
    let mut answer = String::new();
    while let Some(took) = readers.join_next().await {
        answer += &format!(" {}", took??);
    }
    Ok(format!("{}{answer}", asked.loads.load(Ordering::SeqCst)))
}

async fn through_larder(cache: Cache<str, String>, asked: Asked) -> Outcome<()> {
    let Asked { key, load, loads } = asked;
    let load = move || async move {
        loads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(load).await;
        Ok::<_, std::io::Error>("value".to_owned())
    };
    cache.get_or_load(&key, load).await?;
    Ok(())
}

/// Poll and lock, as it is usually written.
async fn through_a_lock(mut redis: MultiplexedConnection, asked: Asked) -> Outcome<()> {
    let lock = format!("lock:{}", asked.key);
    loop {
        let found: Option<String> =
            redis::cmd("GET").arg(&*asked.key).query_async(&mut redis).await?;
        if found.is_some() {
            return Ok(());
        }
        let mut take = redis::cmd("SET");
        take.arg(&lock).arg("1").arg("NX").arg("PX").arg(LOCK_MS);
        let taken: Option<String> = take.query_async(&mut redis).await?;
        if taken.is_some() {
            asked.loads.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(asked.load).await;
            redis::cmd("SET").arg(&*asked.key).arg("value").query_async::<()>(&mut redis).await?;
            redis::cmd("DEL").arg(&lock).query_async::<()>(&mut redis).await?;
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn hold(cache: &Cache<str, String>, key: &str) -> Outcome<String> {
    for _ in 0..1000 {
        let load = || async { Ok::<_, std::io::Error>("value".to_owned()) };
        if cache.get_or_load(key, load).await?.origin() == Origin::Near {
            return Ok("held".to_owned());
        }
    }
    Err("it does not stay near".into())
}

/// Asks near as often as it can, letting the connection run in between, as a busy service would.
async fn watch(cache: &Cache<str, String>, key: &str) -> Outcome<String> {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        match cache.get(key).await? {
            Some(entry) if entry.origin() == Origin::Near => tokio::task::yield_now().await,
            _ => return Ok(usage::shared_now().as_nanos().to_string()),
        }
    }
    Err("it is near for ever".into())
}
