//! Running the real binaries for tests of the sweep. Invariant: every process that is started here is gone, and every
//! directory removed, when its value is dropped.

#![allow(dead_code, reason = "each test file uses a part of it")]

use crate::binaries::{WIREPROF, testbed_binary};
use crate::skip::skip;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use wireprof::check::Status;
use wireprof::run::{Run, Store};
use wireprof::testbed::{Options, Testbed};

/// A directory of a test's own, with the runs in it.
pub struct Place {
    folder: tempfile::TempDir,
}

/// What a finished command answered.
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Place {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL runs as another user where the test is root, and must reach its directory.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Place { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn runs(&self) -> PathBuf {
        self.path().join("runs")
    }

    /// Without the caller's environment of passwords and places.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(WIREPROF);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for variable in ["COLUMNS", "WIREPROF_RUNS", "PGPASSWORD", "PGPASSFILE"] {
            command.env_remove(variable);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Answer {
        answer(self.command(arguments).output().unwrap())
    }

    /// A sweep of short windows, with further arguments; everything of it is printed. What carries the queries is
    /// followed where they ask for it: it takes some four seconds a level.
    pub fn sweep(&self, arguments: &[&str]) -> Answer {
        let told = arguments.contains(&"--follow") || arguments.contains(&"--no-follow");
        let follow: &[&str] = if told { &[] } else { &["--no-follow"] };
        self.run(&[&["sweep", "--full", "--warmup", "100ms", "--no-flamegraphs"], follow, arguments].concat())
    }

    /// The only run.
    pub fn the_run(&self) -> Run {
        let store = Store::new(self.runs());
        assert_eq!(store.list().unwrap().len(), 1);
        store.load("latest").unwrap()
    }

    /// Nothing was stored.
    pub fn assert_no_run(&self) {
        assert!(!self.runs().exists() || self.runs().read_dir().unwrap().next().is_none());
    }

    /// No file below bears a temporary name.
    pub fn assert_no_temporary(&self) {
        let mut left = vec![self.runs()];
        while let Some(directory) = left.pop() {
            for entry in directory.read_dir().unwrap().map(Result::unwrap) {
                assert!(!entry.file_name().to_string_lossy().ends_with(".tmp"), "{}", entry.path().display());
                left.extend(Some(entry.path()).filter(|path| path.is_dir()));
            }
        }
    }
}

impl Answer {
    /// This code, and all of this on standard error.
    pub fn assert(&self, code: i32, told: &[&str]) {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        for text in told {
            assert!(self.err.contains(text), "no {text:?} in: {}", self.err);
        }
    }

    /// The latest run was measured and printed, with the exit code that its stored checks call for.
    pub fn assert_done(&self, place: &Place) {
        let run =
            Store::new(place.runs()).load("latest").unwrap_or_else(|e| panic!("{e:#}\n{}\n{}", self.out, self.err));
        self.assert_measured("Run ", &[run]);
    }

    /// It begins so, and its exit code is the one that the checks of these runs call for.
    pub fn assert_measured(&self, begins: &str, runs: &[Run]) {
        assert_eq!(self.code, code_of(runs), "{}\n{}", self.out, self.err);
        assert!(self.out.starts_with(begins), "{}\n{}", self.out, self.err);
    }
}

/// What a machine that is shared, and windows that are short, can make fail. No other check may.
const OF_THE_MACHINE: [&str; 4] = ["generator_gap", "sampled_cpu", "server_churn", "focus"];

/// The exit code of a verb that stored these runs: 1 where a check failed, else 0.
pub fn code_of(runs: &[Run]) -> i32 {
    let checks = runs.iter().flat_map(|run| &run.windows).flat_map(|window| &window.checks);
    let failed: Vec<_> = checks.filter(|check| check.status() == Status::Fail).collect();
    for check in &failed {
        let name = serde_json::to_value(check).unwrap()["guard"].as_str().unwrap().to_string();
        assert!(OF_THE_MACHINE.contains(&name.as_str()), "{name} failed: {check}");
    }
    i32::from(!failed.is_empty())
}

pub fn answer(output: Output) -> Answer {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A command under way whose standard error is followed.
pub struct Running {
    child: Child,
    err: BufReader<std::process::ChildStderr>,
    seen: String,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        Running { child, err, seen: String::new() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads on until a line holds this.
    pub fn await_line(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(self.err.read_line(&mut line).unwrap() > 0, "it ended without {text:?}: {}", self.seen);
            self.seen.push_str(&line);
        }
    }

    pub fn finish(mut self) -> Answer {
        self.err.read_to_string(&mut self.seen).unwrap();
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Answer { code, out, err: std::mem::take(&mut self.seen) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless the test failed meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `None`, with the reason printed, where PostgreSQL is not installed.
pub fn testbed(options: Options) -> Option<Testbed> {
    let binary = Some(testbed_binary());
    match Testbed::start(&Options { binary, ..options }) {
        Ok(testbed) => Some(testbed),
        Err(error) if format!("{error:#}").contains("no PostgreSQL server found") => {
            skip(format!("{error:#}"));
            None
        }
        Err(error) => panic!("{error:#}"),
    }
}

/// Whether a testbed could be started; where not, the reason is printed.
pub fn has_testbed() -> bool {
    let output = Command::new(testbed_binary()).arg("--find-postgres").output().unwrap();
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        assert!(why.contains("no PostgreSQL server found"), "{why}");
        skip(why);
    }
    output.status.success()
}

pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Waits until a process is gone, or dead and only not yet waited for.
pub fn await_gone(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with('Z')) {
            return;
        }
        assert!(Instant::now() < deadline, "process {pid} is still there: {stat}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One value by the simple protocol.
pub fn value(url: &str, sql: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let messages = client.simple_query(sql).await.unwrap();
        let row = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(String::from),
            _ => None,
        });
        row.unwrap()
    })
}
