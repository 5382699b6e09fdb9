//! Guards: a window in which all is well passes every one of them, and for each there is a window that makes it fire.

use std::collections::BTreeMap;
use wireprof::analyze::guards::{Guard, Verdict, check_window};
use wireprof::clock::Span;
use wireprof::load::{ErrorCount, Generator, LoadTrace, Sessions, empty_histogram};
use wireprof::metrics::{MetricsDelta, Scrape};
use wireprof::preset::Preset;
use wireprof::profile::{Builder, Frame, Labels, Space, on_cpu_columns};
use wireprof::run::{Host, Manifest, Missing, SCHEMA, Target, Window, WindowFacts, WindowId, WorkloadSummary};
use wireprof::sample::SamplingReport;
use wireprof::target::{MachineDelta, Role, SchedulerDelta, ThreadDelta};
use wireprof::wire::{Hop, HopDelta, Listens, Others, Place, Stay, WireDelta};

const SECOND: u64 = 1_000_000_000;

fn manifest() -> Manifest {
    Manifest {
        schema: SCHEMA,
        id: "test".into(),
        created: String::new(),
        tool: String::new(),
        arguments: Vec::new(),
        preset: "mine".into(),
        target: Target { started: Some("2026-01-01T00:00:00Z".into()), symbols: Some(true), ..Target::default() },
        host: Host::default(),
        workload: WorkloadSummary::default(),
        levels: vec![16],
        replicates: 1,
        seed: 0,
        order: Vec::new(),
        window_seconds: 10.0,
        warmup_seconds: 1.0,
        changes: Vec::new(),
        notes: Vec::new(),
        ended: "complete".into(),
        restarted: false,
        side: None,
    }
}

fn preset() -> Preset {
    let text = r#"
        [guards.focus]
        name = "peeks a query"
        value = "delta(peeks) / queries"
        at_least = 0.99
        remedy = "take the fast path"
        [[guards.churn]]
        name = "startups"
        unit = "sessions"
        value = "delta(startups)"
        at_most = "1.5 * connections + 10"
    "#;
    Preset::parse("mine", text).unwrap()
}

fn metrics(before: (u64, u64), after: (u64, u64)) -> MetricsDelta {
    let scrape = |at: u64, (peeks, startups): (u64, u64)| Scrape {
        span: Span::new(at, at),
        text: format!("# TYPE peeks counter\npeeks {peeks}\n# TYPE startups counter\nstartups {startups}\n"),
    };
    MetricsDelta::between(&scrape(0, before), &scrape(10 * SECOND, after))
}

fn thread(role: Role, name: &str, cpu: u64) -> ThreadDelta {
    ThreadDelta {
        switched: None,
        role,
        process: name.into(),
        pid: 1,
        thread: name.into(),
        tid: 1,
        cpu,
        runnable: 0,
        slices: 1,
        born: false,
        gone: false,
    }
}

