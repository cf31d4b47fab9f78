//! `#[cached]`: a function's body is asked only for what its cache does not have, and nothing else about it changes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::{
    Cache, Clock, Entry, ErrorKind, Freshness, Larder, Lifetime, MINUTE, Origin, RefreshAhead,
    SECOND, SharedMemory, Tag, UserCache, cached,
};
use support::{PATIENT, Server, Source, World, soon};

/// What a service fails with: of its own, or with the cache.
#[derive(Clone, Debug)]
enum Fault {
    NotFound(u64),
    Cache(larder::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Fault {}

impl From<larder::Error> for Fault {
    fn from(error: larder::Error) -> Fault {
        error.cause::<Fault>().cloned().unwrap_or(Fault::Cache(error))
    }
}

/// Counts how often a body ran.
#[derive(Clone, Default)]
struct Asked(Arc<AtomicUsize>);

impl Asked {
    fn ask(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A service as people write it: handles, cheap to clone.
#[derive(Clone)]
struct Shop {
    asked: Asked,
    words: Cache<str, String>,
    prices: Cache<(String, u64), u64>,
    carts: UserCache<u64, String>,
    source: Source,
}

impl Shop {
    fn on(larder: &Larder) -> Shop {
        Shop {
            asked: Asked::default(),
            words: larder.cache("words").lifetime(steady()).shared().unwrap(),
            prices: larder.cache("prices").lifetime(steady()).shared().unwrap(),
            carts: larder.cache("carts").lifetime(steady()).per_user().unwrap(),
            source: Source::default(),
        }
    }

    /// A key of two, one of which the body needs as well; an error of its own.
    #[cached(cache = self.prices, key = (currency, id))]
    async fn price(&self, currency: String, id: u64) -> Result<u64, Fault> {
        self.asked.ask();
        if id == 0 {
            return Err(Fault::NotFound(id));
        }
        Ok(id * if currency == "EUR" { 100 } else { 1 })
    }

    /// The same cache, another function.
    #[cached(cache = self.prices, key = ("gift".to_owned(), size))]
    async fn gift_price(&self, size: u64) -> Result<u64, Fault> {
        self.asked.ask();
        Ok(7 + size)
    }

    #[cached(cache = self.carts, user = user, key = 1, tags = ["carts", "cart:{user}"])]
    async fn cart(&self, user: &str) -> Result<String, larder::Error> {
        self.asked.ask();
        Ok(format!("cart of {user}"))
    }

    /// What is lent is copied, and lent again.
    #[cached(cache = self.words, key = *word, fails_with = std::io::Error)]
    async fn meaning(&self, word: &str) -> Result<Entry<String>, Fault> {
        self.asked.ask();
        self.source.load(word).await
    }

    #[cached(cache = self.words, key = *word, fails_with = std::io::Error, fresh_for = "10m", none_for = "20s")]
    async fn find(&self, word: &str) -> Result<Option<String>, larder::Error> {
        self.asked.ask();
        self.source.find(word).await
    }
}

/// One thread runs all tasks of a test, in turn, and embedded there is no network: when each had its turn many
/// times over, whoever can go on has done so, and the rest waits for the load that is held.
async fn all_wait() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

fn steady() -> Lifetime {
    Lifetime::fresh_for(MINUTE).jitter(0.0)
}

async fn embedded() -> (Larder, Shop) {
    let larder = Larder::builder("test").open().await.unwrap();
    let shop = Shop::on(&larder);
    (larder, shop)
}

#[tokio::test]
async fn the_body_is_asked_once_for_each_key() {
    let (_larder, shop) = embedded().await;
    for _ in 0..3 {
        assert_eq!(shop.price("EUR".into(), 3).await.unwrap(), 300);
        assert_eq!(shop.price("JPY".into(), 3).await.unwrap(), 3);
    }
    assert_eq!(shop.asked.times(), 2);
    assert_eq!(shop.prices.stats().hits_near, 4);
}

#[tokio::test]
async fn two_functions_share_a_cache_and_no_entry() {
    let (_larder, shop) = embedded().await;
    for _ in 0..2 {
        assert_eq!(shop.gift_price(3).await.unwrap(), 10);
        assert_eq!(shop.price("EUR".into(), 3).await.unwrap(), 300);
    }
    assert_eq!(shop.asked.times(), 2);
}

/// An entry that somebody else stored is what the function gives, and the other way round.
#[tokio::test]
async fn what_the_function_keeps_is_the_caches_own() {
    let (_larder, shop) = embedded().await;
    shop.price("EUR".into(), 3).await.unwrap();
    let key = ("EUR".to_owned(), 3);
    assert_eq!(*shop.prices.get(&key).await.unwrap().unwrap(), 300);
    shop.prices.put(&key, 42).await.unwrap();
    assert_eq!(shop.price("EUR".into(), 3).await.unwrap(), 42);
    shop.prices.invalidate(&key).await.unwrap();
    assert_eq!(shop.price("EUR".into(), 3).await.unwrap(), 300);
}

#[tokio::test]
async fn a_stampede_through_it_loads_once() {
    let (_larder, shop) = embedded().await;
    shop.source.set("larder", "where food is kept");
    shop.source.hold();
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.meaning("larder").await.unwrap() })
        })
        .collect();
    shop.source.held(1).await;
    shop.source.let_go();
    for call in calls {
        assert_eq!(*soon("a caller", call).await.unwrap(), "where food is kept");
    }
    assert_eq!((shop.asked.times(), shop.source.loads()), (1, 1));
}

