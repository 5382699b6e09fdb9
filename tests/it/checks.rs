//! Checks: a window in which all is well passes every one of them, and for each there is a window that makes it fire.

use crate::{build, golden};
use serde_json::{Value, json};
use wireprof::analyze::judge::checks::check_window;
use wireprof::check::{Check, Status};
use wireprof::clock::Span;
use wireprof::load::{ErrorCount, Generator, LoopChoice, LoopKind, Sessions, ThreadChoice, WhyThreads};
use wireprof::metrics::{MetricsDelta, Scrape};
use wireprof::preset::Preset;
use wireprof::profile::{Builder, Labels, on_cpu_columns};
use wireprof::run::{Manifest, Missing, Target, Window, WindowId};
use wireprof::sample::SamplingReport;
use wireprof::target::{MachineDelta, Role, SchedulerDelta, ThreadDelta};
use wireprof::wire::{HopDelta, Others, WireDelta};

const SECOND: u64 = 1_000_000_000;

fn manifest() -> Manifest {
    let target = Target { started: Some("2026-01-01T00:00:00Z".into()), symbols: Some(true), ..Target::default() };
    Manifest { preset: "mine".into(), target, window_seconds: 10.0, ..build::manifest("test", &[16]) }
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
    build::thread(role, name, name, 1, cpu)
}

/// 16 clients, 100,000 queries in 10 s on two CPUs, of which the target used one whole in two threads.
fn sound() -> Window {
    let span = Span::new(0, 10 * SECOND);
    let mut builder = Builder::new(on_cpu_columns());
    let frame = builder.frame(build::frame("f"));
    let (stack, labels) = (builder.push(None, frame), builder.labels(Labels::default()));
    builder.sample(Some(stack), labels, None, vec![10_000, 10 * SECOND as i64]);
    let mut window = build::bare(WindowId { level: 16, replicate: 1 }, span, 100_000, 1_590_000);
    window.facts.skew = Some(0.01);
    window.facts.target_started = Some("2026-01-01T00:00:00Z".into());
    window.load.generator =
        Generator { threads: 1, cpu: Some(2 * SECOND), dispatch_delay: Some(100_000 * 3_000), ..Generator::default() };
    window.load.sessions = Sessions { opened: 16, lost: 0 };
    window.sampling = Some(SamplingReport {
        samples: 10_000,
        recorded: 10_000,
        complete: Some(9_990),
        symbolized: Some(0.999),
        ..SamplingReport::default()
    });
    window.profile = Some(builder.finish());
    window.metrics = Some(metrics((1_000, 40), (100_990, 41)));
    let threads = vec![
        thread(Role::Target, "worker-0", 6 * SECOND),
        thread(Role::Target, "worker-1", 4 * SECOND),
        thread(Role::Generator, "load", 2 * SECOND),
    ];
    let machine = MachineDelta {
        cpus: 2,
        busy: 13 * SECOND,
        idle: 7 * SECOND - SECOND / 10,
        steal: SECOND / 10,
        interrupts: SECOND / 2,
        for_server: None,
    };
    window.scheduler = Some(SchedulerDelta { span, threads, machine: Some(machine) });
    window
}

/// The checks of the sound window after a change, with the name each is stored under.
pub fn check(change: impl FnOnce(&mut Window)) -> Vec<(String, Check)> {
    let mut window = sound();
    change(&mut window);
    name(check_window(&preset(), &manifest(), &window))
}

fn name(checks: Vec<Check>) -> Vec<(String, Check)> {
    let tag = |check: &Check| serde_json::to_value(check).unwrap()["guard"].as_str().unwrap().to_string();
    checks.into_iter().map(|check| (tag(&check), check)).collect()
}

/// Those that do not pass.
pub fn bad(checks: &[(String, Check)]) -> Vec<(&str, Status)> {
    checks.iter().filter(|(_, g)| g.status() != Status::Pass).map(|(n, g)| (n.as_str(), g.status())).collect()
}

