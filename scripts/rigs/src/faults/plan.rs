//! What a round does: a verb, a target, a fault and the instant of it. Invariant: all of it follows from the seed, so a
//! round can be taken again.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::fmt;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Sweep,
    Compare,
    Record,
    /// A verb that reads the stored run, with its arguments.
    Reads(&'static [&'static str]),
    /// A verb that makes a run of a profile.
    Import,
}

/// Verbs that read the stored run; what they write goes to the round's directory.
const READERS: &[&[&str]] = &[
    &["explain", "latest", "--full"],
    &["explain", "latest", "--json"],
    &["diagnose", "latest"],
    &["hot", "latest"],
    &["diff", "latest", "latest"],
    &["runs", "--json"],
    &["runs", "latest", "--full"],
    &["report", "latest"],
    &["report", "latest", "-o", "out/report.html"],
    &["flamegraph", "latest"],
    &["flamegraph", "latest", "-o", "out"],
    &["export", "latest", "--format", "firefox", "-o", "out/firefox.json.gz"],
    &["export", "latest", "--format", "chrome", "-o", "out/chrome.json.gz"],
    &["export", "latest", "--format", "csv", "-o", "-"],
    &["export", "latest", "--format", "pprof", "-o", "out"],
    &["log", "new", "latest", "--title", "A round", "--log", "out/log.md"],
    &["log", "attach", "latest", "--log", "out/log.md"],
    &["log", "check", "--log", "out/log.md"],
    &["runs", "--prune", "--keep", "0", "--dry-run"],
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// wireprof's own child.
    Testbed,
    /// A private PostgreSQL of the round.
    Postgres,
    /// A server of the rig, which can misbehave.
    Pretend,
    /// None: the verb reads what is stored.
    Stored,
}

/// Whom a signal or a loss of CPUs strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    Wireprof,
    /// The testbed, or the server of the round.
    Server,
    /// The postmaster.
    Database,
    /// One of its sessions.
    Session,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    Signal(Whom, i32),
    /// An interrupt, and another soon after.
    Twice(Duration),
    /// SIGSTOP, and SIGCONT after so long.
    Stopped(Whom, Duration),
    /// The runs are on a file system of so many kB.
    SmallDisk(u64),
    DiskFull,
    DiskReadOnly,
    RunsRemoved,
    /// RLIMIT_FSIZE, kB.
    FileSize(u64),
    /// RLIMIT_NOFILE.
    Files(u64),
    /// RLIMIT_AS, MB.
    Memory(u64),
    Metrics(Metrics),
    Extension,
    /// All other sessions of the database are ended.
    Terminated,
    Proxy(Proxy),
    Misbehaves(Misbehaviour),
    OneCpu(Whom),
    Output(Output),
    /// TMPDIR is not there.
    NoTemporary,
    /// The wall clock jumps by so many seconds.
    Clock(i64),
    /// Files of the disk cannot be written any more, or read (EIO).
    WriteErrors,
    ReadErrors,
    /// The directory of runs is put away, and another thing is in its place.
    RunsReplaced(Replaced),
    /// A file of the stored run is damaged.
    Damaged(Damage),
}

/// What the metrics' port does from the instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    Hang,
    Trickle,
    LongLength,
    ShortLength,
    Reset,
    Restart,
    Endless,
    Garbage,
    /// So many series, from the start.
    Many(usize),
}

/// What a proxy before the database does from the instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    Reset,
    HalfClose,
    Stall,
    Refuse,
    Garbage,
}

/// What the rig's own server does from the instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    Hang,
    Close,
    Garbage,
    WrongLength,
    Errors,
    Rows,
    Exec,
    Forks,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    OutClosed,
    ErrClosed,
    BothClosed,
    OutFull,
    ErrFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    Directory,
    File,
    /// A link that leads nowhere.
    Link,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    Truncated,
    Flipped,
    Removed,
}

/// When the fault is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// So long after the start.
    Start(Duration),
    /// So long after that many lines were written.
    Line(usize, Duration),
}

#[derive(Clone, Debug)]
pub struct Round {
    pub seed: u64,
    pub verb: Verb,
    pub target: Target,
    pub fault: Fault,
    pub at: At,
    /// Events are read as JSON, not as text.
    pub json_lines: bool,
    /// For what is chosen while the round runs.
    pub dice: u64,
}