/// A client that hung up was the one whose call began the load.
#[tokio::test]
async fn the_load_goes_on_for_others_when_the_one_who_began_it_is_gone() {
    let (_larder, shop) = embedded().await;
    shop.source.set("larder", "where food is kept");
    shop.source.hold();
    let [first, second] = [0, 1].map(|_| {
        let shop = shop.clone();
        tokio::spawn(async move { shop.meaning("larder").await.map(|entry| entry.to_string()) })
    });
    shop.source.held(1).await;
    all_wait().await;
    first.abort();
    assert!(soon("its end", first).await.unwrap_err().is_cancelled());
    shop.source.let_go();
    assert_eq!(soon("the other", second).await.unwrap().unwrap(), "where food is kept");
    assert_eq!(shop.asked.times(), 1);
}

#[tokio::test]
async fn there_is_none_is_remembered_too() {
    let (_larder, shop) = embedded().await;
    for _ in 0..3 {
        assert_eq!(shop.find("nothing").await.unwrap(), None);
    }
    assert_eq!(shop.asked.times(), 1);
    shop.source.set("nothing", "something");
    shop.words.invalidate("nothing").await.unwrap();
    assert_eq!(shop.find("nothing").await.unwrap().as_deref(), Some("something"));
    assert_eq!(shop.find("nothing").await.unwrap().as_deref(), Some("something"));
    assert_eq!(shop.asked.times(), 2);
}

#[tokio::test]
async fn its_lifetime_is_that_of_the_call() {
    let (_larder, shop) = embedded().await;
    shop.source.set("larder", "where food is kept");
    shop.find("larder").await.unwrap();
    let left = shop.words.ttl("larder").await.unwrap().unwrap();
    assert!(left > 8 * MINUTE && left <= 10 * MINUTE, "{left:?}");
    shop.find("nothing").await.unwrap();
    let left = shop.words.ttl("nothing").await.unwrap().unwrap();
    assert!(left > MINUTE / 6 && left <= MINUTE / 3, "{left:?}");
    shop.source.set("pantry", "another");
    shop.meaning("pantry").await.unwrap();
    assert!(shop.words.ttl("pantry").await.unwrap().unwrap() <= MINUTE);
}

