//! Whoever can write into Redis can take pages away, and cannot put others in their place.

use larder_http::Audience;

use super::for_an_hour;
use crate::far::{self, Server};
use crate::support::{App, response, until};

const PAGES: usize = 24;
const ROUNDS: usize = 6;

async fn app(server: &Server) -> App {
    App::of(
        far::on(server).await,
        |layer| layer.rule(for_an_hour()),
        Audience::Public,
        |request| async move {
            response(&[("x-path", request.uri().path())], format!("page {}", request.uri().path()))
        },
    )
    .await
}

/// The stored pages, as they are in Redis.
fn stored(server: &Server) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_page = |value: &[u8]| value.windows(5).any(|part| part == b"page ");
    far::contents(server).into_iter().filter(|(_, value)| is_page(value)).collect()
}

/// Pages are far, and then are `altered`. A process that has none of them near serves none of them: it asks the
/// handler, and what it stores anew is right.
async fn are_misses(what: &str, altered: impl Fn(&Server, &[(Vec<u8>, Vec<u8>)])) {
    let server = Server::start();
    let paths: Vec<String> = (0..PAGES).map(|number| format!("/{number:02}")).collect();
    let writes = app(&server).await;
    for path in &paths {
        writes.get(path).await;
    }
    until("the pages far", async || stored(&server).len() == PAGES).await;
    let reads = app(&server).await;
    assert_eq!(reads.get(&paths[0]).await.x_cache(), "HIT", "as it is");
    altered(&server, &stored(&server));
    let reads = app(&server).await;
    for told in ["MISS", "HIT"] {
        for path in &paths {
            let page = reads.get(path).await;
            assert_eq!((page.x_cache(), page.text()), (told, &*format!("page {path}")), "{what}");
            assert_eq!(
                (page.status, page.field("x-path"), page.whole),
                (200, &**path, true),
                "{what}"
            );
        }
    }
}

/// Attack 19: one bit of a page is another, at any place in it.
#[tokio::test]
async fn altered_bytes_are_a_miss() {
    for round in 0..ROUNDS {
        are_misses("altered", |server, pages| {
            for (number, (name, value)) in pages.iter().enumerate() {
                let mut value = value.clone();
                let at = (round * PAGES + number) * value.len() / (ROUNDS * PAGES);
                value[at] ^= 1 << (number % 8);
                far::replace(server, name, &value);
            }
        })
        .await;
    }
}

/// Attack 19: cut short, prolonged, emptied, or something else altogether.
#[tokio::test]
async fn truncated_and_foreign_bytes_are_a_miss() {
    are_misses("truncated", |server, pages| {
        for (number, (name, value)) in pages.iter().enumerate() {
            far::replace(server, name, &value[..value.len() * number / PAGES]);
        }
    })
    .await;
    are_misses("cut by a byte", |server, pages| {
        for (name, value) in pages {
            far::replace(server, name, &value[..value.len() - 1]);
        }
    })
    .await;
    are_misses("prolonged", |server, pages| {
        for (number, (name, value)) in pages.iter().enumerate() {
            let more = vec![0; 1 + number * 100];
            far::replace(server, name, &[&value[..], &more[..]].concat());
        }
    })
    .await;
    are_misses("foreign", |server, pages| {
        let foreign: [&[u8]; 6] = [
            b"HTTP/1.1 200 OK\r\n\r\npage /00",
            b"{}",
            b"\0",
            b"\xff\xff\xff\xff",
            b"page",
            b"\x93\x01",
        ];
        for ((name, _), other) in pages.iter().zip(foreign.iter().cycle()) {
            far::replace(server, name, other);
        }
    })
    .await;
}

/// Attack 19: the bytes are whole, and of another page.
#[tokio::test]
async fn a_page_in_anothers_place_is_a_miss() {
    are_misses("moved", |server, pages| {
        for (number, (name, _)) in pages.iter().enumerate() {
            far::replace(server, name, &pages[(number + 1) % PAGES].1);
        }
    })
    .await;
}

/// Attack 19: written by a process of another time, whose envelope has another version. Every version but ours.
#[tokio::test]
async fn another_version_is_a_miss() {
    are_misses("another version", |server, pages| {
        for (number, (name, value)) in pages.iter().enumerate() {
            // The versions of the envelope and of the value stand in its first bytes.
            let mut value = value.clone();
            let at = number % 8;
            value[at] = value[at].wrapping_add(1 + u8::try_from(number / 8).unwrap());
            far::replace(server, name, &value);
        }
    })
    .await;
}

/// Attack 19: not a text at all, but a list.
#[tokio::test]
async fn another_kind_of_value_is_a_miss() {
    let server = Server::start();
    let writes = app(&server).await;
    writes.get("/00").await;
    until("the page far", async || stored(&server).len() == 1).await;
    let name = stored(&server).remove(0).0;
    let mut client = server.client();
    let _: i64 = redis::cmd("DEL").arg(&name).query(&mut client).unwrap();
    let _: i64 = redis::cmd("RPUSH").arg(&name).arg("page /00").query(&mut client).unwrap();
    let reads = app(&server).await;
    for told in ["MISS", "HIT"] {
        let page = reads.get("/00").await;
        assert_eq!((page.status, page.text(), page.x_cache()), (200, "page /00", told));
    }
}
