//! Another process: the test binary, run again as [`other_process`](crate::other_process), which obeys
//! what it is told over its standard input, a line a command, and answers with a line each.
//!
//! ```text
//! read KEY VALUE [tag=T] [takes=MS]   get-or-load with a loader that gives VALUE   -> VALUE ORIGIN
//! many KEY N VALUE takes=MS           N tasks read KEY at once                     -> LOADS WORST_MS VALUES..
//! hold KEY VALUE                      a read whose loader hangs for ever           -> loading
//! guard KEY MS                        opens a guard of `guarded` and keeps it          -> open
//! write KEY VALUE MS FILE STOP        writes `guarded` through to a file, and stops there -> at STOP | kept | ended
//! get KEY                             never loads                                  -> VALUE ORIGIN | nothing
//! invalidate KEY | tag T | sync       ends, waits                                  -> ok | an error
//! claim QUEUE                         claims a job and keeps it                        -> BODY ATTEMPT
//! take FIFO                           takes an item and keeps it                        -> BODY
//! lock NAME                           takes a lock and keeps it                         -> FENCE
//! stats NAME                          one counter                                  -> NUMBER
//! ```

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use larder::{
    BoxError, Cache, Larder, Lifetime, Loaded, MINUTE, RefreshAhead, Sink, Source as Asked, Tag,
};

use super::{PATIENT, Source, World};

/// The lease of other processes: short, since tests wait for it when they kill one.
const LEASE: Duration = Duration::from_millis(500);
const URL: &str = "LARDER_TEST_OTHER_PROCESS";

pub struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(url: &str) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "other_process", "--nocapture"]).env(URL, url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut process = Process { child, stdin, stdout };
        assert_eq!(process.answer(), "ready");
        process
    }

    pub fn say(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").unwrap();
        self.stdin.flush().unwrap();
    }

    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.stdout.read_line(&mut line).unwrap();
            assert!(length > 0, "the other process ended without an answer");
            // What the test harness prints has no such beginning; it may stand before it on a line.
            if let Some((_, answer)) = line.split_once("=> ") {
                return answer.trim_end().to_owned();
            }
        }
    }

    pub fn ask(&mut self, command: &str) -> String {
        self.say(command);
        self.answer()
    }

    pub fn pause(&self) {
        signal(self.child.id(), "-STOP");
    }

    pub fn resume(&self) {
        signal(self.child.id(), "-CONT");
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.resume();
        self.kill();
    }
}