#[tokio::test]
async fn an_error_comes_back_as_the_bodys_own() {
    let (_larder, shop) = embedded().await;
    assert!(matches!(shop.price("EUR".into(), 0).await, Err(Fault::NotFound(0))));
    let failed = shop.meaning("nothing").await.unwrap_err();
    let Fault::Cache(error) = failed else { panic!("{failed}") };
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.cause::<std::io::Error>().is_some(), "{error}");
}

/// A source in trouble is left alone for the length of the back-off; its error is remembered here, typed.
#[tokio::test]
async fn within_the_back_off_it_is_the_bodys_own_error_too() {
    let larder = Larder::builder("test").open().await.unwrap();
    let prices = larder.cache("patient").backoff(MINUTE).shared().unwrap();
    let shop = Shop { prices, ..Shop::on(&larder) };
    for _ in 0..2 {
        assert!(matches!(shop.price("EUR".into(), 0).await, Err(Fault::NotFound(0))));
    }
    assert_eq!(shop.asked.times(), 1);
}

/// All who wait for one load have its error, and each has it typed.
#[tokio::test]
async fn who_joined_has_the_bodys_own_error_too() {
    let (_larder, shop) = embedded().await;
    shop.source.hold();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.meaning("nothing").await.unwrap_err() })
        })
        .collect();
    shop.source.held(1).await;
    all_wait().await;
    shop.source.let_go();
    for call in calls {
        let Fault::Cache(error) = soon("a caller", call).await.unwrap() else { panic!() };
        assert!(error.cause::<std::io::Error>().is_some(), "{error}");
    }
    assert_eq!(shop.asked.times(), 1);
}

#[tokio::test]
async fn what_one_user_stores_no_other_reads() {
    let (larder, shop) = embedded().await;
    let users = ["", "a", "b", "1.a", "a|b", "{a}", "anonymous"];
    for _ in 0..2 {
        for user in users {
            assert_eq!(shop.cart(user).await.unwrap(), format!("cart of {user}"));
        }
    }
    assert_eq!(shop.asked.times(), users.len());
    larder.invalidate([shop.carts.of("a").all()]).await.unwrap();
    for user in users {
        shop.cart(user).await.unwrap();
    }
    assert_eq!(shop.asked.times(), users.len() + 1, "the part of one was ended, and no other's");
}

#[tokio::test]
async fn its_tags_end_what_it_kept() {
    let (larder, shop) = embedded().await;
    let carts = async |asked: usize| {
        shop.cart("a").await.unwrap();
        shop.cart("b").await.unwrap();
        assert_eq!(shop.asked.times(), asked);
    };
    carts(2).await;
    larder.invalidate_tag("cart:a").await.unwrap();
    carts(3).await;
    larder.invalidate_tag("carts").await.unwrap();
    carts(5).await;
    larder.invalidate_tag("cart:c").await.unwrap();
    carts(5).await;
}

#[tokio::test]
async fn an_entry_is_handed_out_as_it_is() {
    let (_larder, shop) = embedded().await;
    shop.source.set("larder", "where food is kept");
    let loaded = shop.meaning("larder").await.unwrap();
    let near = shop.meaning("larder").await.unwrap();
    assert_eq!((loaded.origin(), near.origin()), (Origin::Loaded, Origin::Near));
    assert_eq!(near.freshness(), Freshness::Fresh);
    assert!(Arc::ptr_eq(&loaded.into_inner(), &near.into_inner()));
}

