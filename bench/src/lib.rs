//! larder beside its peers.
//!
//! Kept fair by four rules. The same work for all: the same keys, the same values, the same sequence of
//! accesses, drawn before the clock starts. One process: what is compared ran in the same process, on the
//! same machine, in the same minute. Alternating rounds ([`rounds`]): one of each in turn, after a warm-up,
//! so that a slow minute is slow for all. Medians, with the least and the most beside them: ratios are to be
//! compared, absolutes belong to the machine.
//!
//! Each row of the report is a file in [`rows`]; each peer a file in [`peers`], used as its own
//! documentation shows it.

pub mod counted;
pub mod http;
pub mod machine;
pub mod peers;
pub mod process;
pub mod report;
pub mod rounds;
pub mod rows;
pub mod server;
pub mod usage;
pub mod workload;

/// A benchmark that cannot go on says why, and ends.
pub type Outcome<T> = Result<T, Error>;
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Enough to see that it runs and roughly how fast; else what is published.
    pub quick: bool,
    /// Only contenders whose names contain this: for a profiler, which should see one of them.
    pub only: Option<String>,
}

impl Plan {
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    pub fn takes(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }
}
