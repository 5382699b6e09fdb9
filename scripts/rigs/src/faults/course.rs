//! The course of a round: wireprof runs, its lines are read, the fault is done at its instant. Invariant: it ends
//! within a bound, by force if need be.

use super::ground::{Ground, Place};
use super::inject::inject;
use super::kernel::{self, Kind};
use super::left::digest;
use super::plan::{At, Fault, Output, Round};
use super::target::Around;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// A round takes some ten seconds, one in which nothing answers two minutes (wireprof's own limits); a machine that is
/// shared takes several times that, and so does a program that is not optimized.
const BOUND: Duration = Duration::from_secs(if cfg!(debug_assertions) { 400 } else { 200 });
/// For pipes that something else than wireprof holds.
const DRAIN: Duration = Duration::from_secs(20);

/// How wireprof ended, and what was seen of it.
#[derive(Default)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// It had to be killed.
    pub hung: bool,
    pub out: Vec<String>,
    pub err: Vec<String>,
    /// Windows that were told to be on disk: their directories, and what was in these files then.
    pub windows: BTreeMap<PathBuf, BTreeMap<PathBuf, u64>>,
    /// Whether the fault was done while wireprof ran.
    pub injected: bool,
    /// Programs and maps of the kernel that it held.
    pub held: BTreeSet<(Kind, u32)>,
    pub took: Duration,
}

enum Line {
    Out(String),
    Err(String),
}

pub fn take(ground: &Ground, round: &Round, place: &Place, around: &mut Around) -> Result<Ended> {
    let mut command = place.command(ground, round)?;
    command.args(around.arguments(ground, round, place)?);
    let limit = match round.fault {
        Fault::FileSize(size) => Some((libc::RLIMIT_FSIZE, size << 10)),
        Fault::Files(count) => Some((libc::RLIMIT_NOFILE, count)),
        Fault::Memory(size) => Some((libc::RLIMIT_AS, size << 20)),
        _ => None,
    };
    kernel::under(&mut command, limit);
    let mut child = command.spawn().with_context(|| format!("cannot run {}", ground.program.display()))?;
    let begun = Instant::now();
    let lines = read(&mut child, round);
    let mut ended = Ended::default();
    let status = follow(round, place, around, &mut child, &lines, &mut ended);
    ended.took = begun.elapsed();
    match status {
        Some(status) => (ended.code, ended.signal) = (status.code(), status.signal()),
        None => {
            ended.hung = true;
            wireprof::child::signal(child.id(), libc::SIGCONT);
            child.kill()?;
            child.wait()?;
        }
    }
    let until = Instant::now() + DRAIN;
    while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
        ended.add(line, round, place);
    }
    Ok(ended)
}

fn read(child: &mut Child, round: &Round) -> Receiver<Line> {
    let (send, lines) = mpsc::channel();
    let closed = |these: &[Output]| matches!(round.fault, Fault::Output(one) if these.contains(&one));
    if let Some(out) = child.stdout.take().filter(|_| !closed(&[Output::OutClosed, Output::BothClosed])) {
        pass_on(out, send.clone(), Line::Out);
    }
    if let Some(err) = child.stderr.take().filter(|_| !closed(&[Output::ErrClosed, Output::BothClosed])) {
        pass_on(err, send, Line::Err);
    }
    lines
}

fn pass_on(from: impl Read + Send + 'static, to: Sender<Line>, kind: fn(String) -> Line) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            if to.send(kind(String::from_utf8_lossy(&line).into_owned())).is_err() {
                return;
            }
        }
    });
}

fn follow(
    round: &Round,
    place: &Place,
    around: &mut Around,
    child: &mut Child,
    lines: &Receiver<Line>,
    ended: &mut Ended,
) -> Option<ExitStatus> {
    let begun = Instant::now();
    let mut due = match round.at {
        At::Start(after) => Some(begun + after),
        At::Line(0, after) => Some(begun + after),
        At::Line(..) => None,
    };
    let (mut read, mut looked) = (0, begun);
    while begun.elapsed() < BOUND * round.patience() {
        let now = Instant::now();
        let wait = due.filter(|_| !ended.injected).map_or(Duration::MAX, |due| due.saturating_duration_since(now));
        match lines.recv_timeout(wait.min(Duration::from_millis(50))) {
            Ok(line) => {
                read += 1;
                ended.add(line, round, place);
                if let At::Line(number, after) = round.at
                    && number == read
                {
                    due = Some(Instant::now() + after);
                }
            }
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(5)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if looked.elapsed() > Duration::from_millis(200) {
            looked = Instant::now();
            kernel::held(child.id(), &mut ended.held);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if !ended.injected && due.is_some_and(|due| due <= Instant::now()) {
            ended.injected = true;
            inject(round, place, around, child.id());
        }
    }
    None
}

impl Ended {
    fn add(&mut self, line: Line, round: &Round, place: &Place) {
        match line {
            Line::Err(line) => self.err.push(line),
            Line::Out(line) => {
                if round.json_lines
                    && let Ok(event) = serde_json::from_str::<Value>(&line)
                    && let Some(window) = told_window(&event)
                {
                    let directory = place.runs().join(window);
                    self.windows.insert(directory.clone(), digest(&directory));
                }
                self.out.push(line);
            }
        }
    }

    /// Everything that was printed.
    pub fn text(&self) -> String {
        [&self.err[..], &self.out].concat().join("\n")
    }
}

/// The directory of a window of which an event tells that it is on disk.
fn told_window(event: &Value) -> Option<String> {
    if event["event"] != "window" {
        return None;
    }
    let (level, replicate) = (event["level"].as_u64()?, event["replicate"].as_u64()?);
    Some(format!("{}/L{level:04}-R{replicate}", event["run"].as_str()?))
}
