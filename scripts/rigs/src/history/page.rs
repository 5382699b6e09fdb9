//! `docs/benchmarks.md`: the newest line of each figure, and the picture of all of them.

use super::{Host, Line, digits, names, newest};
use std::fmt::Write;

const HEAD: &str = "# Benchmarks

What wireprof's own parts cost, and how that changed. `scripts/bench all`, or `scripts/bench NAME --record`, measures a
figure and appends it to `benches/history.jsonl`; this page and its picture are made of that file by `scripts/bench
page`, and a test compares them. Figures of one machine say little of another one: compare ratios rather than values.

";

const READING: &str =
    "A ratio is the geometric mean of wireprof's value by the peer's, pair by pair: below 1 wireprof \
takes less. The
interval is the 95 % interval by Student's t on the logarithms of the pairs. A figure without a peer has none to be
compared with: its value and interval are in its unit.

";

/// The whole page.
pub fn page(lines: &[Line]) -> String {
    let mut page = HEAD.to_string();
    if lines.is_empty() {
        page.push_str("No figure has been recorded yet.\n");
        return page;
    }
    page.push_str("![Figures over revisions: ratios with intervals, the peer at 1](benchmarks.svg)\n\n");
    page.push_str(READING);
    page.push_str("| figure | what | wireprof | peer | ratio (95 %) | pairs | revision | date | host |\n");
    page.push_str("|---|---|---|---|---|---|---|---|---|\n");
    let newest: Vec<&Line> = names(lines).into_iter().filter_map(|name| newest(lines, name)).collect();
    let mut hosts: Vec<&Host> = Vec::new();
    for line in newest {
        let host = hosts.iter().position(|host| **host == line.host).unwrap_or_else(|| {
            hosts.push(&line.host);
            hosts.len() - 1
        });
        row(&mut page, line, host + 1);
    }
    page.push('\n');
    for (at, host) in hosts.iter().enumerate() {
        let kind = if host.is_virtual { "a virtual machine" } else { "no virtual machine" };
        let _ = writeln!(page, "- Host {}: {}, {} cores, Linux {}, {kind}.", at + 1, host.cpu, host.cores, host.kernel);
    }
    page
}

fn row(page: &mut String, line: &Line, host: usize) {
    let interval =
        line.interval.map_or_else(String::new, |[low, high]| format!(" ({} to {})", digits(low), digits(high)));
    let ours = format!("{} {}", digits(line.ours), line.unit);
    let (ours, peer, ratio) = match &line.peer {
        Some(peer) => {
            let (more, less) = if peer.cut_off { ("more than ", "below ") } else { ("", "") };
            let theirs = format!("{}: {more}{} {}", peer.name, digits(peer.value), line.unit);
            (ours, theirs, format!("{less}{}{interval}", digits(peer.ratio)))
        }
        None => (format!("{ours}{interval}"), "none".into(), "-".into()),
    };
    let day = line.date.split('T').next().unwrap_or_default();
    let _ = writeln!(
        page,
        "| `{}` | {} | {ours} | {peer} | {ratio} | {} | {} | {day} | {host} |",
        line.figure, line.what, line.pairs, line.revision
    );
}
