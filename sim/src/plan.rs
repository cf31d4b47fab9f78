//! What a seed means: the weather, the fleet, the caches and their times.

use std::time::Duration;

use larder::drawn::{Lawless, Weather};

use crate::chance::Chance;
use crate::history::{Ended, Thing};

/// What befalls a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Climate {
    /// No fault at all: what must hold then is exact.
    Calm,
    /// Processes die, and nothing else goes wrong.
    Crashes,
    /// Messages are late, and hold up those behind them.
    Late,
    /// Connections are lost, and messages with them.
    Lossy,
    /// All of it, and the server is struck as well.
    Wild,
}

/// How long entries live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lives {
    /// Longer than the run.
    Long,
    /// Loaded anew again and again.
    Short,
    /// Served stale and refreshed behind the caller's back.
    StaleAtOnce,
    /// Kept for a source that fails.
    StaleInNeed,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) climate: Climate,
    pub(crate) weather: Weather,
    pub(crate) lives: Lives,
    pub(crate) processes: usize,
    pub(crate) clients: usize,
    pub(crate) items: usize,
    pub(crate) tags: usize,
    pub(crate) users: usize,
    pub(crate) pots: usize,
    pub(crate) bound: Duration,
    pub(crate) lease: Duration,
    pub(crate) end_deadline: Duration,
    pub(crate) guard: Duration,
    pub(crate) near_bytes: u64,
    pub(crate) length: Duration,
    pub(crate) think_ms_max: u64,
    pub(crate) load_ms_max: u64,
    pub(crate) max_load: Duration,
    /// Loads fail, hang, or tell of tags of their own.
    pub(crate) source_is_odd: bool,
    /// Callers go away before they are answered.
    pub(crate) callers_leave: bool,
}

/// What a load may tell of by itself: a tag that no key is known by.
pub(crate) const TOLD_TAG: usize = 100;
/// What a read may wait for the server.
pub(crate) const FAR_DEADLINE: Duration = Duration::from_millis(50);
pub(crate) const BACKOFF: Duration = Duration::from_millis(100);

/// What stands in which cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Item { key: u64, tag: usize },
    Mine { user: usize, key: u64 },
    Pot { key: u64 },
}

/// How many things each user has.
const MINE: usize = 2;

impl Plan {
    pub(crate) fn of(seed: u64, lawless: Option<Lawless>) -> Plan {
        let mut draw = Chance::of(seed, 1);
        let climates =
            [Climate::Calm, Climate::Crashes, Climate::Late, Climate::Lossy, Climate::Wild];
        let climate = draw.one_of(&climates);
        let calm = matches!(climate, Climate::Calm | Climate::Crashes);
        let lives = [Lives::Long, Lives::Short, Lives::StaleAtOnce, Lives::StaleInNeed];
        let bound = Duration::from_millis(draw.one_of(&[200, 500, 1000]));
        Plan {
            seed,
            climate,
            weather: weather(climate, lawless, &mut draw),
            lives: if calm { Lives::Long } else { draw.one_of(&lives) },
            processes: 2 + draw.index(3),
            clients: 1 + draw.index(3),
            items: 1 + draw.index(3),
            tags: 1 + draw.index(2),
            users: draw.index(3),
            pots: draw.index(3),
            bound,
            lease: Duration::from_millis(draw.one_of(&[300, 1000, 3000])),
            end_deadline: Duration::from_millis(draw.one_of(&[100, 1000])),
            guard: Duration::from_millis(draw.one_of(&[100, 400, 2_000])),
            near_bytes: draw.one_of(&[2 << 10, 64 << 10]),
            length: draw.ms(4_000, 12_000),
            think_ms_max: draw.one_of(&[20, 100, 400]),
            load_ms_max: draw.one_of(&[3, 30, 90]),
            max_load: Duration::from_millis(2_000),
            source_is_odd: !calm && draw.percent(70),
            callers_leave: climate != Climate::Crashes && draw.percent(50),
        }
    }

    pub(crate) fn is_pot(&self, thing: Thing) -> bool {
        matches!(self.place(thing), Place::Pot { .. })
    }

    pub(crate) fn things(&self) -> usize {
        self.items + self.users * MINE + self.pots
    }

    pub(crate) fn place(&self, thing: Thing) -> Place {
        if thing < self.items {
            return Place::Item { key: thing as u64, tag: thing % self.tags };
        }
        let at = thing - self.items;
        if at < self.users * MINE {
            return Place::Mine { user: at / MINE, key: (at % MINE) as u64 };
        }
        Place::Pot { key: (at - self.users * MINE) as u64 }
    }

    /// Does the end of `ended` end the thing? `told`: its load told of a tag of its own.
    pub(crate) fn ends(&self, ended: Ended, thing: Thing, told: bool) -> bool {
        match (ended, self.place(thing)) {
            (Ended::Thing(ended), _) => ended == thing,
            (Ended::Tag(TOLD_TAG), _) => told,
            (Ended::Tag(ended), Place::Item { tag, .. }) => ended == tag,
            (Ended::User(ended), Place::Mine { user, .. }) => ended == user,
            _ => false,
        }
    }

    /// How long an entry is fresh, and how long it is kept at all.
    pub(crate) fn lifetime(&self) -> (Duration, Duration) {
        let ms = Duration::from_millis;
        match self.lives {
            Lives::Long => (ms(60_000), ms(60_000)),
            Lives::Short => (ms(400), ms(400)),
            Lives::StaleAtOnce | Lives::StaleInNeed => (ms(300), ms(3_000)),
        }
    }

    /// How long a tag is kept at the most.
    pub(crate) fn tag_time(&self) -> Duration {
        2 * (self.lifetime().1 + self.max_load)
    }

    /// Far longer than a load takes, with all the loads that it may have to wait for or make again, where nothing
    /// goes wrong; none where that is longer than a lease: who waits for one that nobody holds waits longer.
    pub(crate) fn calm_patience_ms(&self) -> Option<u64> {
        let ways = 20 * (self.weather.delay_ms_max + 1);
        let ms = 6 * (2 * self.load_ms_max + ways);
        let is_less = u128::from(ms) < self.lease.as_millis() * 2 / 3;
        (self.climate == Climate::Calm && is_less).then_some(ms)
    }

    /// Far longer than any call may take: a caller waits for leases and loads, and then asks the source.
    pub(crate) fn patience(&self) -> Duration {
        4 * (self.max_load + self.lease) + self.max_load + Duration::from_secs(2)
    }
}

fn weather(climate: Climate, lawless: Option<Lawless>, draw: &mut Chance) -> Weather {
    // What should come once alone comes twice often enough to be seen.
    let repeats = if lawless == Some(Lawless::RepeatsReads) { 3_000 } else { 0 };
    let calm = Weather { delay_ms_max: draw.below(4), repeats, lawless, ..Weather::default() };
    let late = Weather {
        delay_ms_max: draw.one_of(&[2, 10, 30]),
        stalls: draw.one_of(&[0, 50, 300]),
        stall_ms_max: draw.one_of(&[60, 300, 2_000]),
        repeats: draw.one_of(&[0, 500]).max(repeats),
        ..calm
    };
    let lossy = Weather {
        cuts: draw.one_of(&[10, 50, 200]),
        swallows: draw.one_of(&[0, 10, 50]),
        refusals: draw.one_of(&[0, 2_000]),
        ..late
    };
    match climate {
        Climate::Calm | Climate::Crashes => calm,
        Climate::Late => late,
        Climate::Lossy | Climate::Wild => lossy,
    }
}
