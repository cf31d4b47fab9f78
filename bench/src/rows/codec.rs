//! To bytes and back: a page of ten tasks.

use std::hint::black_box;
use std::time::{Duration, Instant};

use larder::{Larder, Origin};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::report::{Goal, Section, Table, number, ratio};
use crate::rounds::{Contender, Series, alternate, median};
use crate::workload::{Draw, text};
use crate::{Outcome, Plan};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    tasks: Vec<Task>,
    next: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    id: Uuid,
    user: String,
    title: String,
    description: Option<String>,
    status: Status,
    due: Option<String>,
    created_ms: u64,
    updated_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Todo,
    Doing,
    Done,
}

fn page() -> Page {
    let mut draw = Draw(5);
    let mut uuid = || Uuid::from_u64_pair(draw.number(), draw.number());
    let task = |at: usize, id| Task {
        id,
        user: "alice".into(),
        title: text(24),
        description: at.is_multiple_of(2).then(|| text(80)),
        status: [Status::Todo, Status::Doing, Status::Done][at % 3],
        due: at.is_multiple_of(3).then(|| "2026-12-24".into()),
        created_ms: 1_795_000_000_000 + at as u64,
        updated_ms: 1_795_000_100_000 + at as u64,
    };
    let tasks = (0..10).map(|at| task(at, uuid())).collect();
    Page { tasks, next: Some(uuid()) }
}

const DEFAULT: &str = "rmp-serde, named (larder's default)";

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let (page, times) = (page(), plan.pick(2_000, 20_000));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The embedded far side, and a near that is too small for a page: every get opens an envelope.
    let cache = runtime.block_on(async {
        let larder = Larder::builder("bench").near_bytes_max(1024).open().await?;
        Outcome::Ok(larder.cache::<str, Page>("pages").tagged_by(|_: &str| ["all"]).shared()?)
    })?;
    let contenders = vec![
        pair("serde_json", times, &page, serde_json::to_vec, |bytes| serde_json::from_slice(bytes)),
        pair(DEFAULT, times, &page, rmp_serde::to_vec_named, |bytes| rmp_serde::from_slice(bytes)),
        pair("postcard", times, &page, postcard::to_allocvec, |bytes| postcard::from_bytes(bytes)),
        Contender::new("larder: put and get, embedded, near too small", || {
            runtime.block_on(async {
                let (mut put, mut get) = (Duration::ZERO, Duration::ZERO);
                for _ in 0..times / 4 {
                    let own = page.clone();
                    let began = Instant::now();
                    cache.put("page", own).await?;
                    put += began.elapsed();
                    let began = Instant::now();
                    let entry = cache.get("page").await?.ok_or("it is not there")?;
                    get += began.elapsed();
                    if entry.origin() != Origin::Far {
                        return Err("it was near".into());
                    }
                }
                let micros = |all: Duration| all.as_secs_f64() * 4e6 / f64::from(times);
                Ok([micros(put), micros(get), 0.0])
            })
        }),
    ];
    Ok(section(&alternate(plan, plan.pick(3, 9), contenders)?))
}

/// Microseconds to bytes, microseconds back, how many bytes.
fn pair<'a, Unwritten, Unread>(
    name: &str,
    times: u32,
    page: &'a Page,
    encode: impl Fn(&Page) -> Result<Vec<u8>, Unwritten> + 'a,
    decode: impl Fn(&[u8]) -> Result<Page, Unread> + 'a,
) -> Contender<'a, 3>
where
    crate::Error: From<Unwritten> + From<Unread>,
{
    Contender::new(name, move || {
        let bytes = encode(page)?;
        if decode(&bytes)? != *page {
            return Err("it comes back as another".into());
        }
        let began = Instant::now();
        for _ in 0..times {
            black_box(encode(black_box(page))?);
        }
        let written = began.elapsed();
        let began = Instant::now();
        for _ in 0..times {
            black_box(decode(black_box(&bytes))?);
        }
        let micros = |all: Duration| all.as_secs_f64() * 1e6 / f64::from(times);
        Ok([micros(written), micros(began.elapsed()), bytes.len() as f64])
    })
}

fn section(all: &[Series<3>]) -> Section {
    let mut section = Section::new(
        "codec",
        "To bytes and back",
        "A page of ten tasks: ids of 16 bytes, titles of 24 bytes, every second with a description of \
         80. The last line is the whole way through larder without a network: key, envelope, checksum, tag, \
         codec, and the check of how deep the bytes nest.",
    );
    let both = |one: &Series<3>| one.median(0) + one.median(1);
    let ours = median(all, DEFAULT, 0) + median(all, DEFAULT, 1);
    let mut table = Table::new(&["", "to bytes, us", "back, us", "both, us", "ratio", "bytes"]);
    for one in all {
        let bytes = one.median(2);
        table.row([
            one.name.clone(),
            number(one.median(0)),
            number(one.median(1)),
            number(both(one)),
            ratio(both(one) / ours),
            number(if bytes > 0.0 { bytes } else { f64::NAN }),
        ]);
    }
    section.tables.push(table);
    section.goals = vec![Goal::at_most("the default codec, both ways", 6.0, ours, "us")];
    section
}