pub fn signal(pid: u32, signal: &str) {
    let _ = Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// The body of the other process. In the test's own it is no test and does nothing: libtest has no other way
/// to run a part of its binary by name.
pub fn obey() {
    let Ok(url) = std::env::var(URL) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let builder = Larder::builder("test").redis(url).far_deadline(PATIENT).lease_time(LEASE);
    let world = runtime.block_on(World::of(builder, &Source::default()));
    println!("=> ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = runtime.block_on(run(&world, &words));
        println!("=> {answer}");
    }
}

/// A cache whose writers' guards stand for `ms` at most.
pub fn guarded(world: &World, ms: u64) -> Cache<str, String> {
    let cache = world.larder.cache("guarded").guard_time(Duration::from_millis(ms));
    cache.shared().unwrap()
}

/// A cache whose entries are renewed ahead. Of one whose load took a second, about every twentieth read renews it.
pub fn renewed_ahead(world: &World) -> Cache<str, String> {
    let lifetime = Lifetime::fresh_for(5 * MINUTE).jitter(0.0);
    let ahead = RefreshAhead::early(100.0);
    world.larder.cache("ahead").lifetime(lifetime).refresh_ahead(ahead).shared().unwrap()
}

/// One row, in a file that processes share. Whoever writes it may stop on the way, until it is killed.
pub struct File {
    path: std::path::PathBuf,
    stop: String,
}

impl File {
    pub fn new(path: impl Into<std::path::PathBuf>, stop: &str) -> File {
        File { path: path.into(), stop: stop.to_owned() }
    }

    pub fn row(&self) -> Option<String> {
        std::fs::read_to_string(&self.path).ok()
    }

    pub fn commit(&self, value: &str) {
        let draft = self.path.with_extension("draft");
        std::fs::write(&draft, value).unwrap();
        std::fs::rename(&draft, &self.path).unwrap();
    }

    async fn stops(&self, at: &str) {
        if self.stop == at {
            println!("=> at {at}");
            std::future::pending::<()>().await;
        }
        if self.stop == "go" && at == "before" {
            // Until who watches has had a look.
            let go = self.path.with_extension("go");
            std::fs::write(go.with_extension("asked"), "").unwrap();
            while !go.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

impl Asked<str, String> for File {
    async fn load(&self, _key: &str) -> Result<Loaded<Option<String>>, BoxError> {
        Ok(self.row().into())
    }
}

impl Sink<str, String> for File {
    async fn write(&self, _key: &str, value: &String) -> Result<(), BoxError> {
        self.stops("before").await;
        self.commit(value);
        self.stops("after").await;
        Ok(())
    }

    async fn remove(&self, _key: &str) -> Result<(), BoxError> {
        Ok(std::fs::remove_file(&self.path)?)
    }
}

fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

async fn run(world: &World, words: &[&str]) -> String {
    let takes = option(words, "takes").map_or(0, |ms| ms.parse().unwrap());
    world.source.takes(Duration::from_millis(takes));
    let done = |answer: Result<(), larder::Error>| match answer {
        Ok(()) => "ok".to_owned(),
        Err(why) => format!("{:?} {why}", why.kind()),
    };
    match words {
        ["read", key, value, ..] => {
            world.source.set(key, value);
            let read = match option(words, "tag") {
                Some(tag) => world.read_tagged(key, tag).await,
                None => world.read(key).await,
            };
            match read {
                Ok(entry) => format!("{} {}", *entry, entry.origin()),
                Err(why) => format!("{:?} {why}", why.kind()),
            }
        }
        ["many", key, tasks, value, ..] => {
            world.source.set(key, value);
            let tasks: usize = tasks.parse().unwrap();
            let began = std::time::Instant::now();
            let reads: Vec<_> = (0..tasks).map(|_| world.reading(key)).collect();
            let mut values = std::collections::BTreeSet::new();
            for read in reads {
                values.insert(read.await.unwrap().unwrap().to_string());
            }
            let ms = began.elapsed().as_millis();
            let values: Vec<_> = values.into_iter().collect();
            format!("{} {ms} {}", world.source.loads(), values.join(" "))
        }
        ["hold", key, value] => {
            world.source.set(key, value);
            world.source.hold();
            drop(world.reading(key));
            world.source.held(1).await;
            "loading".to_owned()
        }
        ["renew", key] => {
            world.source.hold();
            let cache = renewed_ahead(world);
            let mut last = String::new();
            while world.source.waiting() == 0 {
                let loading = world.source.load(key);
                last = cache.get_or_load(*key, move || loading).await.unwrap().to_string();
                tokio::task::yield_now().await;
            }
            last
        }
        ["guard", key, ms] => {
            let guard = guarded(world, ms.parse().unwrap()).guard(key).await.unwrap();
            std::mem::forget(guard); // until this process is killed
            "open".to_owned()
        }
        ["write", key, value, ms, file, stop] => {
            let rows = guarded(world, ms.parse().unwrap()).through(File::new(file, stop));
            match rows.write(key, value.to_string()).await {
                Ok(written) => format!("{written:?}"),
                Err(why) => format!("{:?} {why}", why.kind()),
            }
        }
        ["get", key] => match world.words.get(key).await.unwrap() {
            Some(entry) => format!("{} {}", *entry, entry.origin()),
            None => "nothing".to_owned(),
        },
        ["invalidate", key] => done(world.words.invalidate(key).await),
        ["tag", tag] => done(world.larder.invalidate_tag(Tag::new(tag)).await),
        ["sync"] => done(world.larder.sync().await),
        ["claim", queue] => {
            let queue = world.larder.queue(queue).open::<String>().unwrap();
            let job = queue.claim(PATIENT).await.unwrap().unwrap();
            let answer = format!("{} {}", job.body(), job.delivery().attempt);
            std::mem::forget(job); // until this process is killed
            answer
        }
        ["take", fifo] => {
            let fifo = world.larder.fifo(fifo).silence(LEASE).open::<String>().unwrap();
            let item = fifo.take(PATIENT).await.unwrap().unwrap();
            let answer = item.body().clone();
            std::mem::forget((item, fifo)); // until this process is killed
            answer
        }
        ["lock", name] => {
            let lock = world.larder.lock(name).time(LEASE).open().unwrap();
            let held = lock.acquire(PATIENT).await.unwrap().unwrap();
            let fence = held.fence().to_string();
            std::mem::forget(held); // until this process is killed
            fence
        }
        ["heard", part] => world.ear.count(part).to_string(),
        _ => format!("unknown command {words:?}"),
    }
}
