//! The side that asks: ssh as a child process, with wireprof at its other end. Invariant: whatever happens, the child
//! is ended with its owner, and then the other side ends by itself, for its input is closed.

use super::frame::{Frame, read_frame, write_frame};
use super::program::{self, ABSENT, READY};
use super::{Envelope, Host, NO_THREAD, spawn};
use crate::child;
use crate::clock::{self, ClockReading, ClockRelation, Clocks, Span};
use crate::target::Forbidden;
use anyhow::{Context, Result, anyhow, bail};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Names the command that is used for ssh, with arguments behind it; `ssh` where it is not set.
const SSH_VARIABLE: &str = "WIREPROF_SSH";
/// How often the other clock is read.
const CLOCK_EVERY: Duration = Duration::from_millis(200);
/// Bytes that a login shell may print before the program begins.
const BANNER: u64 = 64 << 10;
/// What the other side may take to begin: a copy over a slow link is sent before that.
const BEGIN_LIMIT: Duration = Duration::from_secs(60);
/// What the other side may take to put back what it set, and to end.
const END_LIMIT: Duration = Duration::from_secs(20);
/// Bytes of ssh's own words that are kept.
const WORDS: usize = 4 << 10;

/// How the other host is reached.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// The host.
    pub host: Host,
    /// wireprof there; `None`: a copy of the running program, put there where it is not.
    pub program: Option<String>,
    /// Run it through `sudo -n`.
    pub sudo: bool,
}

/// A link to wireprof on another host. `A` is sent, `T` comes back.
pub struct Link<A, T> {
    options: LinkOptions,
    child: Child,
    out: Arc<Mutex<Option<ChildStdin>>>,
    messages: mpsc::Receiver<Frame<T>>,
    clocks: Arc<Mutex<Clocks>>,
    words: Arc<Mutex<Vec<u8>>>,
    received: Arc<AtomicU64>,
    asks: std::marker::PhantomData<fn(A)>,
}

/// ssh, once something came back.
struct Begun {
    child: Child,
    output: BufReader<ChildStdout>,
    /// The last of what ssh itself says.
    words: Arc<Mutex<Vec<u8>>>,
    /// What came back before any message.
    line: String,
}

/// The command that is used for ssh, as the user would type it.
fn ssh_command() -> String {
    let words = std::env::var(SSH_VARIABLE).unwrap_or_default();
    let words: Vec<&str> = words.split_whitespace().collect();
    if words.is_empty() { "ssh".into() } else { words.join(" ") }
}