/// 16 clients, 100,000 queries in 10 s on two CPUs, of which the target used one whole in two threads.
fn sound() -> Window {
    let span = Span::new(0, 10 * SECOND);
    let mut builder = Builder::new(on_cpu_columns());
    let frame = builder.frame(Frame {
        name: "f".into(),
        module: "m".into(),
        space: Space::User,
        inlined: false,
        file: String::new(),
        miss: None,
    });
    let (stack, labels) = (builder.push(None, frame), builder.labels(Labels::default()));
    builder.sample(Some(stack), labels, None, vec![10_000, 10 * SECOND as i64]);
    Window {
        facts: WindowFacts {
            id: WindowId { level: 16, replicate: 1 },
            span,
            skew: Some(0.01),
            scrapes: None,
            wall: String::new(),
            target_started: Some("2026-01-01T00:00:00Z".into()),
            missing: Vec::new(),
        },
        load: LoadTrace {
            driver: "wireprof".into(),
            span,
            connections: 16,
            rate: None,
            completed: 100_000,
            divisor: "client".into(),
            rows: 100_000,
            wrong_rows: 0,
            errors: Vec::new(),
            latency_sum: Some(100_000 * 1_590_000),
            slices: Vec::new(),
            latency: empty_histogram(),
            generator: Generator {
                threads: 1,
                cpu: Some(2 * SECOND),
                dispatch_delay: Some(100_000 * 3_000),
                wakes: None,
            },
            sessions: Sessions { opened: 16, lost: 0 },
            jobs: Vec::new(),
        },
        off_cpu: None,
        beside: Vec::new(),
        sampling: Some(SamplingReport {
            samples: 10_000,
            recorded: 10_000,
            complete: Some(9_990),
            symbolized: Some(0.999),
            ..SamplingReport::default()
        }),
        profile: Some(builder.finish()),
        metrics: Some(metrics((1_000, 40), (100_990, 41))),
        statements: None,
        scheduler: Some(SchedulerDelta {
            span,
            threads: vec![
                thread(Role::Target, "worker-0", 6 * SECOND),
                thread(Role::Target, "worker-1", 4 * SECOND),
                thread(Role::Generator, "load", 2 * SECOND),
            ],
            machine: Some(MachineDelta {
                cpus: 2,
                busy: 13 * SECOND,
                idle: 7 * SECOND - SECOND / 10,
                steal: SECOND / 10,
                interrupts: SECOND / 2,
            }),
        }),
        wire: None,
        guards: Vec::new(),
    }
}

/// The guards of the sound window after a change, with the name each is stored under.
fn check(change: impl FnOnce(&mut Window)) -> Vec<(String, Guard)> {
    let mut window = sound();
    change(&mut window);
    name(check_window(&preset(), &manifest(), &window))
}

fn name(guards: Vec<Guard>) -> Vec<(String, Guard)> {
    let tag = |guard: &Guard| serde_json::to_value(guard).unwrap()["guard"].as_str().unwrap().to_string();
    guards.into_iter().map(|guard| (tag(&guard), guard)).collect()
}

/// Those that do not pass.
fn bad(guards: &[(String, Guard)]) -> Vec<(&str, Verdict)> {
    guards.iter().filter(|(_, g)| g.verdict() != Verdict::Pass).map(|(n, g)| (n.as_str(), g.verdict())).collect()
}

/// The change makes exactly this guard fire, with this prose, and the remedy is there.
fn fires(name: &str, verdict: Verdict, prose: &str, change: impl FnOnce(&mut Window)) {
    let guards = check(change);
    assert_eq!(bad(&guards), [(name, verdict)]);
    let (_, guard) = guards.iter().find(|(n, _)| n == name).unwrap();
    assert_eq!(guard.to_string(), prose);
    assert!(guard.remedy().is_some_and(|r| r.len() > 10));
}

#[test]
fn a_sound_window_passes_every_guard_and_needs_no_remedy() {
    let guards = check(|_| {});
    assert_eq!(bad(&guards), []);
    assert!(guards.iter().all(|(_, g)| g.remedy().is_none()));
    let mut names: Vec<&str> = guards.iter().map(|(n, _)| n.as_str()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "busiest_thread",
            "complete_stacks",
            "errors",
            "focus",
            "generator_cpu",
            "generator_gap",
            "lost_samples",
            "machine_busy",
            "other_processes",
            "sampled_cpu",
            "server_churn",
            "sessions_lost",
            "skew",
            "steal",
            "symbols",
            "target_restarted",
            "wrong_rows"
        ]
    );
}

#[test]
fn a_stored_guard_says_the_same_when_it_is_read_back() {
    for (_, guard) in check(|w| w.scheduler = None) {
        let stored = serde_json::to_string(&guard).unwrap();
        assert_eq!(serde_json::from_str::<Guard>(&stored).unwrap(), guard);
    }
}

