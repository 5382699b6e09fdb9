//! The summary lines of dbbench's output, both of its forms. Invariant: a figure that the line lacks is an error, not 0.

use anyhow::{Context, Result, bail};
use regex::Regex;

/// One job's summary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub name: String,
    pub transactions: u64,
    /// Transactions per second, by dbbench's own clock.
    pub rate: f64,
    /// Mean latency in ns.
    pub mean_latency: f64,
    pub rows: u64,
    pub aborts: u64,
}

impl Job {
    /// Seconds that the job ran.
    pub fn seconds(&self) -> f64 {
        self.transactions as f64 / self.rate
    }
}

/// All jobs' summaries, in the order of the output.
pub(super) fn read(text: &str) -> Result<Vec<Job>> {
    // dbbench logs with Go's date and time in front of the job's name.
    let head = r"^(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?(?P<name>.*?): ";
    let counts = r"(?P<n>\d+) transactions \((?P<rate>[\d.]+) TPS\)";
    let latency = r"latency (?P<mean>[^±;]+)±[^;]*";
    let rows = r"; (?P<rows>\d+) rows \(";
    let newer = Regex::new(&format!("{head}{counts}, {latency}{rows}.*?(?:; (?P<aborts>\\d+) aborts|$)"))?;
    let older = Regex::new(&format!("{head}{latency}; {counts}{rows}.*?(?:; (?P<aborts>\\d+) aborts|$)"))?;
    let mut jobs = Vec::new();
    for line in text.lines() {
        let Some(found) = newer.captures(line).or_else(|| older.captures(line)) else { continue };
        let number = |name: &str| found[name].parse::<f64>().with_context(|| format!("`{}` in: {line}", &found[name]));
        let job = Job {
            name: found["name"].to_string(),
            transactions: number("n")? as u64,
            rate: number("rate")?,
            mean_latency: go_duration(&found["mean"]).with_context(|| format!("a latency in: {line}"))?,
            rows: number("rows")? as u64,
            aborts: found.name("aborts").map_or(Ok(0), |a| a.as_str().parse())?,
        };
        if job.transactions == 0 || job.rate <= 0.0 {
            bail!("dbbench completed no transaction: {line}");
        }
        jobs.push(job);
    }
    if jobs.is_empty() {
        bail!("no line `NAME: N transactions (X TPS), latency ...`: dbbench was cut short, or this is not its output");
    }
    Ok(jobs)
}

/// A duration as Go prints it (`1m2.5s`, `467.382µs`, `0s`), in ns.
fn go_duration(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units = [("ns", 1.0), ("µs", 1e3), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
        let (unit, scale) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        nanos += value * scale;
        rest = &rest[unit.len()..];
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_summary_are_read() {
        let newer = "2026/11/22 09:12:10 1 connections: 41144 transactions (2057.168 TPS), latency 467.382µs±6.712µs; \
                     41144 rows (2057.168 RPS), 41144 queries (2057.168 QPS); 3 aborts (0.000%), latency 0s±0s\n  131µs -\n";
        let job = Job {
            name: "1 connections".into(),
            transactions: 41_144,
            rate: 2057.168,
            mean_latency: 467_382.0,
            rows: 41_144,
            aborts: 3,
        };
        assert_eq!(read(newer).unwrap(), [job]);
        let older = "a: latency 1.5ms±2µs; 10 transactions (2.000 TPS); 20 rows (4.000 RPS)\nb: latency 1m0s±2µs; 4 transactions \
                     (2.000 TPS); 0 rows (0 RPS)";
        let jobs = read(older).unwrap();
        assert_eq!((jobs[0].mean_latency, jobs[0].rows, jobs[0].seconds()), (1.5e6, 20, 5.0));
        assert_eq!((jobs[1].name.as_str(), jobs[1].mean_latency), ("b", 6e10));
    }

    #[test]
    fn an_output_without_a_summary_is_an_error() {
        assert!(read("2026/11/22 09:12:10 starting 1 connections\n").unwrap_err().to_string().contains("cut short"));
        assert!(read("a: 0 transactions (0.000 TPS), latency 0s±0s; 0 rows (0 RPS)").is_err());
    }
}
