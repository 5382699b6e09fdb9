//! Counts the samples in a profile that samply wrote: `samply_samples FILE.json.gz HZ` prints all its rows (it adds
//! some for time off the CPU) and those on the CPU: the CPU time that the rows carry, times HZ.

use anyhow::{Context, Result};
use serde_json::Value;

pub fn main(arguments: &[String]) -> Result<()> {
    const USAGE: &str = "usage: samply_samples FILE HZ";
    let path = arguments.first().context(USAGE)?;
    let frequency: f64 = arguments.get(1).context(USAGE)?.parse().context("HZ")?;
    let file = std::fs::File::open(path).with_context(|| path.clone())?;
    let profile: Value = serde_json::from_reader(std::io::BufReader::new(flate2::read::GzDecoder::new(file)))?;
    let threads = profile["threads"].as_array().context("no threads in the profile")?;
    let rows: u64 = threads.iter().filter_map(|thread| thread["samples"]["length"].as_u64()).sum();
    let deltas = threads.iter().filter_map(|thread| thread["samples"]["threadCPUDelta"].as_array()).flatten();
    let micros: f64 = deltas.filter_map(Value::as_f64).sum();
    println!("rows {rows} on_cpu {:.0}", micros * frequency / 1e6);
    Ok(())
}