#[test]
fn clients_without_a_query_under_way_are_the_generators_gap() {
    fires(
        "generator_gap",
        Verdict::Fail,
        "N - X*R = 1.00 of 16 clients had no query under way: 100.0 us a query (6.2 % of N)",
        |w| w.load.latency_sum = Some(100_000 * 1_500_000),
    );
    let open = check(|w| w.load.rate = Some(10_000.0));
    assert_eq!(bad(&open), [("unchecked", Verdict::NotMeasured)]);
    let untold = check(|w| w.load.latency_sum = None);
    assert_eq!(
        untold[0].1.to_string(),
        "the generator's gap: not measured: the driver does not tell the latencies' sum"
    );
}

#[test]
fn a_generator_near_a_whole_core_is_the_limit() {
    fires(
        "generator_cpu",
        Verdict::Warn,
        "the generator used 90 % of a core on each of its 1 threads; answers waited for it 3.0 us a query at least",
        |w| w.load.generator.cpu = Some(9 * SECOND),
    );
}

fn error(accepted: bool) -> ErrorCount {
    ErrorCount { sqlstate: "40001".into(), message: "restart".into(), count: 3, accepted }
}

#[test]
fn errors_that_the_workload_accepts_are_none() {
    assert_eq!(bad(&check(|w| w.load.errors = vec![error(true)])), []);
}

#[test]
fn errors_wrong_rows_and_lost_sessions_fail() {
    let prose = "3 queries failed beside 100000 completed, the most frequent: 40001 restart (3 times)";
    fires("errors", Verdict::Fail, prose, |w| {
        w.load.errors = vec![error(false)];
    });
    let prose = "1 of 100000 queries answered another number of rows than before the warm-up";
    fires("wrong_rows", Verdict::Fail, prose, |w| w.load.wrong_rows = 1);
    fires("sessions_lost", Verdict::Fail, "the client lost 2 of its 16 sessions", |w| w.load.sessions.lost = 2);
}

#[test]
fn sessions_that_come_and_go_on_the_server_fail() {
    let prose = "startups: 60.0 sessions (34.0 at most where sessions do not come and go)";
    fires("server_churn", Verdict::Fail, prose, |w| w.metrics = Some(metrics((1_000, 40), (100_990, 100))));
}

#[test]
fn a_focus_metric_below_its_share_is_the_slow_path() {
    let prose = "peeks a query: 0.5000 (at least 0.99 expected)";
    fires("focus", Verdict::Fail, prose, |w| w.metrics = Some(metrics((1_000, 40), (51_000, 41))));
    let none = check(|w| w.metrics = None);
    let said: Vec<String> = none.iter().filter(|(n, _)| n == "unchecked").map(|(_, g)| g.to_string()).collect();
    let why = "not measured: the window has no metrics";
    assert_eq!(said, [format!("peeks a query: {why}"), format!("startups: {why}")]);
}

#[test]
fn lost_or_throttled_samples_warn() {
    let prose = "200 samples lost beside 10000 taken (1.96 %), sampling throttled 0 times";
    fires("lost_samples", Verdict::Warn, prose, |w| w.sampling.as_mut().unwrap().lost = 200);
    let prose = "0 samples lost beside 10000 taken (0.00 %), sampling throttled 1 times";
    fires("lost_samples", Verdict::Warn, prose, |w| w.sampling.as_mut().unwrap().throttled = 1);
    assert_eq!(bad(&check(|w| w.sampling.as_mut().unwrap().lost = 50)), []);
}

#[test]
fn stacks_that_are_cut_warn_with_their_reasons() {
    let prose = "9800 of 10000 stacks are complete (98.00 %) (copy too short: 150; no rules: 50)";
    fires("complete_stacks", Verdict::Warn, prose, |w| {
        let sampling = w.sampling.as_mut().unwrap();
        sampling.complete = Some(9_800);
        sampling.incomplete = vec![("copy too short".into(), 150), ("no rules".into(), 50)];
    });
}

