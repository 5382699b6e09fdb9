//! Runs constructed so that their cause is known: each is concluded first, with the effect that the construction has,
//! and what was not measured is named.

use crate::build::{self, Stack, frame, hop};
use wireprof::analyze::judge::diagnose::{Confidence, Diagnosis, diagnose};
use wireprof::check::Check;
use wireprof::clock::Span;
use wireprof::metrics::{MetricsDelta, Scrape};
use wireprof::preset::{Cause, Preset};
use wireprof::profile::{Builder, Labels, on_cpu_columns};
use wireprof::render::{diagnosis_report, terminal};
use wireprof::run::Window;
use wireprof::statements::{StatementDelta, StatementsDelta};
use wireprof::target::{MachineDelta, Role, SchedulerDelta};
use wireprof::wire::{HopDelta, WireDelta};

const SECOND: u64 = 1_000_000_000;
const READ_TS: &str = "SELECT read_ts FROM timestamp_oracle WHERE timeline = $1";

/// One window of one second on two CPUs; times in us a query, or a round trip where it says so.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) clients: usize,
    pub(crate) latency: f64,
    /// On the server's CPU, by stack.
    pub(crate) server: Vec<(&'static str, f64)>,
    pub(crate) generator: f64,
    pub(crate) database: f64,
    /// CPUs that others take, and us a query that threads wait for them.
    pub(crate) taken: f64,
    pub(crate) waiting: f64,
    /// Share of the server's CPU on its busiest thread.
    pub(crate) on_one_thread: f64,
    /// Threads of the server, inside a task besides what is on a CPU.
    pub(crate) blocked: f64,
    /// A round trip behind: the call, the statement, the way on its own, waiting at the database; what a query waits
    /// for it.
    pub(crate) call: f64,
    pub(crate) statement: f64,
    pub(crate) at_database: f64,
    pub(crate) wait: f64,
    pub(crate) pool: f64,
    /// Queries that share a round trip.
    pub(crate) sharing: f64,
    pub(crate) checks: Vec<Check>,
}

/// One client whose 100 us are spread: no single cause.
pub(crate) fn one() -> Made {
    Made {
        clients: 1,
        latency: 100.0,
        server: vec![("serve;a", 7.0), ("serve;b", 7.0), ("serve;c", 6.0), ("serve;k:tcp_sendmsg", 20.0)],
        generator: 10.0,
        database: 20.0,
        taken: 0.0,
        waiting: 0.0,
        on_one_thread: 0.6,
        blocked: 0.0,
        call: 50.0,
        statement: 5.0,
        at_database: 20.0,
        wait: 55.0,
        pool: 0.0,
        sharing: 1.0,
        checks: Vec::new(),
    }
}

/// One client whose queries cost what those of sixteen cost: nothing is shared that would get cheaper with the
/// throughput.
pub(crate) fn one_as_cheap() -> Made {
    let Made { server, generator, database, .. } = sixteen();
    Made { server, generator, database, ..one() }
}

/// Sixteen clients on two saturated CPUs: 20 us of CPU a query of each kind.
pub(crate) fn sixteen() -> Made {
    let server = vec![("serve;a", 2.0), ("serve;b", 2.0), ("serve;c", 1.0), ("serve;k:tcp_sendmsg", 6.0)];
    Made {
        clients: 16,
        latency: 160.0,
        server,
        generator: 5.0,
        database: 4.0,
        call: 80.0,
        wait: 95.0,
        sharing: 4.0,
        ..one()
    }
}

impl Made {
    fn cpu(&self) -> f64 {
        self.server.iter().map(|(_, micros)| micros).sum()
    }

    pub(crate) fn queries(&self) -> u64 {
        (self.clients as f64 / self.latency * 1e6) as u64
    }

    pub(crate) fn window(&self) -> Window {
        let queries = self.queries();
        let mut window = build::window(self.clients, 1, 1, queries, Some(self.profile()));
        let span = Span::new(0, SECOND);
        (window.facts.span, window.load.span) = (span, span);
        window.load.latency_sum = Some((queries as f64 * self.latency * 1e3) as u64);
        window.metrics = Some(self.metrics());
        window.statements = Some(self.statements());
        window.scheduler = Some(self.scheduler());
        window.wire = Some(WireDelta { span, hops: self.hops(), sends_seen: true });
        window.checks = self.checks.clone();
        window
    }

