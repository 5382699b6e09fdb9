//! Starts the program `wireprof-testbed`, a crate of its own, as a child: for `--testbed` and for tests. Invariant:
//! the child is gone when the `Testbed` is dropped, and also if this process is killed: a keeper thread starts the
//! child and lives as long as it, since the kernel's death signal is tied to the thread that started a child.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::child;
use serde::Deserialize;

const NAME: &str = "wireprof-testbed";
/// initdb takes about a second on an idle machine.
const STARTUP_PATIENCE: Duration = Duration::from_secs(90);

/// The line of JSON by which a testbed says that it accepts connections, and where.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    /// Process id of the testbed.
    pub pid: u32,
    /// URL of the external SQL port.
    pub sql: String,
    /// URL of the internal SQL port (user `mz_system`).
    pub internal: String,
    /// URL of the Prometheus metrics.
    pub metrics: String,
    /// URL of the CPU profile in gzip pprof; takes `?seconds=N`.
    pub pprof: String,
    /// The PostgreSQL of its timestamp oracle.
    pub postgres: ReadyPostgres,
}

/// The PostgreSQL behind the testbed's timestamp oracle.
#[derive(Clone, Debug, Deserialize)]
pub struct ReadyPostgres {
    /// URL of its TCP port.
    pub url: String,
    /// Process id of the postmaster.
    pub pid: u32,
    /// The private directory: `data/`, `socket/`, `postgres.log`.
    pub directory: String,
}

/// How to start a testbed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The binary; found beside the running one if `None`.
    pub binary: Option<PathBuf>,
    /// Values of `--plant`.
    pub plants: Vec<String>,
    /// Values of `--fault`.
    pub faults: Vec<String>,
    /// Further arguments.
    pub arguments: Vec<OsString>,
    /// `--authentication password` with this password, which is handed over in the environment.
    pub password: Option<String>,
}

/// A running testbed.
#[derive(Debug)]
pub struct Testbed {
    /// What it said when it was ready.
    pub ready: Ready,
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Testbed {
    /// Returns when the testbed accepts connections.
    ///
    /// # Errors
    /// The program is not there, ends, or is not ready in time.
    pub fn start(options: &Options) -> Result<Self> {
        let command = build_command(options)?;
        let (stop, stopped) = mpsc::channel();
        let (started, ready) = mpsc::channel();
        let keeper = std::thread::Builder::new()
            .name("testbed-keeper".to_owned())
            .spawn(move || keep(command, &started, &stopped))
            .context("cannot start a thread")?;
        match ready.recv() {
            Ok(Ok(ready)) => Ok(Testbed { ready, stop: Some(stop), keeper: Some(keeper) }),
            Ok(Err(error)) => Err(error),
            Err(_) => bail!("the thread that keeps {NAME} ended; this is a defect of wireprof"),
        }
    }

    /// Ends the testbed and waits until it and its PostgreSQL are gone; the same as dropping it.
    pub fn stop(self) {}
}

impl Drop for Testbed {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            // A keeper that panicked has dropped its child, which the death signal then ended.
            let _ = keeper.join();
        }
    }
}

fn build_command(options: &Options) -> Result<Command> {
    let mut command = Command::new(find_binary(options.binary.as_deref())?);
    child::without_secrets(&mut command);
    for plant in &options.plants {
        command.arg("--plant").arg(plant);
    }
    for fault in &options.faults {
        command.arg("--fault").arg(fault);
    }
    if let Some(password) = &options.password {
        command.args(["--authentication", "password"]).env("WIREPROF_TESTBED_PASSWORD", password);
    }
    command.args(&options.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    child::die_with_parent(&mut command, libc::SIGTERM);
    Ok(command)
}

/// The one asked for, else beside this executable or one directory up (that of tests).
fn find_binary(asked: Option<&Path>) -> Result<PathBuf> {
    if let Some(binary) = asked {
        return Ok(binary.to_path_buf());
    }
    let own = std::env::current_exe().context("cannot find this executable")?;
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join(NAME)).find(|path| path.is_file());
    let hint = || anyhow!("{NAME} is not beside {}; build it with: cargo build --release --workspace", own.display());
    found.ok_or_else(hint)
}

