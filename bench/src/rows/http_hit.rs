//! A page out of the cache over HTTP: through the layer, and by servers of other houses.

use std::cell::RefCell;
use std::time::Instant;

use crate::http::app::{App, BODY_BYTES, Kind};
use crate::http::program::Program;
use crate::http::{Answer, PATH, Server, get, missing, proxy, version, wrk};
use crate::report::{Goal, Section, Table, number, ratio};
use crate::rounds::{Contender, Series, alternate, median};
use crate::{Outcome, Plan, usage};

const PER_SECOND: usize = 0;
const MICROS: usize = 1;
const BUSY: usize = 2;
const ALLOCATIONS: usize = 3;

const STATIC: &str = "axum, the handler alone";
const LARDER: &str = "larder-http around the handler";
const NGINX: &str = "nginx, proxy_cache";
const VARNISH: &str = "Varnish";

const PROGRAMS: [&str; 3] = ["wrk", "nginx", "varnishd"];

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let lacking = missing(&PROGRAMS);
    if !lacking.is_empty() {
        let what = format!("Not measured: {} not on PATH.", lacking.join(", "));
        eprintln!("bench: http_hit: {what} Debian, Ubuntu: apt-get install wrk nginx varnish");
        let mut section = empty();
        section.notes.push(what);
        return Ok(section);
    }
    let origin = RefCell::new(App::start(Kind::Static)?);
    let layer = RefCell::new(App::start(Kind::Layer)?);
    let port = origin.borrow().port();
    let (nginx, varnish) = (proxy::nginx(port)?, proxy::varnish(port)?);
    let page = get(port, PATH)?;
    let seconds = plan.pick(1, 3);
    let contenders = vec![
        Contender::new(STATIC, || {
            let mut app = origin.borrow_mut();
            let (before, allocated) = (app.handled()?, app.allocations()?);
            let (load, measures) = measured(&*app, seconds)?;
            if app.handled()? - before < load.requests as u64 {
                return Err("there are answers that did not come from the handler".into());
            }
            let allocated = app.allocations()? - allocated;
            Ok(with_allocations(measures, allocated, load))
        }),
        Contender::new(LARDER, || {
            let mut app = layer.borrow_mut();
            warm(&*app, &page)?;
            let (before, allocated) = (app.handled()?, app.allocations()?);
            let (load, measures) = measured(&*app, seconds)?;
            let (allocated, after) = (app.allocations()? - allocated, app.handled()?);
            all_hits(&*app, before, after)?;
            Ok(with_allocations(measures, allocated, load))
        }),
        Contender::new(NGINX, || proxied(&nginx, &origin, &page, seconds)),
        Contender::new(VARNISH, || proxied(&varnish, &origin, &page, seconds)),
    ];
    let all = alternate(plan, plan.pick(3, 9), contenders)?;
    let mut section = section(&all);
    section.notes.push(format!(
        "nginx {}, Varnish {}, wrk {}.",
        version("nginx", "-v"),
        version("varnishd", "-V"),
        version("wrk", "-v")
    ));
    Ok(section)
}

/// A round of a proxy: it is all hits if the origin's handler was not asked meanwhile.
fn proxied(
    proxy: &Program,
    origin: &RefCell<App>,
    page: &Answer,
    seconds: u64,
) -> Outcome<[f64; 4]> {
    warm(proxy, page)?;
    let before = origin.borrow_mut().handled()?;
    let (_, measures) = measured(proxy, seconds)?;
    all_hits(proxy, before, origin.borrow_mut().handled()?)?;
    Ok(measures)
}

/// Asks until it is a hit, and that it is the same page.
fn warm(server: &dyn Server, page: &Answer) -> Outcome<()> {
    for _ in 0..1000 {
        let answer = get(server.port(), PATH)?;
        if !answer.is_ok() || answer.body != page.body {
            return Err("it answers with another page".into());
        }
        for name in ["content-type", "cache-control", "etag"] {
            if answer.field(name) != page.field(name) {
                return Err(format!("it answers with another {name}").into());
            }
        }
        if answer.field("x-cache") == Some("HIT") {
            return Ok(());
        }
    }
    Err("the page is never a hit".into())
}

fn all_hits(server: &dyn Server, before: u64, after: u64) -> Outcome<()> {
    if get(server.port(), PATH)?.field("x-cache") != Some("HIT") {
        return Err("after the round the page is no hit".into());
    }
    match after - before {
        0 => Ok(()),
        misses => Err(format!("the handler was asked {misses} times in the round").into()),
    }
}

fn measured(server: &dyn Server, seconds: u64) -> Outcome<(wrk::Load, [f64; 4])> {
    let (began, before) = (Instant::now(), usage::cpu_of(server.id())?);
    let load = wrk::run(server, seconds)?;
    let used = usage::cpu_of(server.id())?.saturating_sub(before).as_secs_f64();
    let busy = used / began.elapsed().as_secs_f64();
    Ok((load, [load.per_second, used * 1e6 / load.requests, busy * 100.0, f64::NAN]))
}

fn with_allocations(mut measures: [f64; 4], allocated: u64, load: wrk::Load) -> [f64; 4] {
    measures[ALLOCATIONS] = allocated as f64 / load.requests;
    measures
}

fn empty() -> Section {
    debug_assert_eq!(BODY_BYTES, 1024, "as the text says");
    Section::new(
        "http_hit",
        "A hit over HTTP",
        "One page of 1 KiB, the same bytes for all, asked for by `wrk` with one thread and 64 connections that \
         stay open. The handler alone and behind the layer is an axum app on one thread; nginx has one worker, \
         its files in memory and no log, Varnish one pool with a thread for each connection, both in front of \
         the handler alone. Each server is held to one core, `wrk` to the others. In every round all answers \
         are hits: the handler is not asked. Processor time is that of the server with its children, user and \
         system. What a cache adds to the handler's fields (`Age`, `X-Cache` and the like) is its own cost.",
    )
}

fn section(all: &[Series<4>]) -> Section {
    let mut section = empty();
    let mut table = Table::new(&[
        "",
        "hits a second",
        "least to most",
        "to the handler alone",
        "processor a hit, us",
        "least to most",
        "to the handler alone",
        "its core busy, %",
        "allocations a hit",
    ]);
    let plain = |measure| median(all, STATIC, measure);
    for one in all {
        let span = |at| format!("{} to {}", number(one.least(at)), number(one.most(at)));
        table.row([
            one.name.clone(),
            number(one.median(PER_SECOND)),
            span(PER_SECOND),
            ratio(one.median(PER_SECOND) / plain(PER_SECOND)),
            number(one.median(MICROS)),
            span(MICROS),
            ratio(one.median(MICROS) / plain(MICROS)),
            number(one.median(BUSY)),
            number(one.median(ALLOCATIONS)),
        ]);
    }
    section.tables.push(table);
    let ours = |measure| median(all, LARDER, measure);
    section.goals = vec![
        Goal::at_least(
            "hits a second, to the handler alone",
            0.85,
            ours(PER_SECOND) / plain(PER_SECOND),
            "x",
        ),
        Goal::at_least(
            "hits a processor second, to nginx's",
            1.0,
            median(all, NGINX, MICROS) / ours(MICROS),
            "x",
        ),
    ];
    section
}
