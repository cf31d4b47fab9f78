//! A database of the test's own, which other processes reach too: a redis-server that caches nothing, with a sink of
//! each kind. A query runs to its end once it was sent, whatever becomes of who sent it, as queries do.
//!
//! ```text
//! value:K  version:K  log:K     what is stored, under which version, and every value that was, in order
//! fence:P                       a partition's
//! calls  refused                calls of sinks, and writes or calls refused as old
//! hold                          "before", "after": queries wait there, before they change something or after it
//! poison                        keys that are always refused
//! ```

use std::time::Duration;

use larder::{
    Applied, BoxError, Fence, Fenced, FencedSink, PendingWrite, Sink, Version, VersionedSink,
};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::until;

const PLAIN: &str = "redis.call('SET', KEYS[1], ARGV[1]); redis.call('RPUSH', KEYS[2], ARGV[1])";
const REMOVE: &str = "redis.call('DEL', KEYS[1]); redis.call('RPUSH', KEYS[2], 'removed')";
const VERSIONED: &str = "
    local stored = redis.call('GET', KEYS[3])
    if stored and stored > ARGV[2] then
        redis.call('INCR', 'refused')
        return stored
    end
    if stored ~= ARGV[2] then
        redis.call('SET', KEYS[3], ARGV[2])
        redis.call('SET', KEYS[1], ARGV[1])
        redis.call('RPUSH', KEYS[2], ARGV[1])
    end
    return ''";
const FENCED: &str = "
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then
        redis.call('INCR', 'refused')
        return 0
    end
    for at = 2, #ARGV, 2 do
        redis.call('SET', 'value:' .. ARGV[at], ARGV[at + 1])
        redis.call('RPUSH', 'log:' .. ARGV[at], ARGV[at + 1])
    end
    return 1";

/// Cheap to clone.
#[derive(Clone)]
pub struct Database {
    url: String,
}

#[derive(Clone)]
pub struct PlainSink(pub Database);
#[derive(Clone)]
pub struct VersionSink(pub Database);
#[derive(Clone)]
pub struct FenceSink(pub Database);

impl Database {
    pub fn at(url: &str) -> Database {
        Database { url: url.to_owned() }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, redis::RedisError> {
        // A process that was stopped must not give its query up when it goes on.
        let patient = redis::AsyncConnectionConfig::new();
        let patient = patient.set_response_timeout(None).set_connection_timeout(None);
        let client = redis::Client::open(self.url.as_str())?;
        client.get_multiplexed_async_connection_with_config(&patient).await
    }

    pub async fn get(&self, name: &str) -> Option<String> {
        self.connection().await.unwrap().get(name).await.unwrap()
    }

    pub async fn set(&self, name: &str, to: &str) {
        let _: () = self.connection().await.unwrap().set(name, to).await.unwrap();
    }

    pub async fn poison(&self, key: &str) {
        let _: () = self.connection().await.unwrap().sadd("poison", key).await.unwrap();
    }

    pub async fn cure(&self, key: &str) {
        let _: () = self.connection().await.unwrap().srem("poison", key).await.unwrap();
    }

    pub async fn value(&self, key: &str) -> Option<String> {
        self.get(&format!("value:{key}")).await
    }

    /// Every value that was stored, in order.
    pub async fn log(&self, key: &str) -> Vec<String> {
        let log = format!("log:{key}");
        self.connection().await.unwrap().lrange(log, 0, -1).await.unwrap()
    }

    pub async fn count(&self, name: &str) -> u64 {
        self.get(name).await.map_or(0, |text| text.parse().unwrap())
    }

    /// Waits until `key` is `value` there.
    pub async fn has(&self, key: &str, value: &str) {
        let what = format!("{key} is {value} in the database");
        until(&what, || async { self.value(key).await.as_deref() == Some(value) }).await;
    }

    /// Waits until it was called this often.
    pub async fn is_called(&self, times: u64) {
        until("calls of the database", || async { self.count("calls").await >= times }).await;
    }

    /// A query: once sent it runs to its end.
    async fn query<T: Send + 'static>(
        &self,
        keys: Vec<String>,
        run: impl Query<T> + 'static,
    ) -> Result<T, BoxError> {
        let this = self.clone();
        let query = tokio::spawn(async move {
            let mut connection = this.connection().await?;
            let _: u64 = connection.incr("calls", 1).await?;
            this.held("before").await?;
            for key in keys {
                if connection.sismember("poison", key).await? {
                    return Err(BoxError::from("poison"));
                }
            }
            let answer = run.call(connection).await?;
            this.held("after").await?;
            Ok(answer)
        });
        query.await?
    }

