//! The replay of what carries the queries, by the number of tasks, from constructed events: each query of a thousand
//! connections is handled by a task of its own, which waits twice, once for another task.

use super::{Cost, Measured, Part, memory};
use anyhow::ensure;
use std::time::Instant;
use wireprof::carriers::replay;
use wireprof::clock::{Nanos, Span};
use wireprof::sample::{FollowedEvent, Happened, RawFollowed, Socket, Task};

pub const PART: Part = Part {
    name: "tasks",
    unit: "tasks",
    sizes: &[1_000, 10_000, 100_000],
    costs: &[
        Cost { name: "seconds", what: "carriers: replay of 16 events a task, s", most: 1.0 },
        Cost { name: "memory", what: "carriers: memory of the replay, MB", most: 1.0 },
    ],
    measure,
};

const PORT: u16 = 6_875;
const CONNECTIONS: u64 = 1_000;
/// The task that ends a wait of each other one.
const WORKER: u64 = 1 << 40;

fn measure(tasks: u64) -> Measured {
    let raw = recording(tasks);
    let (before, began) = (memory::status("VmHWM")?, Instant::now());
    let carried = replay(&raw, PORT, Span::new(0, Nanos::MAX));
    let seconds = began.elapsed().as_secs_f64();
    ensure!(carried.answered == tasks, "{} queries of {tasks} were answered", carried.answered);
    let memory = (memory::status("VmHWM")? - before).max(4_096.0) / 1e6;
    Ok(vec![("seconds", seconds), ("memory", memory)])
}

/// 16 events for each task, eight tasks under way at a time, on thread 1; the worker is polled on thread 2.
fn recording(tasks: u64) -> RawFollowed {
    let mut events = Vec::with_capacity(tasks as usize * 16 + 2);
    let mut at = 1_000;
    let mut add = |thread: u32, happened: Happened| {
        at += 50;
        events.push(FollowedEvent { at, thread, process: 1, happened });
    };
    let task = |id: u64| Task { id, poll: if id == WORKER { 2 } else { 1 } };
    add(1, Happened::Gets);
    add(2, Happened::Gets);
    for batch in 0..tasks.div_ceil(8) {
        let members = || (batch * 8)..((batch + 1) * 8).min(tasks);
        let socket = |number: u64| {
            let client = (number % CONNECTIONS) as u16;
            Socket { id: 10_000 + u64::from(client), own: PORT, other: 30_000 + client }
        };
        // Task ids return as addresses do, long after the task has ended.
        let own = |number: u64| task(1_000 + number);
        for number in members() {
            add(1, Happened::Polls(own(number)));
            add(1, Happened::Reads(socket(number)));
            add(1, Happened::WakesTask(task(WORKER), Some(3)));
            add(1, Happened::Registers(own(number), Some(4)));
            add(1, Happened::Polled);
        }
        for number in members() {
            add(2, Happened::Polls(task(WORKER)));
            add(2, Happened::WakesTask(own(number), Some(5)));
            add(2, Happened::Registers(task(WORKER), Some(6)));
            add(2, Happened::Polled);
        }
        for number in members() {
            add(1, Happened::Polls(own(number)));
            add(1, Happened::Registers(own(number), Some(7)));
            add(1, Happened::Polled);
            add(2, Happened::WakesTask(own(number), Some(8)));
            add(1, Happened::Polls(own(number)));
            add(1, Happened::Sends(socket(number)));
            add(1, Happened::Polled);
        }
    }
    RawFollowed { events, listening: [PORT].into(), ..RawFollowed::default() }
}
