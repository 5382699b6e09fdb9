//! The user's own dbbench in place of our loop. Invariants: it gets as many connections as our loop would, and keeps
//! them; its password travels in the environment, never in the arguments; it is gone, with its script, when the load
//! is.
//!
//! dbbench opens its connections when it starts, so they are there only some time after `start`, and it reports its
//! whole run, not a window of it: queries completed in a window must come from a counter of the server's.

use super::LoadError;
use super::dbbench_output::{DbbenchJob, parse_output};
use super::driver::{Driver, Load};
use super::interrupt::interrupt;
use super::trace::{Generator, JobCount, LoadTrace, Reported, ReportedJob, Sessions, empty_histogram};
use crate::child;
use crate::clock::{self, Nanos, Span};
use crate::connection::{Address, variables};
use crate::workload::Workload;
use anyhow::{Context, Result};
use parking_lot::{Mutex, MutexGuard};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// dbbench lets transactions under way finish after an interrupt.
const QUIESCE: Duration = Duration::from_secs(15);
/// `-help` and `-version` answer at once.
const ANSWER: Duration = Duration::from_secs(10);
/// Flags without which the connections could not be fixed.
const NEEDED: [&str; 4] = ["-url", "-driver", "-max-active-conns", "-max-idle-conns"];

/// Runs a workload with the user's dbbench.
pub struct DbbenchDriver {
    program: PathBuf,
    address: Address,
    /// The address for its arguments, without the password.
    url: String,
    workload: Workload,
    version: String,
    /// The build can authenticate its connections before it starts the clock.
    pre_auth: bool,
}

impl DbbenchDriver {
    /// Asks the program what it can do.
    ///
    /// # Errors
    /// [`LoadError::Dbbench`] where it cannot be run, does not answer in time or lacks an option;
    /// [`LoadError::Setting`] where the URL has a setting that dbbench's driver cannot have.
    pub fn new(program: &Path, address: Address, workload: Workload) -> Result<Self, LoadError> {
        let url = address.url_for_go()?;
        let help = ask(program, "-help")?;
        let has = |flag: &str| help.split_whitespace().any(|word| word.trim_start_matches('-') == &flag[1..]);
        if let Some(missing) = NEEDED.iter().find(|flag| !has(flag)) {
            let problem = format!("its -help names no {missing}");
            return Err(refuse(
                program,
                problem,
                "give the path of a dbbench that has it, or use the driver of our own",
            ));
        }
        let version = if has("-version") { ask(program, "-version")?.trim().to_string() } else { String::new() };
        let pre_auth = has("-force-pre-auth");
        Ok(DbbenchDriver { program: program.into(), address, url, workload, version, pre_auth })
    }

    /// Arguments for a level, without the script's path. No password is in them.
    fn arguments(&self, level: usize) -> Vec<String> {
        let n = level.to_string();
        let mut arguments = vec!["-url".to_string(), self.url.clone(), "-driver".into(), "postgres".into()];
        arguments.extend(["-max-active-conns".into(), n.clone(), "-max-idle-conns".into(), n]);
        if self.pre_auth {
            arguments.push("-force-pre-auth".into());
        }
        arguments
    }
}

impl Driver for DbbenchDriver {
    fn name(&self) -> String {
        format!("dbbench {}", self.version).trim_end().to_string()
    }

    /// Writes the script; dbbench itself connects at `start`.
    fn open(&mut self, level: usize) -> Result<Box<dyn Load>> {
        let system = |cause| LoadError::System {
            what: "a temporary script",
            cause,
            remedy: "make room in, or access to, the directory for temporary files (TMPDIR)",
        };
        let text = self.workload.to_ini(level)?;
        let mut script = tempfile::Builder::new().prefix("wireprof-").suffix(".ini").tempfile().map_err(system)?;
        script.write_all(text.as_bytes()).map_err(system)?;
        let output = NamedTempFile::new().map_err(system)?;
        let handle = || output.reopen().map(Stdio::from).map_err(system);
        let mut command = Command::new(&self.program);
        command.args(self.arguments(level)).arg(script.path()).stdin(Stdio::null()).stdout(handle()?).stderr(handle()?);
        // All settings are in the URL; its driver would read some of these otherwise, or refuse them.
        variables().for_each(|name| _ = command.env_remove(name));
        child::without_secrets(&mut command);
        if let Some(password) = self.address.password() {
            command.env("PGPASSWORD", OsStr::from_bytes(password.expose()));
        }
        let load = DbbenchLoad {
            name: self.name(),
            program: self.program.clone(),
            level,
            command,
            child: Mutex::new(None),
            started: 0,
            output,
            _script: script,
        };
        Ok(Box::new(load))
    }
}

fn refuse(program: &Path, problem: String, remedy: &str) -> LoadError {
    LoadError::Dbbench { program: program.display().to_string(), problem, remedy: remedy.into() }
}

