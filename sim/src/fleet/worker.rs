//! One process of the fleet: reads and writes for as long as its standard input is open, and says what it did.
//!
//! The source of truth is a Redis of its own, of which nothing is cached: a commit counts a key's version up.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use larder::{AfterFailover, Cache, Larder, Lifetime, SECOND, Tag, Target};
use redis::AsyncCommands;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::record::{From, Record};
use crate::chance::Chance;

/// Patience of reads: two busy cores must not look like a slow Redis.
const FAR_DEADLINE: Duration = Duration::from_secs(2);

/// What it is told on its command line.
struct Told {
    redis: String,
    source: String,
    keys: usize,
    tasks: usize,
    seed: u64,
    lease: Duration,
    /// `traffic`, `hold` or `wait`.
    does: String,
}

impl Told {
    fn read(words: &[String]) -> Option<Told> {
        let pairs: HashMap<&str, &str> =
            words.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
        let word = |name: &str| pairs.get(name).copied();
        let number = |name: &str| word(name)?.parse::<u64>().ok();
        Some(Told {
            redis: word("redis")?.to_owned(),
            source: word("source")?.to_owned(),
            keys: number("keys")? as usize,
            tasks: number("tasks")? as usize,
            seed: number("seed")?,
            lease: Duration::from_millis(number("lease_ms")?),
            does: word("does")?.to_owned(),
        })
    }
}

/// Microseconds of the clock that all processes of this machine share.
pub(super) fn now_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1000
}

/// Ends with its standard input.
pub(super) fn run(words: &[String]) -> Result<(), String> {
    let told = Told::read(words).ok_or("a worker is told too little")?;
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let (say, said) = mpsc::channel::<Record>();
    thread::spawn(move || write_all(&said));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|why| why.to_string())?;
    runtime.block_on(work(told, say))
}

/// A line is out as soon as nothing waits behind it: a process may be killed at any moment.
fn write_all(said: &mpsc::Receiver<Record>) {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    while let Ok(record) = said.recv() {
        let _ = writeln!(out, "{record}");
        for record in said.try_iter() {
            let _ = writeln!(out, "{record}");
        }
        let _ = out.flush();
    }
}

#[derive(Clone)]
struct Worker {
    larder: Larder,
    cache: Cache<usize, u64>,
    source: MultiplexedConnection,
    say: mpsc::Sender<Record>,
    keys: usize,
}

async fn work(told: Told, say: mpsc::Sender<Record>) -> Result<(), String> {
    let larder = Larder::builder("fleet")
        .redis(&told.redis)
        .far_deadline(FAR_DEADLINE)
        .invalidate_deadline(SECOND)
        .lease_time(told.lease)
        .after_failover(AfterFailover::Distrust)
        .open()
        .await
        .map_err(|why| why.to_string())?;
    let cache = larder
        .cache("versions")
        .lifetime(Lifetime::fresh_for(3 * SECOND).stale_for(3 * SECOND))
        .guard_time(2 * SECOND)
        .tagged_by(|key: &usize| [tag_of(*key)])
        .shared()
        .map_err(|why| why.to_string())?;
    let source = redis::Client::open(told.source).map_err(|why| why.to_string())?;
    // A process that was stopped must not take its source for one that is late.
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let source = source.get_multiplexed_async_connection_with_config(&patient).await;
    let source = source.map_err(|why| why.to_string())?;
    let worker = Worker { larder, cache, source, say, keys: told.keys };
    match told.does.as_str() {
        "hold" => worker.hold().await,
        "wait" => worker.wait().await,
        _ => {
            let tasks: Vec<_> = (0..told.tasks as u64)
                .map(|task| tokio::spawn(worker.clone().traffic(Chance::of(told.seed, task))))
                .collect();
            for task in tasks {
                task.await.map_err(|why| why.to_string())?;
            }
        }
    }
    Ok(())
}

fn tag_of(key: usize) -> Tag {
    Tag::from_parts(&("key", key))
}

fn name_of(key: usize) -> String {
    format!("truth:{key}")
}

impl Worker {
    async fn traffic(self, mut chance: Chance) {
        loop {
            let key = chance.below(self.keys as u64) as usize;
            match chance.below(12) {
                0 => self.write(key, &mut chance).await,
                _ => self.read(key, &mut chance).await,
            }
            tokio::time::sleep(Duration::from_micros(chance.below(3_000))).await;
        }
    }

    fn tell(&self, record: Record) {
        let _ = self.say.send(record);
    }

    async fn read(&self, key: usize, chance: &mut Chance) {
        let (this, takes) = (self.clone(), Duration::from_micros(chance.below(8_000)));
        let load = move || async move {
            this.tell(Record::Loaded { key, at: now_us() });
            let mut source = this.source.clone();
            let version: Option<u64> = source.get(name_of(key)).await?;
            tokio::time::sleep(takes).await;
            Ok::<u64, redis::RedisError>(version.unwrap_or(0))
        };
        let start = now_us();
        match self.cache.get_or_load(&key, load).await {
            Ok(entry) => {
                let from = match entry.origin() {
                    larder::Origin::Near => From::Near,
                    larder::Origin::Far => From::Far,
                    _ => From::Loaded,
                };
                self.tell(Record::Read { key, start, end: now_us(), version: *entry, from });
            }
            Err(why) => {
                eprintln!("a read failed: {:?}: {why}", why.kind());
                self.tell(Record::Failed { key, start });
            }
        }
    }

    async fn commit(&self, key: usize) -> Option<u64> {
        self.source.clone().incr(name_of(key), 1).await.ok()
    }

    /// A commit, and an end of one kind or another.
    async fn write(&self, key: usize, chance: &mut Chance) {
        let start = now_us();
        let kind = chance.below(6);
        if kind == 5 {
            return self.write_guarded(key, start).await;
        }
        let Some(version) = self.commit(key).await else { return };
        let entry = self.cache.entry(&key);
        let confirmed = match kind {
            0 | 1 => self.larder.invalidate([entry]).await.is_ok(),
            2 => self.larder.invalidate_tag(tag_of(key)).await.is_ok(),
            3 => self.larder.expire([entry]).await.is_ok(),
            _ => self.larder.expire([Target::from(tag_of(key))]).await.is_ok(),
        };
        self.tell(Record::Ended { key, version, start, end: now_us(), confirmed });
    }

    async fn write_guarded(&self, key: usize, start: u64) {
        let guard = self.cache.guard(&key).await;
        let Some(version) = self.commit(key).await else { return };
        let confirmed = match guard {
            Ok(guard) => guard.end().await.is_ok(),
            Err(_) => self.cache.invalidate(&key).await.is_ok(),
        };
        self.tell(Record::Ended { key, version, start, end: now_us(), confirmed });
    }

    /// Takes a lease, and is never answered by its source.
    async fn hold(&self) {
        let this = self.clone();
        let load = move || async move {
            this.tell(Record::Holds { at: now_us() });
            std::future::pending::<Result<u64, std::io::Error>>().await
        };
        let _ = self.cache.get_or_load(&0, load).await;
    }

    /// Reads what another is loading.
    async fn wait(&self) {
        let this = self.clone();
        let load = move || async move {
            this.tell(Record::Loaded { key: 0, at: now_us() });
            Ok::<u64, std::io::Error>(1)
        };
        let start = now_us();
        if let Ok(entry) = self.cache.get_or_load(&0, load).await {
            let (end, version) = (now_us(), *entry);
            self.tell(Record::Read { key: 0, start, end, version, from: From::Loaded });
        }
        std::future::pending::<()>().await;
    }
}
