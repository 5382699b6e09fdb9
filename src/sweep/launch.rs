//! Servers that wireprof starts for a measurement. Invariant: what was started is gone when its value is dropped, and
//! is ended by the kernel when wireprof is killed.

use super::{Cut, Request, Stop, listens};
use crate::child;
use crate::connection::without_secrets;
use crate::load::{self, Address, LoadError};
use crate::testbed::{Options as TestbedOptions, Testbed};
use anyhow::{Context, Result, anyhow, bail};
use parking_lot::Mutex;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// A server of gigabytes opens its ports late.
const START_LIMIT: Duration = Duration::from_secs(120);
/// What a server may take to end before it is killed.
const END_LIMIT: Duration = Duration::from_secs(15);
/// Lines of a server's own output that an error shows.
const SHOWN: usize = 8;

/// What is started before each turn.
#[derive(Clone, Debug)]
pub enum Launch {
    /// Nothing: the server runs already.
    Nothing,
    /// The testbed, with these options.
    Testbed(TestbedOptions),
    /// A server by a command of the user's.
    Command {
        /// For `sh -c`.
        command: String,
        /// Environment variables that are set for it besides the inherited ones: name and value.
        environment: Vec<(String, String)>,
    },
}

/// What was started.
pub enum Launched {
    /// Nothing: the server ran already.
    Nothing,
    /// The testbed with its database.
    Testbed(Testbed),
    /// The server of the user's command.
    Server(Server),
}

impl Launch {
    /// Starts the server, points the request at it, and returns when it accepts connections. Blocks.
    pub fn start(&self, request: &mut Request, stop: &Stop) -> Result<Launched> {
        match self {
            Launch::Nothing => Ok(Launched::Nothing),
            Launch::Testbed(options) => {
                let testbed = Testbed::start(options)?;
                let ready = &testbed.ready;
                // Whatever the environment asks of other servers: this one is wireprof's own, and has no TLS.
                let plain = |url: &str| format!("{url}?sslmode=disable");
                request.target.url = Some(plain(&ready.sql));
                request.target.internal_url = Some(plain(&ready.internal));
                request.observe.metrics_url = Some(ready.metrics.clone());
                request.observe.statements_url.get_or_insert_with(|| plain(&ready.postgres.url));
                request.target.pid = Some(ready.pid);
                request.observe.accounted.push(ready.postgres.pid);
                Ok(Launched::Testbed(testbed))
            }
            Launch::Command { command, environment } => {
                let address = request.address()?;
                Ok(Launched::Server(Server::start(command, environment, &address, stop)?))
            }
        }
    }

    /// Whether each turn has a target of its own.
    pub fn restarts(&self) -> bool {
        !matches!(self, Launch::Nothing)
    }
}

/// A server by a command of the user's. A thread starts it and lives as long as it, since the kernel's death signal
/// is tied to the thread that started a child.
pub struct Server {
    /// Closed to end the server.
    end: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
    /// Once it has ended.
    status: Arc<Mutex<Option<ExitStatus>>>,
    /// What it writes.
    output: NamedTempFile,
}

impl Server {
    fn start(command: &str, environment: &[(String, String)], address: &Address, stop: &Stop) -> Result<Server> {
        let shown = without_secrets(command);
        let Some((place, found)) = listens(address) else {
            let why = format!("`{shown}` starts a server on this host, and the URL names another: correct --url");
            return Err(LoadError::Usage(why).into());
        };
        if let Ok(pid) = found {
            let why = format!("process {pid} listens on {place} already, before `{shown}` is started: end it first");
            return Err(LoadError::Usage(why).into());
        }
        let output = NamedTempFile::new().context("no temporary file for the server's output")?;
        let mut sh = Command::new("sh");
        sh.args(["-c", command]).envs(environment.iter().map(|(key, value)| (key, value))).stdin(Stdio::null());
        sh.stdout(output.reopen()?).stderr(output.reopen()?);
        child::die_with_parent(&mut sh, libc::SIGTERM);
        let status = Arc::new(Mutex::new(None));
        let (end, ended) = mpsc::channel();
        let (tell, started) = mpsc::channel();
        let kept = status.clone();
        let keeper = std::thread::Builder::new()
            .name("server-keeper".into())
            .spawn(move || keep(sh, &tell, &ended, &kept))
            .context("cannot start a thread")?;
        let server = Server { end: Some(end), keeper: Some(keeper), status, output };
        started.recv().map_err(|_| anyhow!("the thread that keeps the server ended"))?.context("cannot run sh")?;
        server.await_ready(&shown, &place, address, stop)?;
        Ok(server)
    }