#[test]
fn samples_that_disagree_with_the_kernels_accounting_fail_but_steal_is_allowed_for() {
    let set = |w: &mut Window, cpu: u64| w.profile.as_mut().unwrap().samples[0].values[1] = cpu as i64;
    let prose = "10000 samples say 0.950 CPUs, the kernel's accounting 1.000 (-5.0 %), 0.010 stolen from the machine";
    fires("sampled_cpu", Verdict::Fail, prose, |w| set(w, 9_500_000_000));
    assert_eq!(bad(&check(|w| set(w, 9_610_000_000))), [], "2 % and two standard errors of 1 %");
    assert_eq!(bad(&check(|w| set(w, 10_490_000_000))), [], "the stolen share may lie in the samples");
    assert_eq!(bad(&check(|w| set(w, 10_510_000_000))), [("sampled_cpu", Verdict::Fail)]);
    let other_span = check(|w| w.sampling.as_mut().unwrap().covers = Some(Span::new(0, 7 * SECOND)));
    let said = other_span.iter().find(|(n, _)| n == "unchecked").unwrap().1.to_string();
    assert!(
        said.ends_with("not measured: the samples cover 7.0 s and the accounting 10.0 s: not the same load"),
        "{said}"
    );
}

#[test]
fn another_process_that_eats_the_machine_warns() {
    let prose = "processes that are no part of the measurement used 15.0 % of the machine";
    fires("other_processes", Verdict::Warn, prose, |w| {
        w.scheduler.as_mut().unwrap().machine.as_mut().unwrap().busy = 12 * SECOND + SECOND / 2 + 3 * SECOND;
    });
}

#[test]
fn what_a_window_says_was_not_measured_is_not_checked() {
    let without = |what: &str| {
        let missing = Missing { what: what.into(), why: "nobody counted".into(), remedy: String::new() };
        let guards = check(|w| w.facts.missing.push(missing));
        assert_eq!(bad(&guards), [("unchecked", Verdict::NotMeasured)], "{what}");
        guards.into_iter().find(|(n, _)| n == "unchecked").unwrap().1.to_string()
    };
    assert_eq!(without("row counts"), "row counts: not measured: nobody counted");
    assert_eq!(without("sessions"), "sessions that the client lost: not measured: nobody counted");
    assert_eq!(without("lost samples"), "lost samples: not measured: nobody counted");
    let guards = check(|w| w.scheduler.as_mut().unwrap().machine = None);
    let said: Vec<String> = guards.iter().filter(|(n, _)| n == "unchecked").map(|(_, g)| g.to_string()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said.contains(&"CPU of the whole machine and steal: not measured: /proc/stat could not be read".to_string())
    );
    let sampled = "sampled CPU against the kernel's accounting: not measured: /proc/stat could not be read";
    assert!(said.contains(&sampled.to_string()), "{said:?}");
    let guards = check(|w| w.scheduler.as_mut().unwrap().threads.retain(|t| t.role != Role::Generator));
    assert_eq!(bad(&guards), [("unchecked", Verdict::NotMeasured)], "the rest of the CPU may be the generator's");
}

#[test]
fn steal_and_a_saturated_machine_warn() {
    fires("steal", Verdict::Warn, "the hypervisor took 3.0 % of the machine", |w| {
        w.scheduler.as_mut().unwrap().machine.as_mut().unwrap().steal = 6 * SECOND / 10;
    });
    let prose =
        "CPU saturated: the machine was 98.0 % busy, so the machine, not necessarily the server, sets the limit";
    fires("machine_busy", Verdict::Warn, prose, |w| {
        let scheduler = w.scheduler.as_mut().unwrap();
        scheduler.machine.as_mut().unwrap().busy = 19 * SECOND + SECOND / 2;
        scheduler.threads.push(thread(Role::Other, "database", 6 * SECOND + SECOND / 2));
    });
}

#[test]
fn one_thread_on_cpu_all_the_time_warns() {
    let prose = "the busiest thread of the target, worker-0 (1), was on CPU 96.0 % of the time";
    fires("busiest_thread", Verdict::Warn, prose, |w| {
        let threads = &mut w.scheduler.as_mut().unwrap().threads;
        (threads[0].cpu, threads[1].cpu) = (9_600_000_000, 400_000_000);
    });
}

