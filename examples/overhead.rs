//! What sampling does to the target: `overhead PAIRS SECONDS [CLIENTS]` starts the testbed under load and measures its CPU per
//! query (the kernel's accounting) in pairs of windows, one with and one without sampling at 997 Hz, in random order. Prints
//! the ratio with its 95 % interval (Student's t over the pairs' logarithms), for the target alone, and with the sampler's CPU.

use anyhow::{Context, Result, ensure};
use rand::Rng;
use std::time::Duration;
use wireprof::load::{Address, Driver, Load, Options, PgwireDriver};
use wireprof::sample::Sampler;
use wireprof::sample::perf::PerfSampler;
use wireprof::target::{Role, Watched, WatchedProcess, difference};
use wireprof::testbed::spawn::{Options as TestbedOptions, Testbed};
use wireprof::workload::Workload;

/// CPU in us per query: of the target, and of the target and the sampler.
type Cost = [f64; 2];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pairs, seconds, clients @ ..] = &arguments[..] else {
        anyhow::bail!("usage: overhead PAIRS SECONDS [CLIENTS]")
    };
    let (pairs, seconds): (usize, f64) = (pairs.parse().context("PAIRS")?, seconds.parse().context("SECONDS")?);
    let clients = clients.first().map_or(Ok(64), |text| text.parse()).context("CLIENTS")?;
    ensure!(pairs >= 2, "an interval needs two pairs at least");
    let testbed =
        Testbed::start(&TestbedOptions { arguments: vec!["--frontend-peek".into()], ..TestbedOptions::default() })?;
    let address = Address::parse(&testbed.ready.sql)?;
    let mut load =
        PgwireDriver::new(address, Workload::from_query("select * from t"), Options::default()).open(clients)?;
    load.start()?;
    std::thread::sleep(Duration::from_millis(500));
    let pid = testbed.ready.pid;
    let mut sampler = PerfSampler::default();
    let mut ratios: [Vec<f64>; 2] = Default::default();
    for pair in 1..=pairs {
        let first: bool = rand::rng().random();
        let one = window(&*load, &mut sampler, pid, seconds, first)?;
        let other = window(&*load, &mut sampler, pid, seconds, !first)?;
        let (with, without) = if first { (one, other) } else { (other, one) };
        println!(
            "pair {pair}: with sampling {:.2} us/query ({:.2} and the sampler's), without {:.2}",
            with[0], with[1], without[0]
        );
        for (ratios, with) in ratios.iter_mut().zip(with) {
            ratios.push((with / without[0]).ln());
        }
    }
    ensure!(load.failed().is_none(), "the load failed: {:?}", load.failed());
    for (what, ratios) in ["target's CPU per query", "target's and sampler's CPU per query"].iter().zip(&ratios) {
        let (middle, half) = interval(ratios);
        let [low, ratio, high] = [middle - half, middle, middle + half].map(f64::exp);
        println!(
            "{what}, with / without sampling: ratio {ratio:.4}, 95 % interval {low:.4} to {high:.4}, {pairs} pairs"
        );
    }
    Ok(())
}

fn window(load: &dyn Load, sampler: &mut PerfSampler, pid: u32, seconds: f64, sampled: bool) -> Result<Cost> {
    let recording = if sampled { Some(sampler.start(&[pid], false)?) } else { None };
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
    let scheduler = difference(&[before, after]).context("the scheduler's statistics could not be read")?;
    recording.map(|recording| recording.stop()).transpose()?;
    ensure!(ended > started, "no query was completed: {:?}", load.failed());
    let each = |nanos: u64| nanos as f64 / 1e3 / (ended - started) as f64;
    let target = scheduler.cpu(Role::Target);
    let profiler = if sampled { scheduler.cpu(Role::Profiler) } else { 0 };
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