/// The change makes exactly this check fire, on this evidence, with a remedy; its words are in a golden file. What
/// follows the check's name in `case` tells its cases apart.
pub fn fires(case: &str, status: Status, evidence: Value, change: impl FnOnce(&mut Window)) {
    let checks = check(change);
    let name = case.split('-').next().unwrap();
    assert_eq!(bad(&checks), [(name, status)]);
    let (_, check) = checks.iter().find(|(n, _)| n == name).unwrap();
    let mut stored = serde_json::to_value(check).unwrap();
    stored.as_object_mut().unwrap().remove("guard");
    assert_eq!(stored, evidence, "{case}");
    let remedy = check.remedy().unwrap();
    golden::assert(&format!("guard-{case}.txt"), &format!("{check}\n\n{remedy}\n"));
}

#[test]
fn a_sound_window_passes_every_guard_and_needs_no_remedy() {
    let checks = check(|_| {});
    assert_eq!(bad(&checks), []);
    assert!(checks.iter().all(|(_, g)| g.remedy().is_none()));
    let mut names: Vec<&str> = checks.iter().map(|(n, _)| n.as_str()).collect();
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
            "target_seen",
            "wrong_rows"
        ]
    );
}

#[test]
fn a_stored_guard_says_the_same_when_it_is_read_back() {
    for (_, check) in check(|w| w.scheduler = None) {
        let stored = serde_json::to_string(&check).unwrap();
        assert_eq!(serde_json::from_str::<Check>(&stored).unwrap(), check);
    }
}

#[test]
fn clients_without_a_query_under_way_are_the_generators_gap() {
    fires(
        "generator_gap",
        Status::Fail,
        json!({ "connections": 16, "mean_latency": 1_500_000.0, "throughput": 10_000.0 }),
        |w| w.load.latency_sum = Some(100_000 * 1_500_000),
    );
    let open = check(|w| w.load.rate = Some(10_000.0));
    assert_eq!(bad(&open), [("unchecked", Status::NotMeasured)]);
    let untold = check(|w| w.load.latency_sum = None);
    assert_eq!(
        untold[0].1.to_string(),
        "the generator's gap: not measured: the driver does not tell the latencies' sum"
    );
}

#[test]
fn a_gap_that_slow_or_failed_queries_may_be_is_not_told_as_one() {
    let told = |change: &dyn Fn(&mut Window)| {
        let gap = check(|window| change(window)).into_iter().find(|(_, check)| check.to_string().contains("gap"));
        gap.map(|(_, check)| check.to_string())
    };
    // One client with queries of 4 s in 10 s: two are completed within, or three.
    for completed in [2, 3] {
        let slow = told(&|window| {
            window.load.connections = 1;
            (window.load.completed, window.load.latency_sum) = (completed, Some(completed * 4 * SECOND));
        });
        assert!(slow.unwrap().contains("a query takes 4.00 s of the window's 10.0 s: measure longer"));
    }
    let failed = told(&|window| {
        window.load.errors = vec![ErrorCount { count: 40_000, ..error(true) }];
        window.load.latency_sum = window.load.latency_sum.map(|sum| sum * 6 / 10);
    });
    assert!(failed.unwrap().contains("29 % of the queries failed, and how long those took is not known"));
    // Clients that pause for half of the time do so with slow queries too.
    let pausing = check(|window| (window.load.completed, window.load.latency_sum) = (160, Some(160 * SECOND / 2)));
    assert!(bad(&pausing).contains(&("generator_gap", Status::Fail)));
}

#[test]
fn a_generator_near_a_whole_core_is_the_limit() {
    fires(
        "generator_cpu",
        Status::Warn,
        json!({ "cpu": 9_000_000_000_u64, "delay_per_query": 3_000.0, "nanos": 10_000_000_000_u64, "threads": 1 }),
        |w| w.load.generator.cpu = Some(9 * SECOND),
    );
}

