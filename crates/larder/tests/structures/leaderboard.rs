//! A leaderboard: ranks, ties in the order in which they came, seasons, and what it survives.

use std::collections::HashMap;
use std::time::Duration;

use larder::structures::{Better, BoardPage, Leaderboard, LeaderboardBuilder, Scoring, Season};
use larder::{ErrorKind, HOUR, SECOND};

use crate::scene::{Place, Scene, on_every_side};
use crate::support::{Cluster, PATIENT, Proxy, Server, Way, until};

const MOST: i64 = (1 << 53) - 1;

on_every_side! {
    the_best_stand_first_and_ranks_begin_at_one,
    of_two_with_one_score_the_first_to_reach_it_is_better,
    lower_may_be_better,
    best_keeps_the_better_and_increment_adds,
    a_page_is_where_it_is_asked_for,
    around_shows_who_is_next_to_one,
    only_the_best_are_kept,
    scores_are_exact_to_their_last_digit,
    many_are_submitted_all_or_none,
    many_at_once_lose_nothing,
    boards_of_keys_and_seasons_are_apart,
    whoever_is_removed_is_gone,
    a_board_of_another_type_is_told_and_hides_nobody,
    who_is_to_blame_is_told,
    an_idle_board_is_forgotten,
    it_ranks_as_a_sorted_list_does,
}

fn board(scene: &Scene, name: &str) -> Leaderboard<String> {
    scene.larder.leaderboard(name).open().unwrap()
}

/// As `ann 5, bob 3`.
fn told(page: &BoardPage<String>) -> String {
    let one = |one: &larder::structures::Standing<String>| format!("{} {}", one.member, one.score);
    page.standings.iter().map(one).collect::<Vec<_>>().join(", ")
}

async fn top(board: &Leaderboard<String>) -> String {
    told(&board.top(100).await.unwrap())
}

async fn the_best_stand_first_and_ranks_begin_at_one(scene: &Scene) {
    let board = board(scene, "wins");
    assert_eq!(board.top(10).await.unwrap().count, 0);
    assert_eq!(board.rank("ann").await.unwrap(), None);
    let placed = board.submit("ann", 10).await.unwrap();
    assert_eq!((placed.rank, placed.score, placed.was), (Some(1), 10, None));
    board.submit("bob", 30).await.unwrap();
    board.submit("cid", 20).await.unwrap();
    assert_eq!(top(&board).await, "bob 30, cid 20, ann 10");
    assert_eq!(told(&board.top(2).await.unwrap()), "bob 30, cid 20");
    let ranks: Vec<u64> =
        board.top(9).await.unwrap().standings.iter().map(|one| one.rank).collect();
    assert_eq!(ranks, [1, 2, 3]);
    assert_eq!(board.rank("ann").await.unwrap(), Some(3));
    assert_eq!(board.count().await.unwrap(), 3);
    // A score that is set may be worse than the one before.
    let placed = board.submit("bob", -5).await.unwrap();
    assert_eq!((placed.rank, placed.was), (Some(3), Some(30)));
    let who = ["bob", "nobody", "ann"].map(str::to_owned);
    let found = board.standings(who).await.unwrap();
    let found: Vec<_> =
        found.iter().map(|one| one.as_ref().map(|one| (one.rank, one.score))).collect();
    assert_eq!(found, [Some((3, -5)), None, Some((2, 10))]);
    assert_eq!(
        scene.another().await.leaderboard("wins").open::<String>().unwrap().count().await.unwrap(),
        3
    );
}

async fn of_two_with_one_score_the_first_to_reach_it_is_better(scene: &Scene) {
    let board = board(scene, "wins");
    for who in ["zoe", "ann", "mia"] {
        board.submit(who, 7).await.unwrap();
    }
    assert_eq!(top(&board).await, "zoe 7, ann 7, mia 7");
    // The same again changes nothing: she had it first.
    assert_eq!(board.submit("zoe", 7).await.unwrap().rank, Some(1));
    assert_eq!(board.submit_best("zoe", 3).await.unwrap().rank, Some(1));
    assert_eq!(board.increment("zoe", 0).await.unwrap().rank, Some(1));
    // Who leaves a score and comes back to it comes last.
    board.submit("zoe", 9).await.unwrap();
    assert_eq!(board.submit("zoe", 7).await.unwrap().rank, Some(3));
    assert_eq!(top(&board).await, "ann 7, mia 7, zoe 7");
    assert_eq!(board.rank("mia").await.unwrap(), Some(2));
}

