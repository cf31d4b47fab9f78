//! What befalls the fleet and its server, drawn from the seed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::chance::Chance;
use crate::history::{Fault, What};
use crate::plan::Climate;
use crate::world::World;

/// One blow.
#[derive(Clone, Copy)]
enum Blow {
    Crash,
    Pause,
    Away,
    Restart,
    Snapshot,
    Fall,
    Flush,
    Evict,
    Jump,
}

fn blows(climate: Climate) -> &'static [Blow] {
    use Blow::{Away, Crash, Evict, Fall, Flush, Jump, Pause, Restart, Snapshot};
    match climate {
        Climate::Calm => &[],
        Climate::Crashes => &[Crash],
        Climate::Late => &[Pause],
        Climate::Lossy => &[Away, Pause],
        Climate::Wild => &[
            Crash, Pause, Away, Restart, Snapshot, Snapshot, Fall, Flush, Evict, Evict, Evict, Jump,
        ],
    }
}

/// One after another, until the run is over; then everything runs again.
pub(crate) async fn befall(world: Arc<World>) {
    let blows = blows(world.plan.climate);
    let mut draw = Chance::of(world.plan.seed, 2);
    if blows.is_empty() {
        return;
    }
    let mut ahead_ms = 0;
    loop {
        sleep(draw.ms(100, 2_000)).await;
        if world.is_over() {
            break;
        }
        match draw.one_of(blows) {
            Blow::Crash => crash(&world, &mut draw).await,
            Blow::Pause => pause(&world, &mut draw).await,
            Blow::Away => away(&world, &mut draw).await,
            Blow::Restart => {
                world.pen.note(What::Fault(Fault::Restart));
                world.server.restart();
            }
            Blow::Snapshot => {
                world.pen.note(What::Fault(Fault::Snapshot));
                world.server.keeps_snapshot();
            }
            Blow::Fall => {
                world.pen.note(What::Fault(Fault::Fall));
                world.server.falls_back();
            }
            Blow::Flush => {
                world.pen.note(What::Fault(Fault::Flush));
                world.server.flush();
            }
            Blow::Evict => {
                if let Some(name) = world.server.evict(draw.index(64)) {
                    let name = String::from_utf8_lossy(&name).into_owned();
                    world.pen.note(What::Fault(Fault::Evict(name)));
                }
            }
            Blow::Jump => {
                let by_ms = draw.one_of(&[-60_000, -1_500, -300, 300, 1_500, 60_000]);
                ahead_ms += by_ms;
                world.pen.note(What::Fault(Fault::Jump(by_ms)));
                world.server.jump(by_ms);
            }
        }
    }
    world.server.jump(-ahead_ms);
}

async fn crash(world: &Arc<World>, draw: &mut Chance) {
    let process = draw.index(world.plan.processes);
    if world.crash(process) {
        sleep(draw.ms(0, 2_000)).await;
        world.start(process).await;
    }
}

async fn pause(world: &Arc<World>, draw: &mut Chance) {
    let process = draw.index(world.plan.processes);
    if world.pause(process) {
        sleep(draw.ms(10, 3_000)).await;
        world.resume(process);
    }
}

async fn away(world: &Arc<World>, draw: &mut Chance) {
    world.pen.note(What::Fault(Fault::Away));
    world.server.goes_away();
    sleep(draw.ms(0, 2_000)).await;
    world.server.comes_back();
    world.pen.note(What::Fault(Fault::Back));
    sleep(Duration::from_millis(100)).await;
}