    fn profile(&self) -> wireprof::profile::Profile {
        let mut builder = Builder::new(on_cpu_columns());
        for (stack, micros) in &self.server {
            // Twenty times in the second, so that there are batches for an interval.
            for at in 0..20 {
                let Stack(stack, at) = Stack(stack, at * 50);
                let frames: Vec<_> = stack.split(';').map(|name| builder.frame(frame(name))).collect();
                let stack = builder.stack(frames);
                let tid = if at < (1_000.0 * self.on_one_thread) as u64 { 11 } else { 12 };
                let labels = builder.labels(Labels { process: "server".into(), tid, ..Labels::default() });
                let nanos = micros * 1e3 * self.queries() as f64 / 20.0;
                builder.sample(stack, labels, Some(at * 1_000_000), vec![50, nanos as i64]);
            }
        }
        builder.finish()
    }

    fn metrics(&self) -> MetricsDelta {
        let [before, after] = self.scrapes();
        MetricsDelta::between(&before, &after)
    }

    /// What the server told at the window's ends.
    pub(crate) fn scrapes(&self) -> [Scrape; 2] {
        let (queries, calls) = (self.queries() as f64, self.queries() as f64 / self.sharing);
        let histogram = |name: &str, labels: &str, count: f64, micros: f64| {
            let sum = count * micros / 1e6;
            format!("# TYPE {name} histogram\n{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}\n")
        };
        let phase = |phase: &str, micros: f64| {
            histogram("mz_ts_oracle_postgres_read_ts_phase_seconds", &format!("phase=\"{phase}\""), calls, micros)
        };
        let busy = (self.cpu() + self.blocked) * queries / 1e6;
        let text = [
            phase("query_one", self.call),
            phase("get_connection", self.pool),
            histogram("mz_ts_oracle_batch_wait_seconds", "op=\"read_ts\"", queries, self.wait),
            histogram("mz_ts_oracle_batch_inner_read_seconds", "op=\"read_ts\"", calls, self.call + self.pool),
            format!(
                "# TYPE mz_ts_oracle_batches_count counter\nmz_ts_oracle_batches_count{{op=\"read_ts\"}} {calls}\n"
            ),
            "# TYPE mz_tokio_num_workers gauge\nmz_tokio_num_workers{runtime=\"main\"} 2\n".into(),
            format!(
                "# TYPE mz_tokio_worker_total_busy_duration \
                    gauge\nmz_tokio_worker_total_busy_duration{{runtime=\"main\"}} {busy}\n"
            ),
        ];
        let before = "# TYPE mz_tokio_worker_total_busy_duration \
                      gauge\nmz_tokio_worker_total_busy_duration{runtime=\"main\"} 0\n";
        let scrape = |at, text: &str| Scrape { span: Span::new(at, at), text: text.to_string() };
        [scrape(0, before), scrape(SECOND, &text.concat())]
    }

    fn statements(&self) -> StatementsDelta {
        let calls = (self.queries() as f64 / self.sharing) as u64;
        let statement = StatementDelta {
            query: READ_TS.into(),
            application: None,
            calls,
            rows: calls,
            exec: (calls as f64 * self.statement * 1e3) as u64,
            plan: None,
            service: None,
            sampled: None,
            new: false,
        };
        let at = Span::new(0, 0);
        StatementsDelta {
            source: "s".into(),
            before: at,
            after: at,
            statements: vec![statement],
            vanished: 0,
            hidden: 0,
        }
    }

    fn scheduler(&self) -> SchedulerDelta {
        let nanos = |micros: f64| (micros * 1e3 * self.queries() as f64) as u64;
        let thread = |role, name: &str, tid, cpu| {
            let process = if role == Role::Other { "postgres" } else { "p" };
            build::thread(role, process, name, tid, cpu)
        };
        let mut threads = vec![
            thread(Role::Target, "tokio:work-0", 11, nanos(self.cpu() * self.on_one_thread)),
            thread(Role::Target, "tokio:work-1", 12, nanos(self.cpu() * (1.0 - self.on_one_thread))),
            thread(Role::Generator, "load", 21, nanos(self.generator)),
            thread(Role::Other, "database", 31, nanos(self.database)),
        ];
        threads[3].runnable = nanos(self.waiting);
        let busy = threads.iter().map(|t| t.cpu).sum::<u64>() + (self.taken * SECOND as f64) as u64;
        let idle = (2 * SECOND).saturating_sub(busy);
        let machine = MachineDelta { cpus: 2, busy, idle, ..MachineDelta::default() };
        SchedulerDelta { span: Span::new(0, SECOND), threads, machine: Some(machine) }
    }

