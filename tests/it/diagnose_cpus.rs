//! Runs whose connections, threads or CPUs are not those of the testbed: open loops, pausing clients, a process for
//! each client, a server that is bound to few CPUs. Their cause is known, and concluded first.

use crate::build;
use crate::diagnose::{Made, diagnosed, near, one, one_as_cheap, sixteen};
use wireprof::analyze::cost::demands::{Resource, bounds, demands};
use wireprof::analyze::judge::checks::check_window;
use wireprof::analyze::judge::diagnose::{Confidence, Diagnosis, Effect, Finding, diagnose};
use wireprof::check::{Check, Status};
use wireprof::load::ErrorCount;
use wireprof::preset::{Cause, Preset};
use wireprof::render::{diagnosis_report, terminal};
use wireprof::run::{Run, Window};
use wireprof::target::{MachineDelta, Role};

const SECOND: u64 = 1_000_000_000;

/// Half of two CPUs in use: 1,600 queries a second of 5 ms, of which 600 us are CPU.
fn mostly_waiting() -> Made {
    let server = vec![("serve;a", 590.0), ("serve;b", 5.0)];
    Made { clients: 8, latency: 5_000.0, server, generator: 2.0, database: 3.0, call: 0.0, wait: 0.0, ..one() }
}

fn judged(windows: Vec<Window>, level: usize) -> Diagnosis {
    diagnose(&build::run(windows), &Preset::built_in("testbed").unwrap(), level).unwrap()
}

fn effect_of(found: &Diagnosis, cause: Cause) -> Effect {
    found.verdicts.iter().find(|verdict| verdict.cause == cause).and_then(|verdict| verdict.effect).unwrap()
}

#[test]
fn connections_without_a_query_are_none_that_queue() {
    let closed = effect_of(&judged(vec![mostly_waiting().window()], 8), Cause::CpuFunction);
    assert!(closed.share < 0.3 && closed.throughput.is_some(), "{closed:?}");
    // The same queries on eight times the connections: by a schedule, and by clients that pause between two.
    let mut scheduled = mostly_waiting().window();
    (scheduled.load.connections, scheduled.load.rate) = (64, Some(1_600.0));
    let open = effect_of(&judged(vec![scheduled.clone()], 8), Cause::CpuFunction);
    near(open.latency, closed.latency);
    assert_eq!(open.throughput, None, "faster answers bring no further queries");
    let told = terminal(&diagnosis_report(&judged(vec![scheduled], 8), &[]), 200);
    assert!(told.contains("Effects reckon with the queries under way, 8.00 on average."), "{told}");
    let mut pausing = mostly_waiting().window();
    pausing.load.connections = 64;
    let pausing = judged(vec![pausing], 8);
    let paused = effect_of(&pausing, Cause::CpuFunction);
    assert!(paused.latency < 2.0 * closed.latency && paused.throughput < closed.throughput, "{paused:?}");
    let told = terminal(&diagnosis_report(&pausing, &[]), 200);
    assert!(told.contains("Clients pause 35.0 ms before their next query"), "{told}");
}

#[test]
fn what_failed_or_long_queries_take_is_no_pause_of_the_clients() {
    let said = |window: Window| terminal(&diagnosis_report(&judged(vec![window], 8), &[]), 200);
    let mut failing = mostly_waiting().window();
    failing.load.connections = 64;
    let count = failing.load.completed / 20;
    failing.load.errors.push(ErrorCount {
        sqlstate: "40P01".into(),
        message: "deadlock".into(),
        count,
        accepted: true,
    });
    assert!(!said(failing).contains("Clients pause"));
    // Of each client's queries one more may lie half within the window: a second of 400 ms queries.
    let mut long = Made { latency: 400_000.0, ..mostly_waiting() }.window();
    long.load.connections = 10;
    assert!(!said(long).contains("Clients pause"));
}

#[test]
fn clients_that_pause_reach_a_bound_in_larger_numbers_and_a_schedule_has_no_such_number() {
    let of = |change: &dyn Fn(&mut Window)| {
        let mut windows = vec![mostly_waiting().window(), Made { clients: 16, ..mostly_waiting() }.window()];
        windows.iter_mut().for_each(change);
        let run = build::run(windows);
        bounds(&run, &demands(&run))[0].clients
    };
    let single = build::run(vec![mostly_waiting().window()]);
    assert_eq!(bounds(&single, &demands(&single))[0].clients, None, "its latency has queues already");
    let busy = of(&|_| ()).unwrap();
    near(of(&|window| window.load.connections = 64).unwrap(), 8.0 * busy);
    assert_eq!(of(&|window| (window.load.connections, window.load.rate) = (64, Some(1_600.0))), None);
}

