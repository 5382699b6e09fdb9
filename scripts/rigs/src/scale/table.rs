//! The table of `docs/scale.md`. Invariant: recording some parts leaves the rows of the others as they are.

use super::{Cost, PARTS, Part};
use anyhow::{Context, Result, ensure};
use std::fmt;
use std::time::SystemTime;

pub const HEAD: &str = "| what | sizes | cost at each size | slope | at most | command | measured |\n\
    |---|---|---|---|---|---|---|";
/// Where the table lies in the document.
const BEGIN: &str = "<!-- scale: begin -->\n";
const END: &str = "<!-- scale: end -->\n";
/// A slope may be so much above its bound: it is fitted to a few measurements.
const SLACK: f64 = 0.1;

/// One cost over the sizes.
pub struct Row {
    part: &'static str,
    text: String,
}

impl Row {
    pub fn new(part: &'static Part, cost: &Cost, sizes: &[u64], costs: &[f64]) -> Row {
        let slope = slope(sizes, costs);
        let list = |texts: Vec<String>| texts.join(", ");
        let sizes = list(sizes.iter().map(|size| thousands(*size)).collect());
        let costs = list(costs.iter().map(|cost| digits(*cost)).collect());
        let slope = match slope {
            Some(slope) if slope > cost.most + SLACK => format!("**{slope:.2}**"),
            Some(slope) => format!("{slope:.2}"),
            None => "-".into(),
        };
        let revision = std::env::var("BENCH_REVISION").unwrap_or_else(|_| "?".into());
        let day = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let day = day.split('T').next().unwrap_or_default();
        let (what, unit, most, name) = (cost.what, part.unit, cost.most, part.name);
        let command = format!("`PARTS={name} scripts/bench scale`");
        let text = format!("| {what} | {unit}: {sizes} | {costs} | {slope} | {most} | {command} | {revision}, {day} |");
        Row { part: name, text }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The exponent, by least squares of logarithms; `None` where a cost is 0, which has none.
fn slope(sizes: &[u64], costs: &[f64]) -> Option<f64> {
    let points: Vec<(f64, f64)> =
        sizes.iter().zip(costs).map(|(size, cost)| ((*size as f64).ln(), cost.ln())).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    Some(above / below).filter(|slope| slope.is_finite())
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).unwrap()).collect();
    parts.join(",")
}

fn digits(number: f64) -> String {
    match number.abs() {
        large if large >= 1_000.0 => thousands(number.round() as u64),
        large if large >= 100.0 || number == 0.0 => format!("{number:.0}"),
        large if large >= 10.0 => format!("{number:.1}"),
        large if large >= 0.1 => format!("{number:.2}"),
        _ => format!("{number:.2e}"),
    }
}

/// Puts the rows into the document, in the place of the older ones of the same parts.
pub fn record(file: &str, rows: &[Row]) -> Result<()> {
    ensure!(std::env::var_os("BENCH_REVISION").is_some(), "BENCH_REVISION does not say what was measured");
    let text = std::fs::read_to_string(file).with_context(|| file.to_string())?;
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{file} lacks {BEGIN}"))?;
    let (table, after) = rest.split_once(END).with_context(|| format!("{file} lacks {END}"))?;
    let mut lines = vec![HEAD.to_string()];
    for part in &PARTS {
        let command = format!("`PARTS={} ", part.name);
        let fresh: Vec<String> = rows.iter().filter(|row| row.part == part.name).map(|row| row.text.clone()).collect();
        let kept = || table.lines().filter(|line| line.contains(&command)).map(String::from).collect();
        lines.extend(if fresh.is_empty() { kept() } else { fresh });
    }
    let host = wireprof::target::host();
    let host = format!("Host of the newest rows: {}, {} cores, Linux {}.", host.cpu, host.cpus, host.kernel);
    let text = format!("{before}{BEGIN}{}\n\n{host}\n{END}{after}", lines.join("\n"));
    std::fs::write(file, text).with_context(|| file.to_string())
}