#[test]
fn the_busiest_load_thread_is_the_limit_and_the_remedy_is_another_one_where_no_cpu_is_left() {
    let (busiest, cpu) = (9_000_000_000_u64, 12_000_000_000_u64);
    fires(
        "generator_cpu-no_room",
        Status::Warn,
        json!({
            "cpu": cpu, "busiest": busiest, "no_room": true, "delay_per_query": 3_000.0, "nanos": 10_000_000_000_u64,
            "threads": 2,
        }),
        |w| {
            let why = WhyThreads::CpusFull;
            let choice = Some(ThreadChoice { why, busiest: Some(0.9), idle_cpus: Some(0.0) });
            let generator = &mut w.load.generator;
            (generator.threads, generator.cpu, generator.busiest) = (2, Some(cpu), Some(busiest));
            generator.choice = choice;
        },
    );
    // Before the busiest was told apart, the mean stood for it.
    let of_earlier = r#"{"guard":"generator_cpu","cpu":12,"threads":2,"nanos":10,"delay_per_query":null}"#;
    assert_eq!(serde_json::from_str::<Check>(of_earlier).unwrap().status(), Status::Pass);
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
    fires(
        "errors",
        Status::Fail,
        json!({ "completed": 100_000, "errors": 3, "first": "40001 restart (3 times)" }),
        |w| {
            w.load.errors = vec![error(false)];
        },
    );
    fires("wrong_rows", Status::Fail, json!({ "completed": 100_000, "wrong": 1 }), |w| w.load.wrong_rows = 1);
    fires("sessions_lost", Status::Fail, json!({ "lost": 2, "opened": 16 }), |w| w.load.sessions.lost = 2);
}

#[test]
fn sessions_that_come_and_go_on_the_server_fail() {
    fires(
        "server_churn",
        Status::Fail,
        json!({ "at_most": 34.0, "name": "startups", "unit": "sessions", "value": 60.0 }),
        |w| w.metrics = Some(metrics((1_000, 40), (100_990, 100))),
    );
}

#[test]
fn a_focus_metric_below_its_share_is_the_slow_path() {
    fires(
        "focus",
        Status::Fail,
        json!({ "at_least": 0.99, "name": "peeks a query", "remedy": "take the fast path", "value": 0.5 }),
        |w| w.metrics = Some(metrics((1_000, 40), (51_000, 41))),
    );
    let none = check(|w| w.metrics = None);
    let said: Vec<String> = none.iter().filter(|(n, _)| n == "unchecked").map(|(_, g)| g.to_string()).collect();
    let why = "not measured: the window has no metrics";
    assert_eq!(said, [format!("peeks a query: {why}"), format!("startups: {why}")]);
}

#[test]
fn lost_or_throttled_samples_warn() {
    fires("lost_samples", Status::Warn, json!({ "lost": 200, "recorded": 10_000, "throttled": 0 }), |w| {
        w.sampling.as_mut().unwrap().lost = 200;
    });
    fires("lost_samples-throttled", Status::Warn, json!({ "lost": 0, "recorded": 10_000, "throttled": 1 }), |w| {
        w.sampling.as_mut().unwrap().throttled = 1;
    });
    assert_eq!(bad(&check(|w| w.sampling.as_mut().unwrap().lost = 50)), []);
}

#[test]
fn stacks_that_are_cut_warn_with_their_reasons() {
    fires(
        "complete_stacks",
        Status::Warn,
        json!({ "complete": 9_800, "reasons": [["copy too short", 150], ["no rules", 50]], "samples": 10_000 }),
        |w| {
            let sampling = w.sampling.as_mut().unwrap();
            sampling.complete = Some(9_800);
            sampling.incomplete = vec![("copy too short".into(), 150), ("no rules".into(), 50)];
        },
    );
}

