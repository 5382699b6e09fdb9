//! What is planted, where, and what must be found. Invariant: a case's level is one at which its plant is what
//! limits, by the reason beside it, on two CPUs.

use super::clock::Waited;
use wireprof::preset::Cause;

pub struct Case {
    pub name: &'static str,
    /// Planted on one side; `None`: the control, or something beside.
    pub plant: Option<&'static str>,
    /// Planted on both sides, and what that is found as: it is there too, and not what is asked for.
    pub base: &'static [&'static str],
    pub of_base: &'static [Cause],
    pub beside: Option<Companion>,
    /// Arguments of the sweep on the planted side.
    pub arguments: &'static [&'static str],
    pub level: usize,
    /// Any of these is right.
    pub causes: &'static [Cause],
    /// Part of the first named function; empty: the cause has none.
    pub function: &'static str,
    /// Of a wait in the server's hands: by what it is judged besides, instead of by its effect, for that leaves out
    /// contention, which goes with the plant too.
    pub waited: Option<Waited>,
}

impl Case {
    /// Nothing tells its sides apart.
    pub fn control(&self) -> bool {
        self.plant.is_none() && self.beside.is_none() && self.arguments.is_empty()
    }
}

#[derive(Clone, Copy)]
pub enum Companion {
    /// A process that takes a CPU.
    Hog,
}

const fn case(plant: &'static str, level: usize, causes: &'static [Cause], function: &'static str) -> Case {
    // The name is the plant without its size.
    let (name, _) = plant.split_at(equals(plant));
    let (base, of_base, beside, arguments, waited): (_, _, _, &[_], _) = (&[], &[], None, &[], None);
    Case { name, plant: Some(plant), base, of_base, beside, arguments, level, causes, function, waited }
}

/// A wait of each query's future. The CPUs are not the limit, so that it is one at 16 clients too.
const fn wait(name: &'static str, plant: &'static str, level: usize, end: &'static str) -> Case {
    let planted = case(plant, level, WAITS, "planted_");
    Case { name, waited: Some(Waited { plant: planted.name, end }), ..planted }
}

/// What a planted wait may be found as: blocked threads and hogs have causes that say more.
const WAITS: &[Cause] = &[Cause::Wait, Cause::Queued, Cause::Lock, Cause::BlockedRuntime, Cause::CpuFunction];

const fn equals(plant: &str) -> usize {
    let mut at = 0;
    while at < plant.len() && plant.as_bytes()[at] != b'=' {
        at += 1;
    }
    at
}

/// On two CPUs a delay behind the server hides behind the queue for them: there it is seen at one client, and a limit
/// of calls under way where each call takes long on both sides.
const SLOW: &[&str] = &["oracle-delay=1ms"];

pub const CASES: &[Case] = &[
    Case {
        name: "control",
        plant: None,
        causes: &[Cause::CpuSaturated, Cause::NoSingleCause, Cause::Generator],
        ..case("", 16, &[], "")
    },
    case("cpu:peek=30us", 16, &[Cause::CpuFunction], "planted_peek_work"),
    case("cpu:outside=30us", 16, &[Cause::CpuFunction], "planted_outside_work"),
    // Once a batch of several queries, hence more of it.
    case("cpu:oracle=150us", 16, &[Cause::CpuFunction, Cause::SaturatedThread], "planted_oracle_work"),
    // HeldResource so long that it and not the CPUs limits: one of the two works.
    case("lock=100us", 16, &[Cause::Lock], "planted_lock"),
    case("database=200us", 1, &[Cause::DatabaseService], ""),
    case("path=200us", 1, &[Cause::DatabasePath], ""),
    Case { name: "database-slow", ..case("database=3ms", 16, &[Cause::DatabaseService], "") },
    Case { name: "path-slow", ..case("path=3ms", 16, &[Cause::DatabasePath], "") },
    Case { base: SLOW, of_base: &[Cause::DatabasePath], ..case("pool-size=1", 16, &[Cause::Pool], "") },
    Case {
        base: SLOW,
        of_base: &[Cause::DatabasePath],
        ..case("batches=1", 16, &[Cause::BatchQueue, Cause::Slots], "")
    },
    // So long that one thread's work is what limits, and not half of all CPU work, the generator's and the database's
    // included.
    case("coordinator=1ms", 16, &[Cause::SaturatedThread], "planted_coordinator_work"),
    case("allocate=300", 16, &[Cause::Allocator], "planted_allocations"),
    case("starve=200us", 16, &[Cause::BlockedRuntime], "planted_blocking_wait"),
    case("churn=200", 16, &[Cause::Churn], ""),
    Case {
        name: "generator",
        plant: None,
        arguments: &["--client-work", "40us"],
        ..case("", 16, &[Cause::Generator], "")
    },
    Case { name: "hog", plant: None, beside: Some(Companion::Hog), ..case("", 16, &[Cause::OtherProcesses], "") },
    wait("channel", "channel=2ms", 1, "answer_in_time"),
    wait("channel-16", "channel=2ms", 16, "answer_in_time"),
    wait("semaphore", "semaphore=1ms", 1, "answer_in_time"),
    wait("semaphore-16", "semaphore=1ms", 16, "planted_semaphore_hold"),
    wait("mutex", "mutex=1ms", 1, "answer_in_time"),
    wait("mutex-16", "mutex=1ms", 16, "planted_mutex_hold"),
    wait("std-mutex", "std-mutex=1ms", 1, "planted_std_mutex"),
    wait("std-mutex-16", "std-mutex=1ms", 16, "planted_std_mutex"),
    wait("timer", "timer=3ms", 1, "a timer"),
    wait("timer-16", "timer=3ms", 16, "a timer"),
    wait("hogs", "hog=500us", 1, "planted_hog_work"),
    wait("hogs-16", "hog=500us", 16, "planted_hog_work"),
    wait("join", "join=2ms", 1, "planted_join_task"),
    wait("join-16", "join=2ms", 16, "planted_join_task"),
    wait("select", "select=2ms", 1, "answer_in_time"),
    wait("select-16", "select=2ms", 16, "answer_in_time"),
];
