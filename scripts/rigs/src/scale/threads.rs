//! The sampler by the number of the target's threads, which all together wait a thousand times a second, so that what
//! grows is what a thread costs.

use super::{Cost, Measured, Part, memory};
use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wireprof::sample::ebpf::EbpfSampler;
use wireprof::sample::unwind::Cache;
use wireprof::sample::{Options, Sampled, Sampler};

pub const PART: Part = Part {
    name: "threads",
    unit: "threads",
    sizes: &[10, 100, 1_000, 4_000],
    costs: &[
        Cost { name: "start", what: "sampler: from asked to running, ms", most: 1.0 },
        Cost { name: "cpu", what: "sampler: CPU of its thread in a recording of 5 s, ms", most: 1.0 },
        Cost { name: "kernel", what: "sampler: CPU of following waits, us a wait", most: 0.0 },
        Cost { name: "memory", what: "sampler: memory of a recording of 5 s, MB", most: 1.0 },
        Cost { name: "kernel-memory", what: "sampler: the kernel's maps, MB", most: 1.0 },
        Cost { name: "lost", what: "sampler: waits without room", most: 0.0 },
    ],
    measure,
};

/// The first argument of the target, behind the rig's name.
pub const PROGRAM: &str = "waiting-threads";
const SECONDS: u64 = 5;

/// The target: so many threads that sleep by turns, and one that computes. Ends with its standard input.
pub fn program(threads: u64) -> Result<()> {
    for _ in 0..threads {
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || {
                loop {
                    std::thread::sleep(Duration::from_millis(threads));
                }
            })
            .context("a thread")?;
    }
    std::thread::spawn(|| {
        loop {
            std::hint::black_box(0);
        }
    });
    println!("ready");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    std::process::exit(0)
}

fn measure(threads: u64) -> Measured {
    let mut target = Command::new(std::env::current_exe()?);
    let mut target =
        target.args(["scale", PROGRAM, &threads.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut ready = [0; 5];
    std::io::Read::read_exact(target.stdout.as_mut().context("its output")?, &mut ready)?;
    let result = sample(target.id());
    drop(target.stdin.take());
    target.wait()?;
    result
}

fn sample(pid: u32) -> Measured {
    let mut sampler = EbpfSampler::open(Options { off_cpu: true, ..Options::default() }, Cache::default())?;
    let (before, began) = (memory::status("RssAnon")?, Instant::now());
    let recording = sampler.start(&[Sampled::alone(pid)])?;
    let start = began.elapsed();
    recording.begin_window();
    std::thread::sleep(Duration::from_secs(SECONDS));
    recording.end_window();
    let (common, each) = memory::maps()?;
    let (raw, report) = recording.stop()?;
    let after = memory::status("RssAnon")?;
    let waits = raw.off_cpu.context("waits were asked for")?.map_err(anyhow::Error::msg)?.report;
    ensure!(waits.waits > 0 && !raw.samples.is_empty(), "nothing was sampled");
    let cpu = report.sampler_cpu.context("the sampler's CPU")?;
    Ok(vec![
        ("start", start.as_secs_f64() * 1e3),
        ("cpu", cpu as f64 / 1e6),
        ("kernel", waits.kernel_cpu as f64 / 1e3 / waits.waits as f64),
        ("memory", (after - before).max(4_096.0) / 1e6),
        ("kernel-memory", (common + each * memory::possible_cpus()? as f64) / 1e6),
        ("lost", (waits.lost_waits + waits.lost_stacks) as f64),
    ])
}