#[test]
fn samples_that_disagree_with_the_kernels_accounting_fail_but_steal_is_allowed_for() {
    let set = |w: &mut Window, cpu: u64| w.profile.as_mut().unwrap().samples[0].values[1] = cpu as i64;
    fires(
        "sampled_cpu",
        Status::Fail,
        json!({ "accounted": 1.0, "sampled": 0.95, "samples": 10_000, "stolen": 0.01 }),
        |w| set(w, 9_500_000_000),
    );
    assert_eq!(bad(&check(|w| set(w, 9_610_000_000))), [], "2 % and two standard errors of 1 %");
    assert_eq!(bad(&check(|w| set(w, 10_490_000_000))), [], "the stolen share may lie in the samples");
    assert_eq!(bad(&check(|w| set(w, 10_510_000_000))), [("sampled_cpu", Status::Fail)]);
    let other_span = check(|w| w.sampling.as_mut().unwrap().covers = Some(Span::new(0, 7 * SECOND)));
    let said = other_span.iter().find(|(n, _)| n == "unchecked").unwrap().1.to_string();
    assert!(
        said.ends_with("not measured: the samples cover 7.0 s and the accounting 10.0 s: not the same load"),
        "{said}"
    );
}

#[test]
fn another_process_that_eats_the_machine_warns() {
    fires(
        "other_processes",
        Status::Warn,
        json!({ "capacity": 20_000_000_000_u64, "others": 3_000_000_000_u64 }),
        |w| {
            w.scheduler.as_mut().unwrap().machine.as_mut().unwrap().busy = 12 * SECOND + SECOND / 2 + 3 * SECOND;
        },
    );
}

#[test]
fn what_a_window_says_was_not_measured_is_not_checked() {
    let without = |what: &str| {
        let missing = Missing { what: what.into(), why: "nobody counted".into(), remedy: String::new() };
        let checks = check(|w| w.facts.missing.push(missing));
        assert_eq!(bad(&checks), [("unchecked", Status::NotMeasured)], "{what}");
        checks.into_iter().find(|(n, _)| n == "unchecked").unwrap().1.to_string()
    };
    assert_eq!(without("row counts"), "row counts: not measured: nobody counted");
    assert_eq!(without("sessions"), "sessions that the client lost: not measured: nobody counted");
    assert_eq!(without("lost samples"), "lost samples: not measured: nobody counted");
    let checks = check(|w| w.scheduler.as_mut().unwrap().machine = None);
    let said: Vec<String> = checks.iter().filter(|(n, _)| n == "unchecked").map(|(_, g)| g.to_string()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said.contains(&"CPU of the whole machine and steal: not measured: /proc/stat could not be read".to_string())
    );
    let sampled = "sampled CPU against the kernel's accounting: not measured: /proc/stat could not be read";
    assert!(said.contains(&sampled.to_string()), "{said:?}");
    let checks = check(|w| w.scheduler.as_mut().unwrap().threads.retain(|t| t.role != Role::Generator));
    assert_eq!(bad(&checks), [("unchecked", Status::NotMeasured)], "the rest of the CPU may be the generator's");
}

#[test]
fn steal_and_a_saturated_machine_warn() {
    fires("steal", Status::Warn, json!({ "capacity": 20_000_000_000_u64, "stolen": 600_000_000 }), |w| {
        w.scheduler.as_mut().unwrap().machine.as_mut().unwrap().steal = 6 * SECOND / 10;
    });
    fires("machine_busy", Status::Warn, json!({ "busy": 19_600_000_000_u64, "capacity": 20_000_000_000_u64 }), |w| {
        let scheduler = w.scheduler.as_mut().unwrap();
        scheduler.machine.as_mut().unwrap().busy = 19 * SECOND + SECOND / 2;
        scheduler.threads.push(thread(Role::Other, "database", 6 * SECOND + SECOND / 2));
    });
}

#[test]
fn one_thread_on_cpu_all_the_time_warns() {
    fires(
        "busiest_thread",
        Status::Warn,
        json!({ "cpu": 9_600_000_000_u64, "nanos": 10_000_000_000_u64, "thread": "worker-0", "tid": 1 }),
        |w| {
            let threads = &mut w.scheduler.as_mut().unwrap().threads;
            (threads[0].cpu, threads[1].cpu) = (9_600_000_000, 400_000_000);
        },
    );
}