/// Threads of the server with `us` of CPU and of waiting for one a query each, on so many CPUs.
fn on_cpus(made: &Made, cpus: usize, threads: &[(f64, f64)]) -> Window {
    let mut window = made.window();
    let scheduler = window.scheduler.as_mut().unwrap();
    let nanos = |micros: f64| (micros * 1e3 * made.queries() as f64) as u64;
    scheduler.threads.retain(|thread| thread.role != Role::Target);
    for (tid, (cpu, runnable)) in (11..).zip(threads) {
        let mut thread = build::thread(Role::Target, "server", "server", tid, nanos(*cpu));
        thread.runnable = nanos(*runnable);
        scheduler.threads.push(thread);
    }
    let busy = scheduler.threads.iter().map(|thread| thread.cpu).sum();
    let idle = (cpus as u64 * SECOND).saturating_sub(busy);
    scheduler.machine = Some(MachineDelta { cpus, busy, idle, ..MachineDelta::default() });
    window
}

#[test]
fn a_thread_for_each_client_is_no_thread_that_all_of_them_queue_for() {
    let made = Made { clients: 4, latency: 5_050.0, server: vec![("serve;a", 5_000.0)], ..one() };
    let each = judged(vec![on_cpus(&made, 8, &[(1_250.0, 0.0); 4])], 4);
    assert!(each.verdicts.iter().all(|verdict| verdict.cause != Cause::SaturatedThread), "{:#?}", each.verdicts);
    // The bounds and the check say the same.
    let run = build::run(vec![on_cpus(&made, 8, &[(1_250.0, 0.0); 4])]);
    let of_server = |run: &Run| {
        let all = demands(run);
        all.into_iter().find(|demand| demand.resource == Resource::BusiestThread(Role::Target)).unwrap().bounds
    };
    assert!(!of_server(&run));
    let check = |window: &Window| {
        let checks = check_window(&Preset::built_in("testbed").unwrap(), &run.manifest, window);
        checks.into_iter().find(|check| matches!(check, Check::BusiestThread { .. })).unwrap()
    };
    let each = check(&run.windows[0]);
    assert_eq!(each.status(), Status::Pass);
    assert!(each.to_string().ends_with("% of the time; 4 threads at work, one for each query under way"), "{each}");
    let single = Made { latency: 5_000.0, server: vec![("serve;a", 1_230.0), ("serve;b", 20.0)], ..made };
    let window = on_cpus(&single, 8, &[(1_250.0, 0.0), (10.0, 0.0)]);
    assert!(of_server(&build::run(vec![window.clone()])) && check(&window).status() == Status::Warn);
    let single = judged(vec![window], 4);
    assert_eq!(single.verdicts[0].cause, Cause::SaturatedThread, "{:#?}", single.verdicts);
    // A schedule that keeps little more than one query under way does not make it one for each of them.
    let scheduled = Made { clients: 1, latency: 1_100.0, server: vec![("serve;a", 1_000.0)], ..single_made() };
    let mut window = on_cpus(&scheduled, 8, &[(1_060.0, 0.0), (10.0, 0.0)]);
    (window.load.connections, window.load.rate) = (64, Some(909.0));
    assert!(of_server(&build::run(vec![window.clone()])) && check(&window).status() == Status::Warn);
}

fn single_made() -> Made {
    Made { call: 0.0, wait: 0.0, ..one() }
}

#[test]
fn a_process_that_works_harder_than_those_of_the_clients_is_not_queued_for() {
    let made = Made { clients: 8, latency: 5_000.0, server: vec![("serve;a", 1_900.0)], ..single_made() };
    let mut threads = [(187.0, 0.0); 8];
    threads[3].0 = 600.0;
    let mut window = on_cpus(&made, 16, &threads);
    let of_server = window.scheduler.as_mut().unwrap().threads.iter_mut();
    of_server.filter(|thread| thread.role == Role::Target).for_each(|thread| thread.pid = thread.tid);
    let run = build::run(vec![window.clone()]);
    let checks = check_window(&Preset::built_in("testbed").unwrap(), &run.manifest, &window);
    let busiest = checks.iter().find(|check| matches!(check, Check::BusiestThread { .. })).unwrap();
    assert_eq!(busiest.status(), Status::Pass);
    assert!(busiest.to_string().ends_with("8 threads at work, one for each query under way"), "{busiest}");
    let found = judged(vec![window], 8);
    assert!(found.verdicts.iter().all(|verdict| verdict.cause != Cause::SaturatedThread), "{:#?}", found.verdicts);
}

