//! What dbbench prints at the end of a run. Two formats are known: `NAME: n transactions (x TPS), latency a±b; n rows
//! (..), n queries (..); n aborts ..` and, older, `NAME: latency a±b; n transactions (x TPS); n rows (y RPS)`; a
//! histogram over powers of two follows. Invariant: of a job's lines only the last counts, as those before it are of
//! single seconds.

use crate::workload::parse_duration;
use anyhow::{Context, Result, bail};
use regex::{Captures, Regex};
use std::sync::LazyLock;

/// One job as dbbench reports it, over its own whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct DbbenchJob {
    /// As the script names the job; it can hold colons.
    pub name: String,
    /// Executions that were not aborted.
    pub transactions: u64,
    /// Transactions per second.
    pub tps: f64,
    /// Mean latency of a transaction in ns.
    pub latency_mean: u64,
    /// What dbbench prints behind the `±`, in ns: half of a 99 % confidence interval of the mean.
    pub latency_deviation: u64,
    /// Rows that its queries returned.
    pub rows: u64,
    /// Queries of its transactions; `None` where the line does not tell them, as in the older format.
    pub queries: Option<u64>,
    /// Executions that were aborted; `None` where the line does not tell them.
    pub aborts: Option<u64>,
    /// Transactions by latency, ascending.
    pub histogram: Vec<Bucket>,
}

/// Transactions with a latency in `[from, to)` ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Lower bound in ns, inclusive.
    pub from: u64,
    /// Upper bound in ns, exclusive.
    pub to: u64,
    /// Transactions in it.
    pub count: u64,
}

/// Reads the jobs in the order of their last lines.
///
/// # Errors
/// When no line reports a job (the last three lines are in the message), or a number or duration cannot be read.
pub fn parse_output(text: &str) -> Result<Vec<DbbenchJob>> {
    static FORMATS: LazyLock<Formats> = LazyLock::new(Formats::new);
    let formats = &*FORMATS;
    let mut jobs: Vec<DbbenchJob> = Vec::new();
    let mut aborts = false;
    for (index, line) in text.lines().enumerate() {
        let at = || format!("line {} of dbbench's output", index + 1);
        if let Some(job) = formats.job(line).with_context(at)? {
            jobs.retain(|other| other.name != job.name);
            jobs.push(job);
            aborts = false;
        } else if line.trim_start().starts_with("Aborts:") {
            aborts = true;
        } else if let Some(bucket) = formats.bucket(line).with_context(at)?
            && let Some(job) = jobs.last_mut().filter(|_| !aborts)
        {
            job.histogram.push(bucket);
        }
    }
    if jobs.is_empty() {
        let last: Vec<&str> = text.lines().rev().take(3).collect();
        let last = last.into_iter().rev().collect::<Vec<_>>().join(" | ");
        bail!("dbbench printed no result; its last lines: {last}");
    }
    Ok(jobs)
}

struct Formats {
    newer: Regex,
    older: Regex,
    bucket: Regex,
}

impl Formats {
    fn new() -> Self {
        const TIME: &str = r"^(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?(?<name>.+): ";
        const LATENCY: &str = r"latency (?<mean>[^±]+)±(?<deviation>[^;]+); ";
        const COUNT: &str = r"(?<transactions>\d+) transactions \((?<tps>[0-9.]+) TPS\)";
        const ROWS: &str = r"(?<rows>\d+) rows \([^)]*\)";
        const REST: &str = r"(?:, (?<queries>\d+) queries \([^)]*\))?(?:; (?<aborts>\d+) aborts)?";
        let compile = |pattern: String| Regex::new(&pattern).expect("constant patterns are valid");
        Formats {
            newer: compile(format!("{TIME}{COUNT}, {LATENCY}{ROWS}{REST}")),
            older: compile(format!(r"{TIME}{LATENCY}{COUNT}; {ROWS}{REST}")),
            bucket: compile(r"^\s*(?<from>[0-9.]\S*) -\s+(?<to>\S+) \[\s*(?<count>\d+)\]:".into()),
        }
    }

    fn job(&self, line: &str) -> Result<Option<DbbenchJob>> {
        let Some(found) = self.newer.captures(line).or_else(|| self.older.captures(line)) else { return Ok(None) };
        let optional = |name| found.name(name).map(|_| number(&found, name)).transpose();
        Ok(Some(DbbenchJob {
            name: found["name"].to_string(),
            transactions: number(&found, "transactions")?,
            tps: found["tps"].parse().context("transactions per second")?,
            latency_mean: nanos(&found, "mean")?,
            latency_deviation: nanos(&found, "deviation")?,
            rows: number(&found, "rows")?,
            queries: optional("queries")?,
            aborts: optional("aborts")?,
            histogram: Vec::new(),
        }))
    }

