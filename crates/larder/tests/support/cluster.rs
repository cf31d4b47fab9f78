//! A cluster of the test's own: three masters with a replica each, on free ports, gone with the test.

use std::time::{Duration, Instant};

use super::Server;
use super::server::answers_with;

/// After how long a silent node counts as failed, in milliseconds. The least that still lets two busy cores
/// elect somebody; the bound of those who use it must be below.
pub const NODE_TIMEOUT_MS: &str = "2000";

/// Slots 0 to 5460, to 10922, to 16383.
const SPANS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

pub struct Cluster {
    /// The masters, as it was made; then their replicas, in the same order.
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// With a replica for each master.
    pub fn start() -> Cluster {
        Cluster::with(3, &[])
    }

    /// Masters alone: quicker, where nobody is to take over.
    pub fn of_masters() -> Cluster {
        Cluster::with(0, &[])
    }

    pub fn with(replicas: usize, settings: &[&str]) -> Cluster {
        Cluster::of((0..3 + replicas).map(|_| Cluster::node(settings)).collect())
    }

    /// One that knows nobody yet.
    pub fn node(settings: &[&str]) -> Server {
        let mut all = vec![
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            "{folder}/nodes.conf",
            "--cluster-node-timeout",
            NODE_TIMEOUT_MS,
            // `--port` plus ten thousand need not be free, nor be a port.
            "--cluster-port",
            "{free}",
            "--cluster-replica-validity-factor",
            "0",
            "--repl-diskless-sync-delay",
            "0",
        ];
        all.extend(settings);
        Server::with(&all)
    }

