//! Every far side does the same: the contract in `far/contract`, on the embedded side and on real Redis.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot set its scene has failed"
)]

mod support;

use larder::contract::{self, Console, Scene};
use support::{Cluster, Server};

macro_rules! on_memory {
    ($($group:ident { $($case:ident)* })*) => {
        $(mod $group {
            use super::*;

            $(#[tokio::test(start_paused = true)]
            async fn $case() {
                contract::$case(&Scene::memory()).await;
            })*
        })*
    };
}

macro_rules! on_redis {
    ($($group:ident { $($case:ident)* })*) => {
        $(mod $group {
            use super::*;

            $(#[tokio::test]
            async fn $case() {
                let server = Server::start();
                contract::$case(&Scene::redis(&server.url()).await).await;
            })*
        })*
    };
}

macro_rules! on_redis_with_a_console {
    ($($group:ident { $($case:ident)* })*) => {
        $(mod $group {
            use super::*;

            $(#[tokio::test]
            async fn $case() {
                let server = Server::start();
                contract::$case(&Scene::redis(&server.url()).await, &server).await;
            })*
        })*
    };
}

mod memory {
    use super::*;

    larder::far_contract_cases!(on_memory);
    larder::far_contract_embedded_cases!(on_memory);
}

mod redis_server {
    use super::*;

    larder::far_contract_cases!(on_redis);
    larder::far_contract_redis_cases!(on_redis_with_a_console);
}

/// On the master of three sentinels, the same ones for all cases.
mod redis_sentinel {
    use super::*;
    use support::Fleet;

    /// A majority must have named the master for longer than this before it is used.
    const BOUND: std::time::Duration = std::time::Duration::from_secs(5);

    macro_rules! all {
        ($($group:ident { $($case:ident)* })*) => {
            async fn cases(fleet: &Fleet) {
                $($(
                    println!("{}", stringify!($case));
                    contract::$case(&Scene::redis_within(&fleet.url(), BOUND).await).await;
                )*)*
            }
        };
    }

    macro_rules! all_with_a_console {
        ($($group:ident { $($case:ident)* })*) => {
            async fn cases_with_a_console(fleet: &Fleet) {
                $($(
                    println!("{}", stringify!($case));
                    let master = fleet.node(fleet.named_by(0));
                    // As the one before it found it.
                    let _: String = master.ask("CONFIG SET maxmemory 0");
                    let _: String = master.ask("FLUSHALL");
                    let scene = Scene::redis_within(&fleet.url(), BOUND).await;
                    contract::$case(&scene, master).await;
                )*)*
            }
        };
    }

    larder::far_contract_cases!(all);
    larder::far_contract_redis_cases!(all_with_a_console);

    #[tokio::test]
    async fn the_contract_holds() {
        cases(&Fleet::start().await).await;
    }

    #[tokio::test]
    async fn the_contract_holds_with_a_console() {
        cases_with_a_console(&Fleet::start().await).await;
    }
}

/// One cluster for all cases, which do not meet: to start one takes seconds.
macro_rules! on_a_cluster {
    ($($group:ident { $($case:ident)* })*) => {
        #[tokio::test]
        async fn the_contract_holds_on_a_cluster() {
            let cluster = Cluster::of_masters();
            $($(
                println!("{}", stringify!($group::$case));
                contract::$case(&Scene::redis(&cluster.url()).await).await;
            )*)*
        }
    };
}

macro_rules! on_a_cluster_with_a_console {
    ($($group:ident { $($case:ident)* })*) => {
        #[tokio::test]
        async fn the_contract_with_a_console_holds_on_a_cluster() {
            let cluster = Cluster::of_masters();
            $($(
                println!("{}", stringify!($group::$case));
                for node in &cluster.nodes {
                    let _: String = node.ask("FLUSHALL");
                    let _: String = node.ask("CONFIG RESETSTAT");
                    let _: String = node.ask("CONFIG SET maxmemory 0");
                }
                contract::$case(&Scene::redis(&cluster.url()).await, &cluster).await;
            )*)*
        }
    };
}

mod cluster {
    use super::*;

    larder::far_contract_cases!(on_a_cluster);
    larder::far_contract_redis_cases!(on_a_cluster_with_a_console);

    #[tokio::test]
    async fn memory_and_a_cluster_answer_every_step_alike() {
        let cluster = Cluster::of_masters();
        for seed in 1..=6 {
            contract::conforms(&cluster.url(), seed, 300).await;
        }
    }
}

/// What names a key is asked of its node; all else of every node, and the answers are taken together.
impl Console for Cluster {
    fn run(&self, words: &[&[u8]]) -> String {
        let of_all = ["DBSIZE", "INFO", "CONFIG", "FLUSHALL", "CLIENT", "SCRIPT"];
        if !of_all.iter().any(|word| word.as_bytes() == words[0]) {
            return self.nodes[self.master_of(self.slot(words[1]))].run(words);
        }
        let answers: Vec<String> = self.nodes.iter().map(|node| node.run(words)).collect();
        match answers.iter().map(|answer| answer.parse::<u64>().ok()).sum::<Option<u64>>() {
            Some(sum) => sum.to_string(),
            None => answers.concat(),
        }
    }
}

impl Console for Server {
    fn run(&self, words: &[&[u8]]) -> String {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        match command.query(&mut self.client()).unwrap() {
            redis::Value::Int(number) => number.to_string(),
            redis::Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            redis::Value::SimpleString(text) => text,
            redis::Value::VerbatimString { text, .. } => text,
            redis::Value::Okay => "OK".to_owned(),
            other => panic!("{other:?} is no text"),
        }
    }
}

/// Two processes, three keys, two tags, any order of commands: each is answered alike, and told what
/// it must be.
#[tokio::test]
async fn memory_and_redis_answer_every_step_alike() {
    let server = Server::start();
    for seed in 1..=20 {
        contract::conforms(&server.url(), seed, 500).await;
    }
}