    fn hops(&self) -> Vec<HopDelta> {
        let calls = (self.queries() as f64 / self.sharing) as u64;
        let within = self.latency - 20.0;
        let behind = [0.0, 1.0, self.at_database / 2.0, self.statement + self.at_database / 2.0, 1.0, 5.0];
        vec![
            hop("target", self.queries(), self.clients as u64, [0.0, 2.0, 8.0, within, 2.0, 8.0]),
            hop("database", calls, 3, behind),
        ]
    }
}

pub(crate) fn diagnosed(made: &[Made]) -> Diagnosis {
    let run = build::run(made.iter().map(Made::window).collect());
    let preset = Preset::built_in("testbed").unwrap();
    diagnose(&run, &preset, made.last().unwrap().clients).unwrap()
}

/// The first verdict, which must be confident and this cause, and its effect in us.
fn first(made: &[Made], cause: Cause) -> (Diagnosis, f64) {
    let found = diagnosed(made);
    let verdict = &found.verdicts[0];
    assert_eq!((verdict.cause, verdict.confidence), (cause, Confidence::Confident), "{:#?}", found.verdicts);
    let effect = verdict.effect.map_or(f64::NAN, |effect| effect.latency / 1e3);
    (found, effect)
}

pub(crate) fn near(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 0.15, "{found} instead of {expected}");
}

#[test]
fn without_a_cause_there_is_none_and_two_saturated_cpus_are_said_to_be() {
    let (found, _) = first(&[one()], Cause::NoSingleCause);
    assert!(found.not_judged.iter().any(|lacking| lacking.starts_with("growth")), "{:?}", found.not_judged);
    let (found, _) = first(&[one(), sixteen()], Cause::CpuSaturated);
    assert_eq!(found.verdicts.iter().filter(|v| v.confidence == Confidence::Confident).count(), 1);
}

#[test]
fn a_function_is_named_with_its_effect_whatever_the_level() {
    let mut alone = one();
    (alone.latency, alone.server[0]) = (200.0, ("serve;a", 107.0));
    let (found, effect) = first(&[alone], Cause::CpuFunction);
    near(effect, 107.0);
    assert_eq!(found.verdicts[0].named[0].name, "a");
    // 20 + 40 us of CPU a query on two CPUs: 480 us at 16 clients, of which the function is two thirds.
    let mut loaded = sixteen();
    (loaded.latency, loaded.server[0]) = (480.0, ("serve;a", 42.0));
    let (found, effect) = first(&[one_as_cheap(), loaded.clone()], Cause::CpuFunction);
    near(effect, 336.0);
    // Where the other 18 us cost 63 at a third of the throughput, three quarters of them are taken for shared work,
    // as most: the throughput rises by r with r (4.5 + 13.5 / r) = 60, which leaves 39 us.
    near(first(&[one(), loaded], Cause::CpuFunction).1, 441.0);
    assert_eq!(found.verdicts[0].named[0].name, "a");
    assert!(found.verdicts.iter().any(|verdict| verdict.cause == Cause::CpuSaturated));
}

#[test]
fn what_gets_cheaper_with_the_throughput_is_read_from_the_lowest_level_and_said() {
    // The costs fall steeply from 16 to 64 clients, by the clients and not by the throughput.
    let dear = Made { latency: 320.0, generator: 25.0, ..sixteen() };
    let many = Made { clients: 64, latency: 640.0, ..sixteen() };
    let found = diagnosed(&[one(), dear.clone(), many.clone()]);
    assert_eq!(found.lower, Some(1));
    assert!(terminal(&diagnosis_report(&found, &[]), 200).contains("as it did from level 1 to this one"));
    let alone = diagnosed(&[many]);
    assert_eq!(alone.lower, None);
    assert!(terminal(&diagnosis_report(&alone, &[]), 200).contains("does not tell how it falls"));
    // As high a throughput as here tells nothing.
    assert_eq!(diagnosed(&[Made { clients: 8, latency: 160.0, ..sixteen() }, dear]).lower, None);
}

