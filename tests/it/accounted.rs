//! Costs where the kernel accounts for the CPU of each thread: samples divide it. Invariant: each run is made of
//! threads whose CPU and samples are known, so the expected costs are exact.

use crate::build::*;
use wireprof::analyze::cost::hot::{By, HotOptions, HotTable, hot};
use wireprof::clock::Span;
use wireprof::profile::{Builder, Labels, Profile, on_cpu_columns};
use wireprof::run::{Companion, CpuAccount, ThreadAccount, Window};
use wireprof::target::{MachineDelta, Role, SchedulerDelta, ThreadDelta};

const SECOND: u64 = 1_000_000_000;
const QUERIES: u64 = 1_000;

/// Samples of 1 ms of a thread: (tid, function, how many).
fn sampled(samples: &[(u32, &str, u64)]) -> Profile {
    let mut builder = Builder::new(on_cpu_columns());
    for (tid, function, count) in samples {
        let labels = Labels { process: "server".into(), pid: 1, tid: *tid, ..Labels::default() };
        let labels = builder.labels(Labels { thread: format!("worker-{tid}"), ..labels });
        let frames = vec![builder.frame(frame(function))];
        let stack = builder.stack(frames);
        (0..*count).for_each(|at| {
            builder.sample(stack, labels, Some(at * SECOND / count), vec![1, 1_000_000]);
        });
    }
    builder.finish()
}

fn ran(tid: u32, nanos: u64) -> ThreadDelta {
    let by_schedstat = nanos * 11 / 10;
    ThreadDelta { switched: Some(nanos), ..thread(Role::Target, "server", &format!("worker-{tid}"), tid, by_schedstat) }
}

fn with_accounts(samples: &[(u32, &str, u64)], threads: Vec<ThreadDelta>) -> Window {
    let mut window = window(1, 1, 1, QUERIES, Some(sampled(samples)));
    window.scheduler = Some(SchedulerDelta { span: Span::new(0, SECOND), threads, machine: None });
    window
}

fn table(window: Window) -> HotTable {
    hot(&run(vec![window]), &HotOptions { by: By::SelfCost, ..HotOptions::default() })
}

/// ns a query of a function; `None`: it is in no row.
fn cost(table: &HotTable, function: &str) -> Option<f64> {
    Some(table.rows.iter().find(|row| row.frame.name == function)?.costs[0].as_ref()?.value)
}

#[test]
fn each_threads_samples_divide_the_cpu_that_it_was_accounted() {
    let samples = [(1, "parse", 30), (1, "send", 90), (2, "send", 200)];
    let table = table(with_accounts(&samples, vec![ran(1, 100_000_000), ran(2, 300_000_000)]));
    // A quarter of thread 1 is parsing, whatever the number of its samples.
    assert_eq!(cost(&table, "parse"), Some(25_000.0));
    assert_eq!(cost(&table, "send"), Some(375_000.0));
    let total = table.levels[0].total.clone().unwrap();
    assert_eq!((total.value, total.samples), (400_000.0, Some(320)));
    let (low, high) = total.interval.unwrap();
    assert!(low <= total.value && total.value <= high && high - low < 400_000.0, "{low} {high}");
    assert_eq!(table.levels[0].provenance.accounted, Some(1.0));
}

#[test]
fn threads_of_few_samples_are_one_by_their_name_and_all_that_is_left_is_one() {
    let samples = [(1, "work", 15), (2, "rest", 15), (7, "odd", 2)];
    let mut odd = ran(7, 8_000_000);
    odd.thread = "timer".into();
    let mut idle = ran(8, 2_000_000);
    idle.thread = "reaper".into();
    let table = table(with_accounts(&samples, vec![ran(1, 40_000_000), ran(2, 20_000_000), odd, idle]));
    assert_eq!(cost(&table, "work"), Some(30_000.0), "half of both workers' CPU");
    assert_eq!(cost(&table, "odd"), Some(10_000.0), "the thread without samples is with it");
    assert_eq!(table.levels[0].total.clone().unwrap().value, 70_000.0);
}

#[test]
fn cpu_of_threads_without_any_sample_is_said_to_be_that() {
    let table = table(with_accounts(&[(1, "work", 50)], vec![ran(1, 50_000_000), ran(2, 3_000_000)]));
    assert_eq!(cost(&table, "work"), Some(50_000.0));
    let left: Vec<&str> = table.rows.iter().map(|row| row.frame.name.as_str()).filter(|n| n.starts_with('[')).collect();
    assert_eq!(left, ["[CPU of threads without a sample]"]);
    assert_eq!(cost(&table, left[0]), Some(3_000.0));
    assert_eq!(table.levels[0].total.clone().unwrap().value, 53_000.0);
}