#[test]
fn a_target_without_symbols_warns() {
    let prose =
        "the executable has symbols; 90.00 % of the CPU is in functions with a name (no symbol in libc.so.6: 1000)";
    fires("symbols", Verdict::Warn, prose, |w| {
        let sampling = w.sampling.as_mut().unwrap();
        sampling.symbolized = Some(0.9);
        sampling.misses = vec![("no symbol in libc.so.6".into(), 1_000)];
    });
    let mut manifest = manifest();
    manifest.target.symbols = Some(false);
    let guards = name(check_window(&preset(), &manifest, &sound()));
    assert_eq!(bad(&guards), [("symbols", Verdict::Warn)]);
}

#[test]
fn a_target_that_restarted_fails() {
    let prose = "the target started 2026-01-01T00:00:00Z at the run's begin and 2026-01-01T00:05:00Z at the window's end; 0 \
                 metrics went back to 0";
    fires("target_restarted", Verdict::Fail, prose, |w| w.facts.target_started = Some("2026-01-01T00:05:00Z".into()));
    let by_metrics = check(|w| {
        w.facts.target_started = None;
        w.metrics = Some(metrics((1_000_000, 40), (100_000, 16)));
    });
    assert_eq!(bad(&by_metrics), [("target_restarted", Verdict::Fail)]);
    let unknown = check(|w| {
        w.facts.target_started = None;
        let missing = Missing { what: "target start time".into(), why: "no pid".into(), remedy: String::new() };
        w.facts.missing.push(missing);
    });
    assert_eq!(bad(&unknown), [("unchecked", Verdict::NotMeasured)]);
    assert!(unknown.iter().any(|(_, g)| g.to_string().ends_with("same process: not measured: no pid")));
}

#[test]
fn a_scrape_that_takes_a_large_part_of_the_window_warns() {
    let prose = "the longest scrape took 12.5 % of the window: metrics per query can be off by as much";
    fires("skew", Verdict::Warn, prose, |w| w.facts.skew = Some(0.125));
}

/// Sixteen clients' 100,000 queries, so long in each place.
fn followed(micros: u64, others: Option<Others>) -> impl Fn(&mut Window) {
    move |window: &mut Window| {
        let stay = |place| Stay { place, nanos: 100_000 * micros * 1_000, count: 1, by_power: BTreeMap::new() };
        let hop = HopDelta {
            hop: Hop { name: "target".into(), at: Listens::Port(1) },
            connections: 16,
            client_seen: 16,
            server_seen: 16,
            queries: 100_000,
            pipelined: 0,
            pieces: 0,
            others,
            stays: Place::ALL.map(stay).to_vec(),
            sample: None,
        };
        window.wire = Some(WireDelta { span: window.facts.span, hops: vec![hop], sends_seen: true });
    }
}

#[test]
fn other_clients_whose_work_is_divided_among_the_loads_queries_warn() {
    let others = |queries| followed(317, Some(Others { connections: 2, queries }));
    let prose =
        "2 connections of other clients made 5000 requests of the server beside 100000 of the load (4.8 % of all)";
    fires("other_clients", Verdict::Warn, prose, others(5_000));
    assert!(bad(&check(others(500))).is_empty(), "half a percent");
    assert_eq!(bad(&check(followed(317, None))), [("unchecked", Verdict::NotMeasured)], "whose they are is not known");
}

#[test]
fn places_that_do_not_add_up_to_the_latency_warn() {
    // Five places of 300 us in a latency of 1,590 us.
    let prose = "the places sum to 1500.0 us, the client's mean latency is 1590.0 us (+5.7 % lie in none)";
    fires("places_sum", Verdict::Warn, prose, followed(300, Some(Others::default())));
    assert!(bad(&check(followed(317, Some(Others::default())))).is_empty(), "1,585 us of 1,590");
}