async fn lower_may_be_better(scene: &Scene) {
    let open = |builder: LeaderboardBuilder| builder.better(Better::Lower);
    let board: Leaderboard<String> =
        open(scene.larder.leaderboard("laps").members_max(3)).open().unwrap();
    for (who, ms) in [("zoe", 61_500), ("ann", 59_900), ("mia", 61_500), ("bob", 62_000)] {
        board.submit_best(who, ms).await.unwrap();
    }
    assert_eq!(top(&board).await, "ann 59900, zoe 61500, mia 61500");
    assert_eq!(board.submit_best("ann", 60_000).await.unwrap().score, 59_900);
    assert_eq!(board.submit_best("mia", 61_499).await.unwrap().rank, Some(2));
    let around = board.around("mia", 1).await.unwrap();
    assert_eq!(told(&around), "ann 59900, mia 61499, zoe 61500");
    // A fourth as good as the last was not the first to be.
    assert_eq!(board.submit("bob", 61_500).await.unwrap().rank, None);
    assert_eq!(board.count().await.unwrap(), 3);
}

async fn best_keeps_the_better_and_increment_adds(scene: &Scene) {
    let board = board(scene, "wins");
    assert_eq!(board.submit_best("ann", -4).await.unwrap().score, -4);
    assert_eq!(board.submit_best("ann", -5).await.unwrap().score, -4);
    assert_eq!(board.submit_best("ann", 6).await.unwrap().was, Some(-4));
    assert_eq!(board.increment("ann", 4).await.unwrap().score, 10);
    assert_eq!(board.increment("ann", -11).await.unwrap().score, -1);
    assert_eq!(board.increment("bob", 2).await.unwrap().was, None);
    assert_eq!(top(&board).await, "bob 2, ann -1");
}

async fn a_page_is_where_it_is_asked_for(scene: &Scene) {
    let board = board(scene, "wins");
    let all: Vec<String> = (0..95).map(|number| format!("m{number:02}")).collect();
    let scores = all.iter().enumerate().map(|(at, who)| (who.as_str(), 1000 - at as i64));
    board.submit_many(Scoring::Set, scores).await.unwrap();
    let mut seen = Vec::new();
    for page in 0..5 {
        let page = board.page(1 + 20 * page, 20).await.unwrap();
        assert_eq!((page.count, page.unreadable), (95, 0));
        seen.extend(page.standings);
    }
    assert_eq!(
        seen.iter().map(|one| &one.member).collect::<Vec<_>>(),
        all.iter().collect::<Vec<_>>()
    );
    assert!(seen.iter().enumerate().all(|(at, one)| one.rank == at as u64 + 1));
    assert!(board.page(96, 20).await.unwrap().standings.is_empty());
    assert!(board.page(u64::MAX, 20).await.unwrap().standings.is_empty());
    assert!(board.page(1, 0).await.unwrap().standings.is_empty());
}

async fn around_shows_who_is_next_to_one(scene: &Scene) {
    let board = board(scene, "wins");
    for (who, score) in [("a", 5), ("b", 4), ("c", 3), ("d", 2), ("e", 1)] {
        board.submit(who, score).await.unwrap();
    }
    assert_eq!(told(&board.around("c", 1).await.unwrap()), "b 4, c 3, d 2");
    assert_eq!(told(&board.around("a", 2).await.unwrap()), "a 5, b 4, c 3");
    assert_eq!(told(&board.around("e", 1).await.unwrap()), "d 2, e 1");
    assert_eq!(told(&board.around("c", 0).await.unwrap()), "c 3");
    assert_eq!(board.around("d", 2).await.unwrap().standings[0].rank, 2);
    let nobody = board.around("nobody", 2).await.unwrap();
    assert_eq!((nobody.standings.len(), nobody.count), (0, 5));
}