#[test]
fn without_an_account_that_fits_weights_stay_as_sampled() {
    let samples = [(1, "work", 50)];
    let as_sampled = |window: Window| {
        let table = table(window);
        assert_eq!(cost(&table, "work"), Some(50_000.0));
        assert_eq!(table.levels[0].provenance.accounted, None);
    };
    // schedstat alone, whose charge to the incoming thread is known to be wrong.
    as_sampled(with_accounts(&samples, vec![thread(Role::Target, "server", "worker-1", 1, 70_000_000)]));
    let mut longer = with_accounts(&samples, vec![ran(1, 70_000_000)]);
    longer.scheduler.as_mut().unwrap().span = Span::new(0, 2 * SECOND);
    as_sampled(longer);
    let mut user_space = with_accounts(&samples, vec![ran(1, 70_000_000)]);
    let no_kernel = wireprof::sample::NO_KERNEL.to_string();
    user_space.sampling.as_mut().unwrap().fallbacks.push(no_kernel);
    as_sampled(user_space);
    // Of another thread than the sampled one.
    as_sampled(with_accounts(&samples, vec![ran(2, 70_000_000)]));
}

#[test]
fn a_thread_that_ran_without_a_switch_is_known_by_schedstat() {
    let samples = [(1, "work", 50), (2, "spin", 100)];
    let spinning = thread(Role::Target, "server", "spinner", 2, 99_000_000);
    let table = table(with_accounts(&samples, vec![ran(1, 60_000_000), spinning]));
    assert_eq!(cost(&table, "spin"), Some(99_000.0));
    assert_eq!(cost(&table, "work"), Some(60_000.0));
}

fn seen_from(account: Option<CpuAccount>) -> HotTable {
    // Of the target's thread 1 nothing is seen from the database.
    let mut window = with_accounts(&[(1, "parse", 50)], vec![ran(1, 70_000_000)]);
    let (sampling, profile) = (window.sampling.clone().unwrap(), Some(sampled(&[(8, "scan", 60), (9, "sort", 30)])));
    window.companions =
        vec![Companion { process: "database".into(), sampling, account, server: None, host: None, profile }];
    let options = HotOptions { by: By::SelfCost, ..HotOptions::default() };
    hot(&run(vec![window]).seen_from("database"), &options)
}

#[test]
fn a_companions_samples_divide_the_cpu_of_its_own_threads_and_without_an_account_keep_their_weights() {
    let thread = |tid, cpu| {
        let (process, thread) = ("backend".into(), "backend".into());
        ThreadAccount { process, pid: tid, thread, tid, cpu, by_batch: Vec::new(), slices: Some(1_000) }
    };
    let threads = vec![thread(8, 20_000_000), thread(9, 90_000_000)];
    let account = CpuAccount { span: Span::new(SECOND, 2 * SECOND), threads };
    let found = seen_from(Some(account));
    assert_eq!((cost(&found, "scan"), cost(&found, "sort")), (Some(20_000.0), Some(90_000.0)));
    assert_eq!(found.levels[0].total.clone().unwrap().value, 110_000.0);
    assert_eq!(found.levels[0].provenance.accounted, Some(1.0));
    let raw = seen_from(None);
    assert_eq!((cost(&raw, "scan"), cost(&raw, "sort")), (Some(60_000.0), Some(30_000.0)));
    assert_eq!(raw.levels[0].provenance.accounted, None);
}

/// Random numbers, the same in each run (Knuth's MMIX generator).
struct Chance(u64);

/// What a server does in a window of a second: each 50 ms it changes.
struct Shape {
    name: &'static str,
    threads: usize,
    /// Share of the two CPUs that all threads have together.
    busy: f64,
    /// Share of the function in the first half of the threads, and in the others.
    shares: [f64; 2],
    /// Standard deviations, relative, from 50 ms to 50 ms: of each thread's CPU, and of the function's share of it.
    scatter: [f64; 2],
    /// Width of the interval to that without accounts, at most.
    narrower: f64,
}

