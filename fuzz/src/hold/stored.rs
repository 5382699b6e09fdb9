//! Directories of files: a stored run, and recordings made by hand. Each input damages a few places of a sound one.
//! Invariant: a run that is read whole, or in part, is analysed and told without a panic, whatever stands in its files.

use super::memory;
use crate::analyze::judge::diagnose::diagnose_all;
use crate::analyze::page::Page;
use crate::build;
use crate::clock::Span;
use crate::feed::Feed;
use crate::import::{ImportOptions, import};
use crate::metrics::Scrape;
use crate::perflog;
use crate::preset::Preset;
use crate::run::{Expositions, OffCpu, Parts, Run, Store, Window};
use crate::sample::OffCpuReport;
use crate::statements::{StatementDelta, StatementsDelta};
use crate::target::{Role, SchedulerDelta};
use crate::wire::{QueryTimeline, Sample, WireDelta};
use flate2::Compression;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

/// A directory's files as they were made, unpacked.
struct Sound {
    directory: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Sound {
    fn of(directory: PathBuf) -> Sound {
        let mut found = Vec::new();
        let mut open = vec![directory.clone()];
        while let Some(next) = open.pop() {
            for entry in std::fs::read_dir(next).expect("it was made").flatten() {
                match entry.path() {
                    path if path.is_dir() => open.push(path),
                    path => found.push(path),
                }
            }
        }
        found.sort();
        let read = |path: PathBuf| {
            let bytes = std::fs::read(&path).expect("it was made");
            let mut plain = Vec::new();
            match is_packed(&path) {
                true => drop(flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain)),
                false => plain = bytes,
            }
            (path, plain)
        };
        Sound { directory, files: found.into_iter().map(read).collect() }
    }

    /// Damages files as the input says, for as long as `held` looks at them.
    fn damaged(&self, feed: &mut Feed, held: impl FnOnce(&Path)) {
        let mut changed: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for _ in 0..16 {
            if feed.0.is_empty() {
                break;
            }
            let number = usize::from(feed.byte()) % self.files.len();
            damage(changed.entry(number).or_insert_with(|| self.files[number].1.clone()), feed);
        }
        changed.iter().for_each(|(number, bytes)| write(&self.files[*number].0, bytes));
        held(&self.directory);
        changed.keys().for_each(|number| write(&self.files[*number].0, &self.files[*number].1));
    }
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}

fn write(path: &Path, bytes: &[u8]) {
    let mut packed = Vec::new();
    if is_packed(path) {
        let mut gzip = flate2::write::GzEncoder::new(&mut packed, Compression::fast());
        gzip.write_all(bytes).and_then(|()| gzip.finish().map(drop)).expect("a vector");
    }
    std::fs::write(path, if is_packed(path) { &packed } else { bytes }).expect("it is ours");
}

/// What stands in a number's place. No count beyond 2^53: release builds, in which sums wrap, show what they are told.
const VALUES: [&str; 13] = [
    "0",
    "1",
    "-1",
    "9007199254740991",
    "4294967295",
    "4294967296",
    "1e308",
    "1e-308",
    "0.5",
    "null",
    "[]",
    "\"x\"",
    "1000000000000",
];

fn damage(bytes: &mut Vec<u8>, feed: &mut Feed) {
    let (what, at) = (feed.byte(), usize::from(feed.half()));
    let numbers = || {
        let is_digit = |at: &usize| bytes[*at].is_ascii_digit();
        let begins = |at: &usize| {
            is_digit(at) && (*at == 0 || !(bytes[*at - 1].is_ascii_alphanumeric() || b".-".contains(&bytes[*at - 1])))
        };
        (0..bytes.len()).filter(begins).collect::<Vec<_>>()
    };
    let at_most = |at: usize| if bytes.is_empty() { 0 } else { at % bytes.len() };
    match what % 8 {
        // Numbers, most of the time: the rest is soon refused.
        0..=3 => {
            let starts = numbers();
            if starts.is_empty() {
                return;
            }
            let start = starts[at % starts.len()];
            let length =
                bytes[start..].iter().take_while(|byte| byte.is_ascii_digit() || b".e+-".contains(byte)).count();
            let value = VALUES[usize::from(feed.byte()) % VALUES.len()];
            bytes.splice(start..start + length, value.bytes());
        }
        4 => {
            let (start, length) = (at_most(at), usize::from(feed.byte()));
            let end = (start + length).min(bytes.len());
            bytes.drain(start..end);
        }
        5 => {
            let (start, length) = (at_most(at), usize::from(feed.byte()));
            let part = bytes[start..(start + length).min(bytes.len())].to_vec();
            bytes.splice(start..start, part);
        }
        6 => {
            let place = at_most(at);
            let byte = feed.byte();
            bytes.get_mut(place).into_iter().for_each(|old| *old = byte);
        }
        _ => bytes.truncate(at_most(at)),
    }
}

