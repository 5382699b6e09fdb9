//! What sampling does to the target: `overhead ROUNDS SECONDS [CLIENTS]` starts the testbed under load and measures its CPU per
//! query (the kernel's accounting) in rounds of three windows in random order: without sampling, with nothing but a timer of the
//! same rate on every CPU (what any sampler by a timer costs on this host: on a virtual machine each interrupt is several
//! exits to the hypervisor), and with sampling at 997 Hz. Prints ratios with their 95 % intervals (Student's t over the rounds'
//! logarithms), for the target alone and with the sampler's CPU.

use anyhow::{Context, Result, ensure};
use perf_event::events::Software;
use perf_event::{Builder, Counter};
use rand::seq::SliceRandom;
use std::time::Duration;
use wireprof::load::{Address, Driver, Load, Options, PgwireDriver};
use wireprof::sample::{Sampler, choose};
use wireprof::target::{Role, Watched, WatchedProcess, difference};
use wireprof::testbed::spawn::{Options as TestbedOptions, Testbed};
use wireprof::workload::Workload;

/// CPU in us per query: of the target, and of the target and the sampler.
type Cost = [f64; 2];

#[derive(Clone, Copy, PartialEq)]
enum Arm {
    Without,
    Timer,
    Sampled,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rounds, seconds, clients @ ..] = &arguments[..] else {
        anyhow::bail!("usage: overhead ROUNDS SECONDS [CLIENTS]")
    };
    let (rounds, seconds): (usize, f64) = (rounds.parse().context("ROUNDS")?, seconds.parse().context("SECONDS")?);
    let clients = clients.first().map_or(Ok(64), |text| text.parse()).context("CLIENTS")?;
    ensure!(rounds >= 2, "an interval needs two rounds at least");
    let testbed =
        Testbed::start(&TestbedOptions { arguments: vec!["--frontend-peek".into()], ..TestbedOptions::default() })?;
    let address = Address::parse(&testbed.ready.sql)?;
    let mut load =
        PgwireDriver::new(address, Workload::from_query("select * from t"), Options::default()).open(clients)?;
    load.start()?;
    std::thread::sleep(Duration::from_millis(500));
    let pid = testbed.ready.pid;
    let mut sampler = choose(&Default::default(), pid)?.sampler;
    sampler.prepare(&[pid], false, &|_| {})?;
    let mut timer = timers()?;
    let mut ratios: [Vec<f64>; 4] = Default::default();
    for round in 1..=rounds {
        let mut costs = [[f64::NAN; 2]; 3];
        let mut order = [Arm::Without, Arm::Timer, Arm::Sampled];
        order.shuffle(&mut rand::rng());
        for arm in order {
            costs[arm as usize] = window(&*load, &mut *sampler, &mut timer, pid, seconds, arm)?;
        }
        let [without, timer, sampled] = costs;
        println!(
            "round {round}: without {:.2} us/query, with a timer {:.2}, with sampling {:.2} ({:.2} and the sampler's)",
            without[0], timer[0], sampled[0], sampled[1]
        );
        let found = [sampled[0] / without[0], sampled[1] / without[0], timer[0] / without[0], sampled[0] / timer[0]];
        ratios.iter_mut().zip(found).for_each(|(ratios, found)| ratios.push(found.ln()));
    }
    ensure!(load.failed().is_none(), "the load failed: {:?}", load.failed());
    let what = [
        "target's CPU per query, with / without sampling",
        "target's and sampler's CPU per query, with / without sampling",
        "target's CPU per query, with a bare timer / without",
        "target's CPU per query, with sampling / with a bare timer",
    ];
    for (what, ratios) in what.iter().zip(&ratios) {
        let (middle, half) = interval(ratios);
        let [low, ratio, high] = [middle - half, middle, middle + half].map(f64::exp);
        println!("{what}: ratio {ratio:.4}, 95 % interval {low:.4} to {high:.4}, {rounds} rounds");
    }
    Ok(())
}

/// One timer a CPU at the sampler's rate; its interrupts are counted and nothing else.
fn timers() -> Result<Vec<Counter>> {
    let cpus = std::thread::available_parallelism()?.get();
    let timer = |cpu| {
        let mut builder = Builder::new(Software::CPU_CLOCK);
        builder
            .sample_period(1_000_000_000 / 997)
            .exclude_kernel(false)
            .any_pid()
            .one_cpu(cpu)
            .build()
            .context("a timer on each CPU")
    };
    (0..cpus).map(timer).collect()
}

fn window(
    load: &dyn Load,
    sampler: &mut dyn Sampler,
    timers: &mut [Counter],
    pid: u32,
    seconds: f64,
    arm: Arm,
) -> Result<Cost> {
    let recording = if arm == Arm::Sampled { Some(sampler.start(&[pid], false)?) } else { None };
    if arm == Arm::Timer {
        timers.iter_mut().try_for_each(|timer| timer.enable())?;
    }
    std::thread::sleep(Duration::from_millis(100));
    let watched = Watched {
        processes: vec![WatchedProcess { pid, role: Role::Target, children: false }],
        generator_threads: load.thread_ids(),
        ..Watched::default()
    };
    let readings_and_count = || (watched.read(), load.progress().0);
    let (before, started) = readings_and_count();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let (after, ended) = readings_and_count();
    timers.iter_mut().try_for_each(|timer| timer.disable())?;
    let scheduler = difference(&[before, after]).context("the scheduler's statistics could not be read")?;
    recording.map(|recording| recording.stop()).transpose()?;
    ensure!(ended > started, "no query was completed: {:?}", load.failed());
    let each = |nanos: u64| nanos as f64 / 1e3 / (ended - started) as f64;
    let target = scheduler.cpu(Role::Target);
    let profiler = if arm == Arm::Sampled { scheduler.cpu(Role::Profiler) } else { 0 };
    Ok([each(target), each(target + profiler)])
}

/// Mean and half of its 95 % interval; Student's quantile by Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5).
fn interval(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let (z, free) = (1.959_964_f64, count - 1.0);
    let [z3, z5, z7] = [3, 5, 7].map(|power| z.powi(power));
    let quantile = z
        + (z3 + z) / (4.0 * free)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * free.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * free.powi(3));
    (mean, quantile * (variance / count).sqrt())
}