#[test]
fn a_server_that_may_use_few_of_the_cpus_is_said_to_be_limited() {
    let server = vec![("serve;a", 60.0), ("serve;b", 70.0), ("serve;c", 70.0)];
    let made = Made { clients: 32, latency: 6_400.0, server, call: 0.0, wait: 0.0, ..one() };
    let threads = [(200.0 / 32.0, 6_100.0 / 32.0); 32];
    let mut window = on_cpus(&made, 16, &threads);
    window.scheduler.as_mut().unwrap().machine.as_mut().unwrap().for_server = Some(1.0);
    let found = judged(vec![window.clone()], 32);
    let first = &found.verdicts[0];
    assert_eq!((first.cause, first.confidence), (Cause::CpuLimit, Confidence::Confident), "{:#?}", found.verdicts);
    // On all CPUs it would be 32 x 230 us over 16 of them.
    near(first.effect.unwrap().latency / 1e3, 6_400.0 - 460.0);
    // Its threads that wait for that CPU do not wait for the machine's.
    assert!(found.verdicts.iter().all(|verdict| verdict.cause != Cause::CpuSaturated), "{:#?}", found.verdicts);
    // What a query costs is bounded by it as well.
    let run = build::run(vec![window.clone()]);
    let bound = &bounds(&run, &demands(&run))[0];
    assert_eq!(bound.resource, Resource::Cpu(Role::Target));
    assert!((0.9..1.1).contains(&bound.utilisation), "{bound:?}");
    assert!(first.sentence.contains("may use 1.00 of the machine's 16 CPUs. It uses 100 %"), "{}", first.sentence);
    // A third of what the server does on its CPU is a third of the latency.
    let third = effect_of(&found, Cause::CpuFunction);
    assert!((0.25..0.45).contains(&third.share), "{third:?}");
    // Somebody who takes what the server may not use is not in its way.
    let mut beside = window.clone();
    let machine = beside.scheduler.as_mut().unwrap().machine.as_mut().unwrap();
    (machine.busy, machine.idle) = (16 * SECOND, 0);
    let found = judged(vec![beside], 32);
    let limit = found.verdicts.iter().find(|verdict| verdict.cause == Cause::CpuLimit);
    assert_eq!(limit.map(|limit| limit.confidence), Some(Confidence::Confident), "{:#?}", found.verdicts);
    // With room left it is no cause.
    window.scheduler.as_mut().unwrap().machine.as_mut().unwrap().for_server = Some(8.0);
    let found = judged(vec![window], 32);
    assert!(found.verdicts.iter().all(|verdict| verdict.cause != Cause::CpuLimit), "{:#?}", found.verdicts);
}

#[test]
fn a_generator_that_waits_for_saturated_cpus_is_not_the_limit() {
    let server = vec![("serve;a", 8.0), ("serve;b", 8.0), ("serve;k:tcp_sendmsg", 7.4)];
    let made = Made { clients: 64, latency: 1_140.0, server, generator: 4.33, database: 8.0, ..sixteen() };
    let mut window = made.window();
    let threads = &mut window.scheduler.as_mut().unwrap().threads;
    let load = threads.iter_mut().find(|thread| thread.role == Role::Generator).unwrap();
    load.runnable = SECOND - load.cpu;
    let found = judged(vec![one_as_cheap().window(), window], 64);
    let confident = |verdict: &&Finding| verdict.confidence == Confidence::Confident;
    let causes: Vec<Cause> = found.verdicts.iter().filter(confident).map(|verdict| verdict.cause).collect();
    assert_eq!(causes, [Cause::CpuSaturated], "{:#?}", found.verdicts);
}

#[test]
fn children_that_are_not_followed_are_no_other_processes() {
    let mut window = one().window();
    let scheduler = window.scheduler.as_mut().unwrap();
    scheduler.threads.push(build::thread(Role::Unfollowed, "worker", "worker", 41, SECOND * 14 / 10));
    scheduler.machine.as_mut().unwrap().busy += SECOND * 14 / 10;
    let found = judged(vec![window], 1);
    assert!(found.verdicts.iter().all(|verdict| verdict.cause != Cause::OtherProcesses), "{:#?}", found.verdicts);
}

#[test]
fn the_cpu_of_other_companions_is_none_of_the_databases_statement() {
    // The statement waits: 400 us of which the database's processes use 4 us of CPU.
    let waits = Made { statement: 400.0, call: 450.0, at_database: 20.0, wait: 460.0, latency: 700.0, ..sixteen() };
    let alone = effect_of(&judged(vec![one().window(), waits.window()], 16), Cause::DatabaseService);
    let mut beside = waits.window();
    let scheduler = beside.scheduler.as_mut().unwrap();
    let cpu = SECOND / 2;
    scheduler.threads.push(build::thread(Role::Other, "clusterd", "worker", 51, cpu));
    scheduler.machine.as_mut().unwrap().busy += cpu;
    let beside = effect_of(&judged(vec![one().window(), beside], 16), Cause::DatabaseService);
    assert!(beside.latency < 1.1 * alone.latency, "{beside:?} with another companion, {alone:?} without");
}

#[test]
fn a_latency_that_nothing_explains_is_not_said_to_be_spread() {
    let made = Made { clients: 4, latency: 50_000.0, server: vec![("serve;a", 100.0)], call: 0.0, wait: 0.0, ..one() };
    let found = judged(vec![made.window()], 4);
    let first = &found.verdicts[0];
    assert_eq!(first.cause, Cause::NoSingleCause, "{:#?}", found.verdicts);
    assert!(first.sentence.contains("of 50.0 ms a query are not explained"), "{}", first.sentence);
    let spread = diagnosed(&[one()]);
    assert!(spread.verdicts[0].sentence.contains("spread over many"), "{}", spread.verdicts[0].sentence);
}