/// Runs the program with one argument and returns what it prints, whatever its exit status (Go's flags exit with 2).
fn ask(program: &Path, argument: &str) -> Result<String, LoadError> {
    let remedy = "give the path of dbbench as `--driver dbbench=PATH`";
    let failed = |problem: String| refuse(program, problem, remedy);
    let output = NamedTempFile::new().map_err(|cause| failed(format!("no temporary file: {cause}")))?;
    let handle = || output.reopen().map(Stdio::from).map_err(|cause| failed(format!("no temporary file: {cause}")));
    let mut command = Command::new(program);
    child::without_secrets(&mut command);
    command.arg(argument).stdin(Stdio::null()).stdout(handle()?).stderr(handle()?);
    let mut child = command.spawn().map_err(|cause| failed(format!("it cannot be run: {cause}")))?;
    let ended = wait(&mut child, ANSWER).map_err(|cause| failed(format!("it cannot be waited for: {cause}")))?;
    if ended.is_none() {
        let _ = child.kill().and_then(|()| child.wait());
        return Err(failed(format!("it does not answer {argument} within {ANSWER:?}")));
    }
    let text = std::fs::read(output.path()).map_err(|cause| failed(format!("its answer cannot be read: {cause}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct DbbenchLoad {
    name: String,
    program: PathBuf,
    level: usize,
    command: Command,
    child: Mutex<Option<Child>>,
    /// When it was started.
    started: Nanos,
    /// Both of its streams: its log and its results.
    output: NamedTempFile,
    _script: NamedTempFile,
}

impl DbbenchLoad {
    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock()
    }

    fn text(&self) -> String {
        let bytes = std::fs::read(self.output.path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn last_lines(&self) -> String {
        let text = self.text();
        let mut last: Vec<&str> = text.lines().rev().take(3).collect();
        last.reverse();
        last.join(" | ")
    }

    fn error(&self, problem: String) -> LoadError {
        refuse(&self.program, problem, "run it by hand with the same arguments to see why")
    }

    fn end(&self) -> Result<(), LoadError> {
        let mut guard = self.child();
        let Some(child) = guard.as_mut() else { return Ok(()) };
        interrupt(child).map_err(|cause| self.error(format!("it cannot be interrupted: {cause}")))?;
        let ended = wait(child, QUIESCE).map_err(|cause| self.error(format!("it cannot be waited for: {cause}")))?;
        if ended.is_none() {
            // It did not heed the interrupt; an error of the kill means that it ended just now.
            let _ = child.kill().and_then(|()| child.wait().map(drop));
            return Err(self.error(format!("it did not end within {QUIESCE:?} of an interrupt and was killed")));
        }
        *guard = None;
        Ok(())
    }
}

impl Load for DbbenchLoad {
    fn start(&mut self) -> Result<()> {
        self.started = clock::now();
        let child = self.command.spawn().map_err(|cause| self.error(format!("it cannot be run: {cause}")))?;
        *self.child() = Some(child);
        Ok(())
    }

    /// The process, from `start` on.
    fn thread_ids(&self) -> Vec<u32> {
        self.child().iter().map(Child::id).collect()
    }

    /// dbbench tells nothing before its end.
    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }

    fn failed(&self) -> Option<String> {
        let status = self.child().as_mut()?.try_wait();
        match status {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("dbbench ended by itself ({status}): {}", self.last_lines())),
            Err(cause) => Some(format!("dbbench cannot be waited for: {cause}")),
        }
    }

    fn unmeasured(&self) -> Vec<(&'static str, String)> {
        let why = "dbbench reports its whole run only".to_string();
        ["latency", "row counts", "sessions", "errors"].map(|part| (part, why.clone())).to_vec()
    }

    fn stop(self: Box<Self>, window: Span) -> Result<LoadTrace> {
        self.end()?;
        let ran = Span::new(self.started, clock::now());
        let jobs = parse_output(&self.text()).context("read dbbench's results")?;
        Ok(trace(self.name.clone(), self.level, window, ran, &jobs))
    }
}

impl Drop for DbbenchLoad {
    fn drop(&mut self) {
        if let Some(child) = self.child().as_mut() {
            // Either it has ended already, or it ends now; there is nobody to tell.
            let _ = child.kill().and_then(|()| child.wait().map(drop));
        }
    }
}

/// What dbbench tells of a window: nothing. Its jobs' counts are those of its whole run, the window's are to be set.
fn trace(driver: String, level: usize, span: Span, ran: Span, jobs: &[DbbenchJob]) -> LoadTrace {
    let told = |job: &DbbenchJob| ReportedJob {
        name: job.name.clone(),
        transactions: job.transactions,
        rate: job.tps,
        latency: job.latency_mean,
        latency_deviation: job.latency_deviation,
    };
    let job = |job: &DbbenchJob| JobCount {
        name: job.name.clone(),
        completed: job.transactions,
        rows: job.rows,
        errors: job.aborts.unwrap_or(0),
        latency_sum: job.latency_mean * job.transactions,
    };
    LoadTrace {
        driver,
        span,
        connections: level,
        rate: None,
        completed: 0,
        counted_by: "none: dbbench reports its whole run only".into(),
        rows: 0,
        wrong_rows: 0,
        errors: Vec::new(),
        latency_sum: None,
        at_sockets: None,
        slices: Vec::new(),
        latency: empty_histogram(),
        generator: Generator::default(),
        sessions: Sessions { opened: level as u64, lost: 0 },
        jobs: jobs.iter().map(job).collect(),
        transactions: None,
        reported: Some(Reported { ran, jobs: jobs.iter().map(told).collect() }),
        hosts: Vec::new(),
    }
}
