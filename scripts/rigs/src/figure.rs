//! One figure of a benchmark: `figure NAME WHAT UNIT OURS [PEER THEIRS [cut-off]]` reads the values of wireprof and of
//! its peer, one a line and pair by pair, from the files OURS and THEIRS, and prints the ratio with its 95 % interval.
//! Where BENCH_HISTORY names a file it appends the figure to it as one line of JSON; BENCH_REVISION is then the
//! revision that was measured. Invariant: what is printed is what is appended.

use crate::history::{Host, Line, Peer, digits};
use anyhow::{Context, Result, bail, ensure};
use std::io::Write;
use std::time::SystemTime;
use wireprof::analyze::statistics::interval::mean;
use wireprof::target::host;

pub fn main(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, what, unit, ours, peer) = match &words[..] {
        [name, what, unit, ours] => (name, what, unit, ours, None),
        [name, what, unit, ours, peer, theirs] => (name, what, unit, ours, Some((peer, theirs, false))),
        [name, what, unit, ours, peer, theirs, "cut-off"] => (name, what, unit, ours, Some((peer, theirs, true))),
        _ => bail!("usage: figure NAME WHAT UNIT OURS [PEER THEIRS [cut-off]]"),
    };
    let ours = values(ours)?;
    let theirs = peer.map(|(_, file, _)| values(file)).transpose()?;
    let ratios: Vec<f64> = match &theirs {
        Some(theirs) => {
            ensure!(ours.len() == theirs.len(), "{} values of ours and {} are no pairs", ours.len(), theirs.len());
            ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
        }
        None => ours.clone(),
    };
    let (value, interval) = geometric(&ratios).context("there are no values")?;
    let of = |values: &[f64]| geometric(values).map_or(f64::NAN, |(mean, _)| mean);
    let peer = peer.zip(theirs.as_deref()).map(|((name, _, cut_off), theirs)| Peer {
        name: name.to_string(),
        value: of(theirs),
        ratio: value,
        cut_off,
    });
    let line = Line {
        figure: name.to_string(),
        what: what.to_string(),
        unit: unit.to_string(),
        ours: of(&ours),
        peer,
        interval,
        pairs: ours.len(),
        revision: std::env::var("BENCH_REVISION").unwrap_or_default(),
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        host: machine(),
    };
    println!("{}", words_of(&line));
    match std::env::var_os("BENCH_HISTORY") {
        Some(file) => append(&line, std::path::Path::new(&file)),
        None => Ok(()),
    }
}

/// The values of a file, each above 0.
fn values(file: &str) -> Result<Vec<f64>> {
    let text = std::fs::read_to_string(file).with_context(|| file.to_string())?;
    let value = |line: &str| -> Result<f64> {
        let value: f64 = line.trim().parse().with_context(|| format!("{file}: {line:?} is no number"))?;
        ensure!(value.is_finite() && value > 0.0, "{file}: {value} has no ratio");
        Ok(value)
    };
    text.lines().map(value).collect()
}

/// Geometric mean and its 95 % interval.
fn geometric(values: &[f64]) -> Option<(f64, Option<[f64; 2]>)> {
    let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let (mean, interval) = mean(&logarithms)?;
    Some((mean.exp(), interval.map(|(low, high)| [low.exp(), high.exp()])))
}

fn words_of(line: &Line) -> String {
    let interval =
        line.interval.map_or_else(String::new, |[low, high]| format!(" ({} to {}, 95 %)", digits(low), digits(high)));
    let (what, unit, pairs) = (&line.what, &line.unit, line.pairs);
    let ours = digits(line.ours);
    match &line.peer {
        Some(peer) => {
            let (more, less) = if peer.cut_off { ("more than ", "below ") } else { ("", "") };
            let (name, value, ratio) = (&peer.name, digits(peer.value), digits(peer.ratio));
            let theirs = format!("{name} {more}{value} {unit}");
            format!("{what}: wireprof {ours} {unit}, {theirs}, ratio {less}{ratio}{interval}, pairs: {pairs}")
        }
        None => format!("{what}: {ours} {unit}{interval}, no peer, values: {pairs}"),
    }
}

fn append(line: &Line, file: &std::path::Path) -> Result<()> {
    ensure!(!line.revision.is_empty(), "BENCH_REVISION does not say what is measured");
    let text = format!("{}\n", serde_json::to_string(line)?);
    crate::history::parse(&text).map_err(anyhow::Error::msg)?;
    let mut history = std::fs::OpenOptions::new().create(true).append(true).open(file);
    let history = history.as_mut().map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    history.write_all(text.as_bytes()).with_context(|| file.display().to_string())
}

fn machine() -> Host {
    let host = host();
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let is_virtual =
        flags.lines().any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor"));
    Host { cpu: host.cpu, cores: host.cpus, kernel: host.kernel, is_virtual }
}
