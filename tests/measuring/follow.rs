//! Following what carries queries, on real processes whose waits are known: how long, where, and who ended them; tasks
//! and threads. Skipped, with the reason printed, where the host does not permit the kernel's program.

use crate::binaries::WIREPROF;
use crate::skip::skip;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use wireprof::carriers::{Carried, Key, State, Who, replay};
use wireprof::clock::{Span, now};
use wireprof::sample::ebpf::{EbpfSampler, EventRoom};
use wireprof::sample::unwind::Cache;
use wireprof::sample::{FollowOptions, Options, RawFollowed, RawSamples, Sampled, Sampler};
use wireprof::symbol::{self, Symbolizer};

/// A program that answers requests of one byte by how long it waited, in ns.
pub struct Target {
    child: Child,
    port: u16,
}

impl Target {
    /// Starts the program, which prints its port.
    pub fn start(program: &Path) -> Target {
        let mut command = Command::new(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Target { child, port: line.trim().parse().unwrap() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program whose tasks wait, which cargo puts beside wireprof's.
pub fn tasks_program() -> PathBuf {
    let path = Path::new(WIREPROF).with_file_name("wireprof-tasks");
    assert!(path.is_file(), "no program at {}: build it with `cargo build --workspace`", path.display());
    path
}

/// One request; ns that its wait took.
pub fn ask(stream: &mut TcpStream, request: u8) -> std::io::Result<u64> {
    stream.write_all(&[request])?;
    let mut waited = [0; 8];
    stream.read_exact(&mut waited)?;
    Ok(u64::from_le_bytes(waited))
}

/// `None`, with the reason printed, where following is not permitted.
pub fn sampler(room: EventRoom) -> Option<EbpfSampler> {
    let opened = EbpfSampler::open_with_event_room(Options::default(), Cache::default(), room);
    opened.map_err(|why| skip(format!("{why:#}"))).ok()
}

/// What was followed while something was done.
pub struct Seen {
    pub raw: RawSamples,
    pub followed: RawFollowed,
    pub carried: Carried,
    symbolizer: Symbolizer,
}

/// Follows the target while `asking` runs.
pub fn follow(sampler: &mut EbpfSampler, target: &Target, tasks: bool, asking: impl FnOnce()) -> Seen {
    let options = FollowOptions { tasks, wait_event_at: None, unix_socket: None };
    let carrying = sampler.follow(&[Sampled::alone(target.pid())], &options).unwrap();
    let start = now();
    asking();
    let span = Span::new(start, now());
    let (raw, followed) = carrying.stop().unwrap();
    let carried = replay(&followed, target.port, span);
    Seen { raw, followed, carried, symbolizer: Symbolizer::new(symbol::Options::default()) }
}

/// Keeps asking one thing at a time while `meanwhile` runs, so that tasks are met while they are looked for.
pub fn while_asked<R>(target: &Target, request: u8, meanwhile: impl FnOnce() -> R) -> R {
    let (ended, mut stream) = (std::sync::atomic::AtomicBool::new(false), target.connect());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut asked = Ok(0);
            while !ended.load(std::sync::atomic::Ordering::Relaxed) && asked.is_ok() {
                asked = ask(&mut stream, request);
            }
        });
        let result = meanwhile();
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        result
    })
}

impl Seen {
    /// Whether a function is in the stack.
    fn has(&mut self, stack: Option<u32>, function: &str) -> bool {
        let Some(stack) = stack.map(|stack| &self.raw.stacks[stack as usize]) else { return false };
        let symbols = self.symbolizer.resolve(&self.raw.modules, &stack.addresses);
        let named = |symbol: &wireprof::symbol::Symbol| self.symbolizer.frame(*symbol).name.contains(function);
        symbols.iter().any(|symbols| symbols.iter().any(named))
    }

    /// Rows of these states whose stack has the function: ns, and keys with times.
    fn waits(&mut self, states: &[State], function: &str) -> (u64, Vec<(Key, u64)>) {
        let rows: Vec<_> =
            self.carried.rows.clone().into_iter().filter(|(key, _)| states.contains(&key.state)).collect();
        let with: Vec<_> = rows.into_iter().filter(|(key, _)| self.has(key.stack, function)).collect();
        (with.iter().map(|(_, sum)| sum.nanos).sum(), with.into_iter().map(|(key, sum)| (key, sum.times)).collect())
    }