    fn bucket(&self, line: &str) -> Result<Option<Bucket>> {
        let Some(found) = self.bucket.captures(line) else { return Ok(None) };
        let bucket = Bucket { from: nanos(&found, "from")?, to: nanos(&found, "to")?, count: number(&found, "count")? };
        Ok(Some(bucket))
    }
}

/// More than anything can be counted to; so small that what several jobs report has a sum.
const MOST: u64 = 1 << 53;

fn number(found: &Captures, name: &str) -> Result<u64> {
    let number: Option<u64> = found[name].parse().ok();
    number.filter(|number| *number <= MOST).with_context(|| format!("{name}: {:?} is no number", &found[name]))
}

fn nanos(found: &Captures, name: &str) -> Result<u64> {
    let text = found[name].trim();
    let duration = parse_duration(text).with_context(|| format!("{name}: {text:?} is no duration"))?;
    Ok(duration.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWER: &str = "\
2026/11/22 09:22:28 Connecting to postgres://materialize:XXX@127.0.0.1:6875/materialize?sslmode=disable
2026/11/22 09:22:28 Connected
2026/11/22 09:22:28 starting 1 connections
2026/11/22 09:22:29 a: b: 700 transactions (700.000 TPS), latency 1.4ms±30µs; 700 rows (700.000 RPS), 700 queries \
(700.000 QPS); 0 aborts (0.000%), latency 0s±0s
2026/11/22 09:22:48 stopping 1 connections
2026/11/22 09:22:48 a: b: 13293 transactions (664.440 TPS), latency 1.479128ms±24.49µs; 13294 rows (664.440 RPS), \
13295 queries (664.440 QPS); 2 aborts (0.000%), latency 0s±0s
Transactions:
   262.144µs -    524.288µs [     1]: ▏
   524.288µs -   1.048576ms [ 13292]: ████████████████████████████▌
Aborts:
   262.144µs -    524.288µs [     2]: ▏
";

    #[test]
    fn the_newer_format_is_read_whole() {
        let bucket = |from, to, count| Bucket { from, to, count };
        let expected = DbbenchJob {
            name: "a: b".into(),
            transactions: 13293,
            tps: 664.44,
            latency_mean: 1_479_128,
            latency_deviation: 24_490,
            rows: 13294,
            queries: Some(13295),
            aborts: Some(2),
            histogram: vec![bucket(262_144, 524_288, 1), bucket(524_288, 1_048_576, 13292)],
        };
        assert_eq!(parse_output(NEWER).unwrap(), [expected]);
    }

    #[test]
    fn the_older_format_and_several_jobs_are_read() {
        let text = "2016/04/15 12:57:30 hello world: latency 796.907µs±63.671µs; 1230 transactions (1230.410 TPS); \
                    1230 rows (1230.410 RPS)\n\
            2016/04/15 12:57:32 hello world: latency 811.522µs±40.603µs; 3113 transactions (1208.336 TPS); 3113 rows \
            (1208.336 RPS)\n   \
            131.072µs -    262.144µs [  601]: ██\n\
            2016/04/15 12:57:32 other: latency 1.5s±0s; 2 transactions (1 TPS); 4 rows (2 RPS)\n  1.073741824s -  \
            2.147483648s [    2]: ██\n";
        let jobs = parse_output(text).unwrap();
        let seen: Vec<_> = jobs.iter().map(|job| (job.name.as_str(), job.transactions, job.latency_mean)).collect();
        assert_eq!(seen, [("hello world", 3113, 811_522), ("other", 2, 1_500_000_000)]);
        assert_eq!((jobs[0].queries, jobs[0].histogram[0].count), (None, 601));
        assert_eq!(jobs[1].histogram, [Bucket { from: 1_073_741_824, to: 2_147_483_648, count: 2 }]);
    }

    #[test]
    fn an_output_without_result_is_refused_with_its_last_lines() {
        let error = parse_output("Connected\nerror for query x: pq: no\n").unwrap_err().to_string();
        assert_eq!(error, "dbbench printed no result; its last lines: Connected | error for query x: pq: no");
    }
}
