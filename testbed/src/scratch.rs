//! The private directory of one testbed, removed with it. Invariant: a directory is removed only by its owner, or by
//! a later testbed once the owner named inside (process id and start time) and the postmaster inside are both gone, as
//! far as it can see them: one in another namespace of process numbers sees neither.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use wireprof::child::User;

const PREFIX: &str = "wireprof-testbed-";
const OWNER: &str = "owner";

/// Removed on drop.
pub struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    /// Makes `TMPDIR/wireprof-testbed-XXXXXX`, closed to all but `user` (the present one if `None`).
    pub fn create(user: Option<&User>) -> Result<Self> {
        let base = std::env::temp_dir();
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&base)
            .with_context(|| format!("cannot make a directory in {}; set TMPDIR to one that can", base.display()))?;
        let scratch = Scratch { directory };
        let own = std::process::id();
        let owner = format!("{own} {} {}\n", start_time(own).unwrap_or(0), namespace());
        fs::write(scratch.path().join(OWNER), owner).context("cannot write into the testbed's directory")?;
        fs::create_dir(scratch.path().join("socket")).context("cannot write into the testbed's directory")?;
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o700))?;
        if let Some(user) = user {
            for path in [scratch.path().to_owned(), scratch.path().join("socket")] {
                std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))
                    .with_context(|| format!("cannot give {} to the user {}", path.display(), user.name))?;
            }
        }
        Ok(scratch)
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes directories that testbeds left behind which were killed outright.
pub fn remove_stale() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let named_so = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if named_so && entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_stale(&entry.path()) {
            // What cannot be removed belongs to somebody else: theirs to remove.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_stale(directory: &Path) -> bool {
    let Some(owner) = fs::read_to_string(directory.join(OWNER)).ok() else { return false };
    let mut words = owner.split_whitespace();
    let (Some(pid), Some(started)) = (words.next(), words.next()) else { return false };
    let (Ok(pid), Ok(started)) = (pid.parse(), started.parse::<u64>()) else { return false };
    if words.next() != Some(&namespace()) {
        return false;
    }
    let owner_lives = start_time(pid) == Some(started);
    !owner_lives && !postmaster_lives(directory)
}

/// The namespace in which this process has its number; empty where /proc does not tell.
fn namespace() -> String {
    fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default()
}

fn postmaster_lives(directory: &Path) -> bool {
    let Ok(text) = fs::read_to_string(directory.join("data/postmaster.pid")) else { return false };
    let pid = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
    pid.is_some_and(|pid| {
        fs::read_link(format!("/proc/{pid}/exe"))
            .is_ok_and(|exe| exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("postgres")))
    })
}

/// Start time of a process in clock ticks since boot (proc(5), field 22); `None` if there is no such process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = procfs::process::Process::new(pid as i32).ok()?.stat().ok()?;
    (stat.state != 'Z').then_some(stat.starttime)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory_owned_by(owner: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(OWNER), owner).unwrap();
        directory
    }

    #[test]
    fn a_directory_is_stale_when_its_owner_is_gone_or_its_process_id_was_used_again() {
        let own_start = start_time(std::process::id()).unwrap();
        let here = namespace();
        let lives = directory_owned_by(&format!("{} {own_start} {here}\n", std::process::id()));
        let reused = directory_owned_by(&format!("{} {} {here}\n", std::process::id(), own_start + 1));
        let gone = directory_owned_by(&format!("4194305 1 {here}\n"));
        let elsewhere = directory_owned_by("4194305 1 pid:[1]\n");
        let unknown = directory_owned_by("");
        let stale = |directory: &tempfile::TempDir| is_stale(directory.path());
        assert_eq!([stale(&lives), stale(&reused), stale(&gone), stale(&unknown)], [false, true, true, false]);
        assert!(!stale(&elsewhere), "who is gone there cannot be seen from here");
    }
}