/// What the testbed says against a plant. Without its program every plant passes here: starting it tells what is
/// missing.
///
/// # Errors
/// What the testbed says against the plant.
pub fn check_plant(plant: &str) -> Result<(), String> {
    let Ok(mut command) = find_binary(None).map(Command::new) else { return Ok(()) };
    match command.arg("--check-plant").arg(plant).output() {
        Ok(output) if !output.status.success() => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        _ => Ok(()),
    }
}

/// The directory of the PostgreSQL that a testbed would start.
///
/// # Errors
/// The testbed's own program is not there, or finds no PostgreSQL.
pub fn postgres_binaries() -> Result<PathBuf> {
    let output = Command::new(find_binary(None)?).arg("--find-postgres").output().context("cannot run the testbed")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Runs on the keeper thread: starts the child, hands over its ready line, ends it when told to.
fn keep(mut command: Command, started: &mpsc::Sender<Result<Ready>>, stopped: &mpsc::Receiver<()>) {
    let spawned = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()));
    let outcome = spawned.and_then(|mut child| match read_ready(&mut child) {
        Ok(ready) => Ok((child, ready)),
        Err(error) => {
            end(&mut child);
            Err(error)
        }
    });
    match outcome {
        Ok((mut child, ready)) => {
            // If nobody takes it any more, the channel to stop is closed as well.
            let _ = started.send(Ok(ready));
            // Ends with an error when the `Testbed` is dropped: that is the sign to stop.
            let _ = stopped.recv();
            end(&mut child);
        }
        Err(error) => drop(started.send(Err(error))),
    }
}

fn read_ready(child: &mut Child) -> Result<Ready> {
    let output = child.stdout.take().context("standard output is not a pipe")?;
    let errors = child.stderr.take().context("standard error is not a pipe")?;
    let (line_sender, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = BufReader::new(output).read_line(&mut text);
        // The receiver has given up if this fails.
        let _ = line_sender.send(read.map(|_| text));
    });
    let complaint = std::thread::spawn(move || {
        let mut text = String::new();
        // Reads to the end, so that the child never blocks on a full pipe; a partial message is better than none.
        let _ = BufReader::new(errors).read_to_string(&mut text);
        text
    });
    let line = match line.recv_timeout(STARTUP_PATIENCE) {
        Ok(line) => line.context("cannot read what the testbed prints")?,
        Err(_) => bail!("{NAME} was not ready within {} s", STARTUP_PATIENCE.as_secs()),
    };
    if line.is_empty() {
        let text = complaint.join().unwrap_or_default();
        bail!("{NAME} did not start: {}", text.trim());
    }
    serde_json::from_str(&line).with_context(|| format!("{NAME} printed something else than its ready line: {line}"))
}

/// Ends the child, and removes what it could not remove itself where somebody killed it.
fn end(child: &mut Child) {
    let pid = child.id();
    end_process(child);
    remove_left(pid);
}

/// Removes the directory of a testbed that has ended: it names its owner inside (`testbed/src/scratch.rs`).
fn remove_left(owner: u32) {
    let owned = |directory: &PathBuf| {
        let text = std::fs::read_to_string(directory.join("owner")).unwrap_or_default();
        text.split_whitespace().next() == Some(&owner.to_string())
    };
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("wireprof-testbed-"));
    for directory in own.map(|entry| entry.path()).filter(owned) {
        let deadline = Instant::now() + Duration::from_secs(10);
        // Its database ends by its own death signal, and writes until then.
        while postmaster_lives(&directory) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        // What cannot be removed is removed by the next testbed.
        let _ = std::fs::remove_dir_all(&directory);
    }
}

fn postmaster_lives(directory: &Path) -> bool {
    let text = std::fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
    let executable = text.lines().next().and_then(|pid| std::fs::read_link(format!("/proc/{}/exe", pid.trim())).ok());
    executable.is_some_and(|path| path.to_string_lossy().contains("postgres"))
}

fn end_process(child: &mut Child) {
    child::signal(child.id(), libc::SIGTERM);
    let deadline = Instant::now() + Duration::from_secs(15);
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // Its PostgreSQL follows by its own death signal.
    let _ = child.kill();
    let _ = child.wait();
}
