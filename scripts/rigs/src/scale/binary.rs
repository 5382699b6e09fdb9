//! Names and pictures by the size of a program's debug information, by `scripts/benches/symbols`. 3,000 MB take 10 GB
//! of disk and some minutes: they are measured on demand, by SIZES.

use super::{Cost, Measured, Part};
use anyhow::{Context, Result, ensure};
use std::process::Command;

pub const PART: Part = Part {
    name: "binary",
    unit: "MB of debug information",
    sizes: &[30, 100, 300],
    costs: &[
        Cost { name: "cold-seconds", what: "symbols: a window named and drawn, nothing kept before, s", most: 1.0 },
        Cost { name: "cold-memory", what: "symbols: peak memory of it, MB", most: 1.0 },
        Cost { name: "warm-seconds", what: "symbols: the same window again, s", most: 0.0 },
        Cost { name: "warm-memory", what: "symbols: peak memory of it, MB", most: 0.0 },
    ],
    measure,
};

fn measure(megabytes: u64) -> Measured {
    let mut bench = Command::new("scripts/benches/symbols");
    bench.env("MEGABYTES", megabytes.to_string()).env("ROUNDS", "1").env_remove("BENCH_HISTORY");
    let output = bench.output().context("scripts/benches/symbols, from the repository's root")?;
    ensure!(output.status.success(), "scripts/benches/symbols: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let figures = |state: &str| -> Result<(f64, f64)> {
        let begins = format!("plain-{megabytes} {state}: median ");
        let line = text.lines().find_map(|line| line.strip_prefix(&begins)).context(begins.clone())?;
        let (seconds, peak) = line.split_once(" s, peak ").context("seconds and peak")?;
        Ok((seconds.parse()?, peak.trim_end_matches(" MB").parse()?))
    };
    let ((cold, cold_memory), (warm, warm_memory)) = (figures("cold")?, figures("warm")?);
    Ok(vec![("cold-seconds", cold), ("cold-memory", cold_memory), ("warm-seconds", warm), ("warm-memory", warm_memory)])
}