/// A second, an hour, thirty years, each to both sides.
const CLOCKS: [i64; 6] = [1, -1, 3_600, -3_600, 946_684_800, -946_684_800];
const KILL: i32 = libc::SIGKILL;
const INT: i32 = libc::SIGINT;
const TERM: i32 = libc::SIGTERM;

impl Round {
    pub fn of(seed: u64) -> Round {
        let mut rng = StdRng::seed_from_u64(seed);
        let (verb, target) = match rng.random_range(0..100) {
            0..12 => (Verb::Sweep, Target::Testbed),
            12..20 => (Verb::Compare, Target::Testbed),
            20..40 => (Verb::Sweep, Target::Postgres),
            40..50 => (Verb::Compare, Target::Postgres),
            50..60 => (Verb::Record, Target::Postgres),
            60..70 => (Verb::Sweep, Target::Pretend),
            70..76 => (Verb::Record, Target::Pretend),
            76..94 => (Verb::Reads(READERS.choose(&mut rng).copied().unwrap_or(READERS[0])), Target::Stored),
            _ => (Verb::Import, Target::Stored),
        };
        let fault = match rng.random_range(0..10) {
            0..3 => of_everybody(&mut rng),
            3..6 => signal(&mut rng, target),
            _ => of_target(&mut rng, verb, target),
        };
        let wait = |rng: &mut StdRng, most: u64| Duration::from_millis(rng.random_range(0..most));
        let at = match (target, rng.random_bool(0.7)) {
            (Target::Stored, _) => At::Start(wait(&mut rng, 900)),
            (_, true) => At::Line(rng.random_range(0..9), wait(&mut rng, 700)),
            (_, false) => At::Start(wait(&mut rng, 6_000)),
        };
        Round { seed, verb, target, fault, at, json_lines: rng.random_bool(0.75), dice: rng.random() }
    }

    /// Whether wireprof itself is killed outright, and can say and mend nothing.
    pub fn kills_wireprof(&self) -> bool {
        matches!(self.fault, Fault::Signal(Whom::Wireprof, KILL))
    }

    /// Whether wireprof is asked to end, and with which signal.
    pub fn asks_to_end(&self) -> Option<i32> {
        match self.fault {
            Fault::Signal(Whom::Wireprof, signal) if signal != KILL => Some(signal),
            Fault::Twice(_) => Some(INT),
            _ => None,
        }
    }

    /// Whether nothing can be written to the directory of runs after the instant.
    pub fn loses_disk(&self) -> bool {
        use Fault::{DiskFull, DiskReadOnly, FileSize, SmallDisk, WriteErrors};
        self.loses_runs() || matches!(self.fault, DiskFull | DiskReadOnly | SmallDisk(_) | FileSize(_) | WriteErrors)
    }

    /// Whether what was stored is not where it was.
    pub fn loses_runs(&self) -> bool {
        matches!(self.fault, Fault::RunsRemoved | Fault::RunsReplaced(_))
    }

    /// Whether the program runs with the library of `shim.c`.
    pub fn is_shimmed(&self) -> bool {
        matches!(self.fault, Fault::Clock(_) | Fault::WriteErrors | Fault::ReadErrors)
    }

    /// Times that a round may take as long as others: a million series take a program that is not optimized 50 s of a
    /// CPU (they cost in proportion to their number), of which others may leave it a tenth.
    pub fn patience(&self) -> u32 {
        if self.fault == Fault::Metrics(Metrics::Many(1_000_000)) { 4 } else { 1 }
    }

    /// Whether it may wait for wireprof's own limits of a minute, or reads a million series.
    pub fn is_slow(&self) -> bool {
        use Misbehaviour::{Hang, WrongLength};
        let waits = matches!(self.fault, Fault::Proxy(Proxy::Stall) | Fault::Misbehaves(Hang | WrongLength));
        waits || self.fault == Fault::Metrics(Metrics::Many(1_000_000))
    }

    pub fn measures(&self) -> bool {
        matches!(self.verb, Verb::Sweep | Verb::Compare | Verb::Record)
    }
}

