//! Whether the walker can be trusted: `callers PID SECONDS` samples one process and has every complete stack walked
//! by two others, framehop over a copy of the whole stack (up to 1.1 MB) and the kernel along frame pointers
//! (for a program built with `-C force-frame-pointers=yes`). Prints how often they agree; exits with 1 where either
//! differs on more than 0.1 %.

use anyhow::{Context, Result};
use std::process::ExitCode;
use std::time::Duration;
use wireprof::sample::Options;
use wireprof::sample::{Agreement, Sampled, choose};

pub fn main(arguments: &[String]) -> Result<ExitCode> {
    let [pid, seconds] = arguments else { anyhow::bail!("usage: callers PID SECONDS") };
    let (pid, seconds): (u32, f64) = (pid.parse().context("PID")?, seconds.parse().context("SECONDS")?);
    let options = Options { cross_checks: true, ..Options::default() };
    let recording = choose(&options, pid)?.sampler.start(&[Sampled::alone(pid)])?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let (raw, report) = recording.stop()?;
    let findings = report.cross_checks.context("the stacks were not cross-checked")?;
    let samples = raw.samples.len();
    println!("{samples} samples in {seconds} s, {}, {}, lost {}", report.unwinder, report.event, report.lost);
    let agree = [say("framehop", &findings.framehop), say("frame pointers", &findings.frame_pointers)];
    Ok(if agree == [true; 2] { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(cross_check: &str, found: &Agreement) -> bool {
    let judged = found.same + found.but_for_a_caller + found.different;
    let share = found.different as f64 / judged as f64;
    println!(
        "{cross_check}: {judged} stacks judged, {} the same, {} but for a caller that it passes over, {} different \
            ({:.3} %); it gave up on {}",
        found.same,
        found.but_for_a_caller,
        found.different,
        share * 100.0,
        found.gave_up
    );
    for [ours, theirs] in &found.examples {
        println!("  ours   {ours:x?}\n  theirs {theirs:x?}");
    }
    judged > 0 && share <= 0.001
}