    /// ns in these states.
    fn sum(&self, states: &[State]) -> u64 {
        self.carried.rows.iter().filter(|(key, _)| states.contains(&key.state)).map(|(_, sum)| sum.nanos).sum()
    }

    /// Nothing was lost. A few switches have been told by no tracepoint, whose time is unseen.
    pub fn assert_whole(&mut self) {
        let (lost, contradictions) = (self.followed.report.lost, self.carried.contradictions);
        let whole = lost == 0 && contradictions * 200 <= self.followed.report.events;
        assert!(whole && self.carried.unseen * 50 <= self.carried.nanos, "{contradictions}: {}", self.told());
    }

    /// How often waits at the function were ended so, of all of them.
    fn ended(&mut self, keys: &[(Key, u64)], by: impl Fn(Who) -> bool, at: &str) -> (u64, u64) {
        let all = keys.iter().map(|(_, times)| times).sum();
        let right = keys.iter().filter(|(key, _)| key.ended_by.is_some_and(|ender| by(ender.by)));
        let right: Vec<_> = right.cloned().collect();
        let there = |seen: &mut Seen, key: &Key| at.is_empty() || seen.has(key.ended_by.and_then(|e| e.stack), at);
        (right.iter().filter(|(key, _)| there(self, key)).map(|(_, times)| times).sum(), all)
    }

    fn told(&mut self) -> String {
        let rows: Vec<_> = self.carried.rows.clone().into_iter().collect();
        let mut text = format!("{:?}\n", self.followed.report);
        for (key, sum) in rows {
            let stack = key.stack.map(|stack| self.raw.stacks[stack as usize].clone());
            let names = stack.map(|stack| {
                let symbols = self.symbolizer.resolve(&self.raw.modules, &stack.addresses);
                let names = symbols.iter().flat_map(|symbols| symbols.iter());
                let names: Vec<_> = names.map(|symbol| self.symbolizer.frame(*symbol).name.clone()).take(24).collect();
                (names.join(" < "), stack.incomplete)
            });
            text += &format!("{:?} {sum:?} ended by {:?} at {names:?}\n", key.state, key.ended_by);
        }
        text
    }
}

/// Asks so many times on a connection of its own; the sum of the waits.
fn ask_often(target: &Target, request: u8, times: u64) -> u64 {
    let mut stream = target.connect();
    (0..times).map(|_| ask(&mut stream, request).unwrap()).sum()
}

/// The target's own time ends when it runs again: the wait, and what it was ready for without a CPU.
fn assert_near(waited: u64, ready: u64, truth: u64, what: &str) {
    let (least, most) = (waited as f64 / truth as f64, (waited + ready) as f64 / truth as f64);
    assert!(least <= 1.05 && most >= 0.95, "{what}: {waited} ns and {ready} ready, {truth} ns by the target itself");
}

const TIMES: u64 = 100;

#[test]
fn waits_of_tasks_are_as_long_as_they_are_where_they_are_and_ended_by_who_ended_them() {
    let Some(mut sampler) = sampler(EventRoom::default()) else { return };
    let target = Target::start(&tasks_program());
    let waits = [
        (b's', "waits_for_timer", "time"),
        (b't', "waits_for_thread", "clerk_answers"),
        (b'm', "waits_for_mutex", "holds_mutex"),
    ];
    for (request, function, ender) in waits {
        let mut truth = 0;
        let mut seen = while_asked(&target, request, || {
            follow(&mut sampler, &target, true, || truth = ask_often(&target, request, TIMES))
        });
        assert_eq!(seen.followed.report.no_tasks, None);
        seen.assert_whole();
        assert!(seen.carried.answered >= TIMES && seen.carried.tasks >= 2, "{}", seen.told());
        // The other connection asks the same meanwhile.
        let (nanos, keys) = seen.waits(&[State::Waiting], function);
        let times: u64 = keys.iter().map(|(_, times)| times).sum();
        println!("{function}: {nanos} ns in {times} waits, {truth} ns in {TIMES}");
        let ready = seen.sum(&[State::Queued, State::Runnable]);
        let answered = seen.carried.answered;
        assert_near(nanos / answered, ready / answered, truth / TIMES, function);
        let is_task = |who| matches!(who, Who::Task { .. });
        let (right, all) = match request {
            b's' => seen.ended(&keys, |who| who == Who::Thread || is_task(who), ender),
            b't' => seen.ended(&keys, |who| who == Who::Thread, ender),
            _ => seen.ended(&keys, is_task, ender),
        };
        assert!(right * 20 >= all * 19, "{right} of {all} ended by {ender}: {}", seen.told());
    }
}

