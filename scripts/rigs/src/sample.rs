//! What sampling costs: `sample PID SECONDS [HZ]` samples one process and prints the samples taken, the whole CPU of
//! this process (start, reading, unwinding) and that of the sampling thread per sample, and the share of complete
//! stacks.

use anyhow::{Context, Result, ensure};
use std::time::Duration;
use wireprof::sample::ebpf::EbpfSampler;
use wireprof::sample::perf::PerfSampler;
use wireprof::sample::unwind::Cache;
use wireprof::sample::{Options, Sampled, Sampler};

pub fn main(arguments: &[String]) -> Result<()> {
    let [pid, seconds, frequency @ ..] = arguments else { anyhow::bail!("usage: sample PID SECONDS [HZ]") };
    let (pid, seconds): (u32, f64) = (pid.parse().context("PID")?, seconds.parse().context("SECONDS")?);
    let frequency = frequency.first().map_or(Ok(997), |text| text.parse()).context("HZ")?;
    let options = Options { frequency, ..Options::default() };
    let mut sampler: Box<dyn Sampler> = match std::env::var_os("WIREPROF_UNWIND").is_some_and(|how| how == "copy") {
        true => Box::new(PerfSampler::new(options)),
        false => Box::new(EbpfSampler::open(options, Cache::default())?),
    };
    let recording = sampler.start(&[Sampled::alone(pid)])?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let (raw, report) = recording.stop()?;
    let cpu = process_cpu()?;
    let samples = raw.samples.len();
    ensure!(samples > 0, "no samples of process {pid}: is it idle?");
    let complete = raw.samples.iter().filter(|s| raw.stacks[s.stack as usize].incomplete.is_none()).count();
    println!(
        "samples {samples} cpu_us_per_sample {:.2} thread_us_per_sample {:.2} kernel_us_per_sample {:.2} \
            complete_percent {:.3} lost {} event {}",
        cpu * 1e6 / samples as f64,
        report.sampler_cpu.map_or(f64::NAN, |nanos| nanos as f64 / 1e3 / samples as f64),
        report.kernel_cpu.map_or(f64::NAN, |nanos| nanos as f64 / 1e3 / samples as f64),
        complete as f64 * 100.0 / samples as f64,
        report.lost,
        report.event,
    );
    for note in &report.fallbacks {
        println!("note: {note}");
    }
    for reason in raw.stacks.iter().filter_map(|stack| stack.incomplete).collect::<std::collections::BTreeSet<_>>() {
        let of = |s: &&wireprof::sample::RawSample| raw.stacks[s.stack as usize].incomplete == Some(reason);
        println!("incomplete: {reason}, {} samples", raw.samples.iter().filter(of).count());
    }
    Ok(())
}

/// Seconds of user and system time of this process, all threads.
fn process_cpu() -> Result<f64> {
    // SAFETY: rusage is plain numbers, for which zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a live rusage that getrusage(2) fills.
    let answer = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    ensure!(answer == 0, "getrusage: {}", std::io::Error::last_os_error());
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}