    fn await_ready(&self, shown: &str, place: &str, address: &Address, stop: &Stop) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if stop.requested() {
                bail!(Cut::Interrupted);
            }
            if let Some(status) = *self.status.lock() {
                bail!("`{shown}` ended before it listened on {place} ({status}){}", self.last_words());
            }
            let refused = match load::check(address) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if Instant::now() > deadline {
                let waited = START_LIMIT.as_secs();
                bail!("`{shown}` does not accept connections after {waited} s: {refused}{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The end of what the server wrote.
    fn last_words(&self) -> String {
        let text = std::fs::read(self.output.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        if lines.is_empty() {
            return "; it wrote nothing".into();
        }
        format!("; its last words:\n{}", without_secrets(&lines[lines.len().saturating_sub(SHOWN)..].join("\n")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(keeper) = self.keeper.take() {
            // A keeper that panicked has ended, and the death signal with it has ended the server.
            let _ = keeper.join();
        }
    }
}

/// Runs on the keeper thread: starts the server, notes its end, ends it when told to.
fn keep(
    mut command: Command,
    tell: &mpsc::Sender<std::io::Result<()>>,
    end: &mpsc::Receiver<()>,
    status: &Mutex<Option<ExitStatus>>,
) {
    let mut server = match command.spawn() {
        Ok(server) => server,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let _ = tell.send(Ok(()));
    let pid = server.id();
    let mut deadline = None;
    loop {
        let told = !matches!(end.recv_timeout(Duration::from_millis(20)), Err(mpsc::RecvTimeoutError::Timeout));
        if child::has_ended(pid) {
            break;
        }
        match deadline {
            None if told => {
                child::signal_group(pid, libc::SIGTERM);
                deadline = Some(Instant::now() + END_LIMIT);
            }
            Some(deadline) if Instant::now() > deadline => drop(child::signal_group(pid, libc::SIGKILL)),
            Some(_) => std::thread::sleep(Duration::from_millis(20)),
            None => {}
        }
    }
    // The shell may have ended before what it started.
    child::signal_group(pid, libc::SIGKILL);
    *status.lock() = server.wait().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn start(command: &str, port: u16) -> Result<Server> {
        let address = Address::parse(&format!("postgres://a@127.0.0.1:{port}/a?sslmode=disable")).unwrap();
        Server::start(command, &[("GREETING".into(), "hello".into())], &address, &Stop::default())
    }

    #[test]
    fn a_command_that_ends_at_once_is_said_with_its_status_and_its_last_words() {
        let error = start("echo $GREETING password=open >&2; exit 3", free_port()).err().unwrap().to_string();
        assert!(error.contains("ended before it listened") && error.contains("exit status: 3"), "{error}");
        assert!(error.contains("hello") && !error.contains("open"), "{error}");
    }

    #[test]
    fn a_port_that_is_taken_and_a_server_elsewhere_are_refused_before_anything_is_started() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = start("sleep 60", listener.local_addr().unwrap().port()).err().unwrap().to_string();
        assert!(error.contains("listens on port") && error.contains("end it first"), "{error}");
        let elsewhere = Address::parse("postgres://a@db.example/a").unwrap();
        let error = Server::start("sleep 60", &[], &elsewhere, &Stop::default()).err().unwrap().to_string();
        assert!(error.contains("the URL names another"), "{error}");
    }

    #[test]
    fn an_interrupt_while_the_server_starts_ends_it_and_what_it_started() {
        let stop = Stop::default();
        stop.request();
        let address = Address::parse(&format!("postgres://a@127.0.0.1:{}/a", free_port())).unwrap();
        let marker = format!("6{}.5", std::process::id());
        let error = Server::start(&format!("sleep {marker} & sleep {marker}"), &[], &address, &stop).err().unwrap();
        assert!(super::super::interrupted(&error), "{error:#}");
        let running = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.starts_with(format!("sleep\0{marker}").as_bytes())
        });
        assert!(!running, "a process that the server started is left");
    }
}
