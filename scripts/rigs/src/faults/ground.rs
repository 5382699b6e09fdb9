//! What rounds stand on: the programs, a cluster to copy, a stored run to read; and the directory of one round.
//! Invariant: all of it is in one directory, which goes with its value, and what was mounted in it before that.

use super::cluster::Programs;
use super::left::damage;
use super::plan::{Fault, Output, Round};
use super::shim;
use anyhow::{Context, Result, ensure};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Marks the processes of a round.
pub const MARK: &str = "WIREPROF_FAULTS_ROUND";
/// The file system of a round, kB.
const DISK: u64 = 64_000;

pub struct Ground {
    folder: tempfile::TempDir,
    pub program: PathBuf,
    pub programs: Programs,
    /// What is preloaded where a clock or a file is to go wrong.
    shim: PathBuf,
}

impl Ground {
    /// Makes all of it, which takes some seconds.
    pub fn make(program: PathBuf) -> Result<Ground> {
        let folder = tempfile::Builder::new().prefix("wireprof-faults-").tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let shim = shim::make(folder.path())?;
        let ground = Ground { folder, program, programs: Programs::find()?, shim };
        ground.programs.make(&ground.template())?;
        std::fs::create_dir(ground.path("rounds"))?;
        ground.run(&[
            "sweep",
            "--testbed",
            "--levels",
            "1,4",
            "--window",
            "1s",
            "--warmup",
            "200ms",
            "--follow",
            "1s",
        ])?;
        ground.run(&["log", "new", "latest", "--title", "Before the round", "--log", "log.md"])?;
        Ok(ground)
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn template(&self) -> PathBuf {
        self.path("cluster")
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        let output = command.env("XDG_CACHE_HOME", self.path("cache")).env_remove("WIREPROF_RUNS").output();
        let output = output.with_context(|| format!("cannot run {}", self.program.display()))?;
        // A check that fails is no failure here.
        let ended = matches!(output.status.code(), Some(0 | 1));
        ensure!(ended, "{}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// The directory of a round.
pub struct Place {
    pub root: PathBuf,
    mounted: bool,
}

impl Place {
    pub fn make(ground: &Ground, round: &Round) -> Result<Place> {
        let root = ground.path("rounds").join(format!("{}", round.seed));
        std::fs::create_dir(&root)?;
        let mut place = Place { root, mounted: false };
        std::fs::create_dir(place.disk())?;
        place.mounted = place.mount(round, &ground.path("runs"))?;
        std::fs::create_dir(place.temporary())?;
        std::fs::set_permissions(place.temporary(), std::fs::Permissions::from_mode(0o777))?;
        std::fs::create_dir(place.out())?;
        if !round.measures() {
            copy(&ground.path("runs"), &place.runs())?;
            std::fs::copy(ground.path("log.md"), place.out().join("log.md"))?;
            if let Fault::Damaged(how) = round.fault {
                damage(&place.runs(), how, round.dice)?;
            }
        }
        Ok(place)
    }

    /// A file system of the round's own where its fault is one of the disk; false where none can be mounted.
    fn mount(&self, round: &Round, stored: &Path) -> Result<bool> {
        let size = match round.fault {
            Fault::SmallDisk(size) if round.measures() => size,
            Fault::SmallDisk(size) => size + kilobytes(stored),
            Fault::DiskFull | Fault::DiskReadOnly => DISK,
            _ => return Ok(false),
        };
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}k"), "none"]).arg(self.disk()).stderr(Stdio::null());
        Ok(mount.status().is_ok_and(|status| status.success()))
    }

    pub fn is_mounted(&self) -> bool {
        self.mounted
    }

    pub fn disk(&self) -> PathBuf {
        self.root.join("disk")
    }

    pub fn runs(&self) -> PathBuf {
        self.disk().join("runs")
    }

    pub fn out(&self) -> PathBuf {
        self.disk().join("out")
    }

    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The program with the round's environment, without that of the caller's which it reads.
    pub fn command(&self, ground: &Ground, round: &Round) -> Result<Command> {
        let mut command = Command::new(&ground.program);
        command.current_dir(self.disk()).stdin(Stdio::null()).env(MARK, self.mark());
        command.env("XDG_CACHE_HOME", ground.path("cache")).env("HOME", &self.root);
        let temporary = if round.fault == Fault::NoTemporary { self.root.join("nowhere") } else { self.temporary() };
        command.env("TMPDIR", temporary);
        for variable in ["COLUMNS", "WIREPROF_RUNS", "PGPASSWORD", "PGPASSFILE", "PGHOST", "PGUSER", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        let (out, err) = match round.fault {
            Fault::Output(Output::OutFull) => (full(), Stdio::piped()),
            Fault::Output(Output::ErrFull) => (Stdio::piped(), full()),
            _ => (Stdio::piped(), Stdio::piped()),
        };
        command.stdout(out).stderr(err);
        if round.is_shimmed() {
            shim::preload(&mut command, &ground.shim, self)?;
        }
        Ok(command)
    }

    pub fn mark(&self) -> String {
        self.root.display().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(self.disk()).status();
        }
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn full() -> Stdio {
    let file = std::fs::OpenOptions::new().write(true).open("/dev/full");
    file.map_or_else(|_| Stdio::null(), Stdio::from)
}

pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cannot copy {} to {}", from.display(), to.display());
    Ok(())
}

fn kilobytes(directory: &Path) -> u64 {
    let size = |path: PathBuf| {
        if path.is_dir() { kilobytes(&path) } else { path.metadata().map_or(0, |m| m.len() / 1024) + 4 }
    };
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| size(entry.path())).sum::<u64>() + 4
}