async fn only_the_best_are_kept(scene: &Scene) {
    let board: Leaderboard<String> =
        scene.larder.leaderboard("wins").members_max(3).open().unwrap();
    for (who, score) in [("a", 5), ("b", 4), ("c", 3)] {
        board.submit(who, score).await.unwrap();
    }
    let placed = board.submit("d", 2).await.unwrap();
    assert_eq!((placed.rank, placed.score), (None, 2));
    // As good as the last, and later.
    assert_eq!(board.submit("d", 3).await.unwrap().rank, None);
    assert_eq!(board.submit("d", 4).await.unwrap().rank, Some(3));
    assert_eq!(top(&board).await, "a 5, b 4, d 4");
    // Who fell off begins at nothing.
    assert_eq!(board.increment("c", 4).await.unwrap().was, None);
    assert_eq!(board.count().await.unwrap(), 3);
    // A bound that is lowered is kept to with the next submission.
    let small: Leaderboard<String> =
        scene.larder.leaderboard("wins").members_max(1).open().unwrap();
    assert_eq!(small.submit("b", 9).await.unwrap().rank, Some(1));
    assert_eq!(top(&board).await, "b 9");
    if let Some(orders) = scene.names().iter().find(|name| name.contains(":orders.")) {
        let length: i64 = scene.says("HLEN", orders.as_bytes(), &[]).unwrap();
        assert_eq!(length, 2, "one member, and how many orders were given");
    }
}

async fn scores_are_exact_to_their_last_digit(scene: &Scene) {
    let board = board(scene, "wins");
    let scores = [MOST, MOST - 1, 4_503_599_627_370_497, 1, 0, -1, 1 - MOST, -MOST];
    for (at, score) in scores.iter().enumerate() {
        let placed = board.submit(&format!("m{at}"), *score).await.unwrap();
        assert_eq!(placed.score, *score);
    }
    let read: Vec<i64> =
        board.top(10).await.unwrap().standings.iter().map(|one| one.score).collect();
    assert_eq!(read, scores);
    assert_eq!(board.increment("m1", 1).await.unwrap().score, MOST);
    let why = board.increment("m1", 1).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Config);
    assert!(why.to_string().contains("2^53"), "{why}");
    assert_eq!(board.increment("m7", 1).await.unwrap().score, 1 - MOST);
    assert_eq!(board.increment("m1", -MOST).await.unwrap().score, 0);
}

async fn many_are_submitted_all_or_none(scene: &Scene) {
    let board = board(scene, "wins");
    let placed = board.submit_many(Scoring::Add, [("a", 1), ("b", 2), ("a", 3)]).await.unwrap();
    assert_eq!(
        placed.iter().map(|one| (one.score, one.rank)).collect::<Vec<_>>(),
        [(1, Some(1)), (2, Some(2)), (4, Some(1))]
    );
    let why = board.submit_many(Scoring::Add, [("c", 1), ("a", MOST)]).await.unwrap_err();
    assert!(why.to_string().contains("number 2"), "{why}");
    assert_eq!(top(&board).await, "a 4, b 2");
    assert!(board.submit_many::<str>(Scoring::Set, []).await.unwrap().is_empty());
}

