//! Costs where the kernel accounts for the CPU of each thread: samples divide it. Invariant: each run is made of
//! threads whose CPU and samples are known, so the expected costs are exact.

use crate::build::*;
use wireprof::analyze::cost::hot::{By, HotOptions, HotTable, hot};
use wireprof::clock::Span;
use wireprof::profile::{Builder, Labels, Profile, on_cpu_columns};
use wireprof::run::Window;
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

/// Random numbers below 1, the same in each run (Knuth's MMIX generator).
struct Chance(u64);

impl Chance {
    fn below_one(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A window in which ticks fall by chance: thread 1 runs 0.4 s and spends 30 % of it in `work`, thread 2 0.8 s and
    /// 80 %.
    fn window(&mut self) -> Window {
        let mut builder = Builder::new(on_cpu_columns());
        for (tid, share, ran) in [(1, 0.3, 0.4), (2, 0.8, 0.8)] {
            let labels = builder.labels(Labels { process: "server".into(), pid: 1, tid, ..Labels::default() });
            for tick in 0..2_000u64 {
                // A thousand ticks a second, each of which finds the thread on a CPU or does not.
                if self.below_one() >= ran / 2.0 {
                    continue;
                }
                let function = if self.below_one() < share { "work" } else { "rest" };
                let frames = vec![builder.frame(frame(function))];
                let stack = builder.stack(frames);
                builder.sample(stack, labels, Some(tick * SECOND / 2_000), vec![1, 1_000_000]);
            }
        }
        let mut window = window(1, 1, 1, QUERIES, Some(builder.finish()));
        let threads = vec![ran(1, 400_000_000), ran(2, 800_000_000)];
        let machine = MachineDelta { cpus: 2, busy: 1_200_000_000, idle: 800_000_000, ..MachineDelta::default() };
        window.scheduler = Some(SchedulerDelta { span: Span::new(0, SECOND), threads, machine: Some(machine) });
        window
    }
}

#[test]
fn intervals_hold_the_true_cost_as_often_as_they_say_and_are_narrower_than_without_accounts() {
    const ROUNDS: usize = 300;
    let truth = (0.3 * 0.4 + 0.8 * 0.8) * SECOND as f64 / QUERIES as f64;
    let mut chance = Chance(7);
    let (mut held, mut widths) = (0, [0.0; 2]);
    for _ in 0..ROUNDS {
        let with = chance.window();
        let without = Window { scheduler: None, ..with.clone() };
        for (at, window) in [with, without].into_iter().enumerate() {
            let table = table(window);
            let row = table.rows.iter().find(|row| row.frame.name == "work").unwrap();
            let (low, high) = row.costs[0].as_ref().unwrap().interval.unwrap();
            widths[at] += high - low;
            held += usize::from(at == 0 && low <= truth && truth <= high);
        }
    }
    let share = held as f64 / ROUNDS as f64;
    // The wider of two bounds is taken, so that it is held a little oftener.
    assert!((0.93..=0.995).contains(&share), "{share}");
    let narrower = widths[0] / widths[1];
    println!("held {share}, narrower {narrower}");
    assert!(narrower < 0.85, "{narrower}");
}