    async fn held(&self, at: &str) -> Result<(), redis::RedisError> {
        loop {
            let hold: Option<String> = self.connection().await?.get("hold").await?;
            if hold.as_deref() != Some(at) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What runs on a connection, once.
trait Query<T>: Send {
    fn call(
        self,
        connection: MultiplexedConnection,
    ) -> impl Future<Output = Result<T, redis::RedisError>> + Send;
}

impl<T, F, Running> Query<T> for F
where
    F: FnOnce(MultiplexedConnection) -> Running + Send,
    Running: Future<Output = Result<T, redis::RedisError>> + Send,
{
    fn call(
        self,
        connection: MultiplexedConnection,
    ) -> impl Future<Output = Result<T, redis::RedisError>> + Send {
        self(connection)
    }
}

impl Sink<String, String> for PlainSink {
    async fn write(&self, key: &String, value: &String) -> Result<(), BoxError> {
        let (names, value) = ([format!("value:{key}"), format!("log:{key}")], value.clone());
        let run = move |mut connection: MultiplexedConnection| async move {
            let script = redis::Script::new(PLAIN);
            script.key(&names[0]).key(&names[1]).arg(value).invoke_async(&mut connection).await
        };
        self.0.query::<()>(vec![key.clone()], run).await
    }

    async fn remove(&self, key: &String) -> Result<(), BoxError> {
        let names = [format!("value:{key}"), format!("log:{key}")];
        let run = move |mut connection: MultiplexedConnection| async move {
            let script = redis::Script::new(REMOVE);
            script.key(&names[0]).key(&names[1]).invoke_async(&mut connection).await
        };
        self.0.query::<()>(vec![key.clone()], run).await
    }
}

type Writes = [PendingWrite<String, String>];

fn keys_of(writes: &Writes) -> Vec<String> {
    writes.iter().map(|write| write.key.clone()).collect()
}

pub fn hex(version: &Version) -> String {
    version.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn version(hex: &str) -> Version {
    let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
    Version::from_bytes(std::array::from_fn(byte))
}

impl VersionedSink<String, String> for VersionSink {
    async fn apply(&self, writes: &Writes) -> Result<Vec<Applied>, BoxError> {
        let (keys, writes) = (keys_of(writes), writes.to_vec());
        let run = move |mut connection: MultiplexedConnection| async move {
            let mut applied = Vec::new();
            for PendingWrite { key, value, version: at } in writes {
                let value = value.map_or("removed".to_owned(), |value| value.to_string());
                let script = redis::Script::new(VERSIONED);
                let stored: String = script
                    .key(format!("value:{key}"))
                    .key(format!("log:{key}"))
                    .key(format!("version:{key}"))
                    .arg(value)
                    .arg(hex(&at))
                    .invoke_async(&mut connection)
                    .await?;
                applied.push(match stored.as_str() {
                    "" => Applied::Applied,
                    stored => Applied::Newer(version(stored)),
                });
            }
            Ok(applied)
        };
        self.0.query(keys, run).await
    }
}

impl FencedSink<String, String> for FenceSink {
    async fn raise(&self, partition: u32) -> Result<u64, BoxError> {
        let mut connection = self.0.connection().await?;
        Ok(connection.incr(format!("fence:{partition}"), 1).await?)
    }

    async fn apply(&self, fence: Fence, writes: &Writes) -> Result<Fenced, BoxError> {
        let (keys, writes) = (keys_of(writes), writes.to_vec());
        let run = move |mut connection: MultiplexedConnection| async move {
            let script = redis::Script::new(FENCED);
            let mut call = script.key(format!("fence:{}", fence.partition));
            call.arg(fence.number);
            for PendingWrite { key, value, .. } in writes {
                call.arg(key);
                call.arg(value.map_or("removed".to_owned(), |value| value.to_string()));
            }
            let applied: bool = call.invoke_async(&mut connection).await?;
            Ok(if applied { Fenced::Applied } else { Fenced::Passed })
        };
        self.0.query(keys, run).await
    }
}
