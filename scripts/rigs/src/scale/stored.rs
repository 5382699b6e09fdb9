//! What reads what is stored, by how much of it there is: a directory of runs, a run of many windows (twelve hours are
//! a thousand of 43 s), a log of many entries. Each is asked of the program itself, whose CPU and peak memory count.
//! Invariant: what is read was written by the library, as a measurement writes it.

use super::{Cost, Measured, Part};
use crate::constructed::build;
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use wireprof::run::{Store, WindowId};

pub const RUNS: Part = Part {
    name: "runs",
    unit: "runs",
    sizes: &[1_000, 3_000, 10_000],
    costs: &[
        Cost { name: "list", what: "runs: the newest 20 listed, s of CPU", most: 1.0 },
        Cost { name: "prune", what: "runs: all but 20 found that could be removed, s of CPU", most: 1.0 },
        Cost { name: "memory", what: "runs: peak memory of the list, MB", most: 1.0 },
    ],
    measure: runs,
};

pub const LOG: Part = Part {
    name: "log",
    unit: "entries",
    sizes: &[500, 1_500, 5_000],
    costs: &[
        Cost { name: "attach", what: "log: a run attached, s of CPU", most: 1.0 },
        Cost { name: "check", what: "log: all entries checked against their runs, s of CPU", most: 1.0 },
        Cost { name: "memory", what: "log: peak memory of the check, MB", most: 1.0 },
    ],
    measure: log,
};

pub const WINDOWS: Part = Part {
    name: "stored-windows",
    unit: "windows of a run",
    sizes: &[100, 300, 1_000],
    costs: &[
        Cost { name: "write", what: "windows: memory that is left after all are stored, MB", most: 0.0 },
        Cost { name: "files", what: "windows: files open after all are stored", most: 0.0 },
        Cost { name: "explain", what: "windows: `explain`, s of CPU", most: 1.0 },
        Cost { name: "report", what: "windows: `report`, s of CPU", most: 1.0 },
        Cost { name: "memory", what: "windows: peak memory of `report`, MB", most: 1.0 },
    ],
    measure: windows,
};

/// CPU seconds and peak memory in MB of a verb.
fn ask(directory: &Path, arguments: &[&str]) -> Result<(f64, f64)> {
    let program = std::env::current_exe()?.with_file_name("wireprof");
    let before = super::memory::children()?;
    let mut command = Command::new(&program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    // What a check found is no failure here.
    let ended = matches!(output.status.code(), Some(0 | 1));
    ensure!(ended, "{}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    let after = super::memory::children()?;
    Ok((after.0 - before.0, after.1))
}

fn write(directory: &Path, name: &str, count: usize) -> Result<()> {
    let ids = || (0..count).map(|nth| WindowId { level: nth % 4 + 1, replicate: nth / 4 + 1 });
    let mut run = build::run(Vec::new());
    run.manifest.id = name.into();
    run.manifest.levels = (1..=count.min(4)).collect();
    run.manifest.order = ids().collect();
    let mut writer = Store::new(directory.join("runs")).create(run.manifest)?;
    for WindowId { level, replicate } in ids() {
        let profile = build::profile(&build::spread("main;serve;answer", 50, 10));
        writer.write_window(&build::window(level, replicate, 10, 10_000, Some(profile)), None)?;
    }
    writer.finish("complete")
}

fn id(nth: u64) -> String {
    format!("20260101-{nth:06}-constructed")
}

fn many(directory: &Path, count: u64) -> Result<()> {
    (0..count).try_for_each(|nth| write(directory, &id(nth), 1))
}

fn runs(count: u64) -> Measured {
    let directory = tempfile::tempdir()?;
    many(directory.path(), count)?;
    let (list, memory) = ask(directory.path(), &["runs"])?;
    let (prune, _) = ask(directory.path(), &["runs", "--prune", "--keep", "20", "--dry-run"])?;
    Ok(vec![("list", list), ("prune", prune), ("memory", memory)])
}

/// An entry that wireprof wrote, as often as entries are asked for, each of a run of its own.
fn log(count: u64) -> Measured {
    let directory = tempfile::tempdir()?;
    many(directory.path(), count + 1)?;
    ask(directory.path(), &["log", "new", &id(0), "--title", "One of many", "--log", "log.md"])?;
    let text = std::fs::read_to_string(directory.path().join("log.md"))?;
    let (head, entry) = text.split_once("## Session 1").context("the entry of the log")?;
    let mut all = head.to_string();
    for nth in 0..count {
        let entry = entry.replace(&id(0), &id(nth));
        write!(all, "## Session {}{entry}\n\n", nth + 1)?;
    }
    std::fs::write(directory.path().join("log.md"), all)?;
    let (attach, _) = ask(directory.path(), &["log", "attach", "latest", "--log", "log.md"])?;
    let (check, memory) = ask(directory.path(), &["log", "check", "--log", "log.md"])?;
    Ok(vec![("attach", attach), ("check", check), ("memory", memory)])
}

fn windows(count: u64) -> Measured {
    let directory = tempfile::tempdir()?;
    // What the allocator and the readers keep, before anything is measured.
    write(directory.path(), &id(0), 4)?;
    let open = || -> Result<usize> { Ok(std::fs::read_dir("/proc/self/fd")?.count()) };
    let before = super::memory::status("RssAnon")?;
    write(directory.path(), &id(1), count as usize)?;
    let left = (super::memory::status("RssAnon")? - before).max(4_096.0) / 1e6;
    let files = open()? as f64;
    let (explain, _) = ask(directory.path(), &["explain", &id(1)])?;
    let (report, memory) = ask(directory.path(), &["report", &id(1), "-o", "report.html"])?;
    Ok(vec![("write", left), ("files", files), ("explain", explain), ("report", report), ("memory", memory)])
}
