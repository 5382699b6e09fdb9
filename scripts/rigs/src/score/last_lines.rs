//! What a reader of a sweep's last lines alone learns of a plant. Invariant: the words are written here, and are not
//! those of the program, so that an answer that says something else is found.

use super::cases::Case;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use wireprof::preset::Cause;

/// Lines that a screen shows.
const LINES: usize = 25;
/// Columns of a screen.
pub const WIDTH: usize = 80;

/// In how many sweeps the last lines name what was planted.
pub struct LastLines {
    pub told: usize,
    pub of: usize,
}

impl LastLines {
    /// Whether most of them do.
    pub fn tell(&self) -> bool {
        2 * self.told > self.of
    }
}

/// Keeps what a sweep printed, for [`read`].
pub fn keep(directory: &Path, replicate: usize, text: &str) -> Result<()> {
    let path = directory.join(format!("printed-{replicate}.txt"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Judges what the sweeps of a case printed. `others`: so much of the machine was taken that to say so is right, too.
///
/// # Errors
/// Nothing was kept.
pub fn read(case: &Case, directory: &Path, others: bool) -> Result<LastLines> {
    let mut found = LastLines { told: 0, of: 0 };
    for replicate in 1.. {
        let Ok(text) = fs::read_to_string(directory.join(format!("printed-{replicate}.txt"))) else { break };
        found.of += 1;
        found.told += usize::from(names(case, &last(&text), others));
    }
    anyhow::ensure!(found.of > 0, "what the sweeps printed is not in {}", directory.display());
    Ok(found)
}

/// The last lines as one; empty where one of them is wider than a screen.
fn last(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let lines = &lines[lines.len().saturating_sub(LINES)..];
    // A path is never cut.
    let wide = |line: &&str| line.chars().count() > WIDTH && !line.starts_with("Run ");
    match lines.iter().any(wide) {
        true => String::new(),
        false => lines.iter().flat_map(|line| line.split_whitespace()).collect::<Vec<_>>().join(" "),
    }
}

/// The cause with its function; or what is there on both sides, or beside.
fn names(case: &Case, text: &str, others: bool) -> bool {
    let says = |causes: &[Cause]| causes.iter().any(|cause| text.contains(words(*cause)));
    let function = if case.waited.is_some() { "planted_" } else { case.function };
    let beside = says(case.of_base) || others && says(&[Cause::OtherProcesses]);
    says(case.causes) && text.contains(function) || beside
}

/// What an answer about a cause has to say.
fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::SlowPath => "another code path",
        Cause::Churn => "sessions came and went",
        Cause::Generator => "load generator is the limit",
        Cause::OtherProcesses => "other processes",
        Cause::CpuFunction => "one function takes much of the CPU",
        Cause::Allocator => "allocating and freeing memory",
        Cause::SaturatedThread => "one thread of the server is busy",
        Cause::Lock | Cause::LightweightLock => "wait for a lock",
        Cause::RowLock => "each other's locks",
        Cause::Flush => "data is on the disk",
        Cause::Disk => "files to be read or written",
        Cause::Sleep => "sleeps",
        Cause::BlockedRuntime => "calls that block",
        Cause::DatabaseService => "the database behind the server takes long",
        Cause::DatabasePath => "the way to the database",
        Cause::DatabaseStarved => "waits for a CPU",
        Cause::BatchQueue | Cause::Slots => "shared call",
        Cause::Pool => "connection of the pool",
        Cause::NetworkBetweenHosts => "network between the two hosts",
        Cause::Wait => "a query waits",
        Cause::Queued => "wait for a worker of the runtime",
        Cause::CpuLimit => "few CPUs that it may use",
        Cause::CpuSaturated => "the CPUs are saturated",
        Cause::NoSingleCause => "no single cause",
    }
}
