//! `bpf/places_host.c`: compiled once, and asked with many recordings at a time. Invariant: its answers are read as the
//! snapshots and timelines that the kernel's maps would give.

use super::{Connection, HopSnapshot, Nanos, PLACES};
use crate::wire::sample::QueryTimeline;
use crate::wire::shapes::{BUCKETS, Timeline, UseTime};
use crate::wire::uses::{Met, Purpose, UseSoFar, specials};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A line of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An event at an end of a connection.
    Event {
        end: u32,
        what: char,
        now: Nanos,
        hop: u32,
        port: u32,
        bytes: &'static str,
    },
    Begin,
    Every {
        every: u32,
        hop: u32,
    },
    Full,
    NearWrap {
        by: u64,
        hop: u32,
        port: u32,
    },
    Snapshot {
        hop: u32,
    },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Event { end, what, now, hop, port, bytes } => writeln!(f, "{end} {what} {now} {hop} {port} {bytes}"),
            Line::Begin => writeln!(f, "0 n 0 0 0 -"),
            Line::Every { every, hop } => writeln!(f, "0 e {every} {hop} 0 -"),
            Line::Full => writeln!(f, "0 f 1 0 0 -"),
            Line::NearWrap { by, hop, port } => writeln!(f, "0 w {by} {hop} {port} -"),
            Line::Snapshot { hop } => writeln!(f, "0 p 0 {hop} 0 -"),
        }
    }
}

/// What it said of one recording.
#[derive(Debug, Default)]
pub struct Answer {
    /// In the order in which they were asked for.
    pub snapshots: Vec<HopSnapshot>,
    /// Of each: timelines that found no room.
    pub lost: Vec<u64>,
    /// With the hop, and when its connection came into its place when the timeline was kept.
    pub timelines: Vec<(usize, Nanos, QueryTimeline)>,
}

/// Its answers to these recordings.
pub fn run(recordings: &[Vec<Line>]) -> Vec<Answer> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let directory = tempfile::tempdir().unwrap();
    let [program, input] = ["places", "input"].map(|name| directory.path().join(name));
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fno-sanitize-recover", "-I"]);
    compiler.arg(sources.join("bpf")).arg(sources.join("wire/bpf/places_host.c")).arg("-o").arg(&program);
    let compiled = compiler.output().expect("cc, which links Rust's programs too");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    // A line at the end asks for an empty recording, so that every answer of the others has ended.
    let lines = recordings.iter().flat_map(|lines| [Line::Begin].into_iter().chain(lines.iter().cloned()));
    let text: String = lines.map(|line| line.to_string()).collect();
    std::fs::write(&input, text).unwrap();
    let output = Command::new(&program).stdin(Stdio::from(std::fs::File::open(&input).unwrap())).output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    let mut lines = output.lines().peekable();
    let asked = |lines: &Vec<Line>| lines.iter().filter(|line| matches!(line, Line::Snapshot { .. })).count();
    recordings.iter().map(|recording| answer(&mut lines, asked(recording))).collect()
}

fn numbers<T: std::str::FromStr>(line: &str) -> Vec<T> {
    line[2..].split(' ').map(|number| number.parse().ok().unwrap_or_else(|| panic!("{line}"))).collect()
}

/// Each recording asks for its last snapshot after its last event.
fn answer<'a>(lines: &mut impl Iterator<Item = &'a str>, snapshots: usize) -> Answer {
    let mut answer = Answer::default();
    let mut next = HopSnapshot::default();
    while answer.snapshots.len() < snapshots {
        let line = lines.next().expect("an answer");
        let all: Vec<u64> = numbers(line);
        let hop = answer.snapshots.len() % 2;
        match &line[..1] {
            "~" => answer.timelines.push(timeline(&all)),
            "@" => drop(next.connections.insert(all[0] as u32, connection(&all))),
            "$" => {
                let time = UseTime { round_trips: all[1], nanos: all[2..].try_into().unwrap(), reserved: 0 };
                next.uses
                    .get_or_insert_default()
                    .insert(all[0] as u16, UseSoFar { met: met(all[0] as u16, hop), time });
            }
            "^" => {
                next.stays.resize(PLACES, [0; BUCKETS]);
                next.stays[all[0] as usize][all[1] as usize] = all[2];
            }
            _ => {
                next.reversed = all[0];
                answer.lost.push(all[1]);
                if hop > 0 {
                    next.uses.get_or_insert_default();
                }
                answer.snapshots.push(std::mem::take(&mut next));
            }
        }
    }
    answer
}

/// Statements go by their numbers.
fn met(number: u16, hop: usize) -> Met {
    let known: BTreeMap<u16, Met> = specials(hop).into_iter().collect();
    known.get(&number).cloned().unwrap_or_else(|| Met::Known(Purpose::Statement(number.to_string())))
}

fn connection(all: &[u64]) -> Connection {
    Connection {
        since: all[1],
        place: all[2] as u8,
        for_use: all[3] as u16,
        sides: all[4] as u8,
        queries: all[5],
        pipelined: all[6],
        pieces: all[7],
        nanos: all[8..].try_into().unwrap(),
        ..Connection::default()
    }
}

fn timeline(all: &[u64]) -> (usize, Nanos, QueryTimeline) {
    let timeline = Timeline {
        sent: all[1],
        port: all[2] as u16,
        hop: all[3] as u16,
        requests: all[4] as u32,
        before: all[5] as u32,
        after: all[6] as u32,
        spent: std::array::from_fn(|place| all[7 + place] as u32),
        reserved: 0,
    };
    (all[3] as usize, all[0], QueryTimeline::from(&timeline))
}