fn of_everybody(rng: &mut StdRng) -> Fault {
    let outputs = [Output::OutClosed, Output::ErrClosed, Output::BothClosed, Output::OutFull, Output::ErrFull];
    match rng.random_range(0..18) {
        12 | 13 => Fault::Clock(CLOCKS[rng.random_range(0..CLOCKS.len())]),
        14 | 15 => Fault::WriteErrors,
        16 => Fault::ReadErrors,
        17 => {
            let all = [Replaced::Directory, Replaced::File, Replaced::Link];
            Fault::RunsReplaced(all[rng.random_range(0..all.len())])
        }
        0 => Fault::None,
        1 => Fault::SmallDisk(rng.random_range(8..900)),
        2 => Fault::DiskFull,
        3 => Fault::DiskReadOnly,
        4 => Fault::RunsRemoved,
        5 => Fault::FileSize(rng.random_range(1..200)),
        6 => Fault::Files(rng.random_range(5..220)),
        7 => Fault::Memory(rng.random_range(300..3_000)),
        8 => Fault::NoTemporary,
        9 => Fault::OneCpu(Whom::Wireprof),
        _ => Fault::Output(outputs[rng.random_range(0..outputs.len())]),
    }
}

fn signal(rng: &mut StdRng, target: Target) -> Fault {
    let whom = match (target, rng.random_range(0..10)) {
        (Target::Stored, _) | (_, 0..5) => Whom::Wireprof,
        (Target::Testbed | Target::Postgres, 5..7) => Whom::Database,
        (Target::Testbed | Target::Postgres, 7) => Whom::Session,
        _ => Whom::Server,
    };
    match rng.random_range(0..10) {
        0..2 => Fault::Stopped(whom, Duration::from_millis(rng.random_range(50..2_000))),
        2..5 => Fault::Signal(whom, KILL),
        5..7 => Fault::Signal(whom, TERM),
        7 if whom == Whom::Wireprof => Fault::Twice(Duration::from_millis(rng.random_range(0..400))),
        8 if whom == Whom::Wireprof => Fault::Signal(whom, libc::SIGHUP),
        _ => Fault::Signal(whom, INT),
    }
}

fn of_target(rng: &mut StdRng, verb: Verb, target: Target) -> Fault {
    use Metrics::{Endless, Garbage, Hang, LongLength, Many, Reset, Restart, ShortLength, Trickle};
    let metrics =
        [Hang, Trickle, LongLength, ShortLength, Reset, Restart, Endless, Garbage, Many(100_000), Many(1_000_000)];
    let metrics = Fault::Metrics(metrics[rng.random_range(0..metrics.len())]);
    let cpu = Fault::OneCpu(Whom::Server);
    match (target, rng.random_range(0..10)) {
        (Target::Stored, _) if verb == Verb::Import => of_everybody(rng),
        (Target::Stored, _) => {
            let damages = [Damage::Truncated, Damage::Flipped, Damage::Removed];
            Fault::Damaged(damages[rng.random_range(0..damages.len())])
        }
        (Target::Postgres | Target::Pretend, 0..4) => metrics,
        (Target::Postgres, 4) => Fault::Extension,
        (Target::Postgres, 5..7) => Fault::Terminated,
        // Nothing is sent through it where the load is somebody else's.
        (Target::Postgres, 7..9) if verb != Verb::Record => {
            use Proxy::{Garbage, HalfClose, Refuse, Reset, Stall};
            let all = [Reset, HalfClose, Stall, Refuse, Garbage];
            Fault::Proxy(all[rng.random_range(0..all.len())])
        }
        (Target::Pretend, 4..10) => {
            use Misbehaviour::{Close, End, Errors, Exec, Forks, Garbage, Hang, Rows, WrongLength};
            let all = [Hang, Close, Garbage, WrongLength, Errors, Rows, Exec, Forks, End];
            Fault::Misbehaves(all[rng.random_range(0..all.len())])
        }
        (_, 9) => cpu,
        _ => signal(rng, target),
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.verb {
            Verb::Reads(arguments) => arguments.join(" "),
            verb => format!("{verb:?}").to_lowercase(),
        };
        let at = match self.at {
            At::Start(after) => format!("{} ms after the start", after.as_millis()),
            At::Line(line, after) => format!("{} ms after line {line}", after.as_millis()),
        };
        write!(f, "{verb} of {:?}, {:?}, {at}", self.target, self.fault)
    }
}
