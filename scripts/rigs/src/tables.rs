//! What attaching to a large program costs: `tables PROGRAM` makes the program's call-frame table cold, reads it from
//! the cache, then starts the program and samples it with a warm cache until the first sample. Prints seconds, sizes
//! and peak memory (of this process, and what the kernel's tables take). The program must run by itself for some
//! seconds.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};
use wireprof::clock;
use wireprof::elf::Image;
use wireprof::sample::Options;
use wireprof::sample::ebpf::EbpfSampler;
use wireprof::sample::unwind::{Cache, Rules};
use wireprof::sample::{Sampled, Sampler};

pub fn main(arguments: &[String]) -> Result<()> {
    let program = arguments.first().context("usage: tables PROGRAM")?;
    let directory = tempfile::tempdir()?;
    let cache = Cache::at(directory.path());
    let rules = Rules::new(Image::open_path(Path::new(program))?);
    let (cold, table) = timed(|| cache.table(&rules, |_| {}));
    println!(
        "table of {:.1} MB of .eh_frame: {} rows, {} rules, {} pages, {:.1} MB; built cold in {cold:.2} s, peak \
            memory {:.0} MB",
        rules.bytes() as f64 / 1e6,
        table.rows(),
        table.rules(),
        table.pages(),
        table.bytes().len() as f64 / 1e6,
        peak_memory()? / 1e6,
    );
    let (warm, again) = timed(|| cache.table(&rules, |_| unreachable!("it is in the cache")));
    ensure!(again.bytes() == table.bytes(), "the cache gives another table");
    println!("from the cache in {:.3} ms", warm * 1e3);
    drop((table, again, rules));
    let mut child = std::process::Command::new(program).spawn()?;
    std::thread::sleep(Duration::from_millis(300));
    let result = attach(child.id(), cache);
    child.kill()?;
    child.wait()?;
    result?;
    println!("peak memory of this process {:.0} MB", peak_memory()? / 1e6);
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let began = Instant::now();
    let result = work();
    (began.elapsed().as_secs_f64(), result)
}

fn attach(pid: u32, cache: Cache) -> Result<()> {
    let began = clock::now();
    let recording = EbpfSampler::open(Options::default(), cache)?.start(&[Sampled::family(pid)])?;
    std::thread::sleep(Duration::from_millis(500));
    let (raw, report) = recording.stop()?;
    let first = raw.samples.first().context("no samples: does the program run by itself?")?.at;
    let incomplete = raw.samples.iter().filter(|s| raw.stacks[s.stack as usize].incomplete.is_some()).count();
    println!(
        "attached with a warm cache: first sample after {:.3} s; {} samples, {incomplete} of them incomplete {:?}",
        (first - began) as f64 / 1e9,
        raw.samples.len(),
        report.fallbacks,
    );
    Ok(())
}

/// Largest resident size of this process so far, in bytes.
fn peak_memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? * 1024.0)
}