/// Compiles a C program.
fn compile(source: &str, into: PathBuf) -> PathBuf {
    let file = into.with_extension("c");
    std::fs::write(&file, source).unwrap();
    let flags = ["-O1", "-g", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-fno-inline", "-pthread", "-o"];
    let status = Command::new("cc").args(flags).arg(&into).arg(&file).status();
    assert!(status.expect("cc is installed").success());
    into
}

/// A thread a connection, which waits for a condition, a pipe or the clock.
const THREADS: &str = r#"
    #include <arpa/inet.h>
    #include <pthread.h>
    #include <stdint.h>
    #include <stdio.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>
    struct served { int fd, ask[2], answer[2], wanted, done; pthread_mutex_t mutex; pthread_cond_t condition; };
    static uint64_t now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000000000ull + t.tv_nsec; }
    static void nap(void) { struct timespec t = { 0, 6000000 }; nanosleep(&t, 0); }
    static void signals(struct served *s) { nap(); pthread_mutex_lock(&s->mutex); s->done = 1;
        pthread_cond_signal(&s->condition); pthread_mutex_unlock(&s->mutex); }
    static void writes(struct served *s) { nap(); if (write(s->answer[1], "x", 1) != 1) _exit(1); }
    static void *helper(void *of) { struct served *s = of; char what;
        while (read(s->ask[0], &what, 1) == 1) if (what == 'f') signals(s); else writes(s);
        return 0; }
    static void waits_for_condition(struct served *s) { pthread_mutex_lock(&s->mutex);
        while (!s->done) pthread_cond_wait(&s->condition, &s->mutex);
        s->done = 0; pthread_mutex_unlock(&s->mutex); }
    static void waits_for_pipe(struct served *s) { char c; if (read(s->answer[0], &c, 1) != 1) _exit(1); }
    static void waits_for_clock(void) { nap(); }
    static void *serve(void *of) { struct served s = { .fd = (int)(intptr_t)of }; pthread_t t; char what;
        pthread_mutex_init(&s.mutex, 0); pthread_cond_init(&s.condition, 0);
        if (pipe(s.ask) || pipe(s.answer)) _exit(1);
        pthread_create(&t, 0, helper, &s);
        while (read(s.fd, &what, 1) == 1) {
            if (what != 'n' && write(s.ask[1], &what, 1) != 1) _exit(1);
            uint64_t start = now();
            if (what == 'n') waits_for_clock(); else if (what == 'f') waits_for_condition(&s); else waits_for_pipe(&s);
            start = now() - start;
            if (write(s.fd, &start, 8) != 8) break; }
        pause(); return 0; }
    int main(void) { int fd = socket(AF_INET, SOCK_STREAM, 0); struct sockaddr_in at; socklen_t size = sizeof at;
        memset(&at, 0, sizeof at); at.sin_family = AF_INET; at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(fd, (void *)&at, size) || listen(fd, 16) || getsockname(fd, (void *)&at, &size)) return 1;
        printf("%d\n", ntohs(at.sin_port)); fflush(stdout);
        for (;;) { pthread_t t; int one = accept(fd, 0, 0); pthread_create(&t, 0, serve, (void *)(intptr_t)one); } }
"#;

#[test]
fn waits_of_threads_are_as_long_as_they_are_where_they_are_and_ended_by_who_ended_them() {
    let Some(mut sampler) = sampler(EventRoom::default()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let target = Target::start(&compile(THREADS, folder.path().join("threads")));
    let waits =
        [(b'f', "waits_for_condition", "signals"), (b'p', "waits_for_pipe", "writes"), (b'n', "waits_for_clock", "")];
    for (request, function, ender) in waits {
        let mut truth = 0;
        let mut seen = follow(&mut sampler, &target, false, || truth = ask_often(&target, request, TIMES));
        let answered = seen.carried.answered;
        assert_eq!(answered, TIMES, "{}", seen.told());
        seen.assert_whole();
        let (nanos, keys) = seen.waits(&[State::Blocked], function);
        println!("{function}: {nanos} ns, {truth} ns by the target itself");
        assert_near(nanos, seen.sum(&[State::Runnable]), truth, function);
        let by = if ender.is_empty() { Who::Interrupt } else { Who::Thread };
        let (right, all) = seen.ended(&keys, |who| who == by, ender);
        assert!(right * 20 >= all * 19, "{right} of {all} ended by {by:?} at {ender:?}: {}", seen.told());
    }
}
