//! The history of benchmarks: `benches/history.jsonl`, one JSON object a line and figure, the oldest first. Its page
//! and its picture are made of it, and of nothing else. Invariant: a line has its unit, the number of its measurements,
//! the revision, the date and the host; a figure without a peer says so by having none.
//!
//! Compiled into the rigs that write and draw it, and into the test that holds page and picture against it.

pub mod draw;
pub mod page;
pub mod quoted;

use serde::{Deserialize, Serialize};

/// One figure of one benchmark run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The benchmark and its parameters: `driver-64x1`. Lines of one name are comparable.
    pub figure: String,
    /// What was measured, in words.
    pub what: String,
    /// Of `ours` and the peer's figure.
    pub unit: String,
    /// Geometric mean of wireprof's values.
    pub ours: f64,
    /// What it is held against; `None`: nothing, and then there is no ratio.
    pub peer: Option<Peer>,
    /// 95 % interval of the ratio, without a peer of `ours`: Student's t on the logarithms of the pairs. `None`: of one
    /// pair there is none.
    pub interval: Option<[f64; 2]>,
    /// Pairs that were measured, one after the other; without a peer, values.
    pub pairs: usize,
    /// Of the code that was measured; `+` behind it: with changes that are not committed.
    pub revision: String,
    /// RFC 3339, UTC, to the second.
    pub date: String,
    /// Where.
    pub host: Host,
}

/// The other program, or the same one under another condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    pub name: String,
    /// Geometric mean of its values.
    pub value: f64,
    /// Geometric mean of the pairs' ratios, ours to the peer's: below 1 wireprof takes less.
    pub ratio: f64,
    /// The peer was cut off: its value is more, and the ratio less.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
}

/// The machine, without its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The CPU's model name.
    pub cpu: String,
    /// CPUs that are online.
    pub cores: usize,
    /// `uname -r`
    pub kernel: String,
    /// The CPU says that a hypervisor is below it.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
}

impl Line {
    /// What is drawn over revisions: the ratio, without a peer the value.
    pub fn value(&self) -> f64 {
        self.peer.as_ref().map_or(self.ours, |peer| peer.ratio)
    }
}

/// The lines of a history.
///
/// # Errors
/// The first line that is no figure, with its number, and why; one whose numbers cannot be.
pub fn parse(text: &str) -> Result<Vec<Line>, String> {
    let read = |(at, line): (usize, &str)| {
        let wrong = |why: String| format!("line {}: {why}", at + 1);
        let line: Line = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        check(&line).map_err(wrong)?;
        Ok(line)
    };
    text.lines().enumerate().map(read).collect()
}

fn check(line: &Line) -> Result<(), String> {
    let peer = line.peer.iter().flat_map(|peer| [peer.value, peer.ratio]);
    let numbers = std::iter::once(line.ours).chain(peer).chain(line.interval.into_iter().flatten());
    if let Some(bad) = { numbers }.find(|number| !number.is_finite() || *number <= 0.0) {
        return Err(format!("{bad} is no figure"));
    }
    if line.interval.is_some_and(|[low, high]| low > line.value() || high < line.value()) {
        return Err("the figure is outside of its interval".into());
    }
    if line.pairs == 0 || (line.pairs == 1) != line.interval.is_none() {
        return Err(format!("{} pairs, and an interval: {}", line.pairs, line.interval.is_some()));
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    match line.figure.is_empty() || !line.figure.chars().all(plain) {
        true => Err(format!("{:?} is no name of a figure", line.figure)),
        false => Ok(()),
    }
}

/// The names of the figures, in the order in which they were met first.
pub fn names(lines: &[Line]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for line in lines {
        if !names.contains(&line.figure.as_str()) {
            names.push(&line.figure);
        }
    }
    names
}

/// The newest line of a figure.
pub fn newest<'l>(lines: &'l [Line], name: &str) -> Option<&'l Line> {
    lines.iter().rev().find(|line| line.figure == name)
}

/// A number with three digits that tell something.
pub fn digits(number: f64) -> String {
    match number.abs() {
        large if large >= 100.0 => format!("{number:.0}"),
        large if large >= 10.0 => format!("{number:.1}"),
        large if large >= 1.0 => format!("{number:.2}"),
        large if large >= 0.01 => format!("{number:.3}"),
        _ => format!("{number:.2e}"),
    }
}