/// Two processes add to ten members at once; every one of a thousand points is there.
async fn many_at_once_lose_nothing(scene: &Scene) {
    let here = board(scene, "wins");
    let larder = scene.another().await;
    let there: Leaderboard<String> = larder.leaderboard("wins").open().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20 {
        let board = if number % 2 == 0 { here.clone() } else { there.clone() };
        tasks.spawn(async move {
            for turn in 0..50 {
                let who = format!("m{}", (number + turn) % 10);
                board.increment(&who, 1).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let page = here.top(100).await.unwrap();
    assert_eq!(page.count, 10);
    assert_eq!(page.standings.iter().map(|one| one.score).sum::<i64>(), 1000);
}

async fn boards_of_keys_and_seasons_are_apart(scene: &Scene) {
    let weekly: Leaderboard<String> =
        scene.larder.leaderboard("wins").season(Season::Weekly).open().unwrap();
    let spring: Leaderboard<String> =
        scene.larder.leaderboard("wins").season(Season::named("spring")).open().unwrap();
    let endless = board(scene, "wins");
    for (number, board) in [
        &weekly,
        &weekly.seasons_ago(1),
        &spring,
        &endless,
        &endless.of("gold").unwrap(),
        &endless.of("").unwrap(),
        &endless.of("}").unwrap(),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(board.count().await.unwrap(), 0, "{number}");
        board.submit("ann", number as i64).await.unwrap();
    }
    assert_eq!(top(&weekly.seasons_ago(1)).await, "ann 1");
    assert_eq!(top(&endless).await, "ann 3");
    // One that is no longer kept takes nothing, and is not there to be read.
    let why = weekly.seasons_ago(2).submit("ann", 1).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Config);
    assert!(why.to_string().contains("no longer kept"), "{why}");
    assert_eq!(weekly.seasons_ago(u32::MAX).count().await.unwrap(), 0);
    assert_eq!((spring.season(), endless.season()), ("spring".into(), "all".into()));
    let week = weekly.season();
    assert!(week.len() == 8 && week.contains("-W"), "{week}");
    // This week's is kept until a week after its end, last week's until this one's; the others for ever.
    for name in scene.names() {
        let ttl: i64 = scene.says("PTTL", name.as_bytes(), &[]).unwrap();
        let weeks =
            Duration::from_millis(u64::try_from(ttl).unwrap_or(0)).as_secs_f64() / 604_800.0;
        match (name.contains("-W"), name.contains(&week)) {
            (true, true) => assert!(weeks > 1.0 && weeks <= 2.0, "{name}: {weeks}"),
            (true, false) => assert!(weeks > 0.0 && weeks <= 1.0, "{name}: {weeks}"),
            _ => assert_eq!(ttl, -1, "{name}"),
        }
    }
}

async fn whoever_is_removed_is_gone(scene: &Scene) {
    let board = board(scene, "wins");
    for (who, score) in [("a", 5), ("b", 4)] {
        board.submit(who, score).await.unwrap();
    }
    assert_eq!(board.remove("a").await.unwrap(), Some(5));
    assert_eq!(board.remove("a").await.unwrap(), None);
    assert_eq!(board.rank("b").await.unwrap(), Some(1));
    assert_eq!(board.remove("b").await.unwrap(), Some(4));
    assert!(scene.names().is_empty(), "an empty board is none: {:?}", scene.names());
    board.submit("a", 1).await.unwrap();
    board.clear().await.unwrap();
    assert_eq!(board.count().await.unwrap(), 0);
    assert!(scene.names().is_empty());
    assert_eq!(board.submit("b", 1).await.unwrap().rank, Some(1));
}

async fn a_board_of_another_type_is_told_and_hides_nobody(scene: &Scene) {
    let numbers: Leaderboard<u64> = scene.larder.leaderboard("wins").open().unwrap();
    let texts = board(scene, "wins");
    numbers.submit(&17, 5).await.unwrap();
    texts.submit("ann", 4).await.unwrap();
    numbers.submit(&18, 3).await.unwrap();
    let page = texts.top(10).await.unwrap();
    assert_eq!((told(&page), page.unreadable, page.count), ("ann 4".into(), 2, 3));
    assert_eq!(page.standings[0].rank, 2, "they keep their ranks");
    assert_eq!(numbers.top(10).await.unwrap().unreadable, 1);
}

async fn who_is_to_blame_is_told(scene: &Scene) {
    let builder = scene.larder.leaderboard("wins");
    let wrong = [
        (scene.larder.leaderboard("no name"), "name"),
        (builder.clone().members_max(0), "members_max"),
        (builder.clone().seasons_kept(1001), "seasons_kept"),
        (builder.clone().season(Season::named("a:b")), "season"),
        (builder.clone().expire_after(Duration::ZERO), "expire_after"),
        (builder.clone().season(Season::Daily).expire_after(HOUR), "seasons_kept"),
    ];
    for (builder, says) in wrong {
        let why = builder.open::<String>().unwrap_err();
        assert_eq!(why.kind(), ErrorKind::Config);
        assert!(why.to_string().contains(says), "{why}");
    }
    let board = board(scene, "wins");
    let many: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
    let config = [
        board.submit("ann", MOST + 1).await.map(drop).unwrap_err(),
        board.page(0, 5).await.map(drop).unwrap_err(),
        board.top(1001).await.map(drop).unwrap_err(),
        board.around("ann", 501).await.map(drop).unwrap_err(),
        board.standings(many.clone()).await.map(drop).unwrap_err(),
        board
            .submit_many(Scoring::Set, many.iter().map(|who| (who, 1)))
            .await
            .map(drop)
            .unwrap_err(),
    ];
    for why in config {
        assert_eq!(why.kind(), ErrorKind::Config, "{why}");
    }
    let long = "x".repeat(600);
    assert_eq!(board.submit(long.as_str(), 1).await.unwrap_err().kind(), ErrorKind::Encode);
    assert_eq!(board.count().await.unwrap(), 0);
    assert_eq!(scene.larder.close(SECOND).await, 0);
    assert_eq!(board.submit("ann", 1).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(board.top(1).await.unwrap_err().kind(), ErrorKind::Closed);
}

async fn an_idle_board_is_forgotten(scene: &Scene) {
    let idle = Duration::from_millis(300);
    let board: Leaderboard<String> =
        scene.larder.leaderboard("wins").expire_after(idle).open().unwrap();
    board.submit("ann", 1).await.unwrap();
    until("it is forgotten", || async { board.count().await.unwrap() == 0 }).await;
    assert!(scene.names().is_empty());
}

/// Drawn steps, and beside them a list that is sorted anew each time.
async fn it_ranks_as_a_sorted_list_does(scene: &Scene) {
    let board = board(scene, "wins");
    // Score, when it was reached.
    let mut truth: HashMap<String, (i64, u64)> = HashMap::new();
    let mut drawn = 42_u64;
    let mut draw = |most: u64| {
        drawn =
            drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (drawn >> 33) % most
    };
    for step in 0..300 {
        let (who, score) = (format!("m{}", draw(12)), draw(6) as i64);
        let was = truth.get(&who).map(|one| one.0);
        let now = match draw(4) {
            0 => {
                board.remove(&who).await.unwrap();
                truth.remove(&who);
                continue;
            }
            1 => board.submit(&who, score).await.unwrap(),
            2 => board.submit_best(&who, score).await.unwrap(),
            _ => board.increment(&who, score - 3).await.unwrap(),
        };
        assert_eq!(now.was, was);
        if was != Some(now.score) {
            truth.insert(who.clone(), (now.score, step));
        }
        let mut sorted: Vec<_> = truth.iter().collect();
        sorted.sort_by_key(|(_, (score, reached))| (-score, *reached));
        let rank = sorted.iter().position(|(other, _)| **other == who).unwrap() as u64 + 1;
        assert_eq!(now.rank, Some(rank), "step {step}");
        if step % 25 == 0 {
            let told: Vec<String> =
                sorted.iter().map(|(who, (score, _))| format!("{who} {score}")).collect();
            assert_eq!(top(&board).await, told.join(", "), "step {step}");
        }
    }
}

/// Killed and back: with a log on disk as it was, ties too; without one, empty.
#[tokio::test]
async fn a_server_that_comes_back_has_what_it_logged() {
    for (settings, after) in [
        (&["--appendonly", "yes", "--appendfsync", "always"][..], "zoe 7, ann 7, bob 1"),
        (&[][..], ""),
    ] {
        let mut server = Server::with(settings);
        let larder = larder::Larder::builder("test").redis(server.url()).require_far();
        let larder = larder.invalidate_deadline(PATIENT).open().await.unwrap();
        let board: Leaderboard<String> = larder.leaderboard("wins").open().unwrap();
        for (who, score) in [("zoe", 7), ("ann", 7), ("bob", 1)] {
            board.submit(who, score).await.unwrap();
        }
        server.kill();
        until("it is known to be gone", || async { board.count().await.is_err() }).await;
        let why = board.submit("bob", 9).await.unwrap_err();
        assert!(matches!(why.kind(), ErrorKind::Far | ErrorKind::Unconfirmed), "{why}");
        server.start_again();
        until("it is found again", || async { board.count().await.is_ok() }).await;
        assert_eq!(top(&board).await, after);
        board.submit("bob", 9).await.unwrap();
        assert_eq!(board.rank("bob").await.unwrap(), Some(1));
    }
}

/// Its answer is lost: it is unconfirmed, and it is there.
#[tokio::test]
async fn a_submission_whose_answer_was_lost_is_unconfirmed() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let deadline = Duration::from_millis(500);
    let larder = larder::Larder::builder("test").redis(proxy.url()).require_far();
    let larder = larder.invalidate_deadline(deadline).open().await.unwrap();
    let board: Leaderboard<String> = larder.leaderboard("wins").open().unwrap();
    board.increment("ann", 1).await.unwrap();
    proxy.swallow_all(Way::Down);
    let why = board.increment("ann", 1).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Unconfirmed, "{why}");
    proxy.heal();
    until("it is found again", || async { board.count().await.is_ok() }).await;
    assert_eq!(top(&board).await, "ann 2", "it had reached the server, once");
}

/// One half of a board is evicted: it is no board any more, for nobody, and the next submission begins anew.
#[tokio::test]
async fn a_board_of_which_one_half_is_evicted_is_none() {
    let scene = Scene::single().await;
    let board = board(&scene, "wins");
    for half in [":scores.", ":orders."] {
        for (who, score) in [("a", 5), ("b", 4), ("c", 3)] {
            board.submit(who, score).await.unwrap();
        }
        let name = scene.names().into_iter().find(|name| name.contains(half)).unwrap();
        scene.says::<i64>("DEL", name.as_bytes(), &[]).unwrap();
        assert_eq!(top(&board).await, "");
        assert_eq!((board.rank("a").await.unwrap(), board.count().await.unwrap()), (None, 0));
        assert!(board.around("a", 1).await.unwrap().standings.is_empty());
        assert_eq!(board.increment("b", 1).await.unwrap().was, None, "{half}");
        assert_eq!(top(&board).await, "b 1");
        assert_eq!(board.remove("a").await.unwrap(), None);
        board.clear().await.unwrap();
    }
}

/// A full server refuses whole steps, a name of another type is told, and neither is changed.
#[tokio::test]
async fn what_is_refused_is_not_done_by_halves() {
    let scene = Scene::on(Server::start()).await;
    let board = board(&scene, "wins");
    board.submit_many(Scoring::Set, [("a", 5), ("b", 4)]).await.unwrap();
    let server = scene.server_of(b"").unwrap();
    server.ask::<String>("CONFIG SET maxmemory 1");
    let why = board.submit("b", 9).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Far);
    assert!(why.to_string().contains("OOM"), "{why}");
    assert_eq!(top(&board).await, "a 5, b 4", "reads go on");
    assert_eq!(board.remove("b").await.unwrap(), Some(4), "and so does what frees");
    server.ask::<String>("CONFIG SET maxmemory 0");
    assert_eq!(top(&board).await, "a 5");
    let name = scene.names().into_iter().find(|name| name.contains(":scores.")).unwrap();
    scene.says::<String>("SET", name.as_bytes(), &["theirs"]).unwrap();
    let why = board.submit("b", 9).await.unwrap_err();
    assert!(why.to_string().contains("WRONGTYPE"), "{why}");
    assert_eq!(board.top(5).await.unwrap_err().kind(), ErrorKind::Far);
    assert_eq!(scene.says::<String>("GET", name.as_bytes(), &[]).unwrap(), "theirs");
}

/// A slot moves under traffic: both halves go together, and no point is lost or counted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_takes_the_board_along() {
    let scene = Scene::on_cluster(Cluster::of_masters()).await;
    let board = board(&scene, "wins");
    board.increment("ann", 1).await.unwrap();
    let Place::Cluster(cluster) = &scene.place else { unreachable!() };
    let slot = cluster.slot(scene.names()[0].as_bytes());
    let from = cluster.master_of(slot);
    let to = (from + 1) % 3;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let adding = tokio::spawn({
        let board = board.clone();
        async move {
            let mut added = 1;
            while stopped.try_recv().is_err() {
                board.increment("ann", 1).await.unwrap();
                added += 1;
            }
            added
        }
    });
    tokio::task::block_in_place(|| {
        cluster.begin_to_move(slot, from, to);
        while cluster.move_keys(slot, from, to, 1) > 0 {}
        cluster.end_move(slot, from, to);
    });
    board.increment("bob", 1).await.unwrap();
    stop.send(()).unwrap();
    let added = adding.await.unwrap();
    assert_eq!(cluster.master_of(slot), to);
    assert_eq!(top(&board).await, format!("ann {added}, bob 1"));
}
