//! Samples a running process and prints its ten most expensive functions:
//! `sudo cargo run --release --example sample_process -- PID SECONDS`. Needs what `wireprof doctor` says of sampling.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::time::Duration;
use wireprof::clock::{Span, now};
use wireprof::profile::on_cpu_columns;
use wireprof::sample::{Options, Sampled, choose};
use wireprof::symbol::{self, Symbolizer, to_profile};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pid, seconds] = &arguments[..] else { anyhow::bail!("usage: sample_process PID SECONDS") };
    let (pid, seconds): (u32, f64) = (pid.parse().context("PID")?, seconds.parse().context("SECONDS")?);
    let recording = choose(&Options::default(), pid)?.sampler.start(&[Sampled::family(pid)])?;
    let start = now();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let (raw, report) = recording.stop()?;
    println!("{} samples by {}, {} lost, unwound by {}", raw.samples.len(), report.event, report.lost, report.unwinder);
    let mut symbolizer = Symbolizer::new(symbol::Options::default());
    let (profile, _) = to_profile(&raw, &mut symbolizer, Span::new(start, now()), on_cpu_columns());
    let mut samples: BTreeMap<&str, u64> = BTreeMap::new();
    for sample in &profile.samples {
        let leaf = profile.walk(sample.stack).next();
        let name = leaf.map_or("[no stack]", |frame| profile.frames[frame.index()].name.as_str());
        *samples.entry(name).or_default() += 1;
    }
    let mut samples: Vec<(&str, u64)> = samples.into_iter().collect();
    samples.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (name, count) in samples.iter().take(10) {
        println!("{count:8} samples  {name}");
    }
    Ok(())
}