#[test]
fn the_allocator_is_told_apart_from_the_function_that_calls_it() {
    let mut made = one();
    (made.latency, made.server[0]) = (200.0, ("serve;a;malloc", 107.0));
    let (found, effect) = first(&[made], Cause::Allocator);
    near(effect, 107.0);
    assert_eq!(found.verdicts[0].named[0].name, "a");
}

#[test]
fn a_slow_statement_and_a_slow_way_to_it_are_told_apart_from_200_us_on() {
    for added in [200.0, 400.0, 2_000.0] {
        let slow = Made { latency: 100.0 + added, call: 50.0 + added, wait: 55.0 + added, ..one() };
        let statement = Made { statement: 5.0 + added, database: 20.0 + added, ..slow.clone() };
        near(first(&[statement], Cause::DatabaseService).1, added);
        near(first(&[slow], Cause::DatabasePath).1, added);
    }
}

#[test]
fn the_way_to_the_database_costs_nothing_where_the_cpus_are_the_limit() {
    let made = Made { call: 250.0, wait: 155.0, ..sixteen() };
    let slower = Made { latency: 300.0, call: 250.0, wait: 255.0, ..one() };
    first(&[slower, made], Cause::CpuSaturated);
}

#[test]
fn a_database_that_is_late_is_not_a_slow_one() {
    let late = Made { clients: 4, latency: 1_000.0, call: 900.0, at_database: 860.0, wait: 900.0, ..one() };
    let (found, effect) = first(&[one(), late], Cause::DatabaseStarved);
    near(effect, 840.0);
    let evidence = &found.verdicts[0].evidence;
    assert!(
        evidence.iter().any(|e| e.what.contains("wait at the database") && e.source == "wire.json"),
        "{evidence:?}"
    );
}

#[test]
fn queues_in_front_of_the_round_trip_are_batches_slots_or_the_pool() {
    let slow = Made { latency: 2_000.0, call: 30.0, wait: 1_900.0, ..sixteen() };
    // Until the CPUs are the limit.
    near(first(std::slice::from_ref(&slow), Cause::BatchQueue).1, 2_000.0 - 160.0);
    // 2.9 calls under way: 16 clients share 16 / (2,000 us) / 4 calls a second of 1,450 us.
    let full = Made { call: 900.0, at_database: 880.0, statement: 5.0, wait: 1_900.0, sharing: 2.6, ..slow.clone() };
    assert!(diagnosed(&[full]).verdicts.iter().any(|verdict| verdict.cause == Cause::Slots));
    let pool = Made { pool: 1_850.0, ..slow };
    near(first(&[pool], Cause::Pool).1, 2_000.0 - 160.0);
}

#[test]
fn a_thread_that_is_always_on_a_cpu_bounds_the_throughput() {
    let server = vec![("serve;coordinate", 100.0), ("serve;b", 2.0)];
    let made = Made { latency: 1_600.0, server, on_one_thread: 1.0, ..sixteen() };
    let (found, effect) = first(&[one(), made], Cause::SaturatedThread);
    // Without the function the CPUs are the next limit: 11 us on two.
    near(effect, 1_600.0 - 16.0 * 11.0 / 2.0);
    assert_eq!(found.verdicts[0].named[0].name, "coordinate");
}

#[test]
fn a_lock_is_named_by_the_function_that_waits_for_it_and_other_blocking_calls_are_not_locks() {
    // Two workers, each held 90 us a query: 16 clients take 16 x 100 / 2 us.
    let blocked = Made { latency: 800.0, blocked: 89.0, ..sixteen() };
    let (_, effect) = first(&[one_as_cheap(), blocked.clone()], Cause::BlockedRuntime);
    near(effect, 800.0 - 160.0);
    let mut locked = blocked;
    locked.server.push(("serve;take;std::sys::sync::mutex::futex::Mutex::lock_contended", 1.0));
    let (found, _) = first(&[one(), locked], Cause::Lock);
    assert_eq!(found.verdicts[0].named[0].name, "take");
    // HeldResource by a function that works under it, most of that by chance on one thread, which is no limit of its
    // own.
    let mut working = Made { latency: 1_200.0, blocked: 60.0, on_one_thread: 0.7, ..sixteen() };
    working.server.push(("serve;take;hold", 60.0));
    working.server.push(("serve;take;std::sys::sync::mutex::futex::Mutex::lock_contended", 4.0));
    let (found, effect) = first(&[one_as_cheap(), working], Cause::Lock);
    assert_eq!(found.verdicts[0].named[0].name, "take");
    near(effect, 1_200.0 - 160.0);
}