#[test]
fn a_target_without_symbols_warns() {
    fires(
        "symbols",
        Status::Warn,
        json!({ "executable": true, "misses": [["no symbol in libc.so.6", 1_000]], "symbolized": 0.9 }),
        |w| {
            let sampling = w.sampling.as_mut().unwrap();
            sampling.symbolized = Some(0.9);
            sampling.misses = vec![("no symbol in libc.so.6".into(), 1_000)];
        },
    );
    let mut manifest = manifest();
    manifest.target.symbols = Some(false);
    let checks = name(check_window(&preset(), &manifest, &sound()));
    assert_eq!(bad(&checks), [("symbols", Status::Warn)]);
}

#[test]
fn a_target_that_restarted_fails() {
    fires(
        "target_restarted",
        Status::Fail,
        json!({ "now": "2026-01-01T00:05:00Z", "resets": 0, "started": "2026-01-01T00:00:00Z" }),
        |w| w.facts.target_started = Some("2026-01-01T00:05:00Z".into()),
    );
    let by_metrics = check(|w| {
        w.facts.target_started = None;
        w.metrics = Some(metrics((1_000_000, 40), (100_000, 16)));
    });
    assert_eq!(bad(&by_metrics), [("target_restarted", Status::Fail)]);
    let unknown = check(|w| {
        w.facts.target_started = None;
        let missing = Missing { what: "target start time".into(), why: "no pid".into(), remedy: String::new() };
        w.facts.missing.push(missing);
    });
    assert_eq!(bad(&unknown), [("unchecked", Status::NotMeasured)]);
    assert!(unknown.iter().any(|(_, g)| g.to_string().ends_with("same process: not measured: no pid")));
}

#[test]
fn a_scrape_that_takes_a_large_part_of_the_window_warns() {
    fires("skew", Status::Warn, json!({ "skew": 0.125 }), |w| w.facts.skew = Some(0.125));
}

/// Sixteen clients' 100,000 queries, so long in each place.
fn followed(micros: u64, others: Option<Others>) -> impl Fn(&mut Window) {
    move |window: &mut Window| {
        let hop = HopDelta { others, ..build::hop("target", 100_000, 16, [micros as f64; 6]) };
        window.wire = Some(WireDelta { span: window.facts.span, hops: vec![hop], sends_seen: true });
    }
}

#[test]
fn other_clients_whose_work_is_divided_among_the_loads_queries_warn() {
    let others = |queries| followed(317, Some(Others { connections: 2, queries }));
    fires("other_clients", Status::Warn, json!({ "connections": 2, "others": 5_000, "own": 100_000 }), others(5_000));
    assert!(bad(&check(others(500))).is_empty(), "half a percent");
    assert_eq!(bad(&check(followed(317, None))), [("unchecked", Status::NotMeasured)], "whose they are is not known");
}

#[test]
fn places_that_do_not_add_up_to_the_latency_warn() {
    // Five places of 300 us in a latency of 1,590 us.
    fires(
        "places_sum",
        Status::Warn,
        json!({ "latency": 1_590_000.0, "places": 1_500_000.0 }),
        followed(300, Some(Others::default())),
    );
    assert!(bad(&check(followed(317, Some(Others::default())))).is_empty(), "1,585 us of 1,590");
}

#[test]
fn what_queries_wait_in_the_generators_memory_is_no_gap_between_the_places_and_the_latency() {
    // 90 us a query lie in no place; so many of them the generator had the query, by its own clock.
    let waited = |micros: u64, through: LoopKind| {
        check(move |window: &mut Window| {
            followed(300, Some(Others::default()))(window);
            window.load.generator.dispatch_delay = Some(micros * 1_000 * window.load.completed);
            window.load.generator.through = Some(LoopChoice { through, because: None });
        })
    };
    let warned = [("places_sum", Status::Warn)];
    assert!(bad(&waited(80, LoopKind::IoUring)).is_empty(), "10 us are left");
    assert!(bad(&waited(500, LoopKind::IoUring)).is_empty(), "no more than there is");
    assert_eq!(bad(&waited(20, LoopKind::IoUring)), warned, "70 us are left");
    assert_eq!(bad(&waited(80, LoopKind::Epoll)), warned, "there they wait at the sockets");
}