/// A reader every second for ten minutes, and a source that takes three: how old each answer was. All were near and
/// fresh.
async fn nobody_waits(
    when: RefreshAhead,
    read: impl AsyncFn(&Shop) -> Entry<String>,
) -> Vec<Duration> {
    let memory = SharedMemory::new(1 << 20, Clock::of_runtime(7));
    let larder = Larder::builder("test").shared_memory(&memory).open().await.unwrap();
    let words = larder.cache("ahead").lifetime(steady()).refresh_ahead(when).shared().unwrap();
    let shop = Shop { words, ..Shop::on(&larder) };
    shop.source.set("larder", "where food is kept");
    shop.source.takes(3 * SECOND);
    read(&shop).await;
    let mut ages = Vec::new();
    for second in 0..10 * 60 {
        tokio::time::advance(SECOND).await;
        for _ in 0..50 {
            tokio::task::yield_now().await; // a renewal comes to where it waits for time
        }
        let entry = read(&shop).await;
        assert_eq!(entry.origin(), Origin::Near, "{when:?}, second {second}");
        assert_eq!(entry.freshness(), Freshness::Fresh);
        ages.push(entry.age());
    }
    all_wait().await;
    let stats = shop.words.stats();
    assert_eq!(stats.hits_near as usize, ages.len(), "each counts once");
    assert_eq!(stats.refreshes_ahead as usize, shop.source.loads() - 1, "all but the first");
    assert!((10..30).contains(&shop.source.loads()), "{when:?}: {} loads", shop.source.loads());
    ages
}

/// As through `get_or_load`: the same lots, drawn as often, fall to the same readers.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_what_is_renewed_ahead() {
    for when in [RefreshAhead::early(4.0), RefreshAhead::at_fraction(0.8)] {
        let cached = nobody_waits(when, async |shop| shop.meaning("larder").await.unwrap()).await;
        let by_hand = nobody_waits(when, async |shop| {
            let loading = shop.source.load("larder");
            shop.words.get_or_load("larder", move || loading).await.unwrap()
        });
        assert_eq!(cached, by_hand.await, "{when:?}");
    }
}

/// Everything an argument can be: moved, cloned, lent, taken apart, changed, unused.
#[allow(clippy::too_many_arguments, reason = "each is of another kind")]
#[cached(
    crate = larder,
    cache = caches.0,
    key = (number, parts.len() as u64),
    tags = [Tag::from_parts(&("sum", number)), "{number:03}", "{{}}", "plain".to_owned()],
    besides = [asked, left, right, first, label, add],
    lifetime = Lifetime::fresh_for(wanted),
    soft_deadline = MINUTE,
)]
async fn sum<const N: usize, T>(
    caches: &(Cache<(u64, u64), u64>, ()),
    asked: Asked,
    mut number: u64,
    (left, mut right): (u64, u64),
    [first, ..]: [u64; 2],
    _unused: [u8; N],
    parts: &[T],
    _: &elsewhere::Unused,
    label: &'static str,
    wanted: std::time::Duration,
    add: impl Fn(&u64) -> u64 + Send + 'static,
) -> Result<u64, Box<dyn std::error::Error + Send + Sync>>
where
    T: Into<u64> + Copy + Send + Sync + 'static,
{
    asked.ask();
    // Names that the macro uses as well.
    let (cache, key, entry, loader, given, this) = (1, 1, 1, 1, 1, 1);
    assert_eq!(cache + key + entry + loader + given + this, 6);
    number += 1;
    right += u64::try_from(label.len())?;
    if parts.is_empty() {
        return Ok(0);
    }
    let parts: u64 = parts.iter().map(|part| (*part).into()).sum();
    Ok(add(&(number + left + right + first + parts)))
}

mod elsewhere {
    pub(crate) struct Unused;
}

#[tokio::test]
async fn arguments_come_to_the_body_as_they_were() {
    let (larder, shop) = embedded().await;
    let caches = (larder.cache("sums").lifetime(steady()).shared().unwrap(), ());
    let sum = async |number| {
        let (asked, unused) = (shop.asked.clone(), elsewhere::Unused);
        let parts = [1_u32, 2];
        sum(
            &caches,
            asked,
            number,
            (1, 2),
            [3, 0],
            [0; 7],
            &parts,
            &unused,
            "four",
            5 * MINUTE,
            |n| n * 2,
        )
        .await
        .unwrap()
    };
    for _ in 0..2 {
        assert_eq!(sum(5).await, 2 * (5 + 1 + 1 + 2 + 4 + 3 + 3));
    }
    assert_eq!(shop.asked.times(), 1);
    let left = caches.0.ttl(&(5, 2)).await.unwrap().unwrap();
    assert!(left > 4 * MINUTE && left <= 5 * MINUTE, "{left:?}");
    let ends = [Tag::from_parts(&("sum", 5)), Tag::new("005"), Tag::new("{}"), Tag::new("plain")];
    for (ended, tag) in ends.iter().enumerate() {
        larder.invalidate_tag(tag).await.unwrap();
        sum(5).await;
        assert_eq!(shop.asked.times(), ended + 2, "{tag}");
    }
}