impl LinkOptions {
    /// ssh, told to run a command there and to ask nobody anything.
    fn ssh(&self, command: &str) -> Command {
        let words = ssh_command();
        let mut words = words.split_whitespace();
        let mut ssh = Command::new(words.next().unwrap_or("ssh"));
        ssh.args(words).args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]);
        // A link that is cut for seconds is waited for; one that is gone is noticed within half a minute.
        ssh.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=5"]);
        let Host { user, name, port } = &self.host;
        if let Some(user) = user {
            ssh.args(["-l", user]);
        }
        if let Some(port) = port {
            ssh.args(["-p", &port.to_string()]);
        }
        ssh.args(["--", name, command]);
        child::die_with_parent(&mut ssh, libc::SIGTERM);
        ssh
    }

    /// Runs a command there to its end, with what `feed` writes as its input; gives what it said.
    fn run(&self, command: &str, feed: impl FnOnce(ChildStdin) -> Result<()> + Send) -> Result<()> {
        let mut ssh = self.ssh(command);
        ssh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = ssh.spawn().map_err(|error| self.no_ssh(&error))?;
        let (input, mut errors) = (child.stdin.take(), child.stderr.take());
        let (fed, words) = thread::scope(|scope| {
            let reader = thread::Builder::new().spawn_scoped(scope, move || {
                let mut words = Vec::new();
                errors.as_mut().map(|errors| errors.take(WORDS as u64).read_to_end(&mut words));
                words
            });
            match reader.context(NO_THREAD) {
                Ok(reader) => (input.map_or(Ok(()), feed), reader.join().unwrap_or_default()),
                Err(error) => (Err(error), Vec::new()),
            }
        });
        let status = child.wait()?;
        if !status.success() {
            return Err(self.refused(&words, status.code()));
        }
        fed
    }

    fn no_ssh(&self, error: &std::io::Error) -> anyhow::Error {
        anyhow!(Forbidden {
            what: format!("reaching {}", self.host),
            cause: format!("ssh cannot be run: {error}"),
            remedy: format!("install OpenSSH's client, or name another with {SSH_VARIABLE}"),
        })
    }

    /// What ssh, or a shell at its other end, ended with.
    fn refused(&self, words: &[u8], code: Option<i32>) -> anyhow::Error {
        let words = String::from_utf8_lossy(words);
        let said = words.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let ended =
            || code.map_or("it was killed".to_string(), |code| format!("it ended with {code} and said nothing"));
        let cause = said.map_or_else(ended, |said| said.chars().filter(|c| !c.is_control()).collect());
        // 255 is ssh's own (ssh(1)); anything else is what ran there.
        let remedy = match code {
            Some(255) | None => format!(
                "`{} -o BatchMode=yes {}` must work without asking anything: accept the host's key once by hand, and \
                 load yours into an agent",
                ssh_command(),
                self.host
            ),
            _ if cause.contains("sudo") => "let the user run it there without a password, or connect as root".into(),
            _ => format!("see what stands in the way there; `{} {}` shows it", ssh_command(), self.host),
        };
        anyhow!(Forbidden { what: format!("running wireprof on {}", self.host), cause, remedy })
    }

    /// Takes the copies of wireprof away from there.
    ///
    /// # Errors
    /// ssh's.
    pub fn remove_copies(&self) -> Result<()> {
        self.run(&program::remove(), |input| {
            drop(input);
            Ok(())
        })
    }

    /// Starts ssh; gives it with what it says first: that the program is ready, or on what machine it is absent.
    fn begin(&self, name: &str, verb: &str) -> Result<Begun> {
        let mut ssh = self.ssh(&program::start(name, self.program.as_deref(), self.sudo, verb));
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ssh.spawn().map_err(|error| self.no_ssh(&error))?;
        let words = Arc::new(Mutex::new(Vec::new()));
        let (kept, errors) = (words.clone(), child.stderr.take().context("no standard error")?);
        spawn(move || keep_words(errors, &kept))?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        let (tell, told) = mpsc::channel();
        spawn(move || tell.send(first_line(output)))?;
        let said = match told.recv_timeout(BEGIN_LIMIT) {
            Ok(Ok((line, output))) => Ok((line, output)),
            Ok(Err(())) => {
                let code = child.wait()?.code();
                // Its last words may still be on their way from the other thread.
                thread::sleep(Duration::from_millis(50));
                Err(self.refused(&words.lock(), code))
            }
            Err(_) => Err(anyhow!(Forbidden {
                what: format!("running wireprof on {}", self.host),
                cause: format!("nothing came back within {} s", BEGIN_LIMIT.as_secs()),
                remedy: "see whether the host answers, and whether its login shell waits for something".into(),
            })),
        };
        match said {
            Ok((line, output)) => Ok(Begun { child, output, words, line }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }
}

/// What is said before the messages; an error where it ends without.
fn first_line(mut output: BufReader<ChildStdout>) -> Result<(String, BufReader<ChildStdout>), ()> {
    let mut left = BANNER;
    loop {
        let mut line = Vec::new();
        let read = (&mut output).take(left).read_until(b'\n', &mut line).map_err(drop)? as u64;
        left -= read.min(left);
        if read == 0 {
            return Err(());
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_string();
        if text.ends_with(READY) || text.starts_with(ABSENT) {
            return Ok((text, output));
        }
    }
}

fn keep_words(mut errors: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = errors.read(&mut buffer) {
        let mut kept = kept.lock();
        kept.extend(&buffer[..read]);
        let beyond = kept.len().saturating_sub(WORDS);
        kept.drain(..beyond);
    }
}

/// Ends ssh, which has had its time.
fn end(child: &mut Child) {
    child::signal_group(child.id(), libc::SIGTERM);
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    child::signal_group(child.id(), libc::SIGKILL);
    let _ = child.wait();
}

impl<A: Serialize, T: DeserializeOwned + Send + 'static> Link<A, T> {
    /// Starts wireprof there, after putting it there where it is not; `progress` is told what takes time. Blocks. Must
    /// be called from a thread that lives as long as the link (see [`child::die_with_parent`]).
    ///
    /// # Errors
    /// A host that cannot be reached without asking anybody, another kind of machine, a program that does not run.
    pub fn open(options: LinkOptions, progress: &mut dyn FnMut(&str)) -> Result<Link<A, T>> {
        Self::open_for(program::VERB, options, progress)
    }

    /// As [`Link::open`], for one of this program's hidden verbs.
    ///
    /// # Errors
    /// As [`Link::open`].
    pub fn open_for(verb: &str, options: LinkOptions, progress: &mut dyn FnMut(&str)) -> Result<Link<A, T>> {
        let name = program::own_name()?;
        let mut begun = options.begin(&name, verb)?;
        if let Some(machine) = begun.line.strip_prefix(ABSENT).map(|machine| machine.trim().to_string()) {
            end(&mut begun.child);
            put_there(&options, &name, &machine, progress)?;
            begun = options.begin(&name, verb)?;
        }
        let Begun { mut child, output, words, line } = begun;
        if line.starts_with(ABSENT) {
            end(&mut child);
            bail!(Forbidden {
                what: format!("running wireprof on {}", options.host),
                cause: "the copy is not there although it was put there".into(),
                remedy: "see whether the home directory there keeps files, or name a program with --target-program"
                    .into(),
            });
        }
        let out = Arc::new(Mutex::new(child.stdin.take()));
        let clocks = Arc::new(Mutex::new(Clocks::default()));
        let received = Arc::new(AtomicU64::new(0));
        let (tell, messages) = mpsc::channel();
        let (kept, count) = (clocks.clone(), received.clone());
        spawn(move || listen(output, &kept, &count, &tell))?;
        let asked = out.clone();
        spawn(move || ask_clock(&asked))?;
        let asks = std::marker::PhantomData;
        Ok(Link { options, child, out, messages, clocks, words, received, asks })
    }

    /// How the host is reached.
    pub fn options(&self) -> &LinkOptions {
        &self.options
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.options.host
    }

    /// Sends a message.
    ///
    /// # Errors
    /// A link that is down.
    pub fn send(&self, message: &A) -> Result<()> {
        let mut out = self.out.lock();
        let envelope = Envelope::Message(message);
        let written = out.as_mut().map(|out| write_frame(out, &envelope, &[]));
        match written {
            Some(Ok(())) => Ok(()),
            _ => {
                drop(out);
                Err(self.down())
            }
        }
    }

    /// The next message; `None`: none came in time.
    ///
    /// # Errors
    /// A link that is down.
    pub fn receive(&self, within: Duration) -> Result<Option<Frame<T>>> {
        match self.messages.recv_timeout(within) {
            Ok(frame) => Ok(Some(frame)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.down()),
        }
    }

    /// How the clocks relate within an interval of this host's; `None`: the other one was not read around it.
    pub fn clocks(&self, span: Span) -> Option<ClockRelation> {
        self.clocks.lock().within(span)
    }

    /// Bytes that came so far.
    pub fn bytes_received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn down(&self) -> anyhow::Error {
        // What ssh has to say of it comes a little later.
        thread::sleep(Duration::from_millis(100));
        let words = self.words.lock();
        let text = String::from_utf8_lossy(&words);
        let said = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let said = said.map_or(String::new(), |said| format!(" ({said})"));
        anyhow!(
            "the link to {} is down{said}; wireprof there puts back what it set and ends within half a minute: measure \
             again once `{} {}` works",
            self.options.host,
            ssh_command(),
            self.options.host
        )
    }
}

impl<A, T> Drop for Link<A, T> {
    fn drop(&mut self) {
        // The other side ends when its input does.
        *self.out.lock() = None;
        let deadline = Instant::now() + END_LIMIT;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        end(&mut self.child);
    }
}

/// Copies the running program there.
fn put_there(options: &LinkOptions, name: &str, machine: &str, progress: &mut dyn FnMut(&str)) -> Result<()> {
    let own = format!("Linux {}", std::env::consts::ARCH);
    let cannot = |cause: String| Forbidden {
        what: format!("running wireprof on {}", options.host),
        cause,
        remedy: "install the same version there, and name it with --target-program".into(),
    };
    if let Some(path) = &options.program {
        bail!(cannot(format!("there is no program {path} there")));
    }
    if machine != own {
        bail!(cannot(format!("it is a machine of another kind ({machine}; this one is {own})")));
    }
    progress(&format!("copying wireprof to {} (kept in ~/.cache/wireprof there)", options.host));
    options.run(&program::install(name), program::pack).context("wireprof could not be copied")
}

/// Runs on a thread of its own: what comes back.
fn listen<T: DeserializeOwned>(
    output: BufReader<ChildStdout>,
    clocks: &Mutex<Clocks>,
    received: &AtomicU64,
    messages: &mpsc::Sender<Frame<T>>,
) {
    let mut output = Counted { input: output, count: received };
    while let Ok(Some(Frame { message, payload })) = read_frame::<Envelope<T>>(&mut output) {
        match message {
            Envelope::Told(asked, there) => {
                clocks.lock().add(ClockReading { asked, there, answered: clock::now() });
            }
            Envelope::Message(message) => {
                if messages.send(Frame { message, payload }).is_err() {
                    return;
                }
            }
            Envelope::Clock(_) => {}
        }
    }
}

/// Runs on a thread of its own until the link is closed.
fn ask_clock(out: &Mutex<Option<ChildStdin>>) {
    loop {
        {
            let mut out = out.lock();
            let Some(out) = out.as_mut() else { return };
            if write_frame(out, &Envelope::<()>::Clock(clock::now()), &[]).is_err() {
                return;
            }
        }
        thread::sleep(CLOCK_EVERY);
    }
}

/// Counts what is read.
struct Counted<'a, R> {
    input: R,
    count: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(into)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