impl Chance {
    fn below_one(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.below_one()).sum::<f64>() - 6.0
    }

    fn varied(&mut self, mean: f64, scatter: f64) -> f64 {
        (mean * (1.0 + scatter * self.normal())).clamp(0.0, 1.0)
    }

    /// A window in which a thousand ticks a second and CPU fall by chance on what runs.
    fn window(&mut self, shape: &Shape) -> Window {
        const TICKS: u64 = 100;
        let mut builder = Builder::new(on_cpu_columns());
        let frames = ["work", "rest"].map(|function| builder.frame(frame(function)));
        let stacks = frames.map(|frame| builder.stack(vec![frame]));
        let label = |tid| Labels { process: "server".into(), pid: 1, tid, ..Labels::default() };
        let labels: Vec<_> = (0..shape.threads as u32).map(|tid| builder.labels(label(tid))).collect();
        let mut on_cpu = vec![Vec::new(); shape.threads];
        for slice in 0..20 {
            let each: Vec<(f64, f64)> = (0..shape.threads)
                .map(|thread| {
                    let share = shape.shares[usize::from(2 * thread >= shape.threads)];
                    let busy = self.varied(shape.busy / shape.threads as f64, shape.scatter[0]);
                    (busy, self.varied(share, shape.scatter[1]))
                })
                .collect();
            on_cpu.iter_mut().zip(&each).for_each(|(own, (busy, _))| own.push((busy * 1e8) as u64));
            for tick in 0..TICKS {
                let mut at = self.below_one();
                let found = each.iter().position(|(busy, _)| {
                    at -= busy;
                    at < 0.0
                });
                let Some(thread) = found else { continue };
                let stack = stacks[usize::from(self.below_one() >= each[thread].1)];
                let time = SECOND / 20 * slice + tick * 500_000;
                builder.sample(stack, labels[thread], Some(time), vec![1, 1_000_000]);
            }
        }
        let mut window = window(1, 1, 1, QUERIES, Some(builder.finish()));
        let threads = on_cpu.into_iter().enumerate().map(|(tid, by_batch)| {
            let own = ran(tid as u32, by_batch.iter().sum());
            ThreadDelta { slices: 10_000, switched_by_batch: by_batch, ..own }
        });
        let threads: Vec<ThreadDelta> = threads.collect();
        let busy = threads.iter().filter_map(|thread| thread.switched).sum();
        let machine = MachineDelta { cpus: 2, busy, idle: 2 * SECOND - busy, ..MachineDelta::default() };
        window.scheduler = Some(SchedulerDelta { span: Span::new(0, SECOND), threads, machine: Some(machine) });
        window
    }
}

/// The interval of a function; of one without samples that of nothing at all, which has no row.
fn interval(table: &HotTable, function: &str) -> Option<(f64, f64)> {
    table.rows.iter().find(|row| row.frame.name == function)?.costs[0].as_ref()?.interval
}

/// How often of 300 windows the interval holds the true cost, and its width to that without accounts.
fn coverage(shape: &Shape) -> (f64, f64) {
    const ROUNDS: usize = 300;
    let truth = shape.busy * (shape.shares[0] + shape.shares[1]) / 2.0 * 2.0 * SECOND as f64 / QUERIES as f64;
    let mut chance = Chance(7);
    let (mut held, mut widths) = (0, [0.0; 2]);
    for _ in 0..ROUNDS {
        let with = chance.window(shape);
        let without = Window { scheduler: None, ..with.clone() };
        let [accounted, sampled] = [with, without].map(|window| interval(&table(window), "work"));
        let (Some((low, high)), Some((least, most))) = (accounted, sampled) else { continue };
        held += usize::from(low <= truth && truth <= high);
        widths = [widths[0] + high - low, widths[1] + most - least];
    }
    (held as f64 / ROUNDS as f64, widths[0] / widths[1])
}

#[test]
fn intervals_hold_the_true_cost_as_often_as_they_say_and_are_narrower_than_without_accounts() {
    let steady =
        Shape { name: "steady", threads: 2, busy: 0.6, shares: [0.3, 0.8], scatter: [0.0, 0.0], narrower: 0.85 };
    let shapes = [
        Shape { name: "CPU varies", scatter: [0.3, 0.0], narrower: 1.0, ..steady },
        Shape { name: "the function's share varies", scatter: [0.0, 0.3], narrower: 0.95, ..steady },
        Shape { name: "a whole thread", shares: [1.0, 0.0], scatter: [0.1, 0.0], narrower: 0.6, ..steady },
        Shape { name: "many threads", threads: 30, ..steady },
        Shape { name: "rare", shares: [0.02, 0.01], narrower: 1.05, ..steady },
        Shape { name: "busy", busy: 0.98, ..steady },
        steady,
    ];
    for shape in &shapes {
        let (held, narrower) = coverage(shape);
        println!("{}: held {:.1} %, width {narrower:.3} of that without accounts", shape.name, 100.0 * held);
        // The wider of the bounds by samples and by slices is taken, so that they hold a little oftener.
        assert!((0.92..=0.985).contains(&held), "{}: {held}", shape.name);
        assert!(narrower <= shape.narrower, "{}: {narrower}", shape.name);
    }
}