/// What is not cheap to clone is behind an `Arc`; and a trait's methods are methods too.
struct Heavy {
    asked: Asked,
    cache: Cache<u64, String>,
}

trait Describe {
    fn describe(self: Arc<Self>, id: u64) -> impl Future<Output = Result<String, Fault>> + Send;
}

impl Describe for Heavy {
    #[cached(cache = self.cache, key = id)]
    async fn describe(self: Arc<Self>, id: u64) -> Result<String, Fault> {
        macro_rules! ask {
            ($heavy:expr) => {
                $heavy.asked.ask()
            };
        }
        ask!(self);
        struct Own;
        impl Own {
            fn id(&self, id: u64) -> String {
                let _ = self;
                id.to_string()
            }
        }
        let this = || &self.asked;
        Ok(format!("{} {}", Own.id(id), this().times()))
    }
}

#[tokio::test]
async fn a_method_of_a_trait_and_of_an_arc_is_cached() {
    let larder = Larder::builder("test").open().await.unwrap();
    let cache = larder.cache("heavy").lifetime(steady()).shared().unwrap();
    let heavy = Arc::new(Heavy { asked: Asked::default(), cache });
    for _ in 0..2 {
        assert_eq!(heavy.clone().describe(7).await.unwrap(), "7 1");
    }
    assert_eq!(heavy.asked.times(), 1);
}

#[tokio::test]
async fn on_redis_one_process_has_what_the_other_loaded() {
    let server = Server::start();
    let open = async || {
        let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
        builder.invalidate_deadline(PATIENT).require_far().open().await.unwrap()
    };
    let (here, there) = (open().await, open().await);
    let (ours, theirs) = (Shop::on(&here), Shop::on(&there));
    assert_eq!(ours.cart("a").await.unwrap(), "cart of a");
    assert_eq!(theirs.cart("a").await.unwrap(), "cart of a");
    assert_eq!((ours.asked.times(), theirs.asked.times()), (1, 0));
    assert_eq!(theirs.cart("b").await.unwrap(), "cart of b");
    assert_eq!(theirs.asked.times(), 1, "what is another's is not found");

    ours.find("nothing").await.unwrap();
    assert_eq!(theirs.find("nothing").await.unwrap(), None);
    assert_eq!(theirs.asked.times(), 1, "that there is none is known to the fleet");

    here.invalidate_tag("cart:a").await.unwrap();
    here.settled().await;
    theirs.cart("a").await.unwrap();
    theirs.cart("b").await.unwrap();
    assert_eq!(theirs.asked.times(), 2, "a's was ended, b's was not");
}

/// Scenes of other files, and those here, set in the same way.
#[tokio::test]
async fn redis_going_away_asks_the_body() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let shop = Shop { source: world.source.clone(), ..shop_without_words(&world) };
    shop.source.set("larder", "where food is kept");
    drop(server);
    for _ in 0..2 {
        assert_eq!(*shop.meaning("larder").await.unwrap(), "where food is kept");
    }
    assert!(shop.asked.times() >= 1);
}

fn shop_without_words(world: &World) -> Shop {
    Shop {
        asked: Asked::default(),
        words: world.words.clone(),
        prices: world.larder.cache("prices").shared().unwrap(),
        carts: world.larder.cache("carts").per_user().unwrap(),
        source: Source::default(),
    }
}