/// A run with a little of everything.
static RUN: LazyLock<Sound> = LazyLock::new(|| {
    let stacks = build::profile(&[build::Stack("main;work;k:send", 5), build::Stack("main;parse", 900)]);
    let mut made = build::run(Vec::new());
    for level in [1, 4] {
        for replicate in [1, 2] {
            let window = build::window(level, replicate, 1, 200, Some(stacks.clone()));
            made.windows.push(with_parts(window));
        }
    }
    made.manifest = build::manifest("sound", &[1, 4]);
    made.manifest.order = made.windows.iter().map(Window::id).collect();
    let mut writer = Store::new(memory()).create(made.manifest).expect("room for a run");
    for window in &made.windows {
        let text = |count: u64| {
            let buckets = format!("h_bucket{{le=\"1\"}} {count}\nh_bucket{{le=\"+Inf\"}} {count}\n");
            format!("# TYPE c counter\nc {count}\n# TYPE h histogram\n{buckets}h_sum 3\nh_count {count}\n")
        };
        let scrape = |at: u64, count| Scrape { span: Span::new(at, at + 1_000), text: text(count) };
        let (before, after) = (scrape(1_000_000_000, 5), scrape(2_000_000_000, 205));
        let expositions = Expositions { before: &before, after: &after, series: None, followed: None };
        writer.write_window(window, Some(expositions)).expect("room for a run");
    }
    writer.finish("complete").expect("room for a run");
    Sound::of(memory().join("sound"))
});

fn with_parts(mut window: Window) -> Window {
    let span = window.facts.span;
    window.facts.scrapes = Some([Span::new(span.start, span.start + 1_000), Span::new(span.end, span.end + 1_000)]);
    let micros = [100.0, 20.0, 30.0, 700.0, 50.0, 100.0];
    let mut hops = vec![build::hop("load", 200, 4, micros), build::hop("database", 400, 2, micros)];
    let query =
        |at: u64| QueryTimeline { sent: span.start + at * 1_000_000, client: 7, spent: [1, 2, 3, 4, 5], behind: None };
    let name = hops[0].hop.name.clone();
    hops[0].sample = Some(Sample { hop: name, every: 1, lost: 0, queries: (0..20).map(query).collect() });
    window.wire = Some(WireDelta { span, hops, sends_seen: true });
    let thread = |role, name: &str, tid| build::thread(role, name, name, tid, 300_000_000);
    let threads = vec![thread(Role::Target, "server", 7), thread(Role::Generator, "wireprof", 9)];
    window.scheduler = Some(SchedulerDelta { span, threads, machine: None });
    let statement = StatementDelta {
        query: "select 1".into(),
        calls: 200,
        rows: 200,
        exec: 9_000_000,
        ..StatementDelta::default()
    };
    window.statements = Some(StatementsDelta {
        source: "test".into(),
        before: span,
        after: span,
        statements: vec![statement],
        vanished: 0,
        hidden: 0,
    });
    window.hands = Some(build::hands::hands(&["main;work"], 100, Vec::new(), Vec::new()));
    window
}

/// A stored run of which a few places are damaged.
pub fn run(bytes: &[u8]) {
    RUN.damaged(&mut Feed(bytes), |directory| {
        let Ok(run) = Store::load_readable(directory, Parts::ALL) else { return };
        if bytes.is_empty() {
            assert!(run.windows.len() == 4 && run.damaged.is_empty(), "the sound one is sound: {:?}", run.damaged);
        }
        tell(&run, bytes.len());
    });
}

/// What is made of a run without a network, a browser or a terminal: one thing of it for each input.
fn tell(run: &Run, which: usize) {
    static PRESET: LazyLock<Preset> = LazyLock::new(|| Preset::built_in("testbed").expect("it is compiled in"));
    match which % 6 {
        0 => drop(perflog::answer(run, &PRESET, &diagnose_all(run, &PRESET))),
        1 => drop(Page::of(run, Ok(&PRESET), Vec::new())),
        2 => drop(perflog::figures(run, &PRESET)),
        3 => drop(perflog::results(run, &perflog::made(10, None))),
        4 => drop(perflog::one_line_summary(run, None)),
        _ => drop(perflog::changes(run, run, &perflog::Made::now())),
    }
}

/// A recording of which a few places are damaged, by the files of `tests/recorded`.
static RECORDING: LazyLock<Sound> = LazyLock::new(|| {
    let (from, to) =
        (concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/recorded/testbed/c4"), memory().join("recorded/c4"));
    std::fs::create_dir_all(&to).expect("room for a recording");
    for entry in std::fs::read_dir(from).expect("it is in the repository").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("room for a recording");
    }
    Sound::of(memory().join("recorded"))
});

/// Recordings made by hand become a run, or are refused by their file.
pub fn recording(bytes: &[u8]) {
    static PRESET: LazyLock<Preset> = LazyLock::new(|| Preset::built_in("testbed").expect("it is compiled in"));
    RECORDING.damaged(&mut Feed(bytes), |directory| {
        let Ok(made) = import(directory, &PRESET, &ImportOptions::default()) else { return };
        let run = made.into_run();
        for window in &run.windows {
            window.profile.iter().for_each(|profile| profile.check().expect("a sound profile"));
        }
        diagnose_all(&run, &PRESET);
    });
}
