//! Plain `redis`: what larder stands on, alone. A GET on one multiplexed connection that all tasks share.

use redis::Client;
use redis::aio::MultiplexedConnection;

use super::Far;
use crate::Outcome;

pub async fn connect(url: &str) -> Outcome<MultiplexedConnection> {
    Ok(Client::open(url)?.get_multiplexed_async_connection().await?)
}

/// GET, and nothing else.
#[derive(Clone)]
pub struct Raw(pub MultiplexedConnection);

impl Far for Raw {
    async fn hit(&self, key: &str) -> Outcome<usize> {
        let mut connection = self.0.clone();
        let bytes: Vec<u8> = redis::cmd("GET").arg(key).query_async(&mut connection).await?;
        Ok(bytes.len())
    }
}

/// GET, then decoded as larder decodes.
#[derive(Clone)]
pub struct Decoded(pub MultiplexedConnection);

impl Far for Decoded {
    async fn hit(&self, key: &str) -> Outcome<usize> {
        let mut connection = self.0.clone();
        let bytes: Vec<u8> = redis::cmd("GET").arg(key).query_async(&mut connection).await?;
        let value: crate::workload::Payload = rmp_serde::from_slice(&bytes)?;
        Ok(value.body.len())
    }
}