    /// Three masters of these nodes, and replicas of the rest, in order.
    pub fn of(nodes: Vec<Server>) -> Cluster {
        let cluster = Cluster { nodes };
        for (number, node) in cluster.nodes.iter().enumerate() {
            let _: String = node.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
        }
        for (node, (first, last)) in cluster.nodes.iter().zip(SPANS) {
            let _: String = node.ask(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
        }
        let first = &cluster.nodes[0];
        for node in &cluster.nodes[1..] {
            cluster.introduce(first, node);
        }
        cluster.until("everyone knows everyone", |node| {
            let nodes: String = node.ask("CLUSTER NODES");
            let met = |line: &&str| !line.contains("handshake") && !line.contains(":0@");
            nodes.lines().filter(met).count() == cluster.nodes.len()
        });
        for (at, replica) in cluster.nodes.iter().enumerate().skip(3) {
            let _: String = replica.ask(&format!("CLUSTER REPLICATE {}", cluster.id(at - 3)));
        }
        cluster.is_settled();
        cluster
    }

    fn introduce(&self, one: &Server, other: &Server) {
        let setting = |name: &str| {
            let pair: Vec<String> = other.ask(&format!("CONFIG GET {name}"));
            pair[1].clone()
        };
        let port = match setting("tls-cluster").as_str() {
            "yes" => other.tls_port(),
            _ => other.port(),
        };
        let bus = setting("cluster-port");
        let _: String = one.ask(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
    }

    /// Waits until all that run agree that the cluster works, and replicas have what they replicate.
    pub fn is_settled(&self) {
        self.until("the cluster works", |node| {
            let info: String = node.ask("CLUSTER INFO");
            let replication: String = node.ask("INFO replication");
            let follows = replication.contains("role:master")
                || replication.contains("master_link_status:up");
            info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384") && follows
        });
    }

    /// A replica takes its master's place, as planned. One that the two do not agree on in five seconds is given up
    /// by Redis, and begun again here.
    pub fn fail_over_to(&self, at: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_master = || self.nodes[at].ask::<String>("INFO replication").contains("role:master");
        while !is_master() {
            assert!(Instant::now() < deadline, "node {at} is no master");
            let begun = Instant::now();
            let _: String = self.nodes[at].ask("CLUSTER FAILOVER");
            while !is_master() && begun.elapsed() < Duration::from_secs(6) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Asks every node that runs until `is` holds of each.
    fn until(&self, what: &str, is: impl Fn(&Server) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.running().all(&is) {
            assert!(Instant::now() < deadline, "waited in vain for: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Those that answer.
    fn running(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().filter(|node| answers_with(node.port(), Duration::from_millis(500)))
    }

    /// Names all nodes.
    pub fn url(&self) -> String {
        self.url_as("")
    }

    /// `login`: as `user:password@`.
    pub fn url_as(&self, login: &str) -> String {
        let hosts: Vec<_> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{login}{}", hosts.join(","))
    }

    /// The same over TLS.
    pub fn tls_url_as(&self, login: &str) -> String {
        let hosts: Vec<_> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.tls_port())).collect();
        format!("rediss+cluster://{login}{}", hosts.join(","))
    }

    /// What the node at `at` is called.
    pub fn id(&self, at: usize) -> String {
        self.nodes[at].ask("CLUSTER MYID")
    }

    /// Which node is master of a slot now, in the words of one that answers and thinks that all is well.
    pub fn master_of(&self, slot: u16) -> usize {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            for node in self.running() {
                let info: String = node.ask("CLUSTER INFO");
                if let Some(at) = self.master_by(node, slot).filter(|_| info.contains("state:ok")) {
                    return at;
                }
            }
            assert!(Instant::now() < deadline, "slot {slot} has no master");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same, in the words of one of them.
    fn master_by(&self, node: &Server, slot: u16) -> Option<usize> {
        let spans: Vec<Vec<redis::Value>> = node.ask("CLUSTER SLOTS");
        let port = spans.iter().find_map(|span| {
            let number = |at: usize| redis::from_redis_value_ref::<u16>(&span[at]).unwrap();
            let redis::Value::Array(master) = &span[2] else { return None };
            let port: u16 = redis::from_redis_value_ref(&master[1]).unwrap();
            (number(0)..=number(1)).contains(&slot).then_some(port)
        })?;
        // Nodes that speak TLS among themselves name that port; asked only then, since one may be stopped.
        let plain = self.nodes.iter().position(|node| node.port() == port);
        plain.or_else(|| self.nodes.iter().position(|node| node.tls_port() == port))
    }

    /// The slot of a name, in the server's words.
    pub fn slot(&self, name: &[u8]) -> u16 {
        let mut client = self.nodes[0].client();
        redis::cmd("CLUSTER").arg("KEYSLOT").arg(name).query(&mut client).unwrap()
    }

    /// The slot is the other's, and its keys were left where they were. Comes back when the one that had it knows.
    pub fn take_away(&self, slot: u16, from: usize, to: usize) {
        let (id, source) = (self.id(to), self.id(from));
        for how in [format!("IMPORTING {source}"), format!("NODE {id}")] {
            let _: String = self.nodes[to].ask(&format!("CLUSTER SETSLOT {slot} {how}"));
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.master_by(&self.nodes[from], slot) != Some(to) {
            assert!(Instant::now() < deadline, "the one that had slot {slot} never knew");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Begins to move a slot: from now on it is on its way.
    pub fn begin_to_move(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let _: String = target.ask(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.id(from)));
        let _: String = source.ask(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", self.id(to)));
    }

    /// Moves up to `most` of its keys; how many there were.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, most: usize) -> usize {
        let source = &self.nodes[from];
        let keys: Vec<Vec<u8>> = source.ask(&format!("CLUSTER GETKEYSINSLOT {slot} {most}"));
        for key in &keys {
            self.move_key(key, from, to);
        }
        keys.len()
    }

    pub fn move_key(&self, key: &[u8], from: usize, to: usize) {
        let mut migrate = redis::cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(self.nodes[to].port()).arg(key).arg(0).arg(10_000);
        let _: String = migrate.query(&mut self.nodes[from].client()).unwrap();
    }

    /// The slot is the other's: all keys were moved.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let id = self.id(to);
        for at in [to, from] {
            let _: String = self.nodes[at].ask(&format!("CLUSTER SETSLOT {slot} NODE {id}"));
        }
    }
}