#[test]
fn a_generator_that_cannot_ask_faster_and_processes_beside_are_told() {
    let made = Made { latency: 960.0, generator: 60.0, call: 20.0, wait: 20.0, at_database: 5.0, ..sixteen() };
    // Without it, as if it were on a machine of its own: 15 us of CPU of the others are left.
    near(first(&[one_as_cheap(), made], Cause::Generator).1, 960.0 - 16.0 * (75.0 - 60.0) / 2.0);
    let made = Made { latency: 320.0, taken: 1.0, waiting: 30.0, ..sixteen() };
    near(first(&[one_as_cheap(), made.clone()], Cause::OtherProcesses).1, 160.0);
    // The same where hardly a thread waits: what others take would be idle, and only half of it is wanted.
    near(first(&[one_as_cheap(), Made { waiting: 0.0, ..made }], Cause::OtherProcesses).1, 80.0);
    let found = diagnosed(&[Made { taken: 1.2, ..one() }]);
    assert!(found.verdicts.iter().all(|verdict| verdict.cause != Cause::OtherProcesses), "{:#?}", found.verdicts);
}

#[test]
fn a_run_of_something_else_says_that_first() {
    let focus = Check::Focus { name: "peeks a query".into(), value: 0.2, at_least: 0.99, remedy: "r".into() };
    let (found, _) = first(&[Made { checks: vec![focus], ..sixteen() }], Cause::SlowPath);
    assert!(found.verdicts[0].sentence.contains("peeks a query: 0.200"), "{}", found.verdicts[0].sentence);
    let churn =
        Check::ServerChurn { name: "sessions started".into(), unit: "sessions".into(), value: 99.0, at_most: 34.0 };
    first(&[Made { checks: vec![churn], ..sixteen() }], Cause::Churn);
}

#[test]
fn what_was_not_measured_is_named_and_nothing_is_concluded_from_it() {
    let mut window = one().window();
    (window.scheduler, window.metrics, window.wire, window.profile) = (None, None, None, None);
    let found = diagnose(&build::run(vec![window]), &Preset::built_in("testbed").unwrap(), 1).unwrap();
    assert_eq!(found.verdicts.len(), 1);
    assert_eq!(found.verdicts[0].cause, Cause::NoSingleCause);
    for lacking in ["effects of causes", "functions that use the CPU", "the round trip behind", "blocked workers"] {
        assert!(found.not_judged.iter().any(|said| said.starts_with(lacking)), "{lacking}: {:?}", found.not_judged);
    }
}

#[test]
fn every_figure_of_the_text_stands_with_its_unit_level_and_file() {
    let slow = Made { latency: 500.0, call: 450.0, wait: 455.0, ..one() };
    let text = terminal(&diagnosis_report(&diagnosed(&[slow]), &[]), 140);
    assert!(text.contains("1. the way to the database, or the call path"), "{text}");
    assert!(
        text.contains("- query_one: 450 µs a round trip (level 1; metrics-before.prom.gz, metrics-after.prom.gz)"),
        "{text}"
    );
    assert!(text.contains("calls: 5.00 µs a call (level 1; statements.json)"), "{text}");
    assert!(text.contains("the statement's execution time"), "{text}");
    assert!(text.lines().count() <= 60 && text.len() <= 8_000, "{}", text.len());
}

#[test]
fn the_quantities_that_a_preset_diagnoses_by_exist() {
    for name in ["materialize", "testbed"] {
        let preset = Preset::built_in(name).unwrap();
        let known = |wanted: &String| preset.quantity.iter().any(|quantity| quantity.name == *wanted);
        let behind = preset.diagnosis.behind.as_ref().unwrap();
        let named =
            behind.call.iter().chain(&behind.wait).chain([&behind.calls]).chain(&behind.slots).chain(&behind.pool);
        assert!(named.chain([&preset.diagnosis.workers.as_ref().unwrap().busy]).all(known), "{name}");
        assert!(preset.focus.iter().any(|focus| Some(&focus.name) == preset.diagnosis.allocator.as_ref()), "{name}");
        assert_eq!(preset.rule.len(), 26, "{name}: a rule for each cause");
    }
}
